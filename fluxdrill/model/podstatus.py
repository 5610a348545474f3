"""The second layer of kstatus: a controller of pods fails as soon as one of its pods has failed.

As in fluxcd/cli-utils 1.2.2 `pkg/kstatus/polling/statusreaders/pod_controller.go`. Flux applies this to
StatefulSets and ReplicaSets only: its reader of Deployments looks at the ReplicaSets but not at their
verdict (`deployment.go`), so that a Deployment with crash looping pods stays InProgress until its
progress deadline. `judge_deployments` applies the layer to Deployments as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fluxdrill.model.conditions import conditions
from fluxdrill.model.kstatus import compute
from fluxdrill.model.kstatus_fields import (
    GroupKind,
    MalformedError,
    Result,
    Status,
    field,
    group_kind,
    items,
    mapping,
    text,
)
from fluxdrill.model.kstatus_kinds import Flavour, failed, is_unschedulable
from fluxdrill.model.refs import KubeObject

JUDGED_BY_PODS: frozenset[GroupKind] = frozenset({("apps", "StatefulSet"), ("apps", "ReplicaSet")})
DEPLOYMENT: GroupKind = ("apps", "Deployment")


@dataclass(frozen=True, slots=True)
class PodStatus:
    """One pod of a controller; `pod` is None where its object can no longer be read."""

    result: Result
    pod: KubeObject | None


def compute_with_pods(
    controller: KubeObject | None,
    pods: Iterable[KubeObject],
    *,
    now: datetime,
    flavour: Flavour = Flavour.FLUX,
    judge_deployments: bool = False,
) -> Result:
    """Return the state of `controller`, given all pods of its namespace (others are left out); never raises.

    For a kind that is not judged by its pods the result is that of `kstatus.compute`.
    """
    result = compute(controller, now=now, flavour=flavour)
    if controller is None or result.status is not Status.IN_PROGRESS:
        return result
    try:
        if not _is_judged(group_kind(controller), judge_deployments=judge_deployments):
            return result
        own = select_pods(controller, pods)
    except MalformedError as error:
        return Result(Status.UNKNOWN, "Malformed", str(error))
    return with_pods(result, (PodStatus(compute(pod, now=now, flavour=flavour), pod) for pod in own))


def _is_judged(kind: GroupKind, *, judge_deployments: bool) -> bool:
    return kind in JUDGED_BY_PODS or (judge_deployments and kind == DEPLOYMENT)


def with_pods(result: Result, pods: Iterable[PodStatus]) -> Result:
    """Return the controller's `result`, or Failed where it is InProgress and a pod has failed for good.

    Not for good: a pod that is being deleted (a rolling update), one that no node takes (an autoscaler
    may help), and one whose object is missing.
    """
    if result.status is not Status.IN_PROGRESS:
        return result
    lost = [one for one in pods if one.result.status is Status.FAILED and not _is_transient(one.pod)]
    if not lost:
        return result
    causes = sorted({str(one.result) for one in lost})
    return failed("PodsFailed", f"{len(lost)} pods have failed: {'; '.join(causes)}")


def _is_transient(pod: KubeObject | None) -> bool:
    if pod is None or field(pod, "metadata.deletionTimestamp"):
        return True
    return group_kind(pod) == ("", "Pod") and any(map(is_unschedulable, conditions(pod)))


def select_pods(controller: KubeObject, pods: Iterable[KubeObject]) -> tuple[KubeObject, ...]:
    """Return the pods in the controller's namespace that its spec.selector selects.

    Raises MalformedError where the selector is missing or cannot be read: without it no pod would be
    looked at, or every pod.
    """
    selector = mapping(field(controller, "spec.selector"), "spec.selector")
    namespace = text(controller, "metadata.namespace")
    return tuple(
        pod for pod in pods if text(pod, "metadata.namespace") == namespace and _selects(selector, _labels(pod))
    )


def _labels(pod: KubeObject) -> Mapping[str, object]:
    return mapping(field(pod, "metadata.labels") or {}, "metadata.labels")


def _selects(selector: Mapping[str, object], labels: Mapping[str, object]) -> bool:
    wanted = mapping(selector.get("matchLabels") or {}, "matchLabels")
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_matches(term, labels) for term in items(selector, "matchExpressions"))


def _matches(term: Mapping[str, object], labels: Mapping[str, object]) -> bool:
    key, values = text(term, "key"), term.get("values") or ()
    if not isinstance(values, list | tuple):
        raise MalformedError("matchExpressions.values", "a list")
    match text(term, "operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise MalformedError("matchExpressions.operator", "an operator of label selectors")
