"""Fill a containerd store with images before a node exists: importing them at every start would take 5 s longer."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fluxdrill.cluster.supervised import READY_INTERVAL
from fluxdrill.errors import HarnessError
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.process import Completed, run

START_DEADLINE = 20.0
IMPORT_DEADLINE = 300.0
STOP_DEADLINE = 20.0
NAMESPACE = "k8s.io"
_SETTINGS = """version = 3
root = "{folder}/store"
state = "{folder}/state"
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]
[grpc]
address = "{folder}/ctd.sock"
[ttrpc]
address = "{folder}/ttrpc.sock"
"""


def fill_store(archives: Sequence[Path], *, programs: Mapping[str, Path], folder: Path) -> Path:
    """Import `archives`, pinned, into a new store below `folder`, and return the store's folder.

    `programs` has containerd and ctr. Needs root. The store's bytes differ from run to run (its database and its order
    of snapshots), what it holds does not. Raises HarnessError where containerd fails; nothing keeps running.
    """
    with _containerd(programs, folder) as ctr:
        for archive in archives:
            # the layers are kept unpacked only: half the size, and a node never sends them anywhere
            words = ("images", "import", "--label=io.cri-containerd.pinned=pinned", "--digests", "--local", "--discard-unpacked-layers")  # fmt: skip
            _must(run([*ctr, *words, archive], deadline=IMPORT_DEADLINE), archive.name)
        # waits until the packed layers are gone, which happens some time later by itself
        _must(run([*ctr, "content", "prune", "references"], deadline=IMPORT_DEADLINE), "the tidy store")
    return folder / "store"


def _must(done: Completed, what: str) -> None:
    if done.returncode:
        raise HarnessError(
            f"{what} cannot be put into the node's store: {_last(done.stderr)}",
            hint="Delete the cache's images folder and run `fluxdrill images build` again.",
        )


@contextmanager
def _containerd(programs: Mapping[str, Path], folder: Path) -> Iterator[list[str | Path]]:
    """Run containerd with everything below `folder`; yield how ctr talks to it."""
    (folder / "containerd.toml").write_text(_SETTINGS.format(folder=folder), encoding="utf-8")
    mortal = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    argv = [*mortal, str(programs["containerd"]), "--config", str(folder / "containerd.toml")]
    with (folder / "containerd.log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        ctr: list[str | Path] = [programs["ctr"], "--address", folder / "ctd.sock", "--namespace", NAMESPACE]
        _await(process, [*ctr, "--connect-timeout", "2s", "version"], folder)
        yield ctr
    finally:
        _end(process)


def _await(process: subprocess.Popen[bytes], question: Sequence[str | Path], folder: Path) -> None:
    end = SYSTEM_CLOCK.now().monotonic + START_DEADLINE
    while run(question, deadline=10).returncode:
        if process.poll() is not None or SYSTEM_CLOCK.now().monotonic > end:
            said = (folder / "containerd.log").read_text(encoding="utf-8", errors="replace")
            raise HarnessError(f"containerd does not start: {_last(said)}", hint="It needs root and an ordinary disk.")
        time.sleep(READY_INTERVAL)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
