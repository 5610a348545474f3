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
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

from fluxdrill.cluster import containers
from fluxdrill.cluster.containers import Docker, Owned
from fluxdrill.errors import HarnessError, RefusedError, UsageError
from fluxdrill.process import run

LAB_VARIABLE = "FLUXDRILL_LAB"
"""Every process of a lab carries the lab's folder in this environment variable: that is how the reaper finds it.

The folder and not only the id, so that a reaper never takes a lab below another runtime folder for an orphan.
"""

KILL_DEADLINE = 10.0
_UNNAMED = ".new-"


@dataclass(frozen=True, slots=True)
class Lease:
    """One lab's note of its owner: process id and start, in seconds since boot (a pid alone may be reused)."""

    lab_id: str
    owner: int
    owner_started: float
    folder: str
    kept: bool = False

    @property
    def alive(self) -> bool:
        """Whether the owner still lives; a zombie does not."""
        return started(self.owner) == self.owner_started


@dataclass(frozen=True, slots=True)
class Reaped:
    """What was removed of one lab; `clusters` counts those in a container engine."""

    lab_id: str
    processes: int
    folder: bool
    clusters: int = 0


def runtime_root() -> Path:
    """Return the folder of all labs of this user: FLUXDRILL_RUNTIME, else fluxdrill-UID in the temp folder."""
    named = os.environ.get("FLUXDRILL_RUNTIME")
    return Path(named or Path(tempfile.gettempdir()) / f"fluxdrill-{os.getuid()}").resolve()


def labs_folder() -> Path:
    """Return the folder that holds one folder per lab."""
    return runtime_root() / "labs"


def marker(lab_id: str) -> dict[str, str]:
    """Return the environment that marks a process as part of a lab."""
    return {LAB_VARIABLE: str(labs_folder() / lab_id)}


def open_lease(*, kept: bool = False) -> Lease:
    """Make a folder and a lease for a new lab owned by this process.

    Raises HarnessError where the folder cannot be made and RefusedError where its parent belongs to somebody else.
    """
    lab_id = f"lab-{secrets.token_hex(4)}"
    folder = labs_folder() / lab_id
    lease = Lease(lab_id, os.getpid(), started(os.getpid()) or 0.0, str(folder), kept)
    # it gets its name only with the lease inside, so that a reaper never meets a lab without an owner
    unnamed = labs_folder() / f"{_UNNAMED}{os.getpid()}-{lab_id}"
    try:
        unnamed.mkdir(parents=True, mode=0o700)
        _refuse_strangers(runtime_root())
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


def orphans() -> list[str]:
    """Return the ids of the labs whose owner is gone, by the processes and folders they left."""
    left = set(_processes_by_lab()) | {folder.name for folder in labs_folder().glob("lab-*")}
    # read last: a lab that appeared since is not in the set above, or is alive here
    return sorted(left - {lease.lab_id for lease in leases() if lease.alive})


def reap() -> list[Reaped]:
    """Remove every lab whose owner is gone; labs with a living owner are left alone. Safe to run from cron."""
    for unnamed in labs_folder().glob(f"{_UNNAMED}*"):
        owner = unnamed.name.removeprefix(_UNNAMED).partition("-")[0]
        if not owner.isdigit() or started(int(owner)) is None:
            _delete(unnamed)
    return [*(remove(lab_id) for lab_id in orphans()), *_reap_clusters()]


def remove(lab_id: str) -> Reaped:
    """Kill every process of `lab_id`, remove its clusters, and delete its folder with what is mounted below it.

    Raises HarnessError if a process will not die, a cluster or a mount not go.
    """
    folder = labs_folder() / lab_id
    killed = _kill_all(lab_id)
    clusters = containers.remove_of_lab(folder)
    existed = folder.exists()
    _delete(folder)
    return Reaped(lab_id, killed, existed, clusters)


def clusters() -> list[tuple[Docker, Owned]]:
    """Return the clusters of this user's labs in the container engines that answer, also of labs that are gone."""
    from fluxdrill.cluster.engine import HOST_SOCKET, Place  # noqa: PLC0415 - it is built on this module

    sockets = [path for path in (Place.usual().socket, HOST_SOCKET) if path.is_socket()]
    engines = [one for one in (Docker(f"unix://{path}") for path in sockets) if one.answers()]
    found = ((one, cluster) for one in engines for cluster in containers.owned(one))
    return [(one, cluster) for one, cluster in found if Path(cluster.folder).parent == labs_folder()]


def stray_clusters() -> list[tuple[Docker, Owned]]:
    """Return the clusters whose lab is gone, or whose time is over."""
    found = clusters()
    alive = {lease.folder for lease in leases() if lease.alive}
    return [(one, cluster) for one, cluster in found if cluster.expired or cluster.folder not in alive]


def _reap_clusters() -> list[Reaped]:
    stray = stray_clusters()
    for one, cluster in stray:
        containers.remove(one, cluster.cluster)
    return [Reaped(cluster.cluster, processes=0, folder=False, clusters=1) for _, cluster in stray]


def _kill_all(lab_id: str) -> int:
    killed: set[int] = set()
    end = time.monotonic() + KILL_DEADLINE
    # in rounds: a process may have forked between the look and the kill
    while processes := _processes_by_lab().get(lab_id, []):
        if time.monotonic() > end:
            raise HarnessError(f"{len(processes)} processes of {lab_id} do not die.", hint="See `ps` for state D.")
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
                killed.add(process.pid)
        psutil.wait_procs(processes, timeout=0.05)
    return len(killed)


def _delete(folder: Path) -> None:
    _unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(FileNotFoundError):  # another reaper may be at it
        shutil.rmtree(folder)


def _unmount_below(folder: Path) -> None:
    """Take off every mount below `folder`: deleting into one would delete what is not the lab's."""
    for mount in sorted(mounts_below(folder), reverse=True):
        for argv in (["fusermount3", "-u", "-z", mount], ["umount", "--lazy", mount]):
            if shutil.which(argv[0]):
                run(argv, deadline=10)
    if left := mounts_below(folder):
        raise HarnessError(f"{left[0]} is still mounted.", hint=f"Run `umount --lazy {left[0]}` as root, then reap.")


def mounts_below(folder: Path) -> list[str]:
    """Return the mount points at and below `folder`."""
    points = [one.mountpoint for one in psutil.disk_partitions(all=True)]
    return [point for point in points if Path(point).is_relative_to(folder)]


def _read(path: Path) -> Lease | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        # a newer version may have written more
        return Lease(**{field.name: document[field.name] for field in fields(Lease)})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _refuse_strangers(root: Path) -> None:
    if root.stat().st_uid != os.getuid():
        raise RefusedError(f"{root} belongs to another user.", hint="Set FLUXDRILL_RUNTIME to a folder of your own.")


def started(pid: int) -> float | None:
    """Return when a process started, in seconds since boot; None when it is gone or a zombie.

    psutil reckons from the wall clock, so that its answer moves when the clock is set.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields_ = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields_[18]) / os.sysconf("SC_CLK_TCK")


def _processes_by_lab() -> dict[str, list[psutil.Process]]:
    found: dict[str, list[psutil.Process]] = {}
    ours = str(labs_folder())
    for process, folder in _marked_processes():
        parent, _, lab_id = folder.rpartition("/")
        if parent == ours:
            found.setdefault(lab_id, []).append(process)
    return found


def _marked_processes() -> Iterator[tuple[psutil.Process, str]]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                folder = process.environ().get(LAB_VARIABLE)
                if folder:
                    yield process, folder
