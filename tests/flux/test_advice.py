"""Advice for states that are hard to bring about, and where two of them meet; suites/remediation/test_explain.py has the rest."""

from __future__ import annotations

from typing import Any

import pytest

from fluxdrill.flux.advice.case import Case, Retries, State
from fluxdrill.flux.advice.pods import trouble
from fluxdrill.flux.advice.rules import advise
from fluxdrill.model.refs import ObjectRef


def said(kind: str, status: str, reason: str, message: str = "as told") -> dict[str, str]:
    """Return a condition."""
    return {"type": kind, "status": status, "reason": reason, "message": message}


def release(*conditions: dict[str, str], generation: int = 2, spec: dict[str, Any] | None = None, **status: Any) -> Any:
    """Return a HelmRelease whose controller has finished with its generation, unless `status` says otherwise."""
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": "web", "namespace": "shop", "generation": generation},
        "spec": {"interval": "5m", **(spec or {})},
        "status": {"observedGeneration": generation, "conditions": list(conditions), **status},
    }


READY = said("Ready", "True", "UpgradeSucceeded")
STALLED = said("Stalled", "True", "RetriesExceeded")
FAILED = said("Ready", "False", "UpgradeFailed", "timed out")


def pod(**status: Any) -> Any:
    """Return a pod."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop"}, "status": status}


def test_a_release_nobody_has_begun_with_blames_the_controller_and_not_its_old_ready() -> None:
    """Ready=True of the generation before says nothing about this one."""
    advice = advise(Case(release(READY, observedGeneration=1)))
    assert advice.state is State.UNSEEN
    assert advice.leaf.name == "helm-controller"


def test_a_release_that_was_stalled_and_then_changed_is_not_called_stalled() -> None:
    """The fix is pushed, and the controller does not run."""
    assert advise(Case(release(STALLED, FAILED, observedGeneration=1))).state is State.UNSEEN


def test_without_a_rollback_target_a_reset_is_not_what_is_named() -> None:
    """It would start an attempt that again has nothing to go back to."""
    missing = said("Stalled", "True", "MissingRollbackTarget")
    advice = advise(Case(release(missing, FAILED)))
    assert (advice.state, advice.retries) == (State.NO_ROLLBACK_TARGET, Retries.NOT_BY_ITSELF)
    assert "--reset" not in advice.do


def test_a_deleted_release_is_being_uninstalled_whatever_else_it_says() -> None:
    """Also where it is suspended: then its finalizer goes and nothing is uninstalled, at once."""
    obj = release(STALLED, FAILED)
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert advise(Case(obj)).state is State.DELETING


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"failures": 1}, State.UNCOUNTED),
        ({"failures": 1, "upgradeFailures": 1}, State.REMEDIATING),
    ],
    ids=["nothing in Helm's storage", "counted"],
)
def test_what_is_not_counted_is_tried_without_end(status: dict[str, int], state: State) -> None:
    """Only failures that Helm has recorded use up retries (flux.md 4.2.6)."""
    retrying = said("Reconciling", "True", "ProgressingWithRetry")
    obj = release(retrying, FAILED, spec={"upgrade": {"remediation": {"retries": 3}}}, lastAttemptedReleaseAction="upgrade", **status)  # fmt: skip
    assert advise(Case(obj)).state is state


def test_attempts_left_are_counted_down() -> None:
    """Three retries are four attempts."""
    retrying = said("Reconciling", "True", "ProgressingWithRetry")
    spec = {"upgrade": {"remediation": {"retries": 3}}}
    obj = release(retrying, FAILED, spec=spec, lastAttemptedReleaseAction="upgrade", failures=1, upgradeFailures=1)
    assert "3 more of 4 attempts" in advise(Case(obj)).then


def test_a_dependency_that_is_ready_and_not_enough_is_told_in_the_controllers_words() -> None:
    """A readyExpr can hold a release up although what it depends on is Ready."""
    waiting = said("Ready", "False", "DependencyNotReady", "'shop/db' is not ready according to readyExpr eval")
    other = release(READY)
    ref = ObjectRef("helm.toolkit.fluxcd.io", "HelmRelease", "shop", "db")
    advice = advise(Case(release(waiting), dependencies={ref: other}))
    assert advice.state is State.DEPENDENCY
    assert "readyExpr" in advice.says
    assert "explain hr shop/web" not in advice.do, "it would send its reader round in a circle"


def test_a_reason_that_is_not_known_is_told_and_never_called_ready() -> None:
    """A newer controller may say what this one does not."""
    advice = advise(Case(release(said("Ready", "False", "SomethingNew"))))
    assert advice.state is State.FAILED
    assert "SomethingNew" in advice.says


def test_a_release_without_any_condition_is_not_called_ready() -> None:
    """A controller that has written a generation and nothing else has not said that it is well."""
    assert advise(Case(release())).state is not State.READY


def test_ready_with_a_pod_that_crashes_is_not_all_well() -> None:
    """helm-controller does not look at pods between two actions."""
    crashing = pod(containerStatuses=[{"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}])
    advice = advise(Case(release(READY), pods=(crashing,)))
    assert (advice.state, advice.leaf) == (State.NOT_SERVING, ObjectRef("", "Pod", "shop", "web-1"))


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}]}, "ImagePull"),
        ({"containerStatuses": [{"state": {"terminated": {"reason": "Error", "exitCode": 3}}}]}, "exit code 3"),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}, "OOMKilled"),
        ({"conditions": [said("PodScheduled", "False", "Unschedulable", "Insufficient gpu")]}, "Insufficient gpu"),
        ({"phase": "Running", "conditions": [said("Ready", "False", "ContainersNotReady")]}, "not ready (Running)"),
        ({"initContainerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}, "ErrImagePull"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pod_is_told_in_the_kubelets_words(status: dict[str, Any], why: str) -> None:
    """The reason that a person would look for."""
    found = trouble([pod(**status)])
    assert found is not None
    assert why in found[1]


def test_pods_that_serve_have_completed_or_go_away_are_no_trouble() -> None:
    """Negative control of trouble."""
    going = pod(phase="Running")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    serving = pod(phase="Running", conditions=[said("Ready", "True", "")])
    assert trouble([serving, pod(phase="Succeeded"), going]) is None
