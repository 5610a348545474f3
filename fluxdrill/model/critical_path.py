"""The critical path along dependencies: which object made the whole late, and what each link of that chain took itself."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Span:
    """When an object was there (`began`), and when it was Ready; None: it is not Ready yet. In seconds on one clock."""

    began: float
    ready: float | None


@dataclass(frozen=True, slots=True)
class Link(Generic[Name]):
    """One link: it waited for `waited_for` (None: for nothing) and took `own` seconds itself, from then on to its Ready."""

    name: Name
    waited_for: Name | None
    own: float
    ready: float | None


def critical_path(
    spans: Mapping[Name, Span], depends_on: Mapping[Name, Collection[Name]], *, end: float, target: Name | None = None
) -> tuple[Link[Name], ...]:
    """Return the chain that decided when `target` (default: what was Ready last) was Ready, first link first.

    A link is preceded by the dependency that was Ready last, unless that one was Ready before the link itself was
    there: then it waited for nothing. An object that is not Ready counts up to `end`; it took no own time while what
    it waits for is not Ready either, so that a blocker stands at the start of the chain with all the time. The last
    objects to be Ready tie towards the longer chain, then by name. Dependencies without a span are not looked at. A
    circle is followed once round. Empty where there are no spans; raises KeyError for an unknown `target`.
    """
    if not spans:
        return ()
    if target is not None:
        return _chain(spans, depends_on, target, end)
    latest = max(_ready(span) for span in spans.values())
    last = sorted((name for name, span in spans.items() if _ready(span) == latest), key=str)
    return max((_chain(spans, depends_on, name, end) for name in last), key=len)


def _chain(
    spans: Mapping[Name, Span], depends_on: Mapping[Name, Collection[Name]], target: Name, end: float
) -> tuple[Link[Name], ...]:
    found: list[Link[Name]] = []
    seen: set[Name] = set()
    name: Name | None = target
    while name is not None:
        seen.add(name)
        span = spans[name]
        before = _decisive(spans, [one for one in depends_on.get(name, ()) if one not in seen], span)
        free = span.began if before is None else _until(spans[before], end)
        found.append(Link(name, before, round(max(0.0, _until(span, end) - free), 3), span.ready))
        name = before
    return tuple(reversed(found))


def _decisive(spans: Mapping[Name, Span], dependencies: Collection[Name], span: Span) -> Name | None:
    """Return the dependency that was Ready last, where the object was there before that."""
    known = sorted((one for one in dependencies if one in spans and _ready(spans[one]) > span.began), key=str)
    return max(known, key=lambda one: _ready(spans[one]), default=None)


def _ready(span: Span) -> float:
    return _NEVER if span.ready is None else span.ready


def _until(span: Span, end: float) -> float:
    return end if span.ready is None else span.ready
