"""Declared dependencies: read from files, nothing invented, nothing crashed by what is no manifest."""

from __future__ import annotations

from fluxdrill.repository.edges import declared_edges, unreadable

LAYER = b"""\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec:
  dependsOn: [{name: infra}, {name: other, namespace: team}]
"""


def test_every_dependency_is_an_edge_with_its_default_namespace() -> None:
    assert [str(edge) for edge in declared_edges({"a.yaml": LAYER})] == ["apps<-infra", "apps<-other"]
    assert [edge.dependency.namespace for edge in declared_edges({"a.yaml": LAYER})] == ["flux-system", "team"]


def test_helm_releases_depend_on_helm_releases() -> None:
    release = LAYER.replace(b"kustomize.toolkit.fluxcd.io/v1", b"helm.toolkit.fluxcd.io/v2").replace(
        b"Kustomization", b"HelmRelease"
    )
    assert {edge.dependency.kind for edge in declared_edges({"a.yaml": release})} == {"HelmRelease"}


def test_the_same_edge_in_two_files_is_one() -> None:
    assert len(declared_edges({"a.yaml": LAYER, "b.yml": LAYER})) == 2


def test_what_is_no_manifest_has_no_edges_and_does_not_hide_those_of_others() -> None:
    others = {"t.yaml": b"{{ if .x }}\na: [b", "n.yaml": b"\xff\xfe", "l.yaml": b"- 1", "r.md": LAYER, "e.yaml": b""}
    assert declared_edges(others) == ()
    assert len(declared_edges({**others, "a.yaml": LAYER})) == 2


def test_a_kustomize_kustomization_is_none_of_flux() -> None:
    assert (
        declared_edges({"a.yaml": LAYER.replace(b"kustomize.toolkit.fluxcd.io/v1", b"kustomize.config.k8s.io/v1beta1")})
        == ()
    )


def test_a_file_that_is_no_yaml_is_named_with_its_line_and_good_ones_are_not() -> None:
    found = unreadable(
        {"good.yaml": LAYER, "bad.yaml": b"a: 1\nb: [c\n", "binary.yml": b"\xff\xfe\x00", "r.md": b"a: [b"}
    )
    assert set(found) == {"bad.yaml", "binary.yml"}
    assert found["bad.yaml"].startswith("line 3: ")
    assert found["binary.yml"]


def test_templates_of_a_chart_are_not_meant_to_be_yaml() -> None:
    template = b"{{ if .x }}\na: [b"
    assert unreadable({"c/Chart.yaml": b"name: c", "c/templates/sub/t.yaml": template}) == {}
    assert set(unreadable({"c/templates/t.yaml": template})) == {"c/templates/t.yaml"}
