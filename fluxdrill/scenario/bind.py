"""From a check in a file to a rule on the watch's view, with the steady state as what it is compared to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fluxdrill.faults.world import World
from fluxdrill.flux.bootstrap import GIT_REPOSITORY
from fluxdrill.flux.kinds import EVENT
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.errors import NotFoundError, UnknownKindError
from fluxdrill.kube.predicates import (
    Predicate,
    Verdict3,
    absent,
    all_current,
    all_of,
    present,
    readiness,
)
from fluxdrill.kube.view import View
from fluxdrill.model.conditions import condition as condition_of
from fluxdrill.model.kstatus import Status
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.scenario.checks import Check, ConditionIs, EventIs, FieldIs
from fluxdrill.scenario.converge import Rendering, converged

_STEP = re.compile(r"(?<!\\)\.")


@dataclass(slots=True)
class Baseline:
    """The steady state: identity and generation of the objects that the scenario names, the commit, and since when."""

    identities: Mapping[ObjectRef, tuple[str, int]] = field(default_factory=dict)
    revision: str = ""
    since: datetime | None = None
    """Events older than this are not about this run."""

    @classmethod
    def take(cls, world: World, refs: Iterable[ObjectRef]) -> Baseline:
        """Read the steady state from the API server; an object that is not there has no identity."""
        found = {ref: identity for ref in refs if (identity := _identity(world, ref)) is not None}
        revision = world.repository.revision if world.repository is not None else ""
        return cls(found, revision, world.store.clock.now().utc)


def _identity(world: World, ref: ObjectRef) -> tuple[str, int] | None:
    try:
        meta = world.api.get(ref)["metadata"]
    except (NotFoundError, UnknownKindError):
        return None
    return str(meta["uid"]), int(meta.get("generation", 0))


Binder = Callable[[Any, World, Baseline, Rendering], Predicate]


def bind(check: Check, world: World, baseline: Baseline, rendering: Rendering) -> Predicate:
    """Return the rule of a check; a check on `converged` also needs `converge.compare` once it is met."""
    return _BINDERS[check.verb](getattr(check, check.verb), world, baseline, rendering)


def _each(rule: Callable[[ObjectRef], Predicate]) -> Binder:
    return lambda refs, _world, _baseline, _rendering: all_of(*map(rule, refs))


def _not_ready(ref: ObjectRef) -> Predicate:
    def judge(view: View) -> Verdict3:
        result = readiness(view.get(ref), now=view.at.utc)
        if result.status is Status.CURRENT:
            return Verdict3.not_yet(f"{ref} is ready", ref)
        return Verdict3.met(f"{ref}: {result}")

    return Predicate(judge, frozenset([ref]))


def _condition(wanted: ConditionIs) -> Predicate:
    ref = wanted.object

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        found = condition_of(obj, wanted.type) if obj is not None else None
        if found is None:
            return Verdict3.not_yet(f"{ref} {'does not exist' if obj is None else f'has no {wanted.type}'}", ref)
        fits = found.status == wanted.status and wanted.reason in (None, found.reason)
        if fits and (wanted.message or "") in found.message:
            return Verdict3.met(f"{ref}: {found.type}={found.status} ({found.reason}): {found.message[:200]}")
        return Verdict3.not_yet(f"{ref}: {found.type}={found.status} ({found.reason}): {found.message[:200]}", ref)

    return Predicate(judge, frozenset([ref]))


def _same(ref: ObjectRef, baseline: Baseline, what: str) -> Predicate:
    was = baseline.identities.get(ref)

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        if was is None:
            return Verdict3.terminal(f"{ref} was not there in the steady state", ref)
        if obj is None:
            return Verdict3.not_yet(f"{ref} is gone", ref)
        uid, generation = str(obj["metadata"]["uid"]), int(obj["metadata"].get("generation", 0))
        if uid != was[0]:
            return Verdict3.not_yet(f"{ref} was replaced by a new one", ref)
        if what == "generation" and generation != was[1]:
            return Verdict3.not_yet(f"{ref} was changed: generation {was[1]} became {generation}", ref)
        return Verdict3.met(f"{ref} is the same")

    return Predicate(judge, frozenset([ref]))


def _replaced(ref: ObjectRef, baseline: Baseline) -> Predicate:
    was = baseline.identities.get(ref)

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        if was is None:
            return Verdict3.terminal(f"{ref} was not there in the steady state", ref)
        if obj is None or str(obj["metadata"]["uid"]) == was[0]:
            return Verdict3.not_yet(f"{ref} {'is gone' if obj is None else 'is still the same'}", ref)
        return Verdict3.met(f"{ref} is a new one")

    return Predicate(judge, frozenset([ref]))


def _field(wanted: FieldIs) -> Predicate:
    ref = wanted.object

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        if obj is None:
            return Verdict3.not_yet(f"{ref} does not exist", ref)
        found = value_at(obj, wanted.path)
        if found == wanted.equals:
            return Verdict3.met(f"{ref} has the wanted {wanted.path}")
        shown = "another value" if ref.kind == "Secret" else repr(found)
        return Verdict3.not_yet(f"{ref} has {wanted.path} = {shown}", ref)

    return Predicate(judge, frozenset([ref]))


def value_at(obj: KubeObject, path: str) -> Any:
    r"""Return what stands at a dotted path (`\\.` is a dot in a name), None where there is nothing."""
    value: Any = obj
    for step in (part.replace("\\.", ".") for part in _STEP.split(path)):
        if isinstance(value, list) and step.isdigit():
            value = value[int(step)] if int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _fetched(world: World, baseline: Baseline) -> Predicate:
    """Events would tell it as well, but the API client drops them after 25 of one object."""

    def judge(view: View) -> Verdict3:
        found = value_at(view.get(GIT_REPOSITORY) or {}, "status.artifact.revision")
        wanted = world.own_repository.revision
        if found == wanted != baseline.revision:
            return Verdict3.met(f"Flux has fetched {found}")
        return Verdict3.not_yet(f"Flux has {found}, and Git {wanted}", GIT_REPOSITORY)

    return Predicate(judge, frozenset([GIT_REPOSITORY]))


def _event(wanted: EventIs, baseline: Baseline) -> Predicate:
    ref = wanted.object

    def judge(view: View) -> Verdict3:
        for event in view.list(EVENT):
            about = event.get("involvedObject") or {}
            if (about.get("kind"), about.get("name")) != (ref.kind, ref.name) or event.get("reason") != wanted.reason:
                continue
            if (about.get("namespace") or "") != ref.namespace or (wanted.message or "") not in str(
                event.get("message")
            ):
                continue
            last = str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])
            # the server writes whole seconds
            if baseline.since is None or datetime.fromisoformat(last) >= baseline.since.replace(microsecond=0):
                return Verdict3.met(f"{ref}: {wanted.reason}: {str(event.get('message'))[:200]}")
        return Verdict3.not_yet(f"no event {wanted.reason} about {ref} yet", ref)

    return Predicate(judge, kinds=frozenset([EVENT, GroupKind.of(ref)]))


_BINDERS: Mapping[str, Binder] = {
    "converged": lambda _value, _world, _baseline, rendering: converged(rendering),
    "fetched": lambda _value, world, baseline, _rendering: _fetched(world, baseline),
    "ready": lambda refs, *_: all_current(refs),
    "not_ready": _each(_not_ready),
    "condition": lambda wanted, *_: _condition(wanted),
    "present": _each(present),
    "absent": _each(absent),
    "kept": lambda refs, _world, baseline, _rendering: all_of(*(_same(ref, baseline, "uid") for ref in refs)),
    "replaced": lambda refs, _world, baseline, _rendering: all_of(*(_replaced(ref, baseline) for ref in refs)),
    "untouched": lambda refs, _world, baseline, _rendering: all_of(
        *(_same(ref, baseline, "generation") for ref in refs)
    ),
    "field": lambda wanted, *_: _field(wanted),
    "event": lambda wanted, _world, baseline, _rendering: _event(wanted, baseline),
    "at_head": lambda refs, world, _baseline, _rendering: at_revision(refs, world.own_repository.revision),
    "at_steady": lambda refs, _world, baseline, _rendering: at_revision(refs, baseline.revision),
}
"""How each check of the schema becomes a rule."""
