"""What a cold start came to: pure rules from the objects seen and the repository's own tree to findings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fluxdrill.flux.bootstrap import ROOT
from fluxdrill.flux.kinds import KUSTOMIZATION
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.model.conditions import ready, suspended
from fluxdrill.model.messages import shown_message
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.rehearsal.waits import is_ready, named_objects, waits_for


class State(StrEnum):
    """How one object ended."""

    READY = "ready"
    FAILING = "failing"
    BLOCKED = "blocked"
    NEVER_CREATED = "never created"
    SUSPENDED = "suspended"
    MOVING = "still moving"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one object ended and why.

    `since` is in seconds after the bootstrap, `waits_for` what it names as missing, `outside` the outside host that its
    message names and that the lab refused.
    """

    ref: ObjectRef
    state: State
    reason: str = ""
    message: str = ""
    since: float | None = None
    waits_for: tuple[ObjectRef, ...] = ()
    outside: str = ""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A root cause: the failing object, what its message names (or itself), and everything that waits behind it."""

    finding: Finding
    named: tuple[str, ...]
    behind: tuple[ObjectRef, ...]

    @property
    def subject(self) -> str:
        """The object to look at first."""
        return self.named[0] if self.named else str(self.finding.ref)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All findings of a cold start.

    `blockers` are the root causes, the first one first, `outside` those that only want a host outside the lab.
    """

    findings: Mapping[ObjectRef, Finding]
    blockers: tuple[Blocker, ...]
    outside: tuple[Blocker, ...]

    @property
    def kustomizations(self) -> tuple[Finding, ...]:
        """The Kustomizations, the root first."""
        found = [one for ref, one in self.findings.items() if GroupKind.of(ref) == KUSTOMIZATION]
        return tuple(sorted(found, key=lambda one: (one.ref != ROOT, one.ref)))

    @property
    def others(self) -> tuple[Finding, ...]:
        """Every other Flux object."""
        return tuple(one for ref, one in sorted(self.findings.items()) if GroupKind.of(ref) != KUSTOMIZATION)

    @property
    def converged(self) -> bool:
        """Whether everything is Ready; nothing seen is never convergence."""
        return bool(self.findings) and all(one.state is State.READY for one in self.findings.values())


def judge(
    objects: Mapping[ObjectRef, KubeObject],
    *,
    parents: Mapping[ObjectRef, ObjectRef | None],
    depends_on: Mapping[ObjectRef, tuple[ObjectRef, ...]],
    since: Mapping[ObjectRef, float],
    moving: frozenset[ObjectRef] = frozenset(),
    refused: Collection[str] = (),
) -> Outcome:
    """Judge the final state.

    `objects` are the Flux objects seen, `parents` every Kustomization that the repository wants and what would create
    it, `depends_on` the dependencies it declares, `since` the second in which an object took its present state,
    `moving` what has not settled, and `refused` the outside hosts that the lab refused.
    """
    findings = {
        ref: _finding(ref, obj, waits_for(obj, objects), since.get(ref), ref in moving, refused)
        for ref, obj in objects.items()
    }
    for ref, parent in parents.items():
        if ref not in findings:
            waits = tuple(one for one in (parent,) if one is not None)
            findings[ref] = Finding(ref, State.NEVER_CREATED, waits_for=waits)
    found = _blockers(findings, depends_on)
    own = tuple(one for one in found if not one.finding.outside)
    return Outcome(findings, own, tuple(one for one in found if one.finding.outside))


def _finding(
    ref: ObjectRef,
    obj: KubeObject,
    waits: tuple[ObjectRef, ...],
    since: float | None,
    moves: bool,  # noqa: FBT001
    refused: Collection[str],
) -> Finding:
    found = ready(obj)
    reason, message = (found.reason, shown_message(found.message)) if found else ("", "")
    state = _state(obj, waits, moves=moves)
    outside = next((host for host in refused if host in message), "") if state is State.FAILING else ""
    return Finding(ref, state, reason, message, since, waits, outside)


def _state(obj: KubeObject, waits: tuple[ObjectRef, ...], *, moves: bool) -> State:
    if suspended(obj):
        return State.SUSPENDED
    if is_ready(obj):
        return State.READY
    if moves:
        return State.MOVING
    return State.BLOCKED if waits else State.FAILING


def _blockers(
    findings: Mapping[ObjectRef, Finding], depends_on: Mapping[ObjectRef, tuple[ObjectRef, ...]]
) -> tuple[Blocker, ...]:
    """Return the failing objects with what waits behind each, the longest failing first."""
    roots = [one for one in findings.values() if one.state in (State.FAILING, State.SUSPENDED)]
    roots.sort(key=lambda one: (one.since if one.since is not None else float("inf"), one.ref))
    found = [Blocker(one, named_objects(one.message), _behind(one.ref, findings, depends_on)) for one in roots]
    # a suspended object that nothing waits for is a wish, not a blocker
    return tuple(one for one in found if one.finding.state is State.FAILING or one.behind)


def _behind(
    root: ObjectRef, findings: Mapping[ObjectRef, Finding], depends_on: Mapping[ObjectRef, tuple[ObjectRef, ...]]
) -> tuple[ObjectRef, ...]:
    """Return what waits for `root`, nearest first: by what the objects say, and by what the repository declares."""
    reached = [root]
    for current in reached:
        for ref, one in findings.items():
            waits = {*one.waits_for, *(depends_on.get(ref, ()) if one.state is State.NEVER_CREATED else ())}
            if current in waits and ref not in reached:
                reached.append(ref)
    return tuple(reached[1:])
