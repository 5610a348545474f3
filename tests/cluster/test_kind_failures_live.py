"""What goes wrong with kind clusters is one sentence and its remedy, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from fluxdrill.cluster import containers, engine, leases
from fluxdrill.cluster.containers import KIND_LABEL, Docker, EngineDiedError
from fluxdrill.cluster.kind import KindCluster, KindOptions
from fluxdrill.errors import FluxdrillError, UsageError
from tests.cluster.kinds import needs_kind
from tests.processes import line, python, running, wait_until

pytestmark = [pytest.mark.live, needs_kind]
CREATE = """
from fluxdrill.cluster import leases
from fluxdrill.cluster.kind import KindCluster
lease = leases.open_lease()
print(lease.lab_id)
KindCluster.create(lease)
"""


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """An engine; one that ran before stays."""
    found = engine.find()
    try:
        yield Docker((found or engine.up()).address)
    finally:
        if found is None:
            engine.down()


@pytest.fixture
def lease() -> Iterator[leases.Lease]:
    one = leases.open_lease()
    yield one
    leases.remove(one.lab_id)


def traces(docker: Docker) -> list[str]:
    """Return what clusters have in an engine: containers, networks and volumes."""
    words = (
        ("ps", "--all", "--filter", f"label={KIND_LABEL}", "--format", "{{.Names}}"),
        ("network", "ls", "--format", "{{.Name}}"),
        ("volume", "ls", "--format", "{{.Name}}"),
    )
    return [line for one in words for line in docker.must(*one, what="listing").split()]


def kinds_of(lab_id: str) -> list[psutil.Process]:
    """Return the kind processes at work for a lab."""
    every = psutil.process_iter(["cmdline"])
    return [one for one in every if lab_id in (one.info["cmdline"] or []) and "create" in one.info["cmdline"]]


def test_an_image_that_the_engine_lacks_is_named_before_anything_is_made(docker: Docker, lease: leases.Lease) -> None:
    before = traces(docker)
    with pytest.raises(UsageError, match=r"The engine has no image fluxdrill\.invalid/nope:1\. Load it"):
        KindCluster.create(lease, KindOptions(image="fluxdrill.invalid/nope:1"))
    assert traces(docker) == before


def test_a_taken_port_is_named_and_nothing_is_left(docker: Docker, lease: leases.Lease) -> None:
    before = traces(docker)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"Port {port} on 127\.0\.0\.1 is taken\. Give another port"):
            KindCluster.create(lease, KindOptions(api_port=port))
    assert traces(docker) == before
    assert list((Path(lease.folder) / "kubeconfig").iterdir()) == []


def test_without_an_engine_and_without_rights_it_is_said_who_can_start_one(
    lease: leases.Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "find", lambda *_: None)
    monkeypatch.setattr(engine, "_answers", lambda *_: "")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match=r"Only root can start a container engine\. Run it as root"):
        KindCluster.create(lease)
    assert not (Path(lease.folder) / containers.ADDRESS_FILE).exists()


def test_a_creator_that_is_killed_leaves_nothing_after_the_reaper(docker: Docker) -> None:
    before = traces(docker)
    with running(python(CREATE)) as creator:
        lab_id = line(creator.stdout)
        wait_until(lambda: bool(containers.nodes(docker, lab_id)), within=120)
        creator.send_signal(signal.SIGKILL)
        creator.wait()
    assert kinds_of(lab_id), "kind goes on without its caller: that is what has to be found"
    assert lab_id in leases.orphans()
    (reaped,) = (one for one in leases.reap() if one.lab_id == lab_id)
    assert (reaped.processes >= 1, reaped.folder, reaped.clusters) == (True, True, 1)
    assert kinds_of(lab_id) == []
    assert traces(docker) == before


def test_a_reaper_beside_a_creator_that_is_killed_removes_all_by_itself(docker: Docker) -> None:
    before = traces(docker)
    beside = CREATE.replace("KindCluster.create(lease)", "with Reaper(lease.lab_id): KindCluster.create(lease)")
    with running(python(f"from fluxdrill.cluster.reaper import Reaper\n{beside}")) as creator:
        lab_id = line(creator.stdout)
        wait_until(lambda: bool(containers.nodes(docker, lab_id)), within=120)
        creator.send_signal(signal.SIGKILL)
        creator.wait()
    wait_until(lambda: not (leases.labs_folder() / lab_id).exists(), within=60)
    assert kinds_of(lab_id) == []
    assert traces(docker) == before


def test_a_cluster_whose_lab_s_folder_is_gone_is_found_by_its_label(docker: Docker) -> None:
    before = traces(docker)
    gone = leases.labs_folder() / "lab-00000000"
    gone.mkdir(parents=True)
    containers.mark(docker, gone.name, folder=gone, owner=os.getpid(), owner_started=0.0, hours=1)
    (gone / containers.ADDRESS_FILE).unlink()
    gone.rmdir()
    assert gone.name in traces(docker)
    assert [one.clusters for one in leases.reap() if one.lab_id == gone.name] == [1]
    assert traces(docker) == before


def test_a_cluster_whose_time_is_over_is_removed_though_its_owner_lives(docker: Docker, lease: leases.Lease) -> None:
    names = {hours: f"{lease.lab_id}-{suffix}" for hours, suffix in ((-1.0, "over"), (1.0, "runs"))}
    for hours, name in names.items():
        containers.mark(docker, name, folder=Path(lease.folder), owner=lease.owner, owner_started=0.0, hours=hours)
    reaped = [one.lab_id for one in leases.reap()]
    assert [name in reaped for name in names.values()] == [True, False]


def test_a_cluster_of_another_runtime_folder_is_never_touched(
    docker: Docker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "labs" / "lab-11111111"
    other.mkdir(parents=True)
    containers.mark(docker, other.name, folder=other, owner=1, owner_started=0.0, hours=1)
    try:
        assert other.name not in [one.lab_id for one in leases.reap()]
        assert other.name in traces(docker)
    finally:
        assert containers.remove_of_lab(other) == 1
    assert other.name not in traces(docker)


def test_an_engine_that_dies_while_a_cluster_is_made_is_told_and_nothing_comes_back(lease: leases.Lease) -> None:
    with tempfile.TemporaryDirectory(prefix="fluxdrill-kind-") as folder:  # short: a socket's path has a limit
        place = engine.Place(Path(folder) / "run", Path(folder) / "data", bridge="fluxdrill-t")
        docker = Docker(engine.up(place).address)
        caught: list[FluxdrillError] = []

        def create() -> None:
            with suppress(FluxdrillError):
                try:
                    KindCluster.create(lease, place=place)
                except FluxdrillError as error:
                    caught.append(error)
                    raise

        work = threading.Thread(target=create)
        try:
            work.start()
            wait_until(lambda: bool(containers.nodes(docker, lease.lab_id)), within=180)
            psutil.Process(int((place.folder / "dockerd.pid").read_text(encoding="ascii"))).kill()
            work.join(240)
            assert [type(one) for one in caught] == [EngineDiedError]
            assert "The container engine ended while kind was at work" in caught[0].problem
            assert "fluxdrill engine up" in caught[0].hint
            assert traces(docker) == ["bridge", "host", "none"]
        finally:
            work.join(240)
            engine.down(place)
