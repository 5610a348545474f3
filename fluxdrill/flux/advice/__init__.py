"""Advice from evidence: what state helm-controller is in with a HelmRelease, whether it goes on by itself, what helps."""
