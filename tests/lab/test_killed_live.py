"""A run that is killed leaves nothing behind, at whatever moment of a lab's life it is killed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from fluxdrill.cluster import leases
from fluxdrill.cluster.leases import LAB_VARIABLE
from tests.processes import line, lives, python, running, wait_until

pytestmark = pytest.mark.live

# A run that tells where it is; at the moment that it is asked to stop at, it waits there.
RUN = """
import shutil, sys
from fluxdrill.cluster import leases
from fluxdrill.lab import lab
from fluxdrill.lab.providers import embedded

def tell(word):
    print(word, flush=True)
    if word == sys.argv[1]:
        input()

def told(function, word):
    def call(*args, **kw):
        result = function(*args, **kw)
        tell(word)
        return result
    return call

def open_lease(*args, **kw):
    lease = made(*args, **kw)
    print(lease.folder, flush=True)
    tell("lease")
    return lease

def half(folder):
    for path in sorted(folder.iterdir(), reverse=True)[:3] + [folder / "lease.json"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

made, leases.open_lease = leases.open_lease, open_lease
lab.Reaper = told(lab.Reaper, "reaper")
embedded.EmbeddedCluster.start_api = told(embedded.EmbeddedCluster.start_api, "api")
embedded.Embedded.start_flux = told(embedded.Embedded.start_flux, "flux")
with lab.Lab.start():
    tell("ready")
    if sys.argv[1] == "half-removed":
        leases._delete = told(half, "half-removed")
    print("closing", flush=True)
"""


@dataclass(frozen=True)
class Trace:
    """What a lab has on this machine, found without fluxdrill's own search."""

    folder: Path
    processes: frozenset[int]
    ports: frozenset[int]

    @property
    def left(self) -> list[str]:
        """What of it is still there, in words; empty when nothing is."""
        text = str(self.folder)
        found = [f"process {pid}" for pid in marked(self.folder)]
        found += [f"port {port}" for port in listening() & self.ports]
        found += [f"mount {one}" for one in Path("/proc/self/mounts").read_text().splitlines() if text in one]
        return found + ([f"folder {text}"] if self.folder.exists() else [])


def marked(folder: Path) -> frozenset[int]:
    """Return the pids whose environment names the lab's folder."""
    word = f"{LAB_VARIABLE}={folder}".encode()
    found = set()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if word in entry.read_bytes().split(b"\0"):
                found.add(int(entry.parent.name))
        except OSError:  # gone meanwhile, or somebody else's
            continue
    return frozenset(found)


def listening(pids: frozenset[int] | None = None) -> frozenset[int]:
    """Return the ports that anybody, or one of `pids`, listens on."""
    found = set()
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr and (pids is None or one.pid in pids):
            found.add(one.laddr.port)
    return frozenset(found)


@contextmanager
def run_to(moment: str, runtime: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a run in a runtime folder of its own and read until it is at `moment`; yield it and its lab's folder."""
    with running([*python(RUN), moment], env={"FLUXDRILL_RUNTIME": str(runtime)}) as run:
        folder = Path(line(run.stdout))
        words = iter(lambda: line(run.stdout), "")
        assert moment in words, "the run ended before that moment"
        yield run, folder
        assert run.poll() is not None, "the test ended it"


def trace(folder: Path) -> Trace:
    pids = marked(folder)
    return Trace(folder, pids, listening(pids))


def kill(run: subprocess.Popen[str]) -> None:
    run.kill()
    run.wait()


def reaper_of(run: subprocess.Popen[str]) -> psutil.Process:
    return next(one for one in psutil.Process(run.pid).children() if "fluxdrill.cluster.reaper" in one.cmdline())


@pytest.mark.parametrize(
    ("moment", "at_least"),
    [
        ("reaper", 0),
        ("api", 2),
        pytest.param("flux", 12, marks=pytest.mark.ci),
        ("ready", 12),
        ("closing", 0),
        ("half-removed", 0),
    ],
)
def test_the_labs_own_reaper_removes_everything(runtime: Path, moment: str, at_least: int) -> None:
    with run_to(moment, runtime) as (run, folder):
        seen = trace(folder)
        assert len(seen.processes) >= at_least, "there was something to remove"
        assert len(seen.ports) >= at_least
        reaper = reaper_of(run)
        kill(run)
        wait_until(lambda: not seen.left, within=20)
        wait_until(lambda: not lives(reaper.pid))


@pytest.mark.parametrize("program", ["etcd", "kube-apiserver", "helm-controller"])
def test_it_also_does_while_a_program_starts(runtime: Path, program: str) -> None:
    with running([*python(RUN), "nowhere"], env={"FLUXDRILL_RUNTIME": str(runtime)}) as run:
        wait_until(lambda: bool(list(runtime.glob(f"labs/lab-*/logs/{program}.log"))), within=30)
        folder = next((runtime / "labs").glob("lab-*"))
        kill(run)
        gone = Trace(folder, frozenset(), frozenset())
        wait_until(lambda: not gone.left, within=20)


def test_a_lab_with_no_reaper_yet_goes_with_the_next_reap(runtime: Path) -> None:
    with run_to("lease", runtime) as (run, folder):
        kill(run)
        assert trace(folder).left == [f"folder {folder}"]
        assert [one.lab_id for one in leases.reap()] == [folder.name]
        assert trace(folder).left == []


def test_with_the_reaper_killed_as_well_reap_removes_everything(runtime: Path) -> None:
    with run_to("ready", runtime) as (run, folder):
        seen = trace(folder)
        reaper = reaper_of(run)
        reaper.kill()
        wait_until(lambda: not lives(reaper.pid))
        kill(run)
        assert sorted(marked(folder)) == sorted(seen.processes), "nobody else removes them"
        assert seen.ports <= listening()
        assert [(one.lab_id, one.processes, one.folder) for one in leases.reap()] == [
            (folder.name, len(seen.processes), True)
        ]
        assert seen.left == []
        assert leases.reap() == []


def test_a_run_that_is_interrupted_while_it_starts_cleans_up_itself(runtime: Path) -> None:
    with run_to("api", runtime) as (run, folder):
        seen = trace(folder)
        reaper_of(run).suspend()  # so that it is not the one who does it
        run.send_signal(signal.SIGINT)
        wait_until(lambda: not seen.left, within=20)
        reaper_of(run).resume()
        assert run.wait(20) == -signal.SIGINT


def test_a_run_that_ends_in_order_leaves_nothing_either(runtime: Path) -> None:
    with run_to("ready", runtime) as (run, folder):
        seen = trace(folder)
        assert len(seen.left) > 12, "the check itself sees a running lab"
        run.communicate("go on\n", timeout=30)
        assert run.returncode == 0
        assert seen.left == []
