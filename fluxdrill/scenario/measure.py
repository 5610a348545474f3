"""Detection and recovery times per fault cycle and object, from the journal's records and transitions."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluxdrill.model.critical_path import Link, Span, critical_path
from fluxdrill.model.verdicts import Outcome
from fluxdrill.scenario.plan import Verb
from fluxdrill.scenario.record import Facts, Record

Entry = Mapping[str, Any]
_DEPENDENCY = re.compile(r"dependency '([^']+)'")


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured time in seconds: `what` is detection or recovery of `object` in a cycle ("" is the whole)."""

    what: str
    object: str
    cycle: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Several samples of one thing; `p95` only from 20 samples on."""

    n: int
    low: float
    p50: float
    high: float
    p95: float | None


@dataclass(frozen=True, slots=True)
class Fall:
    """An object left Ready at `t` (seconds), was deleted, or began to wait for one that has; `until` it came back."""

    object: str
    t: float
    until: float | None


def falls(transitions: Iterable[Entry]) -> list[Fall]:
    """Return every time an object was down, in the order of beginning.

    A Kustomization that takes up a new commit is Unknown for a moment, and its dependents wait for it (reason
    DependencyNotReady): that is no harm. Waiting for one that is itself down is.
    """
    found: list[Fall] = []
    open_: dict[str, float] = {}
    waits: dict[str, str] = {}

    def note(name: str, at: float, *, down: bool) -> None:
        if down and name not in open_:
            open_[name] = at
        elif not down and name in open_:
            found.append(Fall(name, open_.pop(name), at))
        for other, on in waits.items():
            if on == name and (other in open_) != down:
                note(other, at, down=down)

    for one in transitions:
        name, at = str(one["object"]), float(one["t"])
        waits.pop(name, None)
        if one.get("reason") == "DependencyNotReady" and (on := _DEPENDENCY.search(str(one.get("message", "")))):
            waits[name] = f"{name.partition('/')[0]}/{on[1]}"
            note(name, at, down=waits[name] in open_)
        else:
            note(name, at, down=_is_down(one))
    found += [Fall(name, at, None) for name, at in open_.items()]
    return sorted(found, key=lambda fall: fall.t)


def _is_down(one: Entry) -> bool:
    return one.get("change") == "deleted" or str(one.get("status")) in {"False", "Failed", "Terminating", "NotFound"}


def spread(values: Iterable[float]) -> Spread:
    """Return the spread of at least one value; raises ValueError for none."""
    known = sorted(values)
    if not known:
        raise ValueError("there is no sample")
    p95 = statistics.quantiles(known, n=20)[-1] if len(known) >= 20 else None
    return Spread(len(known), known[0], statistics.median(known), known[-1], p95)


def span(records: Sequence[Record]) -> tuple[float, float]:
    """Return when the first fault began to be injected and when recovery was established (or the last step ended)."""
    begin = min((record.started for record in records if record.verb is Verb.INJECT), default=0.0)
    end = max((record.ended for record in records if record.verb is Verb.RECOVER), default=None)
    return begin, end if end is not None else max((record.ended for record in records), default=begin)


def samples(facts: Facts, records: Sequence[Record], entries: Sequence[Entry]) -> tuple[Sample, ...]:
    """Return every time measured: of the whole per cycle, and of each object that left Ready and came back.

    Detection counts from the end of the injection, recovery from the moment the fault was seen to bite (self-healed)
    or its cause was taken away (recovered, stuck). Recovery is taken when the object was last seen to become ready.
    """
    found: list[Sample] = []
    for cycle in cycles(records):
        own = [record for record in records if record.cycle == cycle]
        found += _whole(facts, cycle, own)
        found += _objects(facts, cycle, own, entries)
    return tuple(found)


def start_of_recovery(facts: Facts, records: Sequence[Record]) -> float | None:
    """Return the moment from which on recovery counts."""
    wanted = {Verb.OBSERVE} if facts.outcome == Outcome.SELF_HEALED else {Verb.HEAL, Verb.MANUAL}
    return max((one.met or one.ended for one in records if one.verb in wanted), default=None)


def _whole(facts: Facts, cycle: int, records: Sequence[Record]) -> Iterable[Sample]:
    injected = max((one.ended for one in records if one.verb is Verb.INJECT), default=None)
    sighted = [one.met for one in records if one.verb is Verb.SEE and one.met is not None]
    if injected is not None and sighted:
        yield Sample("detection", "", cycle, _seconds(injected, min(sighted)))
    start = start_of_recovery(facts, records)
    back = [one.met for one in records if one.verb is Verb.RECOVER and one.met is not None]
    if start is not None and back:
        yield Sample("recovery", "", cycle, _seconds(start, max(back)))


def _objects(facts: Facts, cycle: int, records: Sequence[Record], entries: Sequence[Entry]) -> Iterable[Sample]:
    injections = [one for one in records if one.verb is Verb.INJECT]
    end = max((one.ended for one in records if one.verb is Verb.RECOVER), default=None)
    start = start_of_recovery(facts, records)
    if not injections or end is None or start is None:
        return
    # the watch may tell of the effect before the call that caused it returns
    begin, injected = min(one.started for one in injections), max(one.ended for one in injections)
    for ref in facts.affected:
        own = [fall for fall in falls(of_lab(facts, entries)) if fall.object == ref and begin <= fall.t <= end]
        if not own:
            continue
        yield Sample("detection", ref, cycle, _seconds(injected, own[0].t))
        if (back := own[-1].until) is not None and back <= end:
            yield Sample("recovery", ref, cycle, _seconds(start, back))


def cycles(records: Iterable[Record]) -> list[int]:
    """Return the numbers of the fault cycles."""
    return sorted({record.cycle for record in records if record.cycle})


def recovery_path(
    facts: Facts, records: Sequence[Record], entries: Iterable[Entry], waits_for: Mapping[str, Sequence[str]]
) -> tuple[Link[str], ...]:
    """Return which of Flux's own objects made the recovery of one cycle late, along what they wait for, first link first.

    An object counts from the beginning of the recovery to the last moment at which it became Ready, or Ready at another
    revision. Empty where nothing recovered, or nothing changed meanwhile.
    """
    start = start_of_recovery(facts, records)
    end = max((one.met for one in records if one.verb is Verb.RECOVER and one.met is not None), default=None)
    if start is None or end is None:
        return ()
    spans: dict[str, Span] = {}
    last: dict[str, tuple[bool, object]] = {}
    for one in of_lab(facts, entries):
        name, at = str(one["object"]), float(one["t"])
        if name not in waits_for or at > end:
            continue
        now = (str(one.get("status")) in {"True", "Current"} and one.get("change") != "deleted", one.get("revision"))
        if at > start and now != last.get(name):
            spans[name] = Span(start, at if now[0] else None)
        last[name] = now
    return critical_path(spans, waits_for, end=end)


def of_lab(facts: Facts, entries: Iterable[Entry]) -> list[Entry]:
    """Return the transitions of a scenario's lab, in order."""
    own = (one for one in entries if one.get("type") == "transition" and one.get("lab") == facts.lab)
    return sorted(own, key=lambda one: float(one["t"]))


def _seconds(start: float, end: float) -> float:
    return round(max(0.0, end - start), 3)
