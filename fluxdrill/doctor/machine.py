"""What every lab needs of a machine. Each line is a pure rule over what was looked up, and the look beside it."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from fluxdrill.cluster import leases
from fluxdrill.cluster.ports import FIRST, reserve
from fluxdrill.doctor.finding import GIB, Finding, fail, gib, ok, warn
from fluxdrill.lab.lab import LAB_BINARIES
from fluxdrill.process import run
from fluxdrill.toolchain.catalog import PINNED, Binary, FileSet
from fluxdrill.toolchain.golang import require_go
from fluxdrill.toolchain.gomod import read_module
from fluxdrill.toolchain.store import Origin, cache_root, locate, writable

PYTHON = (3, 11)
COLD_BUILD = 12 * GIB
"""Bytes of disk that building everything takes, with Go's own caches (measured: 3.6 GB build, 8 GB modules)."""
WARM = 2 * GIB
MEMORY = 2 * GIB
"""Bytes of memory that a lab and the run around it are safe with (measured: a lab takes 1.2 GiB, a node 0.5)."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


def judge_system(system: str, machine: str) -> Finding:
    """Return whether labs run on this system."""
    found = f"{system} {machine}"
    if system != "Linux":
        return fail("system", f"This is {found}.", fix="Labs run on Linux only: use a virtual machine or a container.")
    return ok("system", found)


def judge_python(version: tuple[int, ...]) -> Finding:
    """Return whether this Python will do: the package says so when it is installed, a checkout on a path does not."""
    found = f"Python {'.'.join(map(str, version[:3]))}"
    if version < PYTHON:
        return fail("python", f"{found} is too old.", fix=f"Install Python {PYTHON[0]}.{PYTHON[1]} or newer.")
    return ok("python", found)


def judge_git(version: str, *, backend: bool) -> Finding:
    """Return whether git can serve repositories over HTTP; `version` is "" where there is no git."""
    if not version:
        return fail("git", "There is no git on PATH.", fix="Install git.")
    if not backend:
        fix = "Install the package that has it (git-daemon on Alpine and Fedora)."
        return fail("git", "This git has no http-backend.", fix=fix)
    return ok("git", f"{version.removeprefix('git version ')}, with http-backend")


def judge_disk(free: int, needed: int, place: Path) -> Finding:
    """Return how much of `needed` bytes are free at `place`."""
    if free < needed:
        text = f"{gib(free)} are free at {place}, and {gib(needed)} are needed."
        return fail("disk", text, fix="Free some, or point FLUXDRILL_CACHE, GOCACHE and GOMODCACHE elsewhere.")
    return ok("disk", f"{gib(free)} free at {place}")


def judge_memory(rooms: Sequence[int]) -> Finding:
    """Return what the least of `rooms` (bytes free in the machine, and in the groups it is in) allows."""
    free = min(rooms)
    if free < MEMORY:
        text = f"{gib(free)} of memory are free, and a lab needs {gib(MEMORY)}."
        return fail("memory", text, fix="Close something, or give this container more.")
    return ok("memory", f"{gib(free)} of memory free")


def judge_leftovers(orphans: Sequence[str], clusters: Sequence[str], living: int) -> Finding:
    """Return what runs that were killed have left: labs by their ids, and kind clusters by their names."""
    counted = ((orphans, "labs"), (clusters, "kind clusters"))
    left = [f"{len(names)} {what} of killed runs are left ({', '.join(names)})" for names, what in counted if names]
    if left:
        return warn("leftovers", f"{'; '.join(left)}.", fix="Run `fluxdrill reap`.")
    return ok("leftovers", f"nothing is left of killed runs; {living} labs run")


def judge_extra(title: str, purpose: str, path: str | None) -> Finding:
    """Return whether a program that only some tests need is there."""
    if path is None:
        return warn(title, f"There is no {title}.", fix=f"Install it for {purpose}.")
    return ok(title, path)


def system() -> Finding:
    """Look at the operating system."""
    return judge_system(platform.system(), platform.machine())


def python() -> Finding:
    """Look at Python."""
    return judge_python(sys.version_info[:3])


def git() -> Finding:
    """Look for git."""
    program = shutil.which("git")
    if program is None:
        return judge_git("", backend=False)
    libexec = run([program, "--exec-path"], deadline=10).text.strip()
    backend = shutil.which("git-http-backend", path=libexec) is not None
    return judge_git(run([program, "--version"], deadline=10).text.strip(), backend=backend)


def programs() -> Finding:
    """Look for the programs of a lab. Raises HarnessError where one is missing and cannot be built."""
    missing = missing_programs()
    if not missing:
        return ok("programs", f"all {len(LAB_BINARIES)} programs of a lab are there (cache {cache_root()})")
    return ok("programs", f"{builder(missing)} will get {len(missing)} missing programs and file sets on first use")


def builder(missing: Sequence[Binary | FileSet]) -> str:
    """Return the Go that will build `missing`; raises HarnessError where none here can."""
    wanted = max((read_module(one.folder).go for one in missing), key=_numbers)
    return require_go(wanted).version.replace("go", "Go ")  # its own error says what to install


def missing_programs() -> list[Binary | FileSet]:
    """Return the programs and file sets of a lab that are neither in the cache nor given from outside."""
    wanted = [*map(PINNED.find, LAB_BINARIES), *PINNED.files]
    return [one.item for one in map(locate, wanted) if one.origin is Origin.MISSING]


def disk() -> Finding:
    """Look at the cache's disk. Raises HarnessError where the cache cannot be written."""
    cache = writable(cache_root())
    return judge_disk(shutil.disk_usage(cache).free, COLD_BUILD if missing_programs() else WARM, cache)


def memory() -> Finding:
    """Look at the memory."""
    return judge_memory([psutil.virtual_memory().available, *group_rooms(Path("/sys/fs/cgroup"))])


def group_rooms(root: Path) -> Iterator[int]:
    """Yield what a container's own limit still allows, where there is one (cgroup v2, then v1)."""
    for limit, used in (
        (root / "memory.max", root / "memory.current"),
        (root / "memory/memory.limit_in_bytes", root / "memory/memory.usage_in_bytes"),
    ):
        try:
            yield int(limit.read_text()) - int(used.read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue


def ports() -> Finding:
    """Reserve a block of ports and give it back. Raises HarnessError where none is free."""
    block = reserve()  # its own error says what to do
    block.release()
    return ok("ports", f"a block of ports is free (from {block.first}; labs use {FIRST} and up, on loopback)")


def runtime() -> Finding:
    """Make a lab's folder and remove it. Raises HarnessError or RefusedError where it cannot be made."""
    root = leases.runtime_root()
    leases.remove(leases.open_lease().lab_id)  # its own errors say what to do
    return ok("runtime folder", f"{root} can be written")


def leftovers() -> Finding:
    """Look for what killed runs have left."""
    clusters = [cluster.cluster for _, cluster in leases.stray_clusters()]
    return judge_leftovers(leases.orphans(), clusters, len(leases.leases()))


def chromium() -> Finding:
    """Look for a browser."""
    return judge_extra("Chromium", "the tests of the HTML report", _first(*CHROMIUM))


def node_js() -> Finding:
    """Look for Node.js."""
    return judge_extra("Node.js", "the Azure Blob emulator", _first("node"))


def _first(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
