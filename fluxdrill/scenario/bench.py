"""Measure what scenarios cost before any cluster exists: plans made, a folder of files validated."""

from __future__ import annotations

import time
from collections.abc import Callable

from fluxdrill.lab.bench import Figure, figure
from fluxdrill.progress import Progress
from fluxdrill.scenario.campaign import draw
from fluxdrill.scenario.command import FOLDER, scenarios

PLANS = 1000


def plans_1000(rounds: int, progress: Progress) -> dict[str, Figure]:
    """Return `plans_1000`: seconds for the plans of a campaign of 1,000 scenarios, drawn from all of `scenarios/`.

    Raises UsageError where there is no such folder: it is measured in a checkout.
    """
    known = scenarios([]).values()
    return {"plans_1000": _timed("plans_1000", lambda: len(draw(1, known, PLANS)), rounds, progress)}


def validate_folder(rounds: int, progress: Progress) -> dict[str, Figure]:
    """Return `validate_folder`: seconds to read and check every file of `scenarios/`; raises UsageError as above."""
    return {"validate_folder": _timed("validate_folder", lambda: len(scenarios([FOLDER])), rounds, progress)}


def _timed(name: str, work: Callable[[], int], rounds: int, progress: Progress) -> Figure:
    samples: list[float] = []
    for number in range(rounds):
        progress.update(f"{name} {number + 1}/{rounds}")
        began = time.monotonic()
        work()
        samples.append(time.monotonic() - began)
    return figure("s", samples)
