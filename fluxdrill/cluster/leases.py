"""Who owns which lab, and the removal of labs whose owner is gone."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from fluxdrill.errors import HarnessError, UsageError

LAB_VARIABLE = "FLUXDRILL_LAB"
"""Every process of a lab carries the lab's id in this environment variable: that is how the reaper finds it."""

KILL_DEADLINE = 10.0
_UNNAMED = ".new-"


@dataclass(frozen=True, slots=True)
class Lease:
    """One lab's note of its owner: process id and start time (a pid alone may be reused)."""

    lab_id: str
    owner: int
    owner_started: float
    folder: str
    kept: bool = False

    @property
    def alive(self) -> bool:
        """Whether the owner still lives."""
        try:
            return abs(psutil.Process(self.owner).create_time() - self.owner_started) < 1.0
        except psutil.NoSuchProcess:
            return False


@dataclass(frozen=True, slots=True)
class Reaped:
    """What was removed of one lab."""

    lab_id: str
    processes: int
    folder: bool


def runtime_root() -> Path:
    """Return the folder of all labs of this user: FLUXDRILL_RUNTIME, else fluxdrill-UID in the temp folder."""
    if named := os.environ.get("FLUXDRILL_RUNTIME"):
        return Path(named)
    return Path(tempfile.gettempdir()) / f"fluxdrill-{os.getuid()}"


def labs_folder() -> Path:
    """Return the folder that holds one folder per lab."""
    return runtime_root() / "labs"


def open_lease(*, kept: bool = False) -> Lease:
    """Make a folder and a lease for a new lab owned by this process."""
    lab_id = f"lab-{secrets.token_hex(4)}"
    folder = labs_folder() / lab_id
    lease = Lease(lab_id, os.getpid(), psutil.Process().create_time(), str(folder), kept)
    # it gets its name only with the lease inside, so that a reaper never meets a lab without an owner
    unnamed = labs_folder() / f"{_UNNAMED}{os.getpid()}-{lab_id}"
    try:
        unnamed.mkdir(parents=True, mode=0o700)
        (unnamed / "lease.json").write_text(json.dumps(asdict(lease)), encoding="utf-8")
        unnamed.rename(folder)
    except OSError as error:
        raise HarnessError(
            f"The lab's folder {folder} cannot be made: {error.strerror}.", hint="Set FLUXDRILL_RUNTIME elsewhere."
        ) from error
    return lease


def leases() -> list[Lease]:
    """Return the leases of all labs of this user."""
    found = (_read(folder / "lease.json") for folder in sorted(labs_folder().glob("lab-*")))
    return [lease for lease in found if lease is not None]


def find_lease(lab_id: str) -> Lease:
    """Return the lease of `lab_id`; raises UsageError with the known ones."""
    known = {lease.lab_id: lease for lease in leases()}
    if lab_id not in known:
        raise UsageError(f"There is no lab {lab_id!r}.", hint=f"Known labs: {', '.join(known) or 'none'}.")
    return known[lab_id]


def reap() -> list[Reaped]:
    """Remove every lab whose owner is gone; labs with a living owner are left alone. Safe to run from cron."""
    for unnamed in labs_folder().glob(f"{_UNNAMED}*"):
        if not psutil.pid_exists(int(unnamed.name.removeprefix(_UNNAMED).partition("-")[0])):
            _delete(unnamed)
    running = set(_processes_by_lab())
    named = {folder.name for folder in labs_folder().glob("lab-*")}
    # read last: a lab that appeared since is in neither set above, or is alive here
    alive = {lease.lab_id for lease in leases() if lease.alive}
    return [remove(lab_id) for lab_id in sorted((running | named) - alive)]


def remove(lab_id: str) -> Reaped:
    """Kill every process of `lab_id` and delete its folder; raises HarnessError if a process will not die."""
    folder = labs_folder() / lab_id
    killed = 0
    end = time.monotonic() + KILL_DEADLINE
    # in rounds: a process may have forked between the look and the kill
    while processes := _processes_by_lab().get(lab_id, []):
        if time.monotonic() > end:
            raise HarnessError(f"{len(processes)} processes of {lab_id} do not die.", hint="See `ps` for state D.")
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
                killed += 1
        psutil.wait_procs(processes, timeout=1)
    existed = folder.exists()
    _delete(folder)
    return Reaped(lab_id, killed, existed)


def _delete(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        shutil.rmtree(folder)


def _read(path: Path) -> Lease | None:
    try:
        return Lease(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _processes_by_lab() -> dict[str, list[psutil.Process]]:
    found: dict[str, list[psutil.Process]] = {}
    for process, lab_id in _marked_processes():
        found.setdefault(lab_id, []).append(process)
    return found


def _marked_processes() -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                lab_id = process.environ().get(LAB_VARIABLE)
                if lab_id:
                    yield process, lab_id
