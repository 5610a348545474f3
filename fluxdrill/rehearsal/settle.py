"""When has a cold start settled? A rule over every view of the watch, in the order they came.

An object is settled when it is Ready, suspended or Stalled, when at least two completed attempts at its present
generation and revision ended with the same reason and (normalised) message, or when it waits only for settled objects.
Attempts count from when what it waits for last changed: once that is Ready, "not ready" is an answer from before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fluxdrill.flux.bootstrap import ROOT
from fluxdrill.flux.kinds import EVENT, RECONCILED
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.model.conditions import (
    Condition,
    ConditionStatus,
    attempted_revision,
    blames_dependency,
    ready,
    suspended,
)
from fluxdrill.model.kstatus import Status, flux_readiness, is_static
from fluxdrill.model.messages import normalise_message
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.rehearsal.waits import waits_for

ATTEMPTS = 2
"""Completed attempts with the same outcome that make a failure settled."""

Outcome = tuple[object, ...]


@dataclass(slots=True)
class _Track:
    """What was seen of one object: its last outcome, how often it came, and whether an attempt is under way."""

    outcome: Outcome | None = None
    completed: KubeObject | None = None
    attempts: int = 0
    under_way: bool = False
    events_before: int = 0


@dataclass(slots=True)
class Settling:
    """Counts completed attempts from the views of a watch; `predicate` is met once everything is settled."""

    tracks: dict[ObjectRef, _Track] = field(default_factory=dict)
    _seen: dict[ObjectRef, object] = field(default_factory=dict)

    @property
    def predicate(self) -> Predicate:
        """For `wait_for`: every view must pass through it, in order."""
        return Predicate(self.judge, kinds=frozenset({*RECONCILED, EVENT}))

    def judge(self, view: View) -> Verdict3:
        """Take one more view into account and tell whether everything has settled."""
        present = {ObjectRef.of(obj): obj for kind in RECONCILED for obj in view.list(kind)}
        events = count_events(view.list(EVENT))
        for ref, obj in present.items():
            self._follow(ref, obj, events, waits_for(obj, present))
        if ROOT not in present:
            return Verdict3.not_yet(f"{ROOT} is not there yet")
        objects = self.completed(present)
        open_ones = self.unsettled(objects)
        if not open_ones:
            return Verdict3.met(f"all {len(objects)} Flux objects are settled")
        example = open_ones[0]
        why = _state(objects[example])
        return Verdict3.not_yet(f"{len(open_ones)} of {len(objects)} still move; {example}: {why}", *open_ones)

    def completed(self, present: Mapping[ObjectRef, KubeObject]) -> dict[ObjectRef, KubeObject]:
        """Return `present` with every object that is being retried as its last attempt left it.

        A retry of the same generation and revision says nothing until it ends.
        """
        return {ref: self._completed(ref, obj, present) for ref, obj in present.items()}

    def unsettled(self, objects: Mapping[ObjectRef, KubeObject]) -> tuple[ObjectRef, ...]:
        """Return what has not settled, in order of the references."""
        waits = {ref: waits_for(obj, objects) for ref, obj in objects.items()}
        # what is missing altogether does not move either: it would come from an object that does
        waiting = {ref: set(others) & set(objects) for ref, others in waits.items() if others}
        settled = {ref for ref, obj in objects.items() if ref in waiting or self._settled(ref, obj)}
        # the greatest set that holds: a circle of waiting objects is settled, one that waits for a moving one is not
        while moving := {ref for ref, others in waiting.items() if ref in settled and not settled.issuperset(others)}:
            settled -= moving
        return tuple(sorted(set(objects) - settled))

    def _completed(self, ref: ObjectRef, obj: KubeObject, present: Mapping[ObjectRef, KubeObject]) -> KubeObject:
        track = self.tracks.get(ref)
        if track is None or track.completed is None or not track.under_way or _is_over(track.completed, present):
            return obj
        same = track.completed["metadata"].get("generation") == obj["metadata"].get("generation")
        return track.completed if same and attempted_revision(track.completed) == attempted_revision(obj) else obj

    def _settled(self, ref: ObjectRef, obj: KubeObject) -> bool:
        if suspended(obj) or is_static(obj):
            return True
        if flux_readiness(obj).status in (Status.CURRENT, Status.FAILED):
            return True
        track = self.tracks[ref]
        # with an attempt under way, `obj` is the last completed one, unless that is over
        if track.under_way and obj is not track.completed:
            return False
        return track.attempts >= ATTEMPTS

    def _follow(
        self,
        ref: ObjectRef,
        obj: KubeObject,
        events: Mapping[tuple[ObjectRef, str], int],
        waits: tuple[ObjectRef, ...],
    ) -> None:
        track = self.tracks.setdefault(ref, _Track())
        found = ready(obj)
        if found is None or found.status is ConditionStatus.UNKNOWN:
            track.under_way = True
            return
        outcome, told = (*_outcome(obj, found), waits), events.get((ref, found.reason), 0)
        if outcome != track.outcome:
            self.tracks[ref] = _Track(outcome, obj, attempts=1, events_before=told)
            return
        track.completed = obj
        if track.under_way:
            track.attempts += 1
            track.under_way = False
        # an attempt that changes no status still tells an event; the first one may or may not be in `events_before`
        track.attempts = max(track.attempts, told - track.events_before)


def count_events(events: list[KubeObject]) -> dict[tuple[ObjectRef, str], int]:
    """Return how often each (object, reason) was told, from Kubernetes Events."""
    counted: dict[tuple[ObjectRef, str], int] = {}
    for event in events:
        about = event.get("involvedObject", {})
        group = str(about.get("apiVersion", "")).rpartition("/")[0]
        ref = ObjectRef(group, about.get("kind", ""), about.get("namespace", ""), about.get("name", ""))
        key = (ref, str(event.get("reason", "")))
        counted[key] = counted.get(key, 0) + int(event.get("count") or 1)
    return counted


def _is_over(completed: KubeObject, present: Mapping[ObjectRef, KubeObject]) -> bool:
    """Whether an attempt failed for a dependency that is Ready by now: the one under way has got past it."""
    return blames_dependency(completed) and not waits_for(completed, present)


def _outcome(obj: KubeObject, found: Condition) -> Outcome:
    generation = obj["metadata"].get("generation")
    return generation, attempted_revision(obj), found.status, found.reason, normalise_message(found.message)


def _state(obj: KubeObject) -> str:
    found = ready(obj)
    return f"{found.reason}: {found.message[:120].strip()}" if found else "no status yet"
