"""Rehearsal: cold start of a GitOps repository in an empty lab; how far it comes, what is missing, in what order."""
