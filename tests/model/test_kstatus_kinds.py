"""The rules of single kinds: the acceptance cases of fluxcd/cli-utils `status_compute_test.go`, and each rule's other side."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from fluxdrill.model.kstatus import Flavour, Status, compute

NOW = datetime(2026, 8, 7, 12, 0, tzinfo=UTC)

KINDS = {
    "Pod": "v1",
    "PersistentVolumeClaim": "v1",
    "Service": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
}


def of_kind(kind: str, body: str = "") -> dict[str, Any]:
    """One object of `kind`, generation 1 unless `body` (YAML) says otherwise."""
    given = yaml.safe_load(body) or {}
    meta = {"name": "one", "namespace": "shop", "generation": 1} | given.pop("metadata", {})
    return {"apiVersion": KINDS[kind], "kind": kind, "metadata": meta} | given


def check(kind: str, body: str, expected: str, *, flavour: Flavour = Flavour.FLUX) -> None:
    result = compute(of_kind(kind, body), now=NOW, flavour=flavour)
    assert f"{result.status}/{result.reason}".rstrip("/") == expected, result


CREATED_JUST_NOW = (NOW - timedelta(seconds=14)).isoformat()
CREATED_LONG_AGO = (NOW - timedelta(seconds=15)).isoformat()
UNSCHEDULABLE = "{phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable}]}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("", "InProgress/PodNotObserved", id="NoStatus"),
        pytest.param(
            "status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}",
            "Current",
            id="Ready",
        ),
        pytest.param(
            "status: {phase: Succeeded, conditions: [{type: Ready, status: 'False', reason: PodCompleted}]}",
            "Current",
            id="CompletedSuccessfully",
        ),
        pytest.param(
            "status: {phase: Failed, conditions: [{type: Ready, status: 'False', reason: PodCompleted}]}",
            "Current",
            id="CompletedFailed",
        ),
        pytest.param(
            f"{{metadata: {{creationTimestamp: '{CREATED_JUST_NOW}'}}, status: {UNSCHEDULABLE}}}",
            "InProgress/PodNotScheduled",
            id="BeingScheduled",
        ),
        pytest.param(
            f"{{metadata: {{creationTimestamp: '{CREATED_LONG_AGO}'}}, status: {UNSCHEDULABLE}}}",
            "Failed/PodUnschedulable",
            id="Unschedulable",
        ),
        pytest.param(f"status: {UNSCHEDULABLE}", "Failed/PodUnschedulable", id="UnschedulableOfUnknownAge"),
        pytest.param(
            """
            status:
              phase: Running
              containerStatuses:
              - {name: web, state: {waiting: {reason: CrashLoopBackOff}}}
              - {name: log, state: {running: {}}}
            """,
            "Failed/ContainerCrashLooping",
            id="CrashLooping",
        ),
        pytest.param(
            """
            status:
              phase: Running
              conditions: [{type: Ready, status: 'True'}]
              containerStatuses: [{name: web, state: {waiting: {reason: CrashLoopBackOff}}}]
            """,
            "Current",
            id="ReadyGoesBeforeCrashLooping",
        ),
        pytest.param(
            """
            status:
              phase: Running
              initContainerStatuses: [{name: init, state: {waiting: {reason: CrashLoopBackOff}}}]
            """,
            "InProgress/PodRunningNotReady",
            id="InitContainersAreNotLookedAt",
        ),
        pytest.param(
            "status: {phase: Running, containerStatuses: [{name: web, state: {waiting: {reason: ImagePullBackOff}}}]}",
            "InProgress/PodRunningNotReady",
            id="RunningNotReady",
        ),
        pytest.param("status: {phase: Pending}", "InProgress/PodPending", id="Pending"),
        pytest.param("status: {phase: Unknown}", "Unknown/UnknownPhase", id="OtherPhase"),
        pytest.param(
            f"{{metadata: {{creationTimestamp: yesterday}}, status: {UNSCHEDULABLE}}}",
            "Unknown/Malformed",
            id="UnreadableAge",
        ),
        pytest.param("status: {phase: Running, containerStatuses: {}}", "Unknown/Malformed", id="ContainersNoList"),
    ],
)
def test_pod(body: str, expected: str) -> None:
    check("Pod", body, expected)


def test_a_crash_looping_pod_names_its_containers() -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    states = [{"name": "web", "state": waiting}, {"name": "log", "state": {"running": {}}}]
    pod = of_kind("Pod") | {"status": {"phase": "Running", "containerStatuses": states}}
    message = compute(pod, now=NOW).message
    assert "web" in message
    assert "log" not in message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("", "InProgress/NotBound", id="NoStatus"),
        pytest.param("status: {phase: Bound}", "Current", id="Bound"),
        pytest.param("status: {phase: Pending}", "InProgress/NotBound", id="Pending"),
        pytest.param("status: {phase: 3}", "Unknown/Malformed", id="PhaseNoText"),
    ],
)
def test_persistent_volume_claim(body: str, expected: str) -> None:
    check("PersistentVolumeClaim", body, expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("spec: {storageClassName: late}", "InProgress", id="not yet observed"),
        pytest.param("{spec: {storageClassName: late}, status: {phase: Pending}}", "Current", id="no pod yet"),
        pytest.param("{spec: {storageClassName: fast}, status: {phase: Pending}}", "InProgress", id="other class"),
        pytest.param("status: {phase: Pending}", "InProgress", id="no class"),
        pytest.param("{spec: {storageClassName: late}, status: {phase: Lost}}", "InProgress", id="lost"),
        pytest.param(
            """
            metadata: {annotations: {volume.kubernetes.io/selected-node: node-1}}
            spec: {storageClassName: late}
            status: {phase: Pending}
            """,
            "InProgress",
            id="a pod was scheduled",
        ),
    ],
)
def test_a_claim_of_a_late_binding_class_is_current_until_a_pod_needs_it(body: str, expected: str) -> None:
    claim = of_kind("PersistentVolumeClaim", body)
    assert compute(claim, now=NOW, late_binding_classes={"late"}).status == expected
    assert compute(claim, now=NOW).status is Status.IN_PROGRESS


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("", "InProgress/LessReplicas", id="NoStatus"),
        pytest.param("status: {observedGeneration: 1, currentReplicas: 1}", "InProgress/LessReplicas", id="BadStatus"),
        pytest.param(
            "{spec: {replicas: 4}, status: {replicas: 4, readyReplicas: 4, currentReplicas: 4, updatedReplicas: 4}}",
            "Current",
            id="OK",
        ),
        pytest.param(
            "{spec: {replicas: 4}, status: {replicas: 4, readyReplicas: 2, currentReplicas: 4}}",
            "InProgress/LessReady",
            id="LessReady",
        ),
        pytest.param(
            "{spec: {replicas: 4}, status: {replicas: 4, readyReplicas: 4, currentReplicas: 2}}",
            "InProgress/LessCurrent",
            id="LessCurrent",
        ),
        pytest.param(
            "{spec: {replicas: 4}, status: {replicas: 8, readyReplicas: 4, currentReplicas: 4}}",
            "InProgress/ExtraPods",
            id="ExtraPods",
        ),
        pytest.param("spec: {updateStrategy: {type: OnDelete}}", "Current", id="OnDelete"),
        pytest.param(
            """
            spec: {replicas: 4, updateStrategy: {rollingUpdate: {partition: 2}}}
            status: {replicas: 4, readyReplicas: 4, updatedReplicas: 1}
            """,
            "InProgress/PartitionRollout",
            id="PartitionRollout",
        ),
        pytest.param(
            """
            spec: {replicas: 4, updateStrategy: {rollingUpdate: {partition: 2}}}
            status: {replicas: 4, readyReplicas: 4, updatedReplicas: 2, currentRevision: a, updateRevision: b}
            """,
            "Current",
            id="PartitionDone",
        ),
        pytest.param(
            "status: {replicas: 1, readyReplicas: 1, currentReplicas: 1, currentRevision: a, updateRevision: b}",
            "InProgress/RevisionMismatch",
            id="RevisionMismatch",
        ),
        pytest.param("spec: {replicas: '4'}", "Unknown/Malformed", id="ReplicasNoInteger"),
    ],
)
def test_stateful_set(body: str, expected: str) -> None:
    check("StatefulSet", body, expected)


DAEMON_OK = "desiredNumberScheduled: 4, currentNumberScheduled: 4, updatedNumberScheduled: 4, numberAvailable: 4"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("", "InProgress/NoObservedGeneration", id="NoStatus"),
        pytest.param("metadata: {generation: null}", "InProgress/NoGeneration", id="NoGeneration"),
        pytest.param(
            "status: {observedGeneration: 1, currentNumberScheduled: 1}", "InProgress/NoDesiredNumber", id="BadStatus"
        ),
        pytest.param(f"status: {{observedGeneration: 1, {DAEMON_OK}, numberReady: 4}}", "Current", id="OK"),
        pytest.param(
            f"status: {{observedGeneration: 1, {DAEMON_OK}, numberReady: 2}}", "InProgress/LessReady", id="LessReady"
        ),
        pytest.param(
            f"{{metadata: {{generation: 2}}, status: {{observedGeneration: 1, {DAEMON_OK}, numberReady: 4}}}}",
            "InProgress/LatestGenerationNotObserved",
            id="DifferentGeneration",
        ),
        pytest.param(
            """
            status: {observedGeneration: 1, desiredNumberScheduled: 4, currentNumberScheduled: 4,
                     updatedNumberScheduled: 4, numberAvailable: 2, numberReady: 4}
            """,
            "InProgress/LessAvailable",
            id="LessAvailable",
        ),
        pytest.param(
            "status: {observedGeneration: 1, desiredNumberScheduled: 4, currentNumberScheduled: 3}",
            "InProgress/LessCurrent",
            id="LessCurrent",
        ),
        pytest.param(
            """
            status: {observedGeneration: 1, desiredNumberScheduled: 4, currentNumberScheduled: 4,
                     updatedNumberScheduled: 3}
            """,
            "InProgress/LessUpdated",
            id="LessUpdated",
        ),
        pytest.param("status: {observedGeneration: 1, desiredNumberScheduled: 0}", "Current", id="NoNodeMatches"),
        pytest.param("status: {observedGeneration: 1.0}", "Unknown/Malformed", id="GenerationNoInteger"),
    ],
)
def test_daemon_set(body: str, expected: str) -> None:
    check("DaemonSet", body, expected)


ROLLED_OUT = "{type: Progressing, status: 'True', reason: NewReplicaSetAvailable}"
AVAILABLE = "{type: Available, status: 'True'}"
ONE_OF_EACH = "replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("", "InProgress/LessReplicas", id="NoStatus"),
        pytest.param(
            f"""
            spec: {{progressDeadlineSeconds: 45}}
            status: {{{ONE_OF_EACH}, conditions: [{ROLLED_OUT}, {AVAILABLE}]}}
            """,
            "Current",
            id="OK",
        ),
        pytest.param(
            f"""
            spec: {{progressDeadlineSeconds: 45}}
            status:
              {{{ONE_OF_EACH}, conditions: [{{type: Progressing, status: 'False', reason: Some}}, {AVAILABLE}]}}
            """,
            "InProgress/ReplicaSetNotAvailable",
            id="NotProgressing",
        ),
        pytest.param(
            f"status: {{{ONE_OF_EACH}, conditions: [{AVAILABLE}]}}", "Current", id="NoProgressDeadlineSeconds"
        ),
        pytest.param(
            f"""
            spec: {{progressDeadlineSeconds: {2**31 - 1}}}
            status: {{{ONE_OF_EACH}, conditions: [{AVAILABLE}]}}
            """,
            "Current",
            id="EndlessProgressDeadline",
        ),
        pytest.param(
            f"""
            spec: {{progressDeadlineSeconds: 45}}
            status: {{{ONE_OF_EACH}, conditions: [{ROLLED_OUT}, {{type: Available, status: 'False'}}]}}
            """,
            "InProgress/DeploymentNotAvailable",
            id="NotAvailable",
        ),
        pytest.param(
            "status: {conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}",
            "Failed/ProgressDeadlineExceeded",
            id="DeadlineExceeded",
        ),
        pytest.param("status: {replicas: 1}", "InProgress/LessUpdated", id="LessUpdated"),
        pytest.param("status: {replicas: 2, updatedReplicas: 1}", "InProgress/ExtraPods", id="ExtraPods"),
        pytest.param("status: {replicas: 1, updatedReplicas: 1}", "InProgress/LessAvailable", id="LessAvailable"),
        pytest.param(
            "status: {replicas: 1, updatedReplicas: 1, availableReplicas: 1}", "InProgress/LessReady", id="LessReady"
        ),
        pytest.param(
            f"{{spec: {{replicas: 0}}, status: {{conditions: [{AVAILABLE}]}}}}", "Current", id="ScaledToNothing"
        ),
        pytest.param("status: {replicas: true}", "Unknown/Malformed", id="ReplicasNoInteger"),
        pytest.param("status: {conditions: {type: Available}}", "Unknown/Malformed", id="ConditionsNoList"),
        pytest.param("status: 1", "Unknown/Malformed", id="StatusNoObject"),
        pytest.param("status: null", "InProgress/LessReplicas", id="StatusNull"),
    ],
)
def test_deployment(body: str, expected: str) -> None:
    check("Deployment", body, expected)


LABELLED = "replicas: 2, fullyLabeledReplicas: 2"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("", "InProgress/LessLabelled", id="NoStatus"),
        pytest.param(
            "status: {replicas: 1, fullyLabeledReplicas: 1, availableReplicas: 1, readyReplicas: 1}",
            "Current",
            id="OK1",
        ),
        pytest.param(
            f"""
            spec: {{replicas: 2}}
            status: {{{LABELLED}, availableReplicas: 2, readyReplicas: 2,
                      conditions: [{{type: ReplicaFailure, status: 'False'}}]}}
            """,
            "Current",
            id="OK2",
        ),
        pytest.param(
            f"{{spec: {{replicas: 2}}, status: {{{LABELLED}, availableReplicas: 1, readyReplicas: 2}}}}",
            "InProgress/LessAvailable",
            id="LessAvailable",
        ),
        pytest.param(
            f"{{spec: {{replicas: 2}}, status: {{{LABELLED}, availableReplicas: 2, readyReplicas: 1}}}}",
            "InProgress/LessReady",
            id="LessReady",
        ),
        pytest.param(
            f"""
            spec: {{replicas: 2}}
            status: {{{LABELLED}, availableReplicas: 2, readyReplicas: 2,
                      conditions: [{{type: ReplicaFailure, status: 'True'}}]}}
            """,
            "InProgress/ReplicaFailure",
            id="ReplicaFailure",
        ),
        pytest.param(
            "status: {replicas: 2, fullyLabeledReplicas: 1, availableReplicas: 1, readyReplicas: 1}",
            "InProgress/ExtraPods",
            id="ExtraPods",
        ),
    ],
)
def test_replica_set(body: str, expected: str) -> None:
    check("ReplicaSet", body, expected)


@pytest.mark.parametrize("kind", ["DaemonSet", "Deployment", "ReplicaSet"])
def test_the_extensions_group_has_the_rules_of_apps(kind: str) -> None:
    new, old = of_kind(kind), of_kind(kind) | {"apiVersion": "extensions/v1beta1"}
    assert compute(old, now=NOW) == compute(new, now=NOW)
    assert compute(old, now=NOW).status is Status.IN_PROGRESS


def test_a_kind_of_another_group_has_no_rule() -> None:
    assert compute(of_kind("Deployment") | {"apiVersion": "example.org/v1"}, now=NOW).status is Status.CURRENT


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            "{metadata: {generation: 2}, status: {observedGeneration: 1}}",
            "InProgress/LatestGenerationNotObserved",
            id="NotObserved",
        ),
        pytest.param("{metadata: {generation: 2}, status: {observedGeneration: 2}}", "Current", id="Observed"),
    ],
)
def test_pod_disruption_budget(body: str, expected: str) -> None:
    check("PodDisruptionBudget", body, expected)


RUNNING_JOB = (
    "{spec: {completions: 4}, status: {succeeded: 1, failed: 1, active: 2, startTime: '2026-08-07T11:00:00Z'}}"
)
JOB_CASES = [
    pytest.param("", "InProgress/JobNotStarted", "InProgress/JobNotStarted", id="NoStatus"),
    pytest.param(
        "status: {succeeded: 1, startTime: x, conditions: [{type: Complete, status: 'True'}]}",
        "Current",
        "Current",
        id="Complete",
    ),
    pytest.param(
        "status: {failed: 1, startTime: x, conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded}]}",
        "Failed/JobFailed",
        "Failed/JobFailed",
        id="Failed",
    ),
    pytest.param(RUNNING_JOB, "Current", "InProgress/JobInProgress", id="InProgress"),
    pytest.param("spec: {suspend: true}", "InProgress/JobNotStarted", "Current", id="Suspended"),
    pytest.param("spec: {suspend: false}", "InProgress/JobNotStarted", "InProgress/JobNotStarted", id="NotSuspended"),
    pytest.param("status: {startTime: 5}", "Unknown/Malformed", "Unknown/Malformed", id="StartTimeNoText"),
    pytest.param("status: {conditions: [Complete]}", "Unknown/Malformed", "Unknown/Malformed", id="ConditionNoObject"),
]


@pytest.mark.parametrize(("body", "library", "flux"), JOB_CASES)
def test_job_in_both_flavours(body: str, library: str, flux: str) -> None:
    check("Job", body, library, flavour=Flavour.LIBRARY)
    check("Job", body, flux, flavour=Flavour.FLUX)


@pytest.mark.parametrize("body", ["", "status: {lastScheduleTime: '2026-08-07T11:00:00Z'}"], ids=["NoStatus", "Status"])
def test_cron_job_is_current(body: str) -> None:
    check("CronJob", body, "Current")


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_plain_data_is_current(kind: str) -> None:
    check(kind, "", "Current")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("", "Current", id="Default"),
        pytest.param("spec: {type: NodePort}", "Current", id="NodePort"),
        pytest.param("spec: {type: LoadBalancer, clusterIP: 10.0.0.1}", "Current", id="LB-ok"),
        pytest.param("spec: {type: LoadBalancer}", "InProgress/NoIPAssigned", id="LB-nok"),
        pytest.param("spec: [LoadBalancer]", "Unknown/Malformed", id="SpecNoObject"),
    ],
)
def test_service(body: str, expected: str) -> None:
    check("Service", body, expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("", "InProgress/Installing", id="NoConditions"),
        pytest.param(
            """
            status:
              conditions:
              - {type: NamesAccepted, status: 'True', reason: NoConflicts}
              - {type: Established, status: 'False', reason: Installing}
            """,
            "InProgress/Installing",
            id="Installing",
        ),
        pytest.param(
            "status: {conditions: [{type: NamesAccepted, status: 'False', reason: PluralConflict}]}",
            "Failed/PluralConflict",
            id="NamesNotAccepted",
        ),
        pytest.param(
            "status: {conditions: [{type: Established, status: 'False', reason: NotAccepted}]}",
            "Failed/NotAccepted",
            id="NotEstablished",
        ),
        pytest.param(
            """
            status:
              conditions:
              - {type: NamesAccepted, status: 'True', reason: NoConflicts}
              - {type: Established, status: 'True', reason: InitialNamesAccepted}
            """,
            "Current",
            id="Established",
        ),
    ],
)
def test_custom_resource_definition(body: str, expected: str) -> None:
    check("CustomResourceDefinition", body, expected)
