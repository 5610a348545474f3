"""Happens-before: what proves an edge, and everything that must not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fluxdrill.model.clock import Instant
from fluxdrill.model.conditions import Condition, ConditionStatus
from fluxdrill.model.kstatus import Result, Status
from fluxdrill.model.ordering import Edge, EdgeProof, Proof, Write, overlap, prove
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Change, Seen, Transition

START = datetime(2026, 1, 1, tzinfo=UTC)
FLUX = "system:serviceaccount:flux-system:kustomize-controller"
INFRA = ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", "infra")
APPS = ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", "apps")
CONFIG = ObjectRef("", "ConfigMap", "default", "app")
EDGE = Edge(INFRA, APPS)


def seen(
    ref: ObjectRef,
    second: float,
    status: str,
    reason: str = "",
    message: str = "",
    *,
    revision: str = "r1",
    how: Seen = Seen.WATCH,
) -> Transition:
    at = Instant(second, START + timedelta(seconds=second))
    condition = Condition("Ready", ConditionStatus(status), reason, message, None, None)
    return Transition(
        ref,
        at,
        Change.MODIFIED,
        how,
        "uid",
        1,
        str(second),
        (condition,),
        Result(Status.IN_PROGRESS, "", ""),
        revision=revision,
    )


def write(second: float, ref: ObjectRef = CONFIG, user: str = FLUX, subresource: str = "") -> Write:
    return Write(START + timedelta(seconds=second), user, "patch", ref, subresource)


WAITED = seen(APPS, 1.0, "False", "DependencyNotReady", "dependency 'flux-system/infra' is not ready")
READY = seen(INFRA, 5.0, "True", "ReconciliationSucceeded")


def judge(transitions: list[Transition], writes: list[Write], revision: str | None = "r1") -> EdgeProof:
    return prove(EDGE, transitions, writes, written={CONFIG}, controllers={FLUX}, revision=revision)


def test_an_edge_is_proved_by_a_seen_wait_a_seen_ready_and_a_later_first_write() -> None:
    found = judge([WAITED, READY], [write(6.0), write(9.0)])
    assert (found.proof, found.slack) == (Proof.PROVED, 1.0)


def test_a_first_write_before_ready_violates_although_all_is_ready_at_the_end() -> None:
    assert judge([WAITED, READY, seen(APPS, 9.0, "True")], [write(4.0), write(6.0)]).proof is Proof.VIOLATED


def test_a_dependency_that_was_never_ready_violates() -> None:
    assert judge([WAITED], [write(6.0)]).proof is Proof.VIOLATED


def test_ready_at_an_older_revision_is_not_ready_at_this_one() -> None:
    old = seen(INFRA, 2.0, "True", revision="r0")
    assert judge([WAITED, old], [write(3.0)]).proof is Proof.VIOLATED


def test_without_a_seen_wait_an_edge_is_unproved() -> None:
    assert judge([READY], [write(6.0)]).proof is Proof.UNPROVED


def test_waiting_for_another_dependency_proves_nothing_about_this_one() -> None:
    other = seen(APPS, 1.0, "False", "DependencyNotReady", "dependency 'flux-system/infra-two' is not ready")
    assert judge([other, READY], [write(6.0)]).proof is Proof.UNPROVED


def test_a_wait_that_was_seen_only_after_the_first_write_proves_nothing() -> None:
    late = seen(APPS, 7.0, "False", "DependencyNotReady", "dependency 'flux-system/infra' is not ready")
    assert judge([READY, late], [write(6.0)]).proof is Proof.UNPROVED


def test_a_ready_that_only_a_list_found_is_no_exact_time() -> None:
    assert judge([WAITED, seen(INFRA, 5.0, "True", how=Seen.LIST)], [write(6.0)]).proof is Proof.UNPROVED


def test_nothing_written_is_invalid_and_not_a_pass() -> None:
    assert judge([WAITED, READY], []).proof is Proof.INVALID


def test_a_write_by_somebody_else_is_not_the_dependents_first_write() -> None:
    assert judge([WAITED, READY], [write(2.0, user="fluxdrill:admin")]).proof is Proof.INVALID


def test_a_status_that_somebody_else_faked_makes_the_proof_invalid() -> None:
    faked = write(4.9, INFRA, "fluxdrill:admin", "status")
    assert judge([WAITED, READY], [write(6.0), faked]).proof is Proof.INVALID


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [([1, 5], [4, 9], True), ([1, 2], [3, 4], False), ([1, 9], [3, 4], True), ([], [1], False), ([1], [], False)],
)
def test_spans_of_work_overlap_or_not(first: list[int], second: list[int], together: bool) -> None:
    def moments(seconds: list[int]) -> list[datetime]:
        return [START + timedelta(seconds=one) for one in seconds]

    assert overlap(moments(first), moments(second)) is together
