"""kstatus beyond single kinds: what holds for every object, the strict variant, and the readiness of the flux command."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxdrill.model.kstatus import (
    REQUIRED_CONDITIONS,
    Flavour,
    Result,
    Status,
    compute,
    compute_strict,
    flux_readiness,
    flux_ready,
    is_static,
    kinds_showing_ready,
)
from fluxdrill.model.kstatus_kinds import KIND_RULES

NOW = datetime(2026, 8, 7, 12, 0, tzinfo=UTC)
READY = {"type": "Ready", "status": "True", "reason": "Succeeded"}
NOT_READY = {"type": "Ready", "status": "False", "reason": "BuildFailed", "message": "no such file"}


def resource(status: Any = None, *, kind: str = "Widget", group: str = "example.org", **spec: Any) -> dict[str, Any]:
    obj: dict[str, Any] = {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "one", "generation": 1}}
    return obj | ({"spec": spec} if spec else {}) | ({} if status is None else {"status": status})


def kustomization(status: Any = None) -> dict[str, Any]:
    return resource(status, kind="Kustomization", group="kustomize.toolkit.fluxcd.io")


def state(result: Result) -> str:
    return f"{result.status}/{result.reason}".rstrip("/")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(None, "Current", id="NoStatus"),
        pytest.param({"conditions": [READY]}, "Current", id="Ready"),
        pytest.param({"conditions": [NOT_READY]}, "InProgress/BuildFailed", id="NotReady"),
        pytest.param({"conditions": [READY | {"status": "Unknown"}]}, "InProgress/Succeeded", id="ReadyUnknown"),
        pytest.param({"conditions": []}, "Current", id="NoCondition"),
        pytest.param({"conditions": [{"type": "Other", "status": "False"}]}, "Current", id="OtherCondition"),
        pytest.param(
            {"observedGeneration": 2, "conditions": [READY]},
            "InProgress/LatestGenerationNotObserved",
            id="GenerationMismatch",
        ),
        pytest.param({"observedGeneration": 1, "conditions": [READY]}, "Current", id="GenerationObserved"),
        pytest.param(
            {"conditions": [READY, {"type": "Reconciling", "status": "True", "reason": "Progressing"}]},
            "InProgress/Progressing",
            id="ReconcilingGoesBeforeReady",
        ),
        pytest.param(
            {"conditions": [READY, {"type": "Stalled", "status": "True", "reason": "RetriesExceeded"}]},
            "Failed/RetriesExceeded",
            id="StalledGoesBeforeReady",
        ),
        pytest.param(
            {
                "conditions": [
                    {"type": "Stalled", "status": "True", "reason": "A"},
                    {"type": "Reconciling", "status": "True", "reason": "B"},
                ]
            },
            "Failed/A",
            id="TheFirstOfReconcilingAndStalledDecides",
        ),
        pytest.param(
            {"conditions": [{"type": "Stalled", "status": "False", "reason": "A"}, READY]},
            "Current",
            id="StalledFalseSaysNothing",
        ),
        pytest.param({"conditions": [READY | {"status": "Yes"}]}, "InProgress/Succeeded", id="ReadyOfNoKnownStatus"),
        pytest.param({"conditions": {"Ready": "True"}}, "Unknown/Malformed", id="ConditionsNoList"),
        pytest.param({"conditions": ["Ready"]}, "Unknown/Malformed", id="ConditionNoObject"),
        pytest.param({"conditions": [READY | {"reason": 1}]}, "Unknown/Malformed", id="ReasonNoText"),
        pytest.param({"observedGeneration": "1"}, "Unknown/Malformed", id="GenerationNoInteger"),
        pytest.param("ready", "Unknown/Malformed", id="StatusNoObject"),
    ],
)
def test_custom_resource(status: Any, expected: str) -> None:
    assert state(compute(resource(status), now=NOW)) == expected


def test_an_object_that_does_not_exist_is_not_found() -> None:
    assert compute(None, now=NOW).status is Status.NOT_FOUND
    assert compute_strict(None, now=NOW).status is Status.NOT_FOUND
    assert flux_readiness(None).status is Status.NOT_FOUND


def test_an_object_being_deleted_is_terminating_whatever_its_conditions_say() -> None:
    obj = resource({"conditions": [READY]})
    assert compute(obj, now=NOW).status is Status.CURRENT
    obj["metadata"]["deletionTimestamp"] = "2026-08-07T11:00:00Z"
    assert compute(obj, now=NOW).status is Status.TERMINATING


def test_a_malformed_object_says_which_field_is_wrong() -> None:
    result = compute(resource({"conditions": 5}), now=NOW)
    assert result == Result(Status.UNKNOWN, "Malformed", "status.conditions is not a list")


@pytest.mark.parametrize("kind", sorted(REQUIRED_CONDITIONS))
def test_a_kind_that_always_reports_is_in_progress_until_it_has(kind: tuple[str, str]) -> None:
    wanted = REQUIRED_CONDITIONS[kind]
    silent = resource(kind=kind[1], group=kind[0]) | ({} if kind[0] else {"apiVersion": "v1"})
    done = silent | {"status": {"conditions": [{"type": wanted, "status": "True"}]}}
    broken = silent | {"status": {"conditions": [{"type": wanted, "status": "False", "reason": "Broken"}]}}
    assert state(compute_strict(silent, now=NOW)) == "InProgress/ConditionMissing"
    assert state(compute_strict(silent | {"status": {"conditions": []}}, now=NOW)) == "InProgress/ConditionMissing"
    assert compute_strict(done, now=NOW).status is Status.CURRENT
    assert state(compute_strict(broken, now=NOW)) == "InProgress/Broken"
    assert compute(silent, now=NOW).status is Status.CURRENT, "plain kstatus has the hole that strict closes"


def test_plain_kstatus_calls_a_sealed_secret_that_cannot_be_opened_current_and_strict_does_not() -> None:
    synced = {"type": "Synced", "status": "False", "reason": "DecryptFailed"}
    sealed = resource({"observedGeneration": 1, "conditions": [synced]}, kind="SealedSecret", group="bitnami.com")
    assert compute(sealed, now=NOW).status is Status.CURRENT
    assert state(compute_strict(sealed, now=NOW)) == "InProgress/DecryptFailed"


STATIC = [
    pytest.param(resource(kind="Provider", group="notification.toolkit.fluxcd.io", type="generic"), id="Provider"),
    pytest.param(resource(kind="Alert", group="notification.toolkit.fluxcd.io", eventSeverity="info"), id="Alert"),
    pytest.param(
        resource(kind="HelmRepository", group="source.toolkit.fluxcd.io", type="oci"), id="HelmRepository oci"
    ),
]


@pytest.mark.parametrize("obj", STATIC)
def test_flux_kinds_without_a_status_are_current(obj: dict[str, Any]) -> None:
    assert is_static(obj)
    assert compute_strict(obj, now=NOW).status is Status.CURRENT
    assert flux_ready(obj)


def test_a_helm_repository_of_the_default_type_must_report() -> None:
    obj = resource(kind="HelmRepository", group="source.toolkit.fluxcd.io", type="default")
    assert not is_static(obj)
    assert state(compute_strict(obj, now=NOW)) == "InProgress/ConditionMissing"
    assert not flux_ready(obj)


def test_a_new_flux_object_is_not_current_for_plain_kstatus_either() -> None:
    # The definitions of Flux give a new object the status {observedGeneration: -1}.
    assert (
        state(compute(kustomization({"observedGeneration": -1}), now=NOW)) == "InProgress/LatestGenerationNotObserved"
    )


def test_strict_leaves_kinds_with_a_rule_and_unknown_kinds_to_kstatus() -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}
    assert compute_strict(config_map, now=NOW).status is Status.CURRENT
    assert compute_strict(resource(), now=NOW).status is Status.CURRENT


def test_a_kind_that_has_shown_ready_before_must_show_it_again() -> None:
    learned = kinds_showing_ready([resource({"conditions": [NOT_READY]}), resource(3), resource(kind="Quiet")])
    assert learned == {("example.org", "Widget"): "Ready"}
    assert state(compute_strict(resource(), now=NOW, required=learned)) == "InProgress/ConditionMissing"
    assert compute_strict(resource(kind="Quiet"), now=NOW, required=learned).status is Status.CURRENT


@pytest.mark.parametrize(
    ("generation", "status", "expected"),
    [
        pytest.param(1, None, "InProgress/NotObserved", id="no status"),
        pytest.param(1, {"observedGeneration": -1}, "InProgress/NotObserved", id="default status"),
        pytest.param(1, {"conditions": [READY]}, "InProgress/NotObserved", id="Ready, but nothing observed"),
        pytest.param(1, {"observedGeneration": 1}, "InProgress/ConditionMissing", id="no Ready condition"),
        pytest.param(
            2,
            {"observedGeneration": 2, "conditions": [READY | {"observedGeneration": 1}]},
            "InProgress/ConditionOutdated",
            id="Ready is about an older generation",
        ),
        pytest.param(
            2,
            {"observedGeneration": 1, "conditions": [READY | {"observedGeneration": 2}]},
            "InProgress/LatestGenerationNotObserved",
            id="kstatus has the last word",
        ),
        pytest.param(
            2,
            {"observedGeneration": 1, "conditions": [READY]},
            "InProgress/ConditionOutdated",
            id="no generation per condition, older status",
        ),
        pytest.param(2, {"observedGeneration": 2, "conditions": [READY]}, "Current", id="no generation per condition"),
        pytest.param(
            2,
            {"observedGeneration": 2, "conditions": [READY | {"observedGeneration": 2}]},
            "Current",
            id="Ready for this generation",
        ),
        pytest.param(
            2, {"observedGeneration": 2, "conditions": [NOT_READY]}, "InProgress/BuildFailed", id="Ready is False"
        ),
        pytest.param(
            2,
            {"observedGeneration": 2, "conditions": [{"type": "Stalled", "status": "True", "reason": "X"}, NOT_READY]},
            "Failed/X",
            id="stalled",
        ),
        pytest.param(2, {"observedGeneration": "2"}, "Unknown/Malformed", id="malformed"),
    ],
)
def test_flux_readiness(generation: int, status: Any, expected: str) -> None:
    obj = kustomization(status)
    obj["metadata"]["generation"] = generation
    assert state(flux_readiness(obj)) == expected
    assert flux_ready(obj) is (expected == "Current")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.floats()
    | st.sampled_from(["", "True", "False", "Ready", "Pending"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "replicas",
    "readyReplicas",
    "observedGeneration",
    "desiredNumberScheduled",
    "phase",
    "conditions",
    "containerStatuses",
    "startTime",
    "currentRevision",
    "updateStrategy",
    "type",
    "clusterIP",
    "suspend",
    "storageClassName",
    "completions",
]
conditions = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["Ready", "Stalled", "Reconciling", "Available", "Established", "Synced"])
        | json_values,
        "status": st.sampled_from(["True", "False", "Unknown"]) | json_values,
        "reason": json_values,
        "lastTransitionTime": json_values,
    },
)
bodies = st.dictionaries(
    st.sampled_from(FIELDS), json_values | st.integers(0, 3) | st.lists(conditions, max_size=3), max_size=6
)
kinds = st.sampled_from([*KIND_RULES, *REQUIRED_CONDITIONS])
api_objects = st.builds(
    lambda kind, metadata, spec, status: {
        "apiVersion": f"{kind[0]}/v1" if kind[0] else "v1",
        "kind": kind[1],
        "metadata": metadata,
        "spec": spec,
        "status": status,
    },
    kinds,
    st.fixed_dictionaries({"name": st.just("one")}, optional={"generation": json_values | st.integers(1, 2)}),
    bodies | json_values,
    bodies | json_values,
)
any_objects = api_objects | st.dictionaries(
    st.sampled_from(["apiVersion", "kind", "metadata", "spec", "status"]), json_values
)


@given(obj=any_objects, flavour=st.sampled_from(Flavour))
@example(obj={"apiVersion": 1, "kind": "Pod"}, flavour=Flavour.FLUX)
@settings(max_examples=300, deadline=None)
def test_no_json_object_makes_kstatus_raise(obj: dict[str, Any], flavour: Flavour) -> None:
    for result in (compute(obj, now=NOW, flavour=flavour), compute_strict(obj, now=NOW), flux_readiness(obj)):
        assert result.status in Status
        assert result.status is not Status.UNKNOWN or result.reason


@given(obj=any_objects, required=st.just(REQUIRED_CONDITIONS))
@settings(max_examples=200, deadline=None)
def test_a_deletion_timestamp_always_means_terminating(obj: dict[str, Any], required: Any) -> None:
    metadata = obj.get("metadata")
    obj["metadata"] = (metadata if isinstance(metadata, dict) else {}) | {"deletionTimestamp": "2026-08-07T11:00:00Z"}
    assert compute(obj, now=NOW).status is Status.TERMINATING
    assert compute_strict(obj, now=NOW, required=required).status is Status.TERMINATING


@given(obj=any_objects)
@settings(max_examples=200, deadline=None)
def test_strict_is_never_more_content_than_kstatus(obj: dict[str, Any]) -> None:
    required = {kind: wanted for kind, wanted in REQUIRED_CONDITIONS.items() if wanted == "Ready"}
    plain, strict = compute(obj, now=NOW), compute_strict(obj, now=NOW, required=required)
    assert strict == plain or strict.reason == "ConditionMissing"
    assert strict == plain or plain.status is Status.CURRENT


@given(obj=any_objects, version=st.sampled_from(["v1", "v1beta1", "v2"]))
@settings(max_examples=100, deadline=None)
def test_the_version_of_an_object_does_not_matter(obj: dict[str, Any], version: str) -> None:
    api_version = obj.get("apiVersion")
    if isinstance(api_version, str) and "/" in api_version:
        other = obj | {"apiVersion": f"{api_version.rpartition('/')[0]}/{version}"}
        assert compute(other, now=NOW) == compute(obj, now=NOW)
