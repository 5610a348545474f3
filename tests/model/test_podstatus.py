"""Controllers judged by their pods: the cases of fluxcd/cli-utils `pod_controller_test.go`, then selection."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxdrill.model.kstatus import Result, Status, compute
from fluxdrill.model.kstatus_fields import MalformedError
from fluxdrill.model.podstatus import PodStatus, compute_with_pods, select_pods, with_pods

NOW = datetime(2026, 8, 7, 12, 0, tzinfo=UTC)
IN_PROGRESS = Result(Status.IN_PROGRESS, "LessReady", "ready: 0/1")
FAILED = Result(Status.FAILED, "ContainerCrashLooping", "web")
CURRENT = Result(Status.CURRENT)
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}


def pod(phase: str, *conditions: dict[str, str], looping: bool = False, **meta: Any) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": phase, "conditions": list(conditions)}
    if looping:
        waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
        status["containerStatuses"] = [{"name": "web", "state": waiting}]
    meta = {"name": "one", "namespace": "shop", "labels": {"app": "web"}} | meta
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status}


UNSCHEDULABLE_POD = PodStatus(FAILED, pod("Pending", UNSCHEDULABLE))
LOST_POD = PodStatus(FAILED, pod("Failed"))


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        pytest.param([], Status.IN_PROGRESS, id="no pods"),
        pytest.param(
            [PodStatus(CURRENT, pod("Running")), PodStatus(IN_PROGRESS, pod("Pending")), LOST_POD],
            Status.FAILED,
            id="one of the pods has failed",
        ),
        pytest.param([UNSCHEDULABLE_POD], Status.IN_PROGRESS, id="pending unschedulable pod does not cause failure"),
        pytest.param(
            [PodStatus(FAILED, pod("Pending"))],
            Status.FAILED,
            id="pending pod without the unschedulable condition causes failure",
        ),
        pytest.param(
            [PodStatus(FAILED, pod("Running", deletionTimestamp="2026-08-07T11:00:00Z"))],
            Status.IN_PROGRESS,
            id="deleted pod does not cause failure",
        ),
        pytest.param([UNSCHEDULABLE_POD, LOST_POD], Status.FAILED, id="transient and lasting failures cause failure"),
        pytest.param([PodStatus(FAILED, None)], Status.IN_PROGRESS, id="pod without object does not cause failure"),
        pytest.param(
            [PodStatus(FAILED, pod("Running", looping=True))], Status.FAILED, id="crash looping pod causes failure"
        ),
    ],
)
def test_a_controller_in_progress_is_judged_by_its_pods(pods: list[PodStatus], expected: Status) -> None:
    assert with_pods(IN_PROGRESS, pods).status is expected


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.IN_PROGRESS])
def test_a_controller_in_any_other_state_is_not_judged_by_its_pods(status: Status) -> None:
    assert with_pods(Result(status), [LOST_POD]).status is status


def test_the_result_names_what_happened_to_the_pods() -> None:
    result = with_pods(IN_PROGRESS, [LOST_POD, LOST_POD])
    assert result.reason == "PodsFailed"
    assert "2 pods" in result.message
    assert "ContainerCrashLooping" in result.message


def controller(kind: str, **selector: Any) -> dict[str, Any]:
    spec = {"selector": selector or {"matchLabels": {"app": "web"}}}
    meta = {"name": "web", "namespace": "shop", "generation": 1}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec}


LOOPING = pod("Running", looping=True)


@pytest.mark.parametrize("kind", ["StatefulSet", "ReplicaSet"])
def test_flux_calls_a_controller_failed_when_a_selected_pod_is_crash_looping(kind: str) -> None:
    assert compute(controller(kind), now=NOW).status is Status.IN_PROGRESS
    assert compute_with_pods(controller(kind), [LOOPING], now=NOW).status is Status.FAILED
    assert compute_with_pods(controller(kind), [], now=NOW).status is Status.IN_PROGRESS


def test_flux_does_not_look_at_the_pods_of_a_deployment_unless_we_ask_to() -> None:
    deployment = controller("Deployment")
    assert compute_with_pods(deployment, [LOOPING], now=NOW).status is Status.IN_PROGRESS
    assert compute_with_pods(deployment, [LOOPING], now=NOW, judge_deployments=True).status is Status.FAILED


def test_a_daemon_set_is_never_judged_by_its_pods() -> None:
    daemon = controller("DaemonSet")
    assert compute_with_pods(daemon, [LOOPING], now=NOW, judge_deployments=True).status is Status.IN_PROGRESS


def test_a_missing_controller_is_not_found_whatever_pods_there_are() -> None:
    assert compute_with_pods(None, [LOOPING], now=NOW).status is Status.NOT_FOUND


@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(pod("Running", looping=True, namespace="other"), id="other namespace"),
        pytest.param(pod("Running", looping=True, labels={"app": "db"}), id="other label"),
        pytest.param(pod("Running", looping=True, labels=None), id="no labels"),
    ],
)
def test_pods_of_others_are_left_out(stranger: dict[str, Any]) -> None:
    assert compute_with_pods(controller("ReplicaSet"), [stranger], now=NOW).status is Status.IN_PROGRESS


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [
        ("In", ["web", "db"], {"app": "web"}, True),
        ("In", ["db"], {"app": "web"}, False),
        ("In", ["db"], {}, False),
        ("NotIn", ["db"], {"app": "web"}, True),
        ("NotIn", ["web"], {"app": "web"}, False),
        ("NotIn", ["web"], {}, True),
        ("Exists", [], {"app": "web"}, True),
        ("Exists", [], {}, False),
        ("DoesNotExist", [], {}, True),
        ("DoesNotExist", [], {"app": "web"}, False),
    ],
)
def test_label_expressions(operator: str, values: list[str], labels: dict[str, str], *, expected: bool) -> None:
    owner = controller("ReplicaSet", matchExpressions=[{"key": "app", "operator": operator, "values": values}])
    assert bool(select_pods(owner, [pod("Running", labels=labels)])) is expected


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"selector": "app=web"},
        {"selector": {"matchLabels": ["app"]}},
        {"selector": {"matchExpressions": [{"key": "app", "operator": "Like"}]}},
        {"selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": 1}]}},
    ],
)
def test_a_selector_that_cannot_be_read_is_unknown_rather_than_no_pods(spec: dict[str, Any]) -> None:
    owner = controller("ReplicaSet") | {"spec": spec}
    with pytest.raises(MalformedError):
        select_pods(owner, [LOOPING])
    assert compute_with_pods(owner, [LOOPING], now=NOW).status is Status.UNKNOWN


@given(
    results=st.lists(st.builds(Result, st.sampled_from(Status)), max_size=5),
    phase=st.sampled_from(["Running", "Pending", "Failed"]),
)
@settings(max_examples=100, deadline=None)
def test_only_failed_pods_turn_progress_into_failure(results: list[Result], phase: str) -> None:
    judged = with_pods(IN_PROGRESS, [PodStatus(result, pod(phase)) for result in results])
    assert (judged.status is Status.FAILED) is (Status.FAILED in {result.status for result in results})
