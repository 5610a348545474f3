"""What the conditions and the references of Flux objects are read as."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxdrill.model.conditions import (
    Condition,
    ConditionStatus,
    HelmReleaseReason,
    KustomizationReason,
    SourceReason,
    attempted_revision,
    blames_dependency,
    condition,
    conditions,
    dependencies,
    handled_token,
    known_reason,
    parse_time,
    ready,
    source_ref,
    suspended,
)
from fluxdrill.model.reasons import REASONS
from fluxdrill.model.refs import ObjectRef

KUSTOMIZE, HELM, SOURCE = (f"{name}.toolkit.fluxcd.io" for name in ("kustomize", "helm", "source"))
API = {
    "Kustomization": f"{KUSTOMIZE}/v1",
    "HelmRelease": f"{HELM}/v2",
    "HelmChart": f"{SOURCE}/v1",
    "GitRepository": f"{SOURCE}/v1",
    "ImagePolicy": "image.toolkit.fluxcd.io/v1",
    "ImageUpdateAutomation": "image.toolkit.fluxcd.io/v1",
}


def flux(kind: str = "Kustomization", *, spec: Any = None, status: Any = None) -> dict[str, Any]:
    meta = {"name": "one", "namespace": "shop"}
    return {"apiVersion": API[kind], "kind": kind, "metadata": meta, "spec": spec, "status": status}


def not_ready(kind: str, reason: str, message: str = "", status: str = "False") -> dict[str, Any]:
    entry = {"type": "Ready", "status": status, "reason": reason, "message": message}
    return flux(kind, status={"conditions": [{"type": "Reconciling", "status": "True"}, entry]})


def test_a_condition_is_read_with_all_its_fields() -> None:
    entry = {
        "type": "Ready",
        "status": "False",
        "reason": "BuildFailed",
        "message": "no such file",
        "observedGeneration": 3,
        "lastTransitionTime": "2026-08-07T12:00:00Z",
    }
    expected = Condition(
        "Ready", ConditionStatus.FALSE, "BuildFailed", "no such file", 3, datetime(2026, 8, 7, 12, tzinfo=UTC)
    )
    assert conditions(flux(status={"conditions": [entry]})) == (expected,)


@pytest.mark.parametrize(
    "status",
    [None, {}, "ready", {"conditions": None}, {"conditions": {}}, {"conditions": [None, "Ready", {}, {"type": 1}]}],
)
def test_what_is_no_condition_is_left_out(status: Any) -> None:
    assert conditions(flux(status=status)) == ()
    assert ready(flux(status=status)) is None


def test_fields_of_the_wrong_type_count_as_missing() -> None:
    entry = {"type": "Ready", "status": "Yes", "reason": 1, "observedGeneration": True, "lastTransitionTime": "soon"}
    assert ready(flux(status={"conditions": [entry]})) == Condition("Ready", ConditionStatus.UNKNOWN)


def test_ready_is_found_behind_other_conditions_and_the_first_of_its_type_counts() -> None:
    entries = [
        {"type": "Reconciling", "status": "True"},
        {"type": "Ready", "status": "True", "reason": "first"},
        {"type": "Ready", "status": "False", "reason": "second"},
    ]
    found = ready(flux(status={"conditions": entries}))
    assert found is not None
    assert found.reason == "first"
    assert condition(flux(status={"conditions": entries}), "Stalled") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-08-07T12:00:00Z", datetime(2026, 8, 7, 12, tzinfo=UTC)),
        ("2026-08-07T14:00:00+02:00", datetime(2026, 8, 7, 12, tzinfo=UTC)),
        ("2026-08-07T12:00:00.5Z", datetime(2026, 8, 7, 12, tzinfo=UTC) + timedelta(milliseconds=500)),
        ("2026-08-07T12:00:00", datetime(2026, 8, 7, 12, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (1786104000, None),
        (None, None),
    ],
)
def test_times(value: object, expected: datetime | None) -> None:
    assert parse_time(value) == expected


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(not_ready("Kustomization", "DependencyNotReady"), True, id="Kustomization waits for dependsOn"),
        pytest.param(not_ready("HelmRelease", "DependencyNotReady"), True, id="HelmRelease waits for dependsOn"),
        pytest.param(not_ready("HelmRelease", "SourceNotReady"), True, id="HelmRelease waits for its chart"),
        pytest.param(not_ready("HelmChart", "NoSourceArtifact"), True, id="HelmChart waits for its repository"),
        pytest.param(not_ready("HelmChart", "SourceUnavailable"), True, id="HelmChart without repository"),
        pytest.param(
            not_ready("Kustomization", "ArtifactFailed", "Source artifact not found, retrying in 30s"),
            True,
            id="Kustomization without artifact",
        ),
        pytest.param(
            not_ready("Kustomization", "ArtifactFailed", 'gitrepositories.source "fleet" not found'),
            True,
            id="Kustomization without source",
        ),
        pytest.param(
            not_ready("HelmRelease", "ArtifactFailed", "could not get Source object: x"),
            True,
            id="HelmRelease without source",
        ),
        pytest.param(
            not_ready("Kustomization", "ArtifactFailed", "kustomization path not found: stat ./apps"),
            False,
            id="missing path",
        ),
        pytest.param(
            not_ready("Kustomization", "ArtifactFailed", "kustomization path not found"),
            False,
            id="missing path, short",
        ),
        pytest.param(not_ready("Kustomization", "BuildFailed", "object not found"), False, id="fault of its own"),
        pytest.param(not_ready("HelmRelease", "InstallFailed"), False, id="failed install"),
        pytest.param(not_ready("HelmChart", "InvalidChartReference"), False, id="chart that does not exist"),
        pytest.param(not_ready("Kustomization", "DependencyNotReady", status="True"), False, id="ready"),
        pytest.param(flux(), False, id="no condition"),
    ],
)
def test_who_is_to_blame(obj: dict[str, Any], *, expected: bool) -> None:
    assert blames_dependency(obj) is expected


@pytest.mark.parametrize(("kind", "group"), [("Kustomization", KUSTOMIZE), ("HelmRelease", HELM)])
def test_dependencies_are_of_the_own_kind_and_by_default_of_the_own_namespace(kind: str, group: str) -> None:
    obj = flux(kind, spec={"dependsOn": [{"name": "crds"}, {"name": "db", "namespace": "data"}]})
    assert dependencies(obj) == (ObjectRef(group, kind, "shop", "crds"), ObjectRef(group, kind, "data", "db"))


@pytest.mark.parametrize(
    "obj",
    [
        flux(),
        flux(spec={}),
        flux(spec={"dependsOn": None}),
        flux(spec={"dependsOn": "crds"}),
        flux(spec={"dependsOn": [None, "crds", {}, {"name": ""}, {"name": 1}]}),
        flux("GitRepository", spec={"dependsOn": [{"name": "crds"}]}),
        flux(spec={"dependsOn": [{"name": "crds"}]}) | {"apiVersion": "kustomize.config.k8s.io/v1beta1"},
    ],
)
def test_what_is_no_dependency_is_left_out(obj: dict[str, Any]) -> None:
    assert dependencies(obj) == ()


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        pytest.param(
            "Kustomization",
            {"sourceRef": {"kind": "GitRepository", "name": "fleet"}},
            ObjectRef(SOURCE, "GitRepository", "shop", "fleet"),
            id="own namespace",
        ),
        pytest.param(
            "Kustomization",
            {"sourceRef": {"kind": "OCIRepository", "name": "fleet", "namespace": "flux-system"}},
            ObjectRef(SOURCE, "OCIRepository", "flux-system", "fleet"),
            id="other namespace",
        ),
        pytest.param(
            "Kustomization",
            {"sourceRef": {"apiVersion": "example.org/v1", "kind": "Source", "name": "x"}},
            ObjectRef("example.org", "Source", "shop", "x"),
            id="other group",
        ),
        pytest.param(
            "HelmRelease",
            {"chart": {"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "charts"}}}},
            ObjectRef(SOURCE, "HelmRepository", "shop", "charts"),
            id="chart template",
        ),
        pytest.param(
            "HelmRelease",
            {"chartRef": {"kind": "OCIRepository", "name": "web", "namespace": "charts"}},
            ObjectRef(SOURCE, "OCIRepository", "charts", "web"),
            id="chartRef",
        ),
        pytest.param(
            "HelmChart",
            {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "charts"}},
            ObjectRef(SOURCE, "HelmRepository", "shop", "charts"),
            id="HelmChart, whose spec.chart is a text",
        ),
        pytest.param(
            "ImagePolicy",
            {"imageRepositoryRef": {"name": "web"}},
            ObjectRef("image.toolkit.fluxcd.io", "ImageRepository", "shop", "web"),
            id="ImagePolicy",
        ),
        pytest.param("GitRepository", {"url": "https://example.org"}, None, id="a source"),
        pytest.param("Kustomization", {"sourceRef": {"kind": "GitRepository"}}, None, id="without name"),
        pytest.param("Kustomization", None, None, id="without spec"),
    ],
)
def test_source_ref(kind: str, spec: Any, expected: ObjectRef | None) -> None:
    assert source_ref(flux(kind, spec=spec)) == expected


def test_status_texts_and_suspension() -> None:
    done = flux(
        spec={"suspend": True}, status={"lastAttemptedRevision": "main@sha1:1", "lastHandledReconcileAt": "t-1"}
    )
    assert (attempted_revision(done), handled_token(done), suspended(done)) == ("main@sha1:1", "t-1", True)
    assert (attempted_revision(flux()), handled_token(flux()), suspended(flux())) == (None, None, False)
    assert not suspended(flux(spec={"suspend": "true"}))


def test_known_reasons_are_typed_and_others_are_not_invented() -> None:
    assert known_reason("Kustomization", "BuildFailed") is KustomizationReason.BUILD_FAILED
    assert known_reason("HelmRelease", "RetriesExceeded") is HelmReleaseReason.RETRIES_EXCEEDED
    assert known_reason("HelmChart", "ChartPullError") is SourceReason.CHART_PULL_ERROR
    assert known_reason("Kustomization", "RetriesExceeded") is None
    assert known_reason("Widget", "BuildFailed") is None


def test_every_known_reason_is_found_again() -> None:
    assert REASONS
    for kind, reasons in REASONS.items():
        for reason in reasons:
            assert known_reason(kind, str(reason)) is reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "namespace", "kind", "sourceRef", "chart", "spec", "dependsOn", "conditions", "type"]
            ),
            children,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(
    kind=st.sampled_from(sorted(API)),
    parts=st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), json_values),
)
@settings(max_examples=300, deadline=None)
def test_no_json_object_makes_a_reader_raise(kind: str, parts: dict[str, Any]) -> None:
    obj = flux(kind) | parts
    assert all(isinstance(found, Condition) for found in conditions(obj))
    assert all(found.name for found in dependencies(obj))
    found = source_ref(obj)
    assert found is None or (found.kind and found.name)
    assert blames_dependency(obj) in {True, False}
    assert attempted_revision(obj) != ""
    assert handled_token(obj) != ""
