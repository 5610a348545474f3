"""Happens-before: did what depends on something write only after that was Ready? Pure rules on what was seen.

"All Ready at the end" proves no order. An edge is proved by three facts: the dependent was seen waiting for exactly this
dependency, the dependency was seen Ready at the revision in question, and the dependent's first write came after that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fluxdrill.model.conditions import ConditionStatus
from fluxdrill.model.reasons import KustomizationReason
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Seen, Transition


class Proof(StrEnum):
    """What the evidence says of an edge."""

    PROVED = "proved"
    UNPROVED = "unproved"
    VIOLATED = "violated"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Write:
    """One write that the API server took: when (UTC, microseconds), by which user, to which object."""

    at: datetime
    user: str
    verb: str
    ref: ObjectRef
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """`dependent` must not write before `dependency` is Ready."""

    dependency: ObjectRef
    dependent: ObjectRef

    def __str__(self) -> str:
        return f"{self.dependent.name}<-{self.dependency.name}"


@dataclass(frozen=True, slots=True)
class EdgeProof:
    """The verdict on one edge and why; `slack` is the seconds from Ready to the first write."""

    edge: Edge
    proof: Proof
    why: str
    slack: float | None = None


def prove(
    edge: Edge,
    transitions: Sequence[Transition],
    writes: Sequence[Write],
    *,
    written: Collection[ObjectRef],
    controllers: Collection[str],
    revision: str | None = None,
) -> EdgeProof:
    """Judge one edge.

    `written` are the objects that the dependent stands for (its inventory), `controllers` the users whose writes
    count and who alone may write the dependency's status; with `revision` the dependency must be Ready at it. Nothing
    written, a status from somebody else, or a Ready that no watch saw is `invalid`: it proves nothing.
    """
    foreign = _foreign_status(edge.dependency, writes, controllers)
    if foreign is not None:
        why = f"{edge.dependency}'s status was written by {foreign.user}, not by its controller"
        return EdgeProof(edge, Proof.INVALID, why)
    first = min((one for one in writes if _counts(one, written, controllers)), key=lambda one: one.at, default=None)
    if first is None:
        return EdgeProof(edge, Proof.INVALID, f"no write of {edge.dependent} was seen")
    ready = next((one for one in transitions if _is_ready(one, edge.dependency, revision)), None)
    if ready is None:
        why = f"{edge.dependent} wrote {first.ref}, but {edge.dependency} was never seen Ready"
        return EdgeProof(edge, Proof.VIOLATED, why)
    slack = (first.at - ready.at.utc).total_seconds()
    if slack < 0:
        why = f"{edge.dependent} wrote {first.ref} {-slack:.3f} s before {edge.dependency} was Ready"
        return EdgeProof(edge, Proof.VIOLATED, why, slack)
    return _in_order(edge, transitions, ready, first, slack)


def _in_order(
    edge: Edge, transitions: Sequence[Transition], ready: Transition, first: Write, slack: float
) -> EdgeProof:
    """Judge an edge whose times are in order by whether that was the dependency's doing and they are exact."""
    if ready.seen is not Seen.WATCH:
        return EdgeProof(edge, Proof.UNPROVED, f"when {edge.dependency} became Ready is not known exactly", slack)
    if not _waited(edge, transitions, before=first.at):
        return EdgeProof(edge, Proof.UNPROVED, f"{edge.dependent} never had to wait for {edge.dependency}", slack)
    return EdgeProof(edge, Proof.PROVED, f"first write {slack:.3f} s after {edge.dependency} was Ready", slack)


def overlap(first: Sequence[datetime], second: Sequence[datetime]) -> bool:
    """Tell whether two spans of work (each by its moments) overlap in time: independent things ran side by side.

    An empty span overlaps nothing.
    """
    if not first or not second:
        return False
    return min(first) <= max(second) and min(second) <= max(first)


def _is_ready(one: Transition, ref: ObjectRef, revision: str | None) -> bool:
    if one.ref != ref or (revision is not None and one.revision != revision):
        return False
    return any(c.type == "Ready" and c.status is ConditionStatus.TRUE for c in one.conditions)


def _waited(edge: Edge, transitions: Iterable[Transition], *, before: datetime) -> bool:
    name = f"'{edge.dependency.namespace}/{edge.dependency.name}'"
    return any(
        c.type == "Ready" and c.reason == KustomizationReason.DEPENDENCY_NOT_READY and name in c.message
        for one in transitions
        if one.ref == edge.dependent and one.at.utc <= before
        for c in one.conditions
    )


def _counts(write: Write, written: Collection[ObjectRef], controllers: Collection[str]) -> bool:
    return write.ref in written and not write.subresource and write.user in controllers


def _foreign_status(ref: ObjectRef, writes: Iterable[Write], controllers: Collection[str]) -> Write | None:
    return next(
        (one for one in writes if one.ref == ref and one.subresource == "status" and one.user not in controllers), None
    )
