"""The reference homelab as files: what it promises before anything runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxdrill.lab.serve import prepare
from fluxdrill.model.refs import ObjectRef
from fluxdrill.process import run
from fluxdrill.repository.kustomize import KustomizeBuilder
from fluxdrill.repository.profile import Profile
from fluxdrill.repository.source import export
from fluxdrill.repository.tree import Build, Expected, expected
from fluxdrill.sealedsecrets.controller import CRD, NAMESPACE, definitions
from fluxdrill.sealedsecrets.placeholders import PLACEHOLDER
from fluxdrill.toolchain.build import Tools, ensure

HOMELAB = Path(__file__).parents[2] / "homelab"
FILES = sorted(path for path in HOMELAB.rglob("*") if path.is_file())
TEMPLATES = [path for path in FILES if path.parent.name == "templates"]
MANIFESTS = [path for path in FILES if path.suffix == ".yaml" and path not in TEMPLATES]
SURFACES = ("infra-controllers", "infra-configs", "apps", "monitoring-controllers", "monitoring-configs")
KEY_MATERIAL = re.compile(r"-----BEGIN|\bAg[A-Za-z0-9+/]{40,}")

# the namespaces of the guide's table that no Kubernetes and no bootstrap makes
NAMESPACES = {
    *("capacitor", "cert-manager", "tailscale", "sealed-secrets-system", "traefik", "ingress", "csi-rclone"),
    *("monitoring", "elastic-system", "opentelemetry-operator-system", "arc-system", "arc-runners"),
    *("azure-arc", "azure-arc-release", "arc-workload-identity", "ai", "arkham", "coder", "fission", "n8n"),
    *("discourse", "registry", "romm", "mediamtx", "raiplaysoundrss", "airflow", "error-pages"),
    *("system-upgrade", "intel-device-plugins-system"),
}


@pytest.fixture(scope="module")
def tools() -> Tools:
    return ensure(["kustomize"])[0]


@pytest.fixture(scope="module")
def tree(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    """What the served copy wants, with the profile applied."""
    folder = tmp_path_factory.mktemp("homelab")
    copy = prepare(str(HOMELAB), into=folder / "copy.git", path="clusters/kyrion", profile=Profile.FAST)
    (folder / "worktree").mkdir()
    export(copy.served, folder / "worktree")
    return expected(folder / "worktree", "clusters/kyrion", KustomizeBuilder(tools["kustomize"]))


def objects_of(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


@pytest.mark.parametrize("path", MANIFESTS + TEMPLATES, ids=lambda path: str(path.relative_to(HOMELAB)))
def test_every_file_begins_with_its_reason(path: Path) -> None:
    assert re.match(r"(# |\{\{- /\* )[A-Z]?\S.{15,}", path.read_text())


def test_it_stays_small_and_its_readme_names_every_folder_of_it() -> None:
    assert 30 < len(FILES) < 60
    readme = (HOMELAB / "README.md").read_text()
    folders = {path.parent.relative_to(HOMELAB).as_posix() for path in MANIFESTS}
    assert {folder for folder in folders if folder not in readme} == set()


def test_the_readme_names_no_file_that_is_not_there() -> None:
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", (HOMELAB / "README.md").read_text()))
    assert len(named) > 15
    assert {name for name in named if not (HOMELAB / name).exists()} == set()


def test_no_key_and_no_sealed_value_is_committed() -> None:
    sealed = [one for path in MANIFESTS for one in objects_of(path) if one.get("kind") == "SealedSecret"]
    values = [value for one in sealed for value in one["spec"]["encryptedData"].values()]
    assert len(values) >= 6
    assert set(values) == {PLACEHOLDER}
    assert [path for path in FILES if KEY_MATERIAL.search(path.read_text())] == []
    assert KEY_MATERIAL.search("    DOMAIN: AgBy3i4OJSWK+PiTySYZZA9rO43cGDEqAgBy3i4OJSWK+PiTySYZZA9rO43cGDEq")
    assert [path for path in MANIFESTS for one in objects_of(path) if one.get("kind") == "Secret"] == []


@pytest.mark.live
@pytest.mark.ci
def test_every_surface_builds_and_the_two_chains_are_those_of_the_guide(tree: Expected) -> None:
    assert {node.ref.name for node in tree.nodes.values()} == {"flux-system", "system-upgrade", *SURFACES}
    built = {node.ref.name: node.build for node in tree.nodes.values()}
    assert built.pop("system-upgrade") is Build.ELSEWHERE
    assert set(built.values()) == {Build.BUILT}
    edges = {(node.ref.name, one.name) for node in tree.nodes.values() for one in node.depends_on}
    assert edges == {
        ("infra-configs", "infra-controllers"),
        ("apps", "infra-configs"),
        ("monitoring-controllers", "infra-configs"),
        ("monitoring-configs", "monitoring-controllers"),
    }
    assert tree.missing_dependencies() == ()


@pytest.mark.live
@pytest.mark.ci
def test_the_namespaces_are_those_of_the_guide(tree: Expected) -> None:
    made = {ref.name for node in tree.nodes.values() for ref in node.objects if ref.kind == "Namespace"}
    assert made == NAMESPACES
    assert NAMESPACE in made


@pytest.mark.live
@pytest.mark.ci
def test_every_namespaced_object_comes_with_or_after_its_namespace(tree: Expected) -> None:
    """A link's objects live in namespaces that it or a link before it makes: the rule that broke the real one twice."""
    order = ["flux-system", *SURFACES]
    made = {"flux-system"}
    for name in order:
        (node,) = [node for node in tree.nodes.values() if node.ref.name == name]
        made |= {ref.name for ref in node.objects if ref.kind == "Namespace"}
        assert {str(ref) for ref in node.objects if ref.namespace and ref.namespace not in made} == set()


@pytest.mark.live
@pytest.mark.ci
def test_every_release_is_retried_and_rolled_back_when_it_fails(tools: Tools) -> None:
    rendered = [
        one
        for surface in ("infrastructure/controllers", "apps/kyrion", "monitoring/controllers")
        for one in yaml.safe_load_all(KustomizeBuilder(tools["kustomize"])(HOMELAB / surface))
        if one["kind"] == "HelmRelease"
    ]
    assert len(rendered) >= 9
    for release in rendered:
        assert release["spec"]["install"]["remediation"]["retries"] == 3, ObjectRef.of(release)
        assert release["spec"]["upgrade"]["remediation"] == {"retries": 3, "remediateLastFailure": True}


@pytest.mark.parametrize("name", SURFACES)
def test_a_surface_waits_in_one_way_and_survives_its_own_removal(name: str) -> None:
    """`healthChecks` beside `wait: true` would be ignored; deleting the Kustomization must not delete what it made."""
    root = [one for path in (HOMELAB / "clusters/kyrion").iterdir() for one in objects_of(path)]
    (surface,) = [one for one in root if one["kind"] == "Kustomization" and one.get("metadata", {}).get("name") == name]
    spec = surface["spec"]
    assert bool(spec.get("wait")) is not bool(spec.get("healthChecks"))
    assert spec["deletionPolicy"] == "Orphan"
    assert surface["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/prune"] == "disabled"
    assert {"kind": "Secret", "name": "cluster-secret-vars"} in spec["postBuild"]["substituteFrom"]


@pytest.mark.live
@pytest.mark.ci
def test_its_crd_of_sealed_secrets_is_the_controllers_kind_in_the_controllers_version(tools: Tools) -> None:
    (ours,) = [one for one in objects_of(HOMELAB / "clusters/kyrion/sealed-secrets.yaml") if ObjectRef.of(one) == CRD]
    (theirs,) = definitions(tools)
    assert ObjectRef.of(theirs) == CRD
    for field in ("group", "names", "scope"):
        assert ours["spec"][field] == theirs["spec"][field]
    (version,) = ours["spec"]["versions"]
    assert (version["name"], version["subresources"]) == ("v1alpha1", {"status": {}})


@pytest.mark.parametrize("chart", ["operator", "workload"])
def test_every_value_of_a_chart_has_a_default_and_every_default_is_used(chart: str) -> None:
    templates = "".join(path.read_text() for path in TEMPLATES if path.parent.parent.name == chart)
    values = yaml.safe_load((HOMELAB / "charts" / chart / "values.yaml").read_text())
    assert set(re.findall(r"\.Values\.(\w+)", templates)) == set(values)


def test_git_sees_every_file_of_it() -> None:
    """A file that is ignored would be missing for everybody else."""
    done = run(["git", "check-ignore", *FILES], deadline=20, cwd=HOMELAB)
    assert done.returncode == 1, done.text
