"""The kstatus rules of single kinds, as in fluxcd/cli-utils 1.2.2 `pkg/kstatus/status/core.go`.

The rule of Job in Flux comes from fluxcd/pkg runtime 0.110 `statusreaders/job.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fluxdrill.model.conditions import Condition, ConditionStatus, parse_time
from fluxdrill.model.kstatus_fields import (
    GroupKind,
    MalformedError,
    Result,
    Status,
    checked_conditions,
    field,
    integer,
    items,
    mapping,
    optional_integer,
    text,
)
from fluxdrill.model.refs import KubeObject

SCHEDULE_WINDOW = timedelta(seconds=15)
"""How long a pod may be unschedulable before that is a failure."""

NO_DEADLINE = 2**31 - 1
"""progressDeadlineSeconds with which the Deployment controller never reports progress."""


class Flavour(StrEnum):
    """Whose rules apply: the kstatus library's, or Flux's, which waits until a Job has ended."""

    LIBRARY = "library"
    FLUX = "flux"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a rule needs besides the object."""

    now: datetime
    flavour: Flavour = Flavour.FLUX
    late_binding_classes: Collection[str] = ()


Rule = Callable[[KubeObject, Rules], Result]
Step = tuple[bool, str, str]


def current(message: str, reason: str = "") -> Result:
    """Return a Current result."""
    return Result(Status.CURRENT, reason, message)


def in_progress(reason: str, message: str) -> Result:
    """Return an InProgress result."""
    return Result(Status.IN_PROGRESS, reason, message)


def failed(reason: str, message: str) -> Result:
    """Return a Failed result."""
    return Result(Status.FAILED, reason, message)


def _first_of(steps: tuple[Step, ...], otherwise: Result) -> Result:
    """Return the first step that applies as InProgress, or `otherwise`."""
    return next((in_progress(reason, message) for applies, reason, message in steps if applies), otherwise)


def _always_current(_obj: KubeObject, _rules: Rules) -> Result:
    return current("always current")


def _service(obj: KubeObject, _rules: Rules) -> Result:
    if text(obj, "spec.type") == "LoadBalancer" and not text(obj, "spec.clusterIP"):
        return in_progress("NoIPAssigned", "a LoadBalancer without a cluster IP")
    return current("the Service is ready")


def _claim(obj: KubeObject, rules: Rules) -> Result:
    phase = text(obj, "status.phase", "unknown")
    if phase == "Bound":
        return current("the claim is bound")
    if phase == "Pending" and _waits_for_a_pod(obj, rules):
        return current("the claim waits for its first pod", "WaitForFirstConsumer")
    return in_progress("NotBound", f"phase: {phase}")


def _waits_for_a_pod(obj: KubeObject, rules: Rules) -> bool:
    """Tell whether nothing binds the claim yet: once the scheduler has chosen a node, binding is due."""
    annotations = mapping(field(obj, "metadata.annotations") or {}, "metadata.annotations")
    late = text(obj, "spec.storageClassName") in rules.late_binding_classes
    return late and "volume.kubernetes.io/selected-node" not in annotations


def _pod(obj: KubeObject, rules: Rules) -> Result:
    found, phase = checked_conditions(obj), text(obj, "status.phase")
    match phase:
        case "Succeeded":
            return current("the pod has completed")
        case "Failed":
            return current("the pod has completed, but not successfully")
        case "Running":
            return _running_pod(obj, found)
        case "Pending":
            return _pending_pod(obj, found, rules)
        case "":
            return in_progress("PodNotObserved", "no phase yet")
    return Result(Status.UNKNOWN, "UnknownPhase", f"phase: {phase}")


def _running_pod(obj: KubeObject, found: tuple[Condition, ...]) -> Result:
    if any(one.type == "Ready" and one.status is ConditionStatus.TRUE for one in found):
        return current("the pod is ready")
    looping = [
        text(container, "name")
        for container in items(obj, "status.containerStatuses")
        if text(container, "state.waiting.reason") == "CrashLoopBackOff"
    ]
    if looping:
        return failed("ContainerCrashLooping", f"containers in CrashLoopBackOff: {', '.join(looping)}")
    return in_progress("PodRunningNotReady", "the pod runs but is not ready")


def _pending_pod(obj: KubeObject, found: tuple[Condition, ...], rules: Rules) -> Result:
    if not any(map(is_unschedulable, found)):
        return in_progress("PodPending", "the pod is pending")
    created = text(obj, "metadata.creationTimestamp")
    since = parse_time(created)
    if created and since is None:
        raise MalformedError("metadata.creationTimestamp", "a time")
    if since is not None and since > rules.now - SCHEDULE_WINDOW:
        return in_progress("PodNotScheduled", "the pod has not been scheduled yet")
    return failed("PodUnschedulable", "the pod cannot be scheduled")


def is_unschedulable(one: Condition) -> bool:
    """Tell whether the condition says that no node takes the pod."""
    return (one.type, one.status, one.reason) == ("PodScheduled", ConditionStatus.FALSE, "Unschedulable")


def _deployment(obj: KubeObject, _rules: Rules) -> Result:
    found = checked_conditions(obj)
    if any(one.type == "Progressing" and one.reason == "ProgressDeadlineExceeded" for one in found):
        return failed("ProgressDeadlineExceeded", "the progress deadline is exceeded")
    without_deadline = integer(obj, "spec.progressDeadlineSeconds", NO_DEADLINE) == NO_DEADLINE
    rolled_out = without_deadline or any(
        (one.type, one.status, one.reason) == ("Progressing", ConditionStatus.TRUE, "NewReplicaSetAvailable")
        for one in found
    )
    available = any((one.type, one.status) == ("Available", ConditionStatus.TRUE) for one in found)
    wanted, have = integer(obj, "spec.replicas", 1), integer(obj, "status.replicas")
    updated, ready = integer(obj, "status.updatedReplicas"), integer(obj, "status.readyReplicas")
    serving = integer(obj, "status.availableReplicas")
    steps = (
        (wanted > have, "LessReplicas", f"replicas: {have}/{wanted}"),
        (wanted > updated, "LessUpdated", f"updated: {updated}/{wanted}"),
        (have > wanted, "ExtraPods", f"pods to end: {have - wanted}"),
        (updated > serving, "LessAvailable", f"available: {serving}/{updated}"),
        (wanted > ready, "LessReady", f"ready: {ready}/{wanted}"),
        (not rolled_out, "ReplicaSetNotAvailable", "the new ReplicaSet is not available"),
        (not available, "DeploymentNotAvailable", "the Deployment is not available"),
    )
    return _first_of(steps, current(f"the Deployment is available, replicas: {have}"))


def _stateful_set(obj: KubeObject, _rules: Rules) -> Result:
    if text(obj, "spec.updateStrategy.type") == "OnDelete":
        return current("the update strategy is OnDelete")
    wanted, have = integer(obj, "spec.replicas", 1), integer(obj, "status.replicas")
    ready, at_current = integer(obj, "status.readyReplicas"), integer(obj, "status.currentReplicas")
    updated = integer(obj, "status.updatedReplicas")
    scaled = (
        (wanted > have, "LessReplicas", f"replicas: {have}/{wanted}"),
        (wanted > ready, "LessReady", f"ready: {ready}/{wanted}"),
        (have > wanted, "ExtraPods", f"pods to end: {have - wanted}"),
    )
    partition = optional_integer(obj, "spec.updateStrategy.rollingUpdate.partition")
    # kstatus reads -1 as "no partition".
    if partition is not None and partition != -1:
        due = wanted - partition
        rollout = (updated < due, "PartitionRollout", f"updated: {updated}/{due}")
        return _first_of((*scaled, rollout), current(f"the partition is rolled out, updated: {updated}"))
    same = text(obj, "status.currentRevision") == text(obj, "status.updateRevision")
    rest = (
        (wanted > at_current, "LessCurrent", f"at the current revision: {at_current}/{wanted}"),
        (not same, "RevisionMismatch", "the update revision is not the current one yet"),
    )
    return _first_of((*scaled, *rest), current(f"all replicas run, replicas: {have}"))


def _daemon_set(obj: KubeObject, _rules: Rules) -> Result:
    desired = optional_integer(obj, "status.desiredNumberScheduled")
    missing = (
        (optional_integer(obj, "metadata.generation") is None, "NoGeneration", "no metadata.generation"),
        (optional_integer(obj, "status.observedGeneration") is None, "NoObservedGeneration", "not observed yet"),
        # kstatus reads -1 as "absent".
        (desired is None or desired == -1, "NoDesiredNumber", "no desired number of pods yet"),
    )
    wanted = desired or 0
    scheduled, updated = integer(obj, "status.currentNumberScheduled"), integer(obj, "status.updatedNumberScheduled")
    serving, ready = integer(obj, "status.numberAvailable"), integer(obj, "status.numberReady")
    steps = (
        (wanted > scheduled, "LessCurrent", f"scheduled: {scheduled}/{wanted}"),
        (wanted > updated, "LessUpdated", f"updated: {updated}/{wanted}"),
        (wanted > serving, "LessAvailable", f"available: {serving}/{wanted}"),
        (wanted > ready, "LessReady", f"ready: {ready}/{wanted}"),
    )
    return _first_of((*missing, *steps), current(f"all pods run, pods: {wanted}"))


def _replica_set(obj: KubeObject, _rules: Rules) -> Result:
    refused = any((one.type, one.status) == ("ReplicaFailure", ConditionStatus.TRUE) for one in checked_conditions(obj))
    wanted, have = integer(obj, "spec.replicas", 1), integer(obj, "status.replicas")
    labelled, ready = integer(obj, "status.fullyLabeledReplicas"), integer(obj, "status.readyReplicas")
    serving = integer(obj, "status.availableReplicas")
    steps = (
        (refused, "ReplicaFailure", "pods cannot be created or deleted"),
        (wanted > labelled, "LessLabelled", f"labelled: {labelled}/{wanted}"),
        (wanted > serving, "LessAvailable", f"available: {serving}/{wanted}"),
        (wanted > ready, "LessReady", f"ready: {ready}/{wanted}"),
        (have > wanted, "ExtraPods", f"pods to end: {have - wanted}"),
    )
    return _first_of(steps, current(f"the ReplicaSet is available, replicas: {have}"))


def _job(obj: KubeObject, rules: Rules) -> Result:
    flux = rules.flavour is Flavour.FLUX
    if flux and field(obj, "spec.suspend") is True:
        return current("the Job is suspended")
    wanted = integer(obj, "spec.completions", integer(obj, "spec.parallelism", 1))
    succeeded, lost = integer(obj, "status.succeeded"), integer(obj, "status.failed")
    for one in checked_conditions(obj):
        if one.status is ConditionStatus.TRUE and one.type == "Complete":
            return current(f"the Job is complete, succeeded: {succeeded}/{wanted}")
        if one.status is ConditionStatus.TRUE and one.type == "Failed":
            return failed("JobFailed", f"the Job has failed, failed: {lost}/{wanted}")
    if not text(obj, "status.startTime"):
        return in_progress("JobNotStarted", "the Job has not started")
    running = f"the Job runs, succeeded: {succeeded}, active: {integer(obj, 'status.active')}, failed: {lost}"
    return in_progress("JobInProgress", running) if flux else current(running)


def _definition(obj: KubeObject, _rules: Rules) -> Result:
    for one in checked_conditions(obj):
        refused = one.status is ConditionStatus.FALSE
        if one.type == "NamesAccepted" and refused:
            return failed(one.reason, one.message)
        if one.type == "Established" and refused and one.reason != "Installing":
            return failed(one.reason, one.message)
        if one.type == "Established" and one.status is ConditionStatus.TRUE:
            return current("the kind is established")
    return in_progress("Installing", "the kind is not established yet")


KIND_RULES: Mapping[GroupKind, Rule] = {
    ("", "ConfigMap"): _always_current,
    ("", "Secret"): _always_current,
    ("", "Service"): _service,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("batch", "CronJob"): _always_current,
    ("batch", "Job"): _job,
    # The generation check before the rules did all there is to do.
    ("policy", "PodDisruptionBudget"): _always_current,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("apps", "StatefulSet"): _stateful_set,
    **{(group, "DaemonSet"): _daemon_set for group in ("apps", "extensions")},
    **{(group, "Deployment"): _deployment for group in ("apps", "extensions")},
    **{(group, "ReplicaSet"): _replica_set for group in ("apps", "extensions")},
}
"""The kinds with a rule of their own; the version is ignored."""
