"""Sealed Secrets: seal and open by ourselves, sealing keys, the real controller, and placeholders in a repository."""
