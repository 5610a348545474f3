"""The ledger: without a note nothing is broken, and no note of an open fault is ever lost."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.errors import HarnessError
from fluxdrill.faults import catalog
from fluxdrill.faults.fault import Fault
from fluxdrill.faults.world import World
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import Cause, UnreachableError
from fluxdrill.scenario import ledger, recover
from fluxdrill.scenario.ledger import Entry, Ledger, Life
from tests.processes import python, running

HOST = catalog.make("controllers.kill", {"controller": "source-controller"})
CLUSTER = catalog.make("objects.delete", {"object": "ConfigMap/shop/web"})


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """FLUXDRILL_RUNTIME in the test's own folder."""
    root = tmp_path / "runtime"
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(root))
    return root


class Cluster:
    """The two calls of a cluster that the ledger makes, which may fail."""

    def __init__(self, *, reachable: bool = True) -> None:
        self.reachable = reachable
        self.notes: dict[str, dict[str, Any]] = {}

    def apply(self, obj: dict[str, Any], **_: object) -> dict[str, Any]:
        """Keep a note."""
        self._fail()
        if obj["kind"] == "ConfigMap":
            self.notes[obj["metadata"]["name"]] = obj
        return obj

    def delete(self, ref: Any) -> None:
        """Forget one."""
        self._fail()
        del self.notes[ref.name]

    def _fail(self) -> None:
        if not self.reachable:
            raise UnreachableError(Cause.REFUSED, "the cluster")


def made(cluster: Cluster | None = None) -> Ledger:
    api: Any = cluster or Cluster()
    return Ledger(api, scenario="sample", lab="lab-none", kubeconfig="")


def lines(path: Path) -> list[str]:
    return [json.loads(line)["life"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_ledger_that_cannot_be_written_refuses_and_has_nothing_open(runtime: Path) -> None:
    runtime.parent.mkdir(exist_ok=True)
    runtime.write_text("a file where the folder should be")
    own = made()
    with pytest.raises(HarnessError, match=r"cannot be written.*Nothing is broken without a note"):
        own.intend(HOST, {})
    assert own.open == []


def test_a_fault_of_the_cluster_that_cannot_be_noted_there_is_refused_and_withdrawn() -> None:
    own = made(Cluster(reachable=False))
    with pytest.raises(HarnessError, match=r"cannot be noted in the cluster.*Nothing is broken"):
        own.intend(CLUSTER, {"uid": "u"})
    assert own.open == []
    assert lines(own.path) == ["intended", "healed"]
    own.close()
    assert not own.path.exists()


def test_a_fault_on_the_host_is_not_noted_in_the_cluster() -> None:
    cluster = Cluster()
    made(cluster).intend(HOST, {})
    assert cluster.notes == {}


def test_a_note_in_the_cluster_goes_before_the_fault_counts_as_healed() -> None:
    cluster = Cluster()
    own = made(cluster)
    entry = own.injected(own.intend(CLUSTER, {"uid": "u"}))
    assert list(cluster.notes) == [entry.id]
    cluster.reachable = False
    with pytest.raises(UnreachableError):
        own.healed(entry)
    assert own.open == [entry]
    cluster.reachable = True
    own.healed(entry)
    assert (own.open, cluster.notes) == ([], {})
    assert lines(own.path) == ["intended", "injected", "healed"]


def test_close_removes_only_a_ledger_without_open_faults() -> None:
    own = made()
    first, second = own.intend(HOST, {}), own.intend(HOST, {})
    own.healed(second)
    own.close()
    assert [entry.id for _, entry in ledger.open_entries([own.path])] == [first.id]
    own.healed(first)
    own.close()
    assert not own.path.exists()


def test_open_faults_are_told_the_newest_first() -> None:
    own = made()
    entries = [own.intend(HOST, {"n": number}) for number in range(3)]
    assert [one.id for one in own.open] == [one.id for one in reversed(entries)]
    assert [one.id for _, one in ledger.open_entries([own.path])] == [one.id for one in reversed(entries)]


def test_an_entry_is_all_that_is_needed_to_make_the_same_fault_again() -> None:
    own = made()
    own.intend(CLUSTER, {"uid": "u"})
    (entry,) = ledger.read(own.path)
    again = catalog.make(entry.fault, entry.arguments)
    assert (again.text, again.args, entry.state) == (CLUSTER.text, CLUSTER.args, {"uid": "u"})


@pytest.mark.parametrize("cut", ["{", '"state": {}', '"healed"'])
def test_a_last_line_that_was_cut_short_loses_neither_what_was_before_nor_what_comes_after(cut: str) -> None:
    own = made()
    entry = own.intend(HOST, {})
    whole = json.dumps(asdict(replace(entry, life=Life.HEALED)))
    torn = whole[: whole.index(cut) + len(cut)]
    with own.path.open("a", encoding="utf-8") as file:
        file.write(torn)
    assert [(one.id, one.life) for one in ledger.read(own.path)] == [(entry.id, "intended")]
    ledger.append(own.path, replace(entry, id="later"))
    assert {one.id: one.life for one in ledger.read(own.path)} == {entry.id: "intended", "later": "intended"}
    ledger.append(own.path, replace(entry, life=Life.HEALED))
    assert {one.id: one.life for one in ledger.read(own.path)} == {entry.id: "healed", "later": "intended"}


def test_a_whole_line_that_is_no_entry_is_an_error_and_not_left_out() -> None:
    own = made()
    own.intend(HOST, {})
    with own.path.open("a", encoding="utf-8") as file:
        file.write('{"id": "from-the-future"}\n')
    with pytest.raises(HarnessError, match=r":2: this is no entry"):
        ledger.read(own.path)


def test_what_a_newer_version_adds_to_an_entry_is_left_out() -> None:
    entry = made().intend(HOST, {})
    assert Entry.of(json.dumps({**asdict(entry), "color": "red"})) == entry


def orphaned(own: Ledger, fault: Fault[Any], **changes: Any) -> Entry:
    """Note a fault of a process that is gone."""
    with running(python("")) as gone:
        gone.wait()
    entry = replace(own.intend(fault, {}), owner=gone.pid, owner_started=1.0, **changes)
    ledger.append(own.path, entry)
    return entry


def test_recover_leaves_the_faults_and_the_ledger_of_a_living_run_alone() -> None:
    own = made()
    entry = own.intend(HOST, {})
    (found,) = recover.recover_host()
    assert (found.entry.id, found.clean, found.left, found.how) == (entry.id, False, False, "its run still lives")
    own.healed(entry)
    assert recover.recover_host() == []
    assert own.path.exists(), "its run may note another fault at any time"


def test_a_fault_on_the_host_ended_with_its_lab_and_its_ledger_goes() -> None:
    own = made()
    orphaned(own, HOST)
    (found,) = recover.recover_host()
    assert (found.clean, found.how) == (True, "it ended with its lab lab-none, which is gone")
    assert not own.path.exists()
    assert list(recover.lines(recover.recover_host())) == ["No open fault."]


def test_a_fault_in_a_cluster_that_is_not_of_this_host_is_not_called_healed() -> None:
    own = made()
    orphaned(own, CLUSTER)
    (found,) = recover.recover_host()
    assert not found.clean
    assert "fluxdrill recover --kubeconfig" in found.how
    assert str(found).startswith("OPEN")
    assert own.path.exists()


def test_a_cluster_that_does_not_answer_leaves_its_fault_open(tmp_path: Path) -> None:
    own = made()
    orphaned(own, CLUSTER, kubeconfig=str(tmp_path / "nowhere"))
    (found,) = recover.recover_host()
    assert not found.clean
    assert "cannot be used" in found.how
    assert own.path.exists()


def test_a_reused_process_id_does_not_make_a_run_alive() -> None:
    entry = made().intend(HOST, {})
    assert not entry.orphaned
    assert replace(entry, owner_started=entry.owner_started - 1).orphaned


@pytest.fixture(scope="module")
def api(world: World) -> Api:
    """Hand out access to a lab."""
    return world.api


@pytest.mark.live
def test_a_real_cluster_keeps_a_note_until_the_fault_is_healed(api: Api, world: World) -> None:
    own = Ledger(api, scenario="sample", lab=world.own_lab.lab_id, kubeconfig="")
    entry = own.intend(CLUSTER, {"uid": "u"})
    assert ledger.mirrored(api) == [entry]
    own.healed(own.injected(entry))
    assert ledger.mirrored(api) == []


@pytest.mark.live
def test_another_machine_does_not_heal_what_a_living_run_of_it_has_open(api: Api, world: World) -> None:
    own = Ledger(api, scenario="sample", lab=world.own_lab.lab_id, kubeconfig="")
    entry = own.intend(CLUSTER, {"uid": "u"})
    assert [(one.clean, one.how) for one in recover.recover_cluster(api)] == [(False, "its run still lives")]
    own.healed(entry)
    assert recover.recover_cluster(api) == []


@pytest.mark.live
def test_a_note_that_cannot_be_read_is_told_and_not_passed_over(api: Api) -> None:
    meta = {"name": "intent-strange", "namespace": ledger.NAMESPACE, "labels": {ledger.LABEL: "open"}}
    for one in ({"kind": "Namespace", "metadata": {"name": ledger.NAMESPACE}}, {"kind": "ConfigMap", "metadata": meta}):
        api.apply({"apiVersion": "v1", **one})
    with pytest.raises(HarnessError, match="cannot be read"):
        recover.recover_cluster(api)
    api.request("DELETE", f"/api/v1/namespaces/{ledger.NAMESPACE}/configmaps/intent-strange")


def test_every_line_is_on_the_disk_before_the_call_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(number: int) -> None:
        real(number)
        synced.append(os.fstat(number).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    own = made()
    own.injected(own.intend(HOST, {}))
    assert len(synced) == 2
    assert synced[-1] == own.path.stat().st_size
