"""First smoke suite: a lab is what it says it is, and a two-link repository comes up on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.bootstrap import ROOT, Sync, bootstrap
from fluxdrill.flux.operations import reconcile, resume, suspend
from fluxdrill.kube.wait import DeviatedTimeoutError, all_current, condition, present, wait_for
from fluxdrill.lab.lab import GIT_USER, MARKER, Lab
from fluxdrill.lab.profiles import sync_of
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.profile import Profile
from fluxdrill.repository.source import Served, commit_files, open_source
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS

pytestmark = [pytest.mark.live, pytest.mark.ci]

CONTROLS = ("test_a_suspended_kustomization_does_not_heal_and_a_resumed_one_does",)

CHILD = ObjectRef(ROOT.group, ROOT.kind, NAMESPACE, "app")
GREETING = ObjectRef("", "ConfigMap", "default", "greeting")

CHILD_YAML = """\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app, namespace: flux-system}
spec:
  interval: 10m
  retryInterval: 2s
  path: ./app
  prune: true
  wait: true
  timeout: 30s
  sourceRef: {kind: GitRepository, name: flux-system}
"""
GREETING_YAML = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: greeting, namespace: default}
data: {hello: "%s"}
"""


@pytest.fixture(scope="module")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A repository of two links (root -> app), bootstrapped into the lab."""
    folder = tmp_path_factory.mktemp("repository")
    _write(folder / "clusters" / "lab" / "app.yaml", CHILD_YAML)
    _write(folder / "app" / "greeting.yaml", GREETING_YAML % "world")
    copy = open_source(str(folder), ref=None, into=lab.git_root / "smoke.git", deadline=30)
    sync = Sync(f"{lab.git.url}/smoke.git", copy.branch, "clusters/lab", GIT_USER, lab.password)
    bootstrap(lab.api, sync_of(Profile.FAST, sync))
    return copy


def test_the_lab_runs_a_real_api_server_with_every_flux_controller(lab: Lab) -> None:
    """The server's own version, and six processes that say they are ready."""
    assert lab.api.version()["gitVersion"].startswith("v1.")
    assert set(lab.flux) == set(FLUX_CONTROLLERS)
    assert {process.state for process in lab.processes.values()} == {"running"}


def test_the_lab_carries_the_marker_that_destructive_work_asks_for(lab: Lab) -> None:
    """Without this label nothing destructive may run."""
    namespace = lab.api.get(ObjectRef("", "Namespace", "", NAMESPACE))
    assert namespace["metadata"]["labels"][MARKER] == lab.lab_id


def test_a_bootstrapped_repository_becomes_ready_link_by_link(lab: Lab, served: Served) -> None:
    """Root and child are Ready, and what the child stands for exists."""
    wait_for(lab.store, all_current([ROOT, CHILD]), deadline=60, what="both Kustomizations", on_event=None)
    assert lab.api.get(GREETING)["data"] == {"hello": "world"}


def test_a_commit_reaches_the_cluster_once_a_reconcile_is_asked_for(lab: Lab, served: Served) -> None:
    """Git over HTTP, source-controller and kustomize-controller, end to end."""
    commit_files(served, {"app/greeting.yaml": GREETING_YAML % "again"}, "change the greeting")
    source = ObjectRef("source.toolkit.fluxcd.io", "GitRepository", NAMESPACE, "flux-system")
    reconcile(lab.api, lab.store, source, deadline=30)
    reconcile(lab.api, lab.store, CHILD, deadline=30)
    assert lab.api.get(GREETING)["data"] == {"hello": "again"}


def test_a_suspended_kustomization_does_not_heal_and_a_resumed_one_does(lab: Lab, served: Served) -> None:
    """The negative control of every healing test: with Flux off, nothing comes back."""
    wait_for(lab.store, all_current([CHILD]), deadline=60, what="the child")
    suspend(lab.api, CHILD)
    lab.api.delete(GREETING)
    with pytest.raises(DeviatedTimeoutError):
        wait_for(lab.store, present(GREETING), deadline=4, what="the deleted object to come back")
    resume(lab.api, CHILD)
    wait_for(lab.store, present(GREETING), deadline=30, what="the deleted object to come back")


def test_a_commit_that_cannot_be_built_makes_its_kustomization_say_so(lab: Lab, served: Served) -> None:
    """BuildFailed with its reason, and healed by the next commit."""
    commit_files(served, {"app/greeting.yaml": "a: [b"}, "break the greeting")
    wait_for(lab.store, condition(CHILD, "Ready", "False", reason="BuildFailed"), deadline=60, what="BuildFailed")
    commit_files(served, {"app/greeting.yaml": GREETING_YAML % "healed"}, "heal the greeting")
    wait_for(lab.store, all_current([CHILD]), deadline=60, what="the child to be Ready again")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
