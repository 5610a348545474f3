"""What the ordering suites look for on a lab, beyond what every suite does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fluxdrill.kube.errors import NotFoundError
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import DeviatedTimeoutError, absent, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.conditions import attempted_revision, ready
from fluxdrill.model.refs import KubeObject, ObjectRef


def holds(ref: ObjectRef, test: Callable[[KubeObject], bool], what: str) -> Predicate:
    """Met when `ref` exists and `test` is true of it; `what` completes "ConfigMap/x ..."."""

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        if obj is None:
            return Verdict3.not_yet(f"{ref} does not exist", ref)
        return Verdict3.met(f"{ref} {what}") if test(obj) else Verdict3.not_yet(f"{ref} not yet {what}", ref)

    return Predicate(judge, frozenset([ref]))


def has_data(ref: ObjectRef, **data: str) -> Predicate:
    """Met when the ConfigMap `ref` holds exactly `data`."""
    return holds(ref, lambda obj: (obj.get("data") or {}) == data, f"holds {data}")


def failed(ref: ObjectRef, reason: str, text: str, *, revision: str | None = None) -> Predicate:
    """Met when `ref` is Ready=False for `reason`, its message has `text`, and (if given) it was about `revision`."""

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        found = ready(obj) if obj is not None else None
        if obj is None or found is None:
            return Verdict3.not_yet(f"{ref} has no Ready", ref)
        if revision is not None and attempted_revision(obj) != revision:
            return Verdict3.not_yet(f"{ref} was last tried at {attempted_revision(obj)}", ref)
        if (found.status, found.reason) == ("False", reason) and text in found.message:
            return Verdict3.met(f"{ref}: {found.message}")
        return Verdict3.not_yet(f"{ref}: Ready={found.status} ({found.reason}): {found.message}", ref)

    return Predicate(judge, frozenset([ref]))


def never(lab: Lab, predicate: Predicate, *, seconds: float, what: str) -> None:
    """Watch for `seconds` that `predicate` is not met at any moment; a wait that does not time out is a failure."""
    with pytest.raises(DeviatedTimeoutError):
        wait_for(lab.store, predicate, deadline=seconds, what=what, fail_fast=False)


def inventory(obj: KubeObject) -> set[str]:
    """Return the names of what a Kustomization counts as its own."""
    entries = (obj.get("status") or {}).get("inventory", {}).get("entries") or []
    return {str(entry["id"]).split("_")[1] for entry in entries}


def uid(lab: Lab, ref: ObjectRef) -> str:
    """Return the identity of a living object; raises NotFoundError where there is none."""
    return str(lab.api.get(ref)["metadata"]["uid"])


def gone(lab: Lab, ref: ObjectRef) -> None:
    """Remove an object, whatever holds it, and wait until it is gone."""
    try:
        lab.api.patch(ref, {"metadata": {"finalizers": None}})
        lab.api.delete(ref)
    except NotFoundError:
        return
    wait_for(lab.store, absent(ref), deadline=30, what=f"{ref} to be gone")
