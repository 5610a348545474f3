"""All figures of `fluxdrill bench`: those of labs, and those of the layers above them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from fluxdrill.errors import UsageError
from fluxdrill.lab import bench as lab
from fluxdrill.lab.bench import Figure
from fluxdrill.progress import Progress
from fluxdrill.report.page_load import page_load
from fluxdrill.scenario.bench import plans_1000, validate_folder

_ABOVE: Mapping[str, Callable[[int, Progress], dict[str, Figure]]] = {
    "plans_1000": plans_1000,
    "validate_folder": validate_folder,
    "page_load": page_load,
}
"""`page_load` measures `page_interaction` as well."""


def measure(*, only: Collection[str] | None, rounds: int, progress: Progress) -> dict[str, Figure]:
    """Measure the figures named in `only` (default: all); raises UsageError for an unknown one, before anything starts."""
    labs, above = chosen(only)
    figures = lab.measure(only=labs, rounds=rounds, progress=progress) if labs else {}
    for name in above:
        figures |= _ABOVE[name](rounds, progress)
    return figures


def chosen(only: Collection[str] | None) -> tuple[list[str], list[str]]:
    """Return the names to measure, of labs and of what is above them; raises UsageError for an unknown one."""
    known = [*lab.chosen(None), *_ABOVE]
    if unknown := sorted(set(only or ()) - set(known)):
        raise UsageError(f"There is no figure {unknown[0]!r}.", hint=f"Known: {', '.join(known)}.")
    wanted = [name for name in known if not only or name in only]
    return [name for name in wanted if name not in _ABOVE], [name for name in wanted if name in _ABOVE]
