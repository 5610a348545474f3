"""A private container engine: its containers run, nothing outside is touched, and nothing is left of it."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fluxdrill.cluster import engine
from fluxdrill.cluster.engine import CLEAN_PATH, Engine, Place
from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.process import Completed, run

IMAGE = "fluxdrill-test:1"
FOREVER = "while true; do read x; done # of a container of test_engine_live"


def _why_not() -> str:
    if os.geteuid() != 0:
        return "only root can start a container engine: run the tests as root"
    missing = [
        one for one in ("dockerd", "docker", "runc", "iptables-save") if shutil.which(one, path=CLEAN_PATH) is None
    ]
    return f"{missing[0]} is missing: install the engine's package (on Debian: docker.io)" if missing else ""


needs_engine = pytest.mark.skipif(bool(_why_not()), reason=_why_not())


@pytest.fixture
def place() -> Iterator[Place]:
    """Return a place of its own, so that an engine a person has started is left alone."""
    with tempfile.TemporaryDirectory(prefix="fluxdrill-engine-") as folder:  # short: a socket's path has a limit
        here = Place(Path(folder) / "run", Path(folder) / "data", bridge="fluxdrill-t")
        yield here
        engine.down(here)


def docker(found: Engine, *words: str, stdin: bytes | None = None) -> Completed:
    """Return how a docker command ended."""
    return run(["docker", "--host", found.address, *words], deadline=60, stdin=stdin)


def image() -> bytes:
    """Return a root file system that has just a shell and its libraries."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("/bin/sh", "/bin/cat", *_libraries("/bin/sh", "/bin/cat")):
            tar.add(Path(name).resolve(), arcname=name.lstrip("/"))
    return packed.getvalue()


def _libraries(*programs: str) -> set[str]:
    text = run(["ldd", *programs], deadline=10).text
    return {word for word in text.split() if word.startswith("/") and not word.endswith(":")}


def machine() -> tuple[str, ...]:
    """Return what an engine could leave behind on a machine, or change there."""
    rules = run(["iptables-save"], deadline=10).text
    kept = "\n".join(line for line in rules.splitlines() if not line.startswith(("#", ":")))
    forwarding = Path("/proc/sys/net/ipv4/ip_forward").read_text(encoding="ascii")
    mounts = sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines())
    groups = sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/fluxdrill-t*"))
    shells = [one.pid for one in psutil.process_iter(["cmdline"]) if FOREVER in (one.info["cmdline"] or [])]
    return kept, forwarding, " ".join(sorted(psutil.net_if_addrs())), " ".join(mounts), f"{groups} {shells}"


@needs_engine
def test_containers_run_in_a_private_engine_and_nothing_is_left_of_it(place: Place) -> None:
    """Containers start and see only what they were given; after it is down no process, mount, link or rule is left."""
    before = machine()
    found = engine.up(place)
    assert found.own
    assert docker(found, "import", "-", IMAGE, stdin=image()).returncode == 0
    said = docker(found, "run", "--rm", IMAGE, "/bin/sh", "-c", "echo hello; cat /proc/self/status")
    assert said.text.startswith("hello"), said.stderr
    assert docker(found, "run", "--detach", "--interactive", IMAGE, "/bin/sh", "-c", FOREVER).returncode == 0
    assert engine.down(place) >= 2
    assert machine() == before
    assert not place.folder.exists()


@needs_engine
def test_an_engine_that_was_killed_leaves_nothing_once_it_is_taken_down(place: Place) -> None:
    """SIGKILL of dockerd leaves containerd and a container: both are found by their mark."""
    before = machine()
    found = engine.up(place)
    docker(found, "import", "-", IMAGE, stdin=image())
    docker(found, "network", "create", "another")
    for network in ("bridge", "another"):
        docker(found, "run", "--detach", "--interactive", "--network", network, IMAGE, "/bin/sh", "-c", FOREVER)
    psutil.Process(int((place.folder / "dockerd.pid").read_text(encoding="ascii"))).kill()
    assert engine.down(place) >= 1
    assert machine() == before


@needs_engine
def test_a_second_up_finds_the_first(place: Place) -> None:
    first = engine.up(place)
    assert engine.up(place) == first
    assert engine.find(place) == first


def test_nothing_is_found_where_nothing_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "HOST_SOCKET", place.folder / "none.sock")
    assert engine.find(place) is None


def test_without_the_programs_it_is_said_what_to_install(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CLEAN_PATH", str(place.folder))
    with pytest.raises(UsageError, match=r"no dockerd on this machine\. Install"):
        engine.up(place)
    assert not place.folder.exists()


@needs_engine
def test_an_engine_that_does_not_come_up_says_why_and_leaves_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = machine()
    monkeypatch.setattr(engine, "_settings", lambda *_: {"no-such-setting": True})
    with pytest.raises(HarnessError, match="no-such-setting"):
        engine.up(place)
    assert machine() == before
