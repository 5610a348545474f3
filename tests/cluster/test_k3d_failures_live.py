"""What goes wrong with k3d clusters is one sentence and its remedy, and nothing is left behind."""

from __future__ import annotations

import signal
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from fluxdrill.cluster import containers, engine, k3d, leases
from fluxdrill.cluster.containers import K3D_LABEL, Docker, EngineDiedError
from fluxdrill.cluster.images import engine_store
from fluxdrill.cluster.images.node import ensure_node_image
from fluxdrill.cluster.k3d import K3dCluster, K3dOptions
from fluxdrill.errors import HarnessError, UsageError
from tests.cluster.kinds import needs_k3d
from tests.processes import line, python, running, wait_until

pytestmark = [pytest.mark.live, needs_k3d]
CREATE = """
from fluxdrill.cluster import leases
from fluxdrill.cluster.k3d import K3dCluster
lease = leases.open_lease()
print(lease.lab_id)
K3dCluster.create(lease)
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


def traces(docker: Docker, lab_id: str) -> list[str]:
    """Return what a lab's k3d cluster has in an engine: containers, its network, and its volume."""
    words = (
        ("ps", "--all", "--filter", f"label={K3D_LABEL}={lab_id}", "--format", "{{.Names}}"),
        ("network", "ls", "--filter", f"name={lab_id}", "--format", "{{.Name}}"),
        ("volume", "ls", "--filter", f"name=k3d-{lab_id}", "--format", "{{.Name}}"),
    )
    return [found for one in words for found in docker.must(*one, what="listing").split()]


def drivers_of(lab_id: str) -> list[psutil.Process]:
    """Return the k3d processes at work for a lab."""
    every = psutil.process_iter(["cmdline"])
    return [one for one in every if lab_id in (one.info["cmdline"] or []) and "create" in one.info["cmdline"]]


def test_an_image_that_the_engine_lacks_is_named_before_anything_is_made(docker: Docker, lease: leases.Lease) -> None:
    with pytest.raises(UsageError, match=r"The engine has no image fluxdrill\.invalid/nope:1\. Load it"):
        K3dCluster.create(lease, K3dOptions(image="fluxdrill.invalid/nope:1"))
    assert traces(docker, lease.lab_id) == []


def test_a_taken_port_is_named_and_nothing_is_left(docker: Docker, lease: leases.Lease) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"Port {port} on 127\.0\.0\.1 is taken\. Give another port"):
            K3dCluster.create(lease, K3dOptions(api_port=port))
    assert traces(docker, lease.lab_id) == []
    assert list((Path(lease.folder) / "kubeconfig").iterdir()) == []


def test_a_name_that_k3d_does_not_take_is_refused_before_anything_is_made(docker: Docker, lease: leases.Lease) -> None:
    with pytest.raises(UsageError, match=r"k3d takes no name of more than 32 characters: .*suffix of 19 at the most"):
        K3dCluster.create(lease, K3dOptions(suffix="x" * 20))
    assert traces(docker, lease.lab_id) == []


def test_an_image_that_does_not_keep_the_contract_is_told_in_time_and_nothing_is_left(
    docker: Docker, lease: leases.Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kind's node image has no /bin/k3s: k3d 5.9.0 would wait for it without an end."""
    node = ensure_node_image()
    engine_store.load(docker, node)
    monkeypatch.setattr(k3d, "READY_SECONDS", 10)
    with pytest.raises(HarnessError, match=r"k3d cluster create failed for .*context deadline exceeded"):
        K3dCluster.create(lease, K3dOptions(image=node.reference))
    assert traces(docker, lease.lab_id) == []


def test_a_node_s_last_words_are_told_where_it_gives_up(
    docker: Docker, lease: leases.Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    """k3d 5.9.0 only says that it waited in vain: its start script never sees that /bin/k3s has ended."""
    more = ["--k3s-arg", "--disable=traefik@server:0"]
    plain = k3d.arguments
    monkeypatch.setattr(k3d, "arguments", lambda *words, **options: plain(*words, **options) + more)
    monkeypatch.setattr(k3d, "READY_SECONDS", 10)
    with pytest.raises(HarnessError, match=r"server-0: this image has no answer to --disable=traefik: .* not k3s"):
        K3dCluster.create(lease)
    assert traces(docker, lease.lab_id) == []


def test_a_creator_that_is_killed_leaves_nothing_after_the_reaper(docker: Docker) -> None:
    with running(python(CREATE)) as creator:
        lab_id = line(creator.stdout)
        wait_until(lambda: f"k3d-{lab_id}-server-0" in containers.nodes(docker, lab_id), within=180)
        creator.send_signal(signal.SIGKILL)
        creator.wait()
    assert drivers_of(lab_id), "k3d goes on without its caller: that is what has to be found"
    assert lab_id in leases.orphans()
    (reaped,) = (one for one in leases.reap() if one.lab_id == lab_id)
    assert (reaped.processes >= 1, reaped.folder, reaped.clusters) == (True, True, 1)
    assert drivers_of(lab_id) == []
    assert traces(docker, lab_id) == []


def test_a_reaper_beside_a_creator_that_is_killed_removes_all_by_itself(docker: Docker) -> None:
    beside = CREATE.replace("K3dCluster.create(lease)", "with Reaper(lease.lab_id): K3dCluster.create(lease)")
    with running(python(f"from fluxdrill.cluster.reaper import Reaper\n{beside}")) as creator:
        lab_id = line(creator.stdout)
        wait_until(lambda: bool(containers.nodes(docker, lab_id)), within=180)  # it may be k3d's own container
        creator.send_signal(signal.SIGKILL)
        creator.wait()
    wait_until(lambda: not (leases.labs_folder() / lab_id).exists(), within=60)
    assert drivers_of(lab_id) == []
    assert traces(docker, lab_id) == []


def test_an_engine_that_dies_while_a_cluster_is_made_is_told_and_nothing_comes_back(lease: leases.Lease) -> None:
    with tempfile.TemporaryDirectory(prefix="fluxdrill-k3d-") as folder, ThreadPoolExecutor() as pool:
        place = engine.Place(Path(folder) / "run", Path(folder) / "data", bridge="fluxdrill-u")
        docker = Docker(engine.up(place).address)
        try:
            work = pool.submit(K3dCluster.create, lease, place=place)
            wait_until(lambda: f"k3d-{lease.lab_id}-server-0" in containers.nodes(docker, lease.lab_id), within=240)
            psutil.Process(int((place.folder / "dockerd.pid").read_text(encoding="ascii"))).kill()
            with pytest.raises(EngineDiedError, match=r"The container engine ended while k3d was at work"):
                work.result(240)
            assert traces(docker, lease.lab_id) == []
            assert docker.must("volume", "ls", "--quiet", what="listing") == ""
        finally:
            engine.down(place)
