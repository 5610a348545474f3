"""Which files of a repository are templates of a Helm chart: text for Helm, not YAML for Flux."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath


def templates(paths: Iterable[str]) -> frozenset[str]:
    """Return those of `paths` that lie below the folder `templates` of a chart (one with a Chart.yaml)."""
    every = [PurePosixPath(path) for path in paths]
    folders = {path.parent / "templates" for path in every if path.name == "Chart.yaml"}
    return frozenset(str(path) for path in every if not folders.isdisjoint(path.parents))
