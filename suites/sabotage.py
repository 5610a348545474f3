"""How the suites lie to their own checks: a status that a person wrote, evidence that came too early or is missing.

A check that such a lie gets past would prove nothing. Each module has a control that tells its checks one, and expects
them to be `refused`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from fluxdrill.flux.operations import suspend
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import DeviatedTimeoutError, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.conditions import ConditionStatus, ready, suspended
from fluxdrill.model.ordering import Write
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Transition

PERSON = "a-person"


@contextmanager
def refused() -> Iterator[None]:
    """Expect that the check within fails: as a wait that ran out, or as an assertion."""
    try:
        yield
    except (DeviatedTimeoutError, pytest.fail.Exception, AssertionError):
        return
    pytest.fail("The check was met by what it must not be met by: where it passes, it proves nothing.")


def fake_ready(lab: Lab, ref: ObjectRef, *, revision: str) -> None:
    """Write into the status of a Flux object, as a person, that it is Ready at `revision`."""
    generation = lab.api.get(ref)["metadata"]["generation"]
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "ReconciliationSucceeded",
        "message": f"Applied revision: {revision}",
        "observedGeneration": generation,
        "lastTransitionTime": SYSTEM_CLOCK.now().utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    applied = {"lastAppliedRevision": revision, "lastAttemptedRevision": revision}
    status = {"observedGeneration": generation, "conditions": [condition], **applied}
    lab.api.patch(ref, {"status": status}, subresource="status", field_manager=PERSON)


def stop(lab: Lab, ref: ObjectRef) -> None:
    """Suspend a Flux object, and wait until an attempt that is under way has ended: it would still do its work."""
    suspend(lab.api, ref)
    wait_for(lab.store, _idle(ref), deadline=40, dwell=0.7, what=f"{ref} to be left alone", fail_fast=False)


def stop_and_fake_ready(lab: Lab, ref: ObjectRef, *, revision: str) -> None:
    """Stop a Flux object, so that its controller does not correct the lie or have the last word, and fake its Ready."""
    stop(lab, ref)
    fake_ready(lab, ref, revision=revision)


def _idle(ref: ObjectRef) -> Predicate:
    """Met when `ref` is suspended and no attempt is under way."""

    def judge(view: View) -> Verdict3:
        obj = view.get(ref) or {}
        found = ready(obj)
        if suspended(obj) and found is not None and found.status is not ConditionStatus.UNKNOWN:
            return Verdict3.met(f"{ref} is left alone")
        return Verdict3.not_yet(f"{ref} is worked on", ref)

    return Predicate(judge, frozenset([ref]))


def without_writes(writes: Iterable[Write], refs: Collection[ObjectRef]) -> list[Write]:
    """Hide every write to `refs`."""
    return [one for one in writes if one.ref not in refs]


def earlier(writes: Iterable[Write], refs: Collection[ObjectRef], *, hours: int = 1) -> list[Write]:
    """Reorder: have the writes to `refs` come `hours` earlier."""
    shift = timedelta(hours=hours)
    return [replace(one, at=one.at - shift) if one.ref in refs and not one.subresource else one for one in writes]


def without_ready(transitions: Iterable[Transition], ref: ObjectRef) -> list[Transition]:
    """Hide every moment at which `ref` was Ready."""
    return [one for one in transitions if one.ref != ref or not _is_ready(one)]


def _is_ready(one: Transition) -> bool:
    return any(c.type == "Ready" and c.status is ConditionStatus.TRUE for c in one.conditions)
