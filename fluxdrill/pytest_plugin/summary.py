"""The end of a run in the terminal: labs, what was slowest to Ready, detection and recovery times, what is left.

Under xdist labs live in the workers: each hands its `News` to the controller, which prints them all.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, Self

from fluxdrill.model.capabilities import SIMULATED
from fluxdrill.model.kstatus import Status
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Change, Transition
from fluxdrill.pytest_plugin.measured import Kind, Measurement

SHOWN = 5


@dataclass(frozen=True, slots=True)
class ToReady:
    """How long an object took from its first sight to Ready, in seconds, and what it said for most of that time."""

    name: str
    lab: str
    seconds: float
    mostly: str


@dataclass(slots=True)
class News:
    """What one process knows of its labs: how long each took to start, of which provider, and its slowest objects."""

    starts: list[tuple[str, float, str]] = field(default_factory=list)
    slowest: list[ToReady] = field(default_factory=list)

    def take(self, plain: Mapping[str, Any]) -> None:
        """Add the news of a worker."""
        self.starts += [(str(lab), float(seconds), str(provider)) for lab, seconds, provider in plain["starts"]]
        self.slowest += [ToReady(**one) for one in plain["slowest"]]

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, for xdist."""
        return asdict(self)

    def with_labs(self, seen: Iterable[tuple[str, Iterable[Transition]]]) -> Self:
        """Add the slowest objects of labs, each given by its id and what its watch saw."""
        self.slowest += _slowest(one for lab, transitions in seen for one in to_ready(lab, transitions))
        return self


def to_ready(lab: str, transitions: Iterable[Transition]) -> list[ToReady]:
    """Return the objects that became Ready while they were watched; one made anew counts again.

    What was Ready when it was seen first is left out: nobody knows how long it took.
    """
    waiting: dict[ObjectRef, list[Transition]] = {}
    known: set[ObjectRef] = set()
    found = []
    for one in transitions:
        if one.kind is Change.DELETED:
            waiting.pop(one.ref, None)
            known.discard(one.ref)
        elif one.ref in known:
            continue
        elif one.status.status is not Status.CURRENT:
            waiting.setdefault(one.ref, []).append(one)
        else:
            known.add(one.ref)
            if states := waiting.pop(one.ref, []):
                found.append(ToReady(str(one.ref), lab, one.at.since(states[0].at), _mostly([*states, one])))
    return found


def _mostly(states: Sequence[Transition]) -> str:
    """Return the reason that was told longest; the last state ends the time."""
    held: dict[str, float] = {}
    for one, after in pairwise(states):
        ready = next((each.reason for each in one.conditions if each.type == "Ready"), "") or one.status.reason
        held[ready] = held.get(ready, 0.0) + after.at.since(one.at)
    return max(held, key=lambda reason: held[reason])


def lines(
    news: News,
    measured: Sequence[tuple[str, Measurement]],
    kept: Iterable[str],
    page: str,
) -> list[str]:
    """Return the summary's lines; `measured` has the test of each time, `kept` the ids of labs that still stand."""
    found = [
        f"lab {lab} was ready in {seconds:.1f} s ({provider}; simulated: {', '.join(SIMULATED[provider])})"
        for lab, seconds, provider in news.starts
    ]
    if slowest := _slowest(news.slowest):
        found += ["slowest to Ready:", *map(_ready_line, slowest)]
    for kind in Kind:
        found += _kind_lines(kind, [(test, one) for test, one in measured if one.kind is kind])
    found += [f"lab {lab} still stands; remove it with: fluxdrill down {lab}" for lab in kept]
    return [*found, f"report: {page}"] if page else found


def _slowest(every: Iterable[ToReady]) -> list[ToReady]:
    return heapq.nlargest(SHOWN, every, key=lambda one: one.seconds)


def _ready_line(one: ToReady) -> str:
    return f"{one.seconds:8.1f} s  {one.name} in {one.lab}" + (f", mostly {one.mostly}" if one.mostly else "")


def _kind_lines(kind: Kind, every: Sequence[tuple[str, Measurement]]) -> list[str]:
    if not every:
        return []
    times = [one.seconds for _, one in every]
    head = f"{kind} times: {len(times)} measured, median {median(times):.1f} s, longest {max(times):.1f} s"
    # what is over its budget is shown first, however short it was
    worst = sorted(every, key=lambda pair: (pair[1].over, pair[1].seconds), reverse=True)[:SHOWN]
    return [
        head,
        *(f"  {one!s:>10}  {one.name} ({test})" + (" OVER BUDGET" if one.over else "") for test, one in worst),
    ]
