from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fluxdrill.errors import UsageError
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.repository.kustomize import KustomizeBuilder
from fluxdrill.repository.rootdiff import GUARD, is_guarded, rootdiff
from fluxdrill.repository.tree import ROOT, Expected, expected

ENTRY = "clusters/lab"
LAYER = f"{ENTRY}/layer"
CHILD = ObjectRef(ROOT.group, ROOT.kind, ROOT.namespace, "child")
INNER = ObjectRef("", "ConfigMap", "default", "inner")
ONLY = frozenset({INNER})


def config(name: str, **metadata: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default", **metadata}}


def child(path: str = LAYER) -> dict[str, object]:
    return {
        "apiVersion": f"{ROOT.group}/v1",
        "kind": "Kustomization",
        "metadata": {"name": "child", "namespace": ROOT.namespace},
        "spec": {"path": path, "sourceRef": {"kind": "GitRepository", "name": "flux-system"}},
    }


def tree(folder: Path, kustomize: KustomizeBuilder, *, listed: bool, inner: KubeObject | None = None) -> Expected:
    files = {
        f"{ENTRY}/child.yaml": child(),
        f"{LAYER}/kustomization.yaml": {"resources": ["inner.yaml"]},
        f"{LAYER}/inner.yaml": inner or config("inner"),
    }
    if listed:
        files[f"{ENTRY}/kustomization.yaml"] = {"resources": ["child.yaml"]}
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(yaml.safe_dump(content))
    return expected(folder, ENTRY, kustomize)


def test_a_root_that_loses_its_list_takes_in_what_a_child_renders(tmp_path: Path, kustomize: KustomizeBuilder) -> None:
    before = tree(tmp_path / "a", kustomize, listed=True)
    after = tree(tmp_path / "b", kustomize, listed=False)
    diff = rootdiff(before, after, ROOT)
    assert (diff.gained, diff.shared, diff.leaving) == (ONLY, ONLY, frozenset())
    assert diff.elsewhere[INNER] == CHILD
    assert str(diff).startswith("flux-system 1 -> 2: 1 come (1 of another Kustomization too), 0 leave")


def test_a_root_that_gets_its_list_back_lets_go_of_it(tmp_path: Path, kustomize: KustomizeBuilder) -> None:
    before = tree(tmp_path / "a", kustomize, listed=False)
    after = tree(tmp_path / "b", kustomize, listed=True)
    diff = rootdiff(before, after, ROOT)
    assert (diff.gained, diff.leaving, diff.at_risk) == (frozenset(), ONLY, ONLY)
    assert "1 leave (1 without a guard): 1 ConfigMap" in str(diff)


def test_what_is_guarded_before_leaves_without_risk(tmp_path: Path, kustomize: KustomizeBuilder) -> None:
    guarded = config("inner", annotations={GUARD: "disabled"})
    before = tree(tmp_path / "a", kustomize, listed=False, inner=guarded)
    after = tree(tmp_path / "b", kustomize, listed=True, inner=config("inner"))
    diff = rootdiff(before, after, ROOT)
    assert (diff.leaving, diff.at_risk) == (ONLY, frozenset())


def test_a_guard_that_only_the_second_revision_has_comes_too_late(tmp_path: Path, kustomize: KustomizeBuilder) -> None:
    before = tree(tmp_path / "a", kustomize, listed=False)
    guarded = config("inner", annotations={GUARD: "disabled"})
    after = tree(tmp_path / "b", kustomize, listed=True, inner=guarded)
    assert rootdiff(before, after, ROOT).at_risk == ONLY


def test_the_same_tree_twice_is_no_difference(tmp_path: Path, kustomize: KustomizeBuilder) -> None:
    same = tree(tmp_path, kustomize, listed=True)
    diff = rootdiff(same, same, ROOT)
    assert (diff.gained, diff.leaving) == (frozenset(), frozenset())


def test_a_kustomization_that_is_not_there_is_refused(tmp_path: Path, kustomize: KustomizeBuilder) -> None:
    same = tree(tmp_path, kustomize, listed=True)
    with pytest.raises(UsageError, match="has no Kustomization/flux-system/other"):
        rootdiff(same, same, ObjectRef(ROOT.group, ROOT.kind, ROOT.namespace, "other"))


def test_a_kustomization_that_does_not_build_is_no_empty_difference(
    tmp_path: Path, kustomize: KustomizeBuilder
) -> None:
    good = tree(tmp_path / "a", kustomize, listed=True)
    folder = tmp_path / "b"
    tree(folder, kustomize, listed=True)
    (folder / ENTRY / "kustomization.yaml").write_text("resources: [nowhere.yaml]\n")
    with pytest.raises(UsageError, match="does not build"):
        rootdiff(good, expected(folder, ENTRY, kustomize), ROOT)


@pytest.mark.parametrize(
    ("metadata", "guarded"),
    [
        ({"annotations": {GUARD: "disabled"}}, True),
        ({"labels": {GUARD: "disabled"}}, True),
        ({"annotations": {GUARD: "enabled"}}, False),
        ({"annotations": None, "labels": None}, False),
        ({}, False),
    ],
    ids=["annotation", "label", "enabled", "null", "none"],
)
def test_a_guard_is_an_annotation_or_a_label(metadata: dict[str, object], guarded: bool) -> None:
    assert is_guarded(config("x", **metadata)) is guarded
