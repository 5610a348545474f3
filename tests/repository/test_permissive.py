from __future__ import annotations

import pytest

from fluxdrill.model.refs import KubeObject
from fluxdrill.repository.permissive import SIMULATED, ForeignKind, definition, foreign_kinds, is_of, namespaces


def thing(api_version: str, kind: str, namespace: str = "") -> KubeObject:
    meta = {"name": "x", "namespace": namespace} if namespace else {"name": "x"}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta}


SERVED = {("", "ConfigMap"), ("helm.toolkit.fluxcd.io", "HelmRelease")}


def test_what_is_served_is_not_foreign() -> None:
    rendered = [thing("v1", "ConfigMap", "a"), thing("helm.toolkit.fluxcd.io/v2", "HelmRelease", "a")]
    assert foreign_kinds(rendered, SERVED) == ()


def test_each_foreign_kind_is_found_once_with_all_its_versions() -> None:
    rendered = [thing("x.example/v1beta1", "Well"), thing("x.example/v1", "Well", "a"), thing("x.example/v1", "Well")]
    assert foreign_kinds(rendered, SERVED) == (ForeignKind("x.example", "Well", ("v1", "v1beta1"), namespaced=True),)


def test_a_kind_none_of_whose_objects_names_a_namespace_is_cluster_wide() -> None:
    (kind,) = foreign_kinds([thing("x.example/v1", "Well")], SERVED)
    assert not kind.namespaced
    assert definition(kind)["spec"]["scope"] == "Cluster"


def test_a_kind_of_a_built_in_group_that_is_not_served_is_foreign() -> None:
    assert [str(one) for one in foreign_kinds([thing("apps/v1", "Well")], SERVED)] == ["Well.apps"]


@pytest.mark.parametrize(
    ("kind", "plural"),
    [
        ("Certificate", "certificates"),
        ("ProxyClass", "proxyclasses"),
        ("Policy", "policies"),
        ("Gateway", "gateways"),
        ("Box", "boxes"),
        ("Branch", "branches"),
        ("TLSStore", "tlsstores"),
    ],
)
def test_plurals_are_those_that_kubernetes_guesses(kind: str, plural: str) -> None:
    assert ForeignKind("x.example", kind, ("v1",), namespaced=True).plural == plural


def test_a_definition_takes_everything_stores_one_version_and_says_that_it_is_simulated() -> None:
    crd = definition(ForeignKind("x.example", "Well", ("v1", "v2"), namespaced=True))
    assert crd["metadata"]["name"] == "wells.x.example"
    assert SIMULATED in crd["metadata"]["annotations"]
    assert [(one["name"], one["served"], one["storage"]) for one in crd["spec"]["versions"]] == [
        ("v1", True, False),
        ("v2", True, True),
    ]
    for version in crd["spec"]["versions"]:
        assert version["schema"]["openAPIV3Schema"]["x-kubernetes-preserve-unknown-fields"] is True


@pytest.mark.parametrize(("group", "approved"), [("x.k8s.io", True), ("x.example", False), ("k8s.io.example", False)])
def test_only_a_protected_group_needs_approval(group: str, approved: bool) -> None:
    annotations = definition(ForeignKind(group, "Well", ("v1",), namespaced=True))["metadata"]["annotations"]
    assert ("api-approved.kubernetes.io" in annotations) is approved


def test_namespaces_are_those_that_objects_lie_in_and_nobody_has() -> None:
    rendered = [thing("v1", "ConfigMap", name) for name in ("b", "a", "b", "default")] + [thing("v1", "Namespace")]
    assert [one["metadata"]["name"] for one in namespaces(rendered, {"default"})] == ["a", "b"]


def test_a_kind_is_known_by_its_group_too() -> None:
    assert is_of(thing("x.example/v1", "Well"), "x.example", "Well")
    assert not is_of(thing("y.example/v1", "Well"), "x.example", "Well")
    assert not is_of(thing("x.example/v1", "Sink"), "x.example", "Well")
