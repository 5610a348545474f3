"""Look at this machine before a lab does: what is found, whether it will do, and what to do where it will not."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from fluxdrill.cluster import leases
from fluxdrill.cluster.ports import FIRST, reserve
from fluxdrill.errors import FluxdrillError, HarnessError
from fluxdrill.lab.lab import LAB_BINARIES
from fluxdrill.process import run
from fluxdrill.toolchain.catalog import PINNED, Binary, FileSet
from fluxdrill.toolchain.golang import require_go
from fluxdrill.toolchain.gomod import read_module
from fluxdrill.toolchain.store import Origin, cache_root, locate, writable

PYTHON = (3, 11)
GIB = 2**30
COLD_BUILD = 12 * GIB
"""Bytes of disk that building everything takes, with Go's own caches (measured: 3.6 GB build, 8 GB modules)."""
WARM = 2 * GIB
MEMORY = 2 * GIB
"""Bytes of memory that a lab and the run around it are safe with (measured: a lab takes 1.2 GiB)."""
INOTIFY = 16
"""inotify instances that must be free: kube-apiserver and kube-controller-manager (1.36) take 8 per lab."""
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; where it is not `ok`, the text ends with what to do. Only `required` ones stop a lab."""

    ok: bool
    required: bool
    text: str


def examine() -> list[Finding]:
    """Look at everything a lab needs, then at what only some tests need. Changes nothing but an empty folder or two."""
    return [*map(_required, _REQUIRED), _leftovers(), *_extras()]


def _required(look: Callable[[], str]) -> Finding:
    try:
        return Finding(ok=True, required=True, text=look())
    except FluxdrillError as error:
        return Finding(ok=False, required=True, text=str(error))


def _system() -> str:
    found = f"{platform.system()} {platform.machine()}"
    if platform.system() != "Linux":
        raise HarnessError(f"This is {found}.", hint="Labs run on Linux only: use a virtual machine or a container.")
    return found


def _python() -> str:
    found = f"Python {platform.python_version()}"
    if sys.version_info < PYTHON:
        raise HarnessError(f"{found} is too old.", hint=f"Install Python {PYTHON[0]}.{PYTHON[1]} or newer.")
    return found


def _git() -> str:
    git = shutil.which("git")
    if git is None:
        raise HarnessError("There is no git on PATH.", hint="Install git.")
    libexec = run([git, "--exec-path"], deadline=10).text.strip()
    if shutil.which("git-http-backend", path=libexec) is None:
        raise HarnessError(
            "This git has no http-backend.", hint="Install the package that has it (git-daemon on Alpine and Fedora)."
        )
    return f"{run([git, '--version'], deadline=10).text.strip()}, with http-backend"


def _programs() -> str:
    missing = _missing()
    if not missing:
        return f"all {len(LAB_BINARIES)} programs of a lab are there (cache {cache_root()})"
    wanted = max((read_module(one.folder).go for one in missing), key=_numbers)
    go = require_go(wanted)  # its own error says what to install
    return f"{go.version.replace('go', 'Go ')} will get {len(missing)} missing programs and file sets on first use"


def _missing() -> list[Binary | FileSet]:
    """Return the programs and file sets of a lab that are neither in the cache nor given from outside."""
    wanted = [*map(PINNED.find, LAB_BINARIES), *PINNED.files]
    return [one.item for one in map(locate, wanted) if one.origin is Origin.MISSING]


def _disk() -> str:
    cache = writable(cache_root())
    needed = COLD_BUILD if _missing() else WARM
    free = shutil.disk_usage(cache).free
    if free < needed:
        raise HarnessError(
            f"{_gib(free)} are free at {cache}, and {_gib(needed)} are needed.",
            hint="Free some, or point FLUXDRILL_CACHE, GOCACHE and GOMODCACHE elsewhere.",
        )
    return f"{_gib(free)} free at {cache}"


def _memory() -> str:
    free = min([psutil.virtual_memory().available, *_cgroup_rooms()])
    if free < MEMORY:
        raise HarnessError(
            f"{_gib(free)} of memory are free, and a lab needs {_gib(MEMORY)}.",
            hint="Close something, or give this container more.",
        )
    return f"{_gib(free)} of memory free"


def _cgroup_rooms() -> Iterator[int]:
    """Yield what a container's own limit still allows, where there is one (cgroup v2, then v1)."""
    root = Path("/sys/fs/cgroup")
    for limit, used in (
        (root / "memory.max", root / "memory.current"),
        (root / "memory/memory.limit_in_bytes", root / "memory/memory.usage_in_bytes"),
    ):
        try:
            yield int(limit.read_text()) - int(used.read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue


def _inotify() -> str:
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    free = limit - _inotify_used()
    if free < INOTIFY:
        raise HarnessError(
            f"{free} of {limit} inotify instances are free, and {INOTIFY} are needed.",
            hint="Raise fs.inotify.max_user_instances with sysctl.",
        )
    return f"{free} of {limit} inotify instances free"


def _inotify_used(pid: str = "[0-9]*") -> int:
    count = 0
    for link in Path("/proc").glob(f"{pid}/fd/*"):
        try:
            count += "inotify" in str(link.readlink())
        except OSError:  # gone, or somebody else's
            continue
    return count


def _ports() -> str:
    block = reserve()  # its own error says what to do
    block.release()
    return f"a block of ports is free (from {block.first}; labs use {FIRST} and up, on loopback)"


def _runtime() -> str:
    root = leases.runtime_root()
    leases.remove(leases.open_lease().lab_id)  # its own errors say what to do
    return f"the runtime folder {root} can be written"


def _leftovers() -> Finding:
    left = leases.orphans()
    if left:
        text = f"{len(left)} labs of killed runs are left ({', '.join(left)}). Run `fluxdrill reap`."
        return Finding(ok=False, required=False, text=text)
    living = len(leases.leases())
    return Finding(ok=True, required=False, text=f"nothing is left of killed runs; {living} labs run")


def _extras() -> Iterator[Finding]:
    yield _extra(CHROMIUM, "Chromium", "the tests of the HTML report")
    yield _extra(("node",), "Node.js", "the Azure Blob emulator")


def _extra(names: tuple[str, ...], title: str, purpose: str) -> Finding:
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        return Finding(ok=False, required=False, text=f"There is no {title}. Install it for {purpose}.")
    return Finding(ok=True, required=False, text=f"{title} at {path}")


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


_REQUIRED = (_system, _python, _git, _programs, _disk, _memory, _inotify, _ports, _runtime)
