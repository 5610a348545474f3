"""Sets of objects: the aggregator and the ends of `WaitForSet` of fluxcd/pkg ssa."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxdrill.model.aggregate import (
    LOOKED_AT_NOTHING,
    Conclusion,
    Ending,
    Watched,
    aggregate,
    expires_when_done,
    judge,
    seen,
)
from fluxdrill.model.kstatus_fields import Result, Status
from fluxdrill.model.refs import ObjectRef

CURRENT, IN_PROGRESS, FAILED, UNKNOWN, NOT_FOUND, TERMINATING = (
    Result(status, f"Because{status}", "text")
    for status in (
        Status.CURRENT,
        Status.IN_PROGRESS,
        Status.FAILED,
        Status.UNKNOWN,
        Status.NOT_FOUND,
        Status.TERMINATING,
    )
)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        pytest.param([CURRENT], Status.CURRENT, id="single resource"),
        pytest.param([UNKNOWN, IN_PROGRESS], Status.UNKNOWN, id="multiple resources with one unknown status"),
        pytest.param([NOT_FOUND, CURRENT, FAILED], Status.FAILED, id="multiple resources with one failed"),
        pytest.param([UNKNOWN, FAILED], Status.FAILED, id="failed goes before unknown"),
        pytest.param([CURRENT, CURRENT], Status.CURRENT, id="all desired"),
        pytest.param([CURRENT, NOT_FOUND], Status.IN_PROGRESS, id="one not found"),
        pytest.param([CURRENT, TERMINATING], Status.IN_PROGRESS, id="one terminating"),
    ],
)
def test_aggregator(results: list[Result], expected: Status) -> None:
    assert aggregate(results).status is expected


def test_an_empty_set_is_unknown_and_not_the_desired_state() -> None:
    assert aggregate([]).status is Status.UNKNOWN
    assert aggregate([]).reason == LOOKED_AT_NOTHING


def test_another_state_can_be_desired() -> None:
    assert aggregate([NOT_FOUND, NOT_FOUND], desired=Status.NOT_FOUND).status is Status.NOT_FOUND
    assert aggregate([NOT_FOUND, CURRENT], desired=Status.NOT_FOUND).status is Status.IN_PROGRESS


def named(name: str, result: Result | None, *, kind: str = "Deployment", **more: Any) -> Watched:
    return Watched(ObjectRef("apps", kind, "shop", name), result, **more)


DEPLOYMENT = named("web", FAILED)
CLAIM = named("data", IN_PROGRESS, kind="PersistentVolumeClaim")
SERVICE = named("front", CURRENT, kind="Service")


def test_all_current_is_done() -> None:
    assert judge([SERVICE, named("web", CURRENT)]).conclusion is Conclusion.DONE
    assert judge([SERVICE, CLAIM]).conclusion is Conclusion.WAITING


def test_fail_fast_ends_early_and_names_only_what_failed() -> None:
    judgement = judge([DEPLOYMENT, CLAIM, SERVICE], fail_fast=True)
    assert judgement.conclusion is Conclusion.FAILED
    assert judgement.is_over
    assert "Deployment/shop/web is Failed (BecauseFailed)" in judgement.message
    assert "data" not in judgement.message


def test_without_fail_fast_a_failure_waits_for_the_rest_until_the_deadline() -> None:
    assert not judge([DEPLOYMENT, CLAIM], fail_fast=False).is_over
    judgement = judge([DEPLOYMENT, CLAIM, SERVICE], fail_fast=False, ending=Ending.DEADLINE)
    assert judgement.conclusion is Conclusion.TIMED_OUT
    assert "Deployment/shop/web is Failed" in judgement.message
    assert "PersistentVolumeClaim/shop/data is InProgress (BecauseInProgress): text" in judgement.message
    assert "front" not in judgement.message


def test_when_only_failed_and_current_are_left_waiting_is_over_even_without_fail_fast() -> None:
    assert judge([DEPLOYMENT, SERVICE], fail_fast=False).conclusion is Conclusion.FAILED


@pytest.mark.parametrize("result", [UNKNOWN, NOT_FOUND, TERMINATING, IN_PROGRESS], ids=lambda result: result.status)
def test_nothing_but_failed_and_current_is_terminal(result: Result) -> None:
    assert judge([DEPLOYMENT, named("other", result)], fail_fast=False).conclusion is Conclusion.WAITING


def test_cancellation_is_neither_a_pass_nor_a_timeout() -> None:
    judgement = judge([CLAIM, SERVICE], ending=Ending.CANCELLED)
    assert judgement.conclusion is Conclusion.CANCELLED
    assert "data" in judgement.message


@pytest.mark.parametrize("ending", [None, *Ending])
def test_what_is_certain_goes_before_the_ending(ending: Ending | None) -> None:
    assert judge([SERVICE], ending=ending).conclusion is Conclusion.DONE
    assert judge([DEPLOYMENT], ending=ending).conclusion is Conclusion.FAILED


def test_objects_that_could_not_be_read_are_named_with_the_error() -> None:
    throttled = Result(Status.UNKNOWN, "ReadFailed", "client rate limiter: would exceed the deadline")
    judgement = judge([named("web", throttled), named("db", None)], ending=Ending.DEADLINE)
    assert judgement.conclusion is Conclusion.TIMED_OUT
    assert "Deployment/shop/web is Unknown (ReadFailed): client rate limiter" in judgement.message
    assert "Deployment/shop/db is Unknown (NoStatus)" in judgement.message


def test_an_empty_set_is_over_and_no_pass() -> None:
    for ending in (None, *Ending):
        assert judge([], ending=ending).conclusion is Conclusion.LOOKED_AT_NOTHING
    assert judge([]).is_over


RUNNING_JOB = Watched(ObjectRef("batch", "Job", "shop", "migrate"), IN_PROGRESS, expires=True)


def test_a_job_with_a_time_to_live_that_disappeared_is_done() -> None:
    gone = seen(seen(RUNNING_JOB, IN_PROGRESS), NOT_FOUND)
    assert judge([gone]).conclusion is Conclusion.DONE
    assert gone.state.reason == "JobExpired"


def test_a_job_without_a_time_to_live_that_disappeared_is_missed() -> None:
    plain = seen(seen(Watched(RUNNING_JOB.ref, None), CURRENT), NOT_FOUND)
    judgement = judge([plain], ending=Ending.DEADLINE)
    assert judgement.conclusion is Conclusion.TIMED_OUT
    assert "Job/shop/migrate is NotFound" in judgement.message


def test_a_job_that_had_failed_before_its_time_to_live_ended_stays_failed() -> None:
    gone = seen(seen(RUNNING_JOB, FAILED), NOT_FOUND)
    assert judge([gone]).conclusion is Conclusion.FAILED


def test_jobs_that_nobody_ever_saw_are_no_pass_of_their_own_but_do_not_block_others() -> None:
    unseen = seen(Watched(RUNNING_JOB.ref, None, expires=True), NOT_FOUND)
    judgement = judge([unseen])
    assert judgement.conclusion is Conclusion.LOOKED_AT_NOTHING
    assert "Job/shop/migrate" in judgement.message
    assert judge([unseen, SERVICE]).conclusion is Conclusion.DONE


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({"apiVersion": "batch/v1", "kind": "Job", "spec": {"ttlSecondsAfterFinished": 0}}, True),
        ({"apiVersion": "batch/v1", "kind": "Job", "spec": {}}, False),
        ({"apiVersion": "batch/v1", "kind": "Job", "spec": {"ttlSecondsAfterFinished": "0"}}, False),
        ({"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"ttlSecondsAfterFinished": 0}}, False),
        ({"apiVersion": "example.org/v1", "kind": "Job", "spec": {"ttlSecondsAfterFinished": 0}}, False),
    ],
)
def test_which_objects_remove_themselves(obj: dict[str, Any], *, expected: bool) -> None:
    assert expires_when_done(obj) is expected


results = st.sampled_from([CURRENT, IN_PROGRESS, FAILED, UNKNOWN, NOT_FOUND, TERMINATING])
sets = st.lists(st.tuples(results | st.none(), st.booleans(), results | st.none()), max_size=5).map(
    lambda rows: [
        named(f"object-{number}", result, expires=expires, last_seen=last)
        for number, (result, expires, last) in enumerate(rows)
    ]
)


@given(watched=sets, fail_fast=st.booleans(), ending=st.none() | st.sampled_from(Ending))
@settings(max_examples=300, deadline=None)
def test_done_means_that_something_was_seen_and_that_everything_is_current(
    watched: list[Watched], *, fail_fast: bool, ending: Ending | None
) -> None:
    judgement = judge(watched, fail_fast=fail_fast, ending=ending)
    done = judgement.conclusion is Conclusion.DONE
    assert done is (
        any(one.was_seen or not one.expires for one in watched)
        and all(one.state.status is Status.CURRENT for one in watched)
    )
    if not done:
        assert judgement.message
        assert all(str(one.ref) in judgement.message for one in judgement.blocking)
    assert ending is None or judgement.is_over


@given(st.lists(results, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_the_aggregate_does_not_depend_on_the_order(found: list[Result]) -> None:
    assert aggregate(found).status is aggregate(found[::-1]).status
