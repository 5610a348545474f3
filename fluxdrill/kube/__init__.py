"""API access, watch store and waits."""
