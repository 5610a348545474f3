"""fluxdrill: infrastructure tests, chaos and recovery drills for clusters managed by Flux CD."""

from __future__ import annotations


def version() -> str:
    """Return fluxdrill's version."""
    # imported late: the reaper beside every lab imports this package and needs no version
    from importlib import metadata  # noqa: PLC0415

    return metadata.version("fluxdrill")
