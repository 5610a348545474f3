"""fluxdrill: infrastructure tests, chaos and recovery drills for clusters managed by Flux CD."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("fluxdrill")
