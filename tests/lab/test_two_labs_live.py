"""Labs side by side know nothing of each other; a start that fails leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fluxdrill.cluster import leases
from fluxdrill.cluster.part import State
from fluxdrill.errors import HarnessError
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import ApiError, NotFoundError
from fluxdrill.kube.wait import present, wait_for
from fluxdrill.lab import lab as lab_module
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.lab.providers import embedded
from fluxdrill.model.refs import ObjectRef
from fluxdrill.progress import Silent
from tests.lab.fleet import config_map_ref
from tests.processes import process_of

pytestmark = pytest.mark.live

MINE = config_map_ref("mine")


def ports(lab: Lab) -> set[str]:
    """Return every loopback address in the command lines of a lab's processes."""
    words = " ".join(word for process in lab.processes.values() for word in process_of(process).argv)
    return {part.split("/")[0].split(",")[0].split()[0] for part in words.split("127.0.0.1:")[1:]}


def test_two_labs_share_nothing_and_one_survives_the_other() -> None:
    with ThreadPoolExecutor() as pool:
        one, two = pool.map(Lab.start, [LabSpec(flux=False), LabSpec(flux=False)])
    try:
        assert ports(one)
        assert not ports(one) & ports(two)
        assert one.folder != two.folder
        assert one.git.port != two.git.port
        metadata = {"name": MINE.name, "namespace": MINE.namespace}
        one.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        with pytest.raises(NotFoundError):
            two.api.get(MINE)
        wait_for(one.store, present(MINE), deadline=20, what="it in its own lab")
        one.close()
        assert {process.state for process in two.processes.values() if process.name != "toxiproxy"} == {State.RUNNING}
        two.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        wait_for(two.store, present(MINE), deadline=20, what="the other lab to work on")
        assert two.store.gaps == ()
        assert not one.folder.exists()
    finally:
        one.close()
        two.close()
    assert not two.folder.exists()


def test_credentials_of_one_lab_are_refused_by_the_other(
    lab: Lab, start_lab: Callable[[LabSpec], Lab], tmp_path: Path
) -> None:
    other = start_lab(LabSpec(flux=False))
    stolen = tmp_path / "kubeconfig"
    stolen.write_text(
        lab.kubeconfig.read_text().replace(lab.cluster.server, other.cluster.server).replace(ca(lab), ca(other))
    )
    with Api.connect(stolen) as api, pytest.raises(ApiError, match="401"):
        api.get(ObjectRef("", "Namespace", "", "default"))


def ca(lab: Lab) -> str:
    text = lab.kubeconfig.read_text()
    return text.partition('"certificate-authority-data": "')[2].partition('"')[0]


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize("part", ["reserve", "EmbeddedCluster", "ApiProxy", "Outside"])
def test_a_part_that_cannot_be_made_leaves_no_folder_and_no_reaper(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise HarnessError("no more of these")

    monkeypatch.setattr(lab_module if part == "reserve" else embedded, part, fail)
    with pytest.raises(HarnessError, match="no more of these"):
        Lab.start(LabSpec(flux=False))
    assert list(leases.labs_folder().glob("*")) == []
    assert leases.orphans() == []


@pytest.mark.usefixtures("runtime")
def test_a_program_that_does_not_start_is_told_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaker(Silent):
        """Occupies what the API server needs, just before it starts."""

        def update(self, text: str) -> None:
            assert "API server" in text
            for folder in leases.labs_folder().glob("lab-*"):
                (folder / "pki" / "apiserver.crt").write_text("no certificate")

    with pytest.raises(HarnessError, match="kube-apiserver ended while starting"):
        Lab.start(LabSpec(flux=False), progress=Breaker())
    assert list(leases.labs_folder().glob("*")) == []
    assert leases.orphans() == []
