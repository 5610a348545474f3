"""Read a GitOps repository: serve a copy of it, set its pace, and tell what it wants without a cluster."""
