"""Every process of a lab can be taken away and brought back alone, and nothing is lost by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.cluster.part import Part, State
from fluxdrill.flux.bootstrap import ROOT
from fluxdrill.flux.operations import reconcile
from fluxdrill.kube.errors import UnreachableError
from fluxdrill.kube.wait import all_of, ready, wait_for
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.model.refs import ObjectRef
from tests.cluster.workloads import holds, pod
from tests.lab.fleet import Fleet, config_map_ref
from tests.processes import process_of

pytestmark = pytest.mark.live

NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
    "toxiproxy",
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
)


@pytest.fixture(scope="module")
def worn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Fleet]]:
    """A lab for this module alone, with a repository that Flux has applied."""
    with Lab.start() as lab:
        fleet = Fleet(lab, tmp_path_factory.mktemp("fleet") / "work")
        wait_for(lab.store, ready(ROOT), deadline=60, what="the first reconcile")
        yield lab, fleet


def state(process: Part) -> State:
    return process.state


def works(lab: Lab, fleet: Fleet, word: str) -> None:
    """Prove every process but the image controllers by what it does: a pod runs, a commit is applied."""
    ref = ObjectRef.of(
        lab.api.create({**pod(f"proof-{word}"), "metadata": {"name": f"proof-{word}", "namespace": "default"}})
    )
    commit = fleet.put(
        "root/proof.yaml",
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: proof, namespace: default}}\ndata: {{word: {word}}}\n",
    )
    applied = holds(
        ROOT, lambda it: commit in str(it.get("status", {}).get("lastAppliedRevision")), f"{commit} applied"
    )
    wait_for(lab.store, all_of(ready(ref), applied), deadline=60, what=f"the lab to work after {word}")


def test_the_lab_has_just_these_processes(worn: tuple[Lab, Fleet]) -> None:
    assert sorted(worn[0].processes) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_one_process_is_paused_killed_and_brought_back_while_the_others_go_on(
    worn: tuple[Lab, Fleet], name: str
) -> None:
    lab, fleet = worn
    process = lab.processes[name]
    others = {other: one.identity for other, one in lab.processes.items() if other != name}
    process.pause()
    assert state(process) is State.PAUSED
    process.resume()
    process.wait_ready(20)
    process.kill()
    assert state(process) is State.EXITED
    assert {
        other: lab.processes[other].identity for other in others if state(lab.processes[other]) is State.RUNNING
    } == others
    process.start()
    process.wait_ready(60)
    works(lab, fleet, name)


@pytest.mark.parametrize("name", ["kube-apiserver", "source-controller"])
def test_one_process_is_stopped_in_order_and_restarted(worn: tuple[Lab, Fleet], name: str) -> None:
    lab, fleet = worn
    lab.processes[name].restart()
    works(lab, fleet, f"{name}-restart")


def test_without_the_controller_nothing_is_applied_so_the_proof_can_fail(worn: tuple[Lab, Fleet]) -> None:
    lab, _ = worn
    lab.processes["kustomize-controller"].stop()
    token = "never-handled"
    lab.api.patch(ROOT, {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}})
    clock = ObjectRef.of(
        lab.api.create(
            {**pod("clock", after="1s"), "metadata": {**pod("clock", after="1s")["metadata"], "namespace": "default"}}
        )
    )
    wait_for(lab.store, ready(clock), deadline=20, what="the clock")
    assert lab.api.get(ROOT)["status"].get("lastHandledReconcileAt") != token
    lab.processes["kustomize-controller"].start()
    lab.processes["kustomize-controller"].wait_ready(30)
    reconcile(lab.api, lab.store, ROOT, deadline=30)


@pytest.mark.ci
def test_what_was_stored_is_there_after_etcd_and_the_api_server_were_killed(
    start_lab: Callable[[LabSpec], Lab],
) -> None:
    lab = start_lab(LabSpec(flux=False, cluster=ClusterOptions(safe_etcd=True)))
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "default"}}
    before = lab.api.create({**document, "data": {"value": "written just before the kill"}})
    lab.processes["etcd"].kill()
    lab.processes["kube-apiserver"].kill()
    with pytest.raises(UnreachableError):
        lab.api.get(config_map_ref("kept"))
    lab.provider.start_api()
    after = lab.api.get(config_map_ref("kept"))
    assert (after["metadata"]["uid"], after["data"]) == (before["metadata"]["uid"], before["data"])
    assert "--unsafe-no-fsync" not in process_of(lab.processes["etcd"]).argv
    lab.api.patch(config_map_ref("kept"), {"data": {"value": "and it can be changed"}})


def test_a_lab_that_is_broken_closes_all_the_same(start_lab: Callable[[LabSpec], Lab]) -> None:
    lab = start_lab(LabSpec(flux=False))
    lab.processes["etcd"].pause()
    lab.processes["kube-apiserver"].pause()
    lab.processes["kwok"].kill()
    lab.close()
    assert {state(process) for process in lab.processes.values()} == {State.EXITED}
    assert not Path(lab.folder).exists()
    lab.close()
