"""Make a dependent wait: an edge of which nobody saw the waiting is unproved, however right its times look."""

from __future__ import annotations

import secrets
from datetime import datetime

from fluxdrill.flux.operations import request, resume, suspend
from fluxdrill.kube.predicates import Predicate
from fluxdrill.kube.wait import all_current, all_of, wait_for
from fluxdrill.lab.serve import Repository
from fluxdrill.model.conditions import ready
from fluxdrill.model.kstatus import Status
from fluxdrill.model.ordering import Edge, EdgeProof, Proof
from fluxdrill.model.refs import ObjectRef
from suites.ordering.seen import holds

MARK = ".fluxdrill-waiting"
"""A file that no build reads: committing it makes a new revision and changes nothing."""


def made_to_wait(repository: Repository, edge: Edge, *, deadline: float = 60) -> EdgeProof:
    """Hold the dependency of an edge back at a new commit, see the dependent wait for it, let go, and judge the order.

    The dependency is suspended meanwhile. Raises DeviatedTimeoutError where the dependent does not wait within
    `deadline` seconds, or one of the two is not Ready again within 90.
    """
    api, store = repository.lab.api, repository.lab.store
    suspend(api, edge.dependency)
    try:
        repository.change({MARK: secrets.token_hex(4)}, f"hold {edge.dependency.name} back")
        request(api, edge.dependent)
        waited = wait_for(
            store, blames(edge), deadline=deadline, what=f"{edge.dependent} to wait for {edge.dependency}"
        )
    finally:
        resume(api, edge.dependency)
    both = all_of(all_current([edge.dependency]), all_current([edge.dependent]))
    wait_for(store, both, deadline=90, what=f"both ends of {edge} to be Ready again", fail_fast=False)
    first, then = (_ready_after(repository, ref, waited.met.utc) for ref in (edge.dependency, edge.dependent))
    slack = (then - first).total_seconds()
    if slack < 0:
        return EdgeProof(
            edge, Proof.VIOLATED, f"{edge.dependent} was done {-slack:.3f} s before {edge.dependency}", slack
        )
    return EdgeProof(edge, Proof.PROVED, f"made to wait; done {slack:.3f} s after {edge.dependency}", slack)


def blames(edge: Edge) -> Predicate:
    """Met when the dependent says that it waits for just this dependency."""
    name = f"'{edge.dependency.namespace}/{edge.dependency.name}'"

    def judge(obj: object) -> bool:
        found = ready(obj) if isinstance(obj, dict) else None
        return found is not None and found.reason == "DependencyNotReady" and name in found.message

    return holds(edge.dependent, judge, f"waits for {edge.dependency}")


def _ready_after(repository: Repository, ref: ObjectRef, moment: datetime) -> datetime:
    """Return when `ref` was first seen ready after `moment`; it is ready now."""
    seen = repository.lab.store.timeline.of(ref)
    return next(one.at.utc for one in seen if one.at.utc > moment and one.status.status is Status.CURRENT)
