"""What was seen, and when: every condition transition, and the times in which nothing could be seen.

The evidence for order, detection and recovery times. A time is when fluxdrill saw the change, so it is late by the
latency of the watch; for `Seen.LIST` it is an upper bound only, since the change came while nobody watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from fluxdrill.model.clock import Instant
from fluxdrill.model.conditions import Condition, conditions, handled_token
from fluxdrill.model.kstatus import Result, Status, compute_strict
from fluxdrill.model.refs import KubeObject, ObjectRef


class Change(StrEnum):
    """What happened to an object."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"


class Seen(StrEnum):
    """How a change was noticed: as it happened, or later by listing."""

    WATCH = "watch"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Transition:
    """One object's state after a change that matters: another generation, condition, status or identity."""

    ref: ObjectRef
    at: Instant
    kind: Change
    seen: Seen
    uid: str
    generation: int | None
    resource_version: str
    conditions: tuple[Condition, ...]
    status: Result
    handled: str | None = None
    """The reconcile request that the controller took up last."""
    revision: str | None = None
    """The revision applied, or of the artifact."""

    @classmethod
    def of(cls, obj: KubeObject, *, at: Instant, kind: Change, seen: Seen) -> Transition:
        """Return what `obj` shows at the moment `at`; `at.utc` is also the time that kstatus reckons with."""
        meta = obj["metadata"]
        gone = kind is Change.DELETED
        return cls(
            ref=ObjectRef.of(obj),
            at=at,
            kind=kind,
            seen=seen,
            uid=str(meta.get("uid", "")),
            generation=meta.get("generation"),
            resource_version=str(meta.get("resourceVersion", "")),
            conditions=conditions(obj),
            status=Result(Status.NOT_FOUND) if gone else compute_strict(obj, now=at.utc),
            handled=handled_token(obj),
            revision=_revision(obj),
        )

    def same_state(self, earlier: Transition) -> bool:
        """Tell whether nothing but times and versions differs."""
        return _state(self) == _state(earlier)

    def __str__(self) -> str:
        return f"{self.at.utc:%H:%M:%S.%f} {self.ref} {self._state()}"

    def _state(self) -> str:
        if self.kind is Change.DELETED:
            return "deleted"
        ready = next((one for one in self.conditions if one.type == "Ready"), None)
        return f"Ready={ready.status} {ready.reason}: {ready.message.strip()}" if ready else str(self.status)


def _state(one: Transition) -> tuple[object, ...]:
    # Without the times inside of conditions: a heartbeat that moves only those is no transition.
    conditions_ = tuple((c.type, c.status, c.reason, c.message, c.observed_generation) for c in one.conditions)
    return (one.uid, one.generation, one.status, one.handled, one.revision, conditions_)


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which the API server was silent or refused; `end` is None while it lasts.

    `start` is the first sign of it, `last_heard` the last proof of life before (None: there was none yet). What is
    dated by a gap is thus known to `start - last_heard`.
    """

    start: Instant
    why: str
    last_heard: Instant | None = None
    end: Instant | None = None

    @property
    def seconds(self) -> float | None:
        """How long it lasted; None while it lasts."""
        return self.end.since(self.start) if self.end else None


@dataclass(frozen=True, slots=True)
class WatchLoss:
    """The watch of one kind broke; from then until the next list the kind's state may be stale."""

    what: str
    at: Instant
    why: str


Disturbance = Gap | WatchLoss


class Timeline:
    """Transitions and disturbances in the order in which they were seen. Append-only.

    `listener` is told of every one from now on, and again of a gap when it ends; it must be quick.
    """

    def __init__(
        self,
        transitions: Iterable[Transition] = (),
        *,
        gaps: Iterable[Gap] = (),
        losses: Iterable[WatchLoss] = (),
        listener: Callable[[Transition | Gap | WatchLoss], None] | None = None,
    ) -> None:
        self._listener: Callable[[Transition | Gap | WatchLoss], None] | None = None
        self._transitions: list[Transition] = []
        self._by_ref: dict[ObjectRef, list[Transition]] = {}
        self._gaps = list(gaps)
        self._losses = list(losses)
        for transition in transitions:
            self._append(transition)
        self._listener = listener

    def __len__(self) -> int:
        return len(self._transitions)

    @property
    def transitions(self) -> tuple[Transition, ...]:
        """All transitions."""
        return tuple(self._transitions)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The silent times of the API server; only the last one can still be open."""
        return tuple(self._gaps)

    @property
    def losses(self) -> tuple[WatchLoss, ...]:
        """The watches that broke."""
        return tuple(self._losses)

    @property
    def disturbances(self) -> tuple[Disturbance, ...]:
        """Gaps and losses, in order."""
        return tuple(sorted((*self._gaps, *self._losses), key=_moment))

    def of(self, ref: ObjectRef) -> tuple[Transition, ...]:
        """All transitions of one object; empty where it was never seen."""
        return tuple(self._by_ref.get(ref, ()))

    def since(self, moment: Instant) -> tuple[Transition, ...]:
        """All transitions at or after `moment`."""
        return tuple(one for one in self._transitions if one.at.monotonic >= moment.monotonic)

    def last(self, count: int, *, refs: Iterable[ObjectRef] | None = None) -> tuple[Transition, ...]:
        """Return the newest `count` transitions, oldest first; with `refs` only those objects' transitions."""
        if count <= 0:
            return ()
        if refs is None:
            return tuple(self._transitions[-count:])
        found = [one for ref in set(refs) for one in self._by_ref.get(ref, ())]
        return tuple(sorted(found, key=_moment)[-count:])

    def record(self, transition: Transition) -> bool:
        """Append a transition unless the object's state is the one already known; tell whether it was appended."""
        known = self._by_ref.get(transition.ref)
        news = transition.kind is Change.DELETED or not known or known[-1].kind is Change.DELETED
        if not news and known and transition.same_state(known[-1]):
            return False
        self._append(transition)
        return True

    def disturb(self, disturbance: Disturbance) -> None:
        """Append a disturbance."""
        if isinstance(disturbance, Gap):
            self._gaps.append(disturbance)
        else:
            self._losses.append(disturbance)
        self._tell(disturbance)

    def end_gap(self, end: Instant) -> Gap:
        """Close the open gap and return it."""
        self._gaps[-1] = replace(self._gaps[-1], end=end)
        self._tell(self._gaps[-1])
        return self._gaps[-1]

    def copy(self) -> Timeline:
        """Return a timeline that no longer grows with this one."""
        return Timeline(self._transitions, gaps=self._gaps, losses=self._losses)

    def to_records(self) -> list[dict[str, Any]]:
        """Return everything as JSON-serialisable records in order of time, times in UTC and monotonic seconds."""
        entries: list[Transition | Gap | WatchLoss] = [*self._transitions, *self._gaps, *self._losses]
        return [_record(entry) for entry in sorted(entries, key=_moment)]

    def _append(self, transition: Transition) -> None:
        self._transitions.append(transition)
        self._by_ref.setdefault(transition.ref, []).append(transition)
        self._tell(transition)

    def _tell(self, entry: Transition | Gap | WatchLoss) -> None:
        if self._listener is not None:
            self._listener(entry)


def _moment(entry: Transition | Gap | WatchLoss) -> float:
    return (entry.start if isinstance(entry, Gap) else entry.at).monotonic


_RECORD_TYPES = {Transition: "transition", Gap: "gap", WatchLoss: "watch-loss"}


def _record(entry: Transition | Gap | WatchLoss) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(asdict(entry))
    return {"type": _RECORD_TYPES[type(entry)], **plain}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _revision(obj: KubeObject) -> str | None:
    status = obj.get("status")
    if not isinstance(status, Mapping):
        return None
    artifact = status.get("artifact")
    found = status.get("lastAppliedRevision") or (artifact.get("revision") if isinstance(artifact, Mapping) else None)
    return found if isinstance(found, str) else None
