"""Flux on a lab: install, bootstrap, run its controllers, talk to them."""

from __future__ import annotations

NAMESPACE = "flux-system"
