"""Fixtures of the tests of labs."""

from __future__ import annotations

from tests.cluster.conftest import runtime

__all__ = ["runtime"]
