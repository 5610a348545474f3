"""A full disk is told as such with its remedy, whoever meets it first, and nothing is left behind."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from fluxdrill.cluster import containers, engine, leases
from fluxdrill.cluster.containers import Docker
from fluxdrill.cluster.engine import Place
from fluxdrill.cluster.kind import KindCluster, KindOptions
from fluxdrill.errors import FluxdrillError, HarnessError
from fluxdrill.process import run
from tests.cluster.kinds import leased, needs_kind
from tests.cluster.test_engine_live import needs_engine

pytestmark = pytest.mark.live
MIB = 2**20
IMAGE = "fluxdrill-test:node"
BRIDGE = "fluxdrill-d"


@contextmanager
def disk(mib: float) -> Iterator[Place]:
    """Give the place of an engine whose data lies on a small disk of its own; both end with the block."""
    with tempfile.TemporaryDirectory(prefix="fluxdrill-full-") as name:  # short: a socket's path has a limit
        mounted = Path(name) / "disk"
        mounted.mkdir()
        made = run(["mount", "-t", "tmpfs", "-o", f"size={int(mib * MIB)}", "fluxdrill-full", mounted], deadline=10)
        assert made.returncode == 0, made.stderr
        place = Place(Path(name) / "run", mounted / "data", bridge=BRIDGE)
        try:
            yield place
        finally:
            engine.down(place)
            run(["umount", "--lazy", mounted], deadline=10)


def fill(place: Place, *, leave: int = 0) -> None:
    """Fill the disk below a place but for `leave` MiB."""
    free = shutil.disk_usage(place.data.parent).free - leave * MIB
    with (place.data.parent / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free)


def image() -> bytes:
    """Return a root file system that kind takes for a node's until it runs it: all in /var, which becomes a volume."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        data = os.urandom(4 * MIB)
        info = tarfile.TarInfo("var/data")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def contents(docker: Docker) -> list[str]:
    """Return what an engine holds: containers, networks, volumes and images."""
    words = (
        ("ps", "--all", "--format", "{{.Names}}"),
        ("network", "ls", "--format", "{{.Name}}"),
        ("volume", "ls", "--format", "{{.Name}}"),
        ("image", "ls", "--all", "--format", "{{.Repository}}:{{.Tag}}"),
    )
    return [line for one in words for line in docker.must(*one, what="listing").split()]


def refused(lease: leases.Lease, place: Place, options: KindOptions | None = None) -> FluxdrillError:
    """Return the error of a cluster that cannot be made, after which its lab has no kubeconfig and no process."""
    with pytest.raises(HarnessError) as caught:
        KindCluster.create(lease, options, place=place)
    folder = Path(lease.folder) / "kubeconfig"
    assert not folder.exists() or list(folder.iterdir()) == []
    assert leases.remove(lease.lab_id).processes == 0
    return caught.value


@needs_engine
def test_an_engine_does_not_come_up_on_a_full_disk_and_says_why() -> None:
    with disk(0.0625) as place:
        fill(place)
        with pytest.raises(HarnessError, match=r"did not come up: the engine's disk is full \(no space left") as caught:
            engine.up(place)
        assert "`fluxdrill doctor` names the folder" in caught.value.hint
        assert not place.folder.exists()
        assert list(engine._processes(place)) == []
        assert BRIDGE not in psutil.net_if_addrs()


@needs_kind
def test_a_disk_that_does_not_take_the_node_image_is_told_and_nothing_is_left() -> None:
    with leased() as lease, disk(32) as place:
        docker = Docker(engine.up(place).address)
        before, used = contents(docker), shutil.disk_usage(place.data).used
        error = refused(lease, place)
        assert error.problem.startswith("The engine does not load fluxdrill.invalid/node:")
        assert "the engine's disk is full (no space left on device)" in error.problem
        assert error.hint.startswith("Free some of it: `fluxdrill doctor`")
        assert contents(docker) == before
        assert shutil.disk_usage(place.data).used - used < MIB


@needs_kind
def test_a_disk_that_does_not_take_a_node_is_told_and_nothing_is_left() -> None:
    """The engine has the image, and no room for the copy of its /var that every node gets."""
    with leased() as lease, disk(32) as place:
        found = engine.up(place)
        docker = Docker(found.address)
        words = ["import", "--change", 'ENTRYPOINT ["/var/data"]', "-", IMAGE]
        imported = run(["docker", "--host", found.address, *words], deadline=60, stdin=image())
        assert imported.returncode == 0, imported.stderr
        fill(place, leave=1)
        before, used = contents(docker), shutil.disk_usage(place.data).used
        error = refused(lease, place, KindOptions(image=IMAGE))
        assert error.problem.startswith(f"kind create failed for {lease.lab_id}: ")
        assert "no space left on device" in error.problem
        assert "`fluxdrill doctor`" in error.hint
        assert contents(docker) == before
        assert containers.owned(docker) == []
        assert shutil.disk_usage(place.data).used - used < MIB


FULL = """
import subprocess, sys
from pathlib import Path
cache, program = Path(sys.argv[1]), Path(sys.argv[2])
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(cache)]).returncode:
    sys.exit(77)
from fluxdrill.cluster.images.components import find, make
from fluxdrill.errors import HarnessError
try:
    make(cache / "images" / "archives" / "etcd.tar", find("etcd"), [], program)
except HarnessError as error:
    print(error.problem, error.hint, sep="\\n")
print(sorted(path.name for path in (cache / "images" / "archives").iterdir()))
"""


@pytest.mark.parametrize("size", [MIB, 1])
def test_images_are_not_made_on_a_full_disk_and_no_half_one_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The control: a program that has room is made into an image on the same disk."""
    (tmp_path / "cache").mkdir()
    program = tmp_path / "etcd"
    program.write_bytes(os.urandom(size))
    monkeypatch.setenv("FLUXDRILL_CACHE", str(tmp_path / "cache"))
    # the mount is seen by that one process only and ends with it
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    argv = [*namespace, sys.executable, "-c", FULL, str(tmp_path / "cache"), str(program)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("a small file system cannot be mounted here: allow user namespaces or run as root")
    *said, left = done.stdout.splitlines()
    if size == 1:
        assert (said, left) == ([], "['etcd.tar']")
        return
    problem, hint = said
    assert problem == f"The disk of the images is full ({tmp_path}/cache/images)."
    assert hint.startswith("Free about 4 GB there")
    assert left == "[]"
