"""A private container engine: dockerd with a socket, data folder and bridge of its own, for machines where none runs.

It leaves the machine's firewall and routing alone (no iptables rules, no forwarding), so its containers reach each other and
nobody outside; ports are published by docker-proxy. Only root can start one. Proved with Debian's docker.io 20.10.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from fluxdrill.cluster import clamp
from fluxdrill.cluster.containers import failure
from fluxdrill.cluster.leases import mounts_below, runtime_root
from fluxdrill.cluster.supervised import READY_INTERVAL
from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.process import run
from fluxdrill.toolchain.store import cache_root

HOST_SOCKET = Path("/var/run/docker.sock")
VARIABLE = "FLUXDRILL_ENGINE"
"""Every process of an engine carries its folder in this environment variable: that is how it is found to be ended."""
CLEAN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UP_DEADLINE = 60.0
DOWN_DEADLINE = 30.0
_LACKING = 24  # CAP_SYS_RESOURCE
PROGRAMS = ("dockerd", "containerd", "runc", "docker-proxy", "docker", "ip")
"""What a private engine is made of; all of it has to be on CLEAN_PATH."""
_INSTALL = "Install the engine's package (on Debian: docker.io), or start an engine of your own."


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers at `socket`; `own` is one that fluxdrill started."""

    socket: Path
    own: bool
    version: str

    @property
    def address(self) -> str:
        """What DOCKER_HOST has to be."""
        return f"unix://{self.socket}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a private engine lives: what dies with it, what is kept for the next one, and its bridge."""

    folder: Path
    data: Path
    bridge: str = "fluxdrill0"

    @classmethod
    def usual(cls) -> Place:
        """Return the one that the command line starts."""
        return cls(runtime_root() / "engine", cache_root() / "engine")

    @property
    def socket(self) -> Path:
        """Its socket."""
        return self.folder / "docker.sock"

    @property
    def log(self) -> Path:
        """Its log."""
        return self.folder / "dockerd.log"


def find(place: Place | None = None) -> Engine | None:
    """Return the engine to use: the private one if it answers, else the host's, else None."""
    own = (place or Place.usual()).socket
    for path, is_own in ((own, True), (HOST_SOCKET, False)):
        if version := _answers(path):
            return Engine(path, is_own, version)
    return None


def up(place: Place | None = None) -> Engine:
    """Start a private engine and return it once it answers; one that answers already is returned as it is.

    Raises UsageError where the engine's programs or the rights are missing, HarnessError where it does not come up; then
    nothing is left of it.
    """
    place = place or Place.usual()
    if version := _answers(place.socket):
        return Engine(place.socket, own=True, version=version)
    _require()
    down(place)
    try:
        _prepare(place)
        return Engine(place.socket, own=True, version=_await(place, _start(place)))
    except BaseException:
        down(place)
        raise


def down(place: Place | None = None) -> int:
    """End the private engine with all its containers, and return how many processes were ended; images are kept."""
    place = place or Place.usual()
    _end_containers(place)
    ended = _end_processes(place)
    for point in sorted([*mounts_below(place.folder), *mounts_below(place.data)], reverse=True):
        run(["umount", "--lazy", point], deadline=10)
    for link in _links(place):
        run([_program("ip"), "link", "delete", link], deadline=10)
    _remove_groups(place)
    shutil.rmtree(place.folder, ignore_errors=True)
    return ended


def _answers(path: Path) -> str:
    """Return the version of the engine at `path`, "" where none answers."""
    client = shutil.which("docker", path=CLEAN_PATH)
    if client is None or not path.is_socket():
        return ""
    done = run([client, "--host", f"unix://{path}", "version", "--format", "{{.Server.Version}}"], deadline=10)
    return done.text.strip() if done.returncode == 0 else ""


def _program(name: str) -> str:
    found = shutil.which(name, path=CLEAN_PATH)
    if found is None:
        raise UsageError(f"There is no {name} on this machine.", hint=_INSTALL)
    return found


def _require() -> None:
    for name in PROGRAMS:
        _program(name)
    if os.geteuid() != 0:
        raise UsageError("Only root can start a container engine.", hint="Run it as root, or use the host's engine.")


def lacks_resource_capability() -> bool:
    """Whether this machine cannot grant CAP_SYS_RESOURCE, so that its containers need the clamping runtime."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    bound = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return not int(bound, 16) >> _LACKING & 1


def _prepare(place: Place) -> None:
    place.data.mkdir(parents=True, exist_ok=True)
    place.folder.mkdir(parents=True, mode=0o700)
    bridge = _free_network()
    ip = _program("ip")
    for words in (["link", "add", place.bridge, "type", "bridge"], ["address", "add", str(bridge), "dev", place.bridge], ["link", "set", place.bridge, "up"]):  # fmt: skip
        done = run([ip, *words], deadline=10)
        if done.returncode:
            raise HarnessError(f"The bridge {place.bridge} cannot be made: {done.stderr.strip()}", hint="Run `fluxdrill engine down`.")  # fmt: skip
    (place.folder / "daemon.json").write_text(json.dumps(_settings(place, bridge)), encoding="utf-8")


def _links(place: Place) -> list[str]:
    """Return the bridges of an engine and what is plugged into them: one that was killed has removed none."""
    bridges = [name for name, addresses in psutil.net_if_addrs().items() if _is_own(place, name, addresses)]
    plugged = [one.name for bridge in bridges for one in Path("/sys/class/net", bridge, "brif").glob("*")]
    return [*plugged, *bridges]


def _is_own(place: Place, name: str, addresses: Iterable[Any]) -> bool:
    if name == place.bridge:
        return True
    with suppress(OSError, ValueError, LookupError):
        settings = json.loads((place.folder / "daemon.json").read_text(encoding="utf-8"))
        pool = ipaddress.ip_network(settings["default-address-pools"][0]["base"])
        return any(one.family == socket.AF_INET and ipaddress.ip_address(one.address) in pool for one in addresses)
    return False


def _settings(place: Place, bridge: ipaddress.IPv4Interface) -> dict[str, object]:
    pool = {"base": f"172.{int(bridge.ip.packed[1])}.128.0/17", "size": 24}
    settings: dict[str, object] = {
        "data-root": str(place.data),
        "exec-root": str(place.folder / "exec"),
        "pidfile": str(place.folder / "dockerd.pid"),
        "hosts": [f"unix://{place.socket}"],
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "bridge": place.bridge,
        "cgroup-parent": f"/{place.bridge}",
        "default-address-pools": [pool],
        "dns": [
            str(bridge.ip)
        ],  # an address where nobody answers: names of the machine's network are none of its business
        "iptables": False,
        "ip-forward": False,
        "ip-masq": False,
    }
    if lacks_resource_capability():
        settings |= {"runtimes": {"clamp": {"path": str(_launcher(place))}}, "default-runtime": "clamp"}
    return settings


def _launcher(place: Place) -> Path:
    launcher = place.folder / "clamp"
    launcher.write_text(
        f'#!/bin/sh\nexec {sys.executable} -IS {clamp.__file__} {_program("runc")} "$@"\n', encoding="utf-8"
    )
    launcher.chmod(0o755)
    return launcher


def _free_network() -> ipaddress.IPv4Interface:
    """Return the bridge's address in a /16 of 172.16/12 that no interface of this machine is in."""
    used = [
        ipaddress.ip_interface(f"{one.address}/{one.netmask}").network
        for several in psutil.net_if_addrs().values()
        for one in several
        if one.family == socket.AF_INET and one.netmask
    ]
    for second in range(29, 15, -1):
        if not any(ipaddress.ip_network(f"172.{second}.0.0/16").overlaps(one) for one in used):
            return ipaddress.IPv4Interface(f"172.{second}.0.1/24")
    raise HarnessError("No private network is free for the engine.", hint="Remove bridges that nobody uses any more.")


def _start(place: Place) -> int:
    """Start dockerd in a session of its own, since it outlives whoever asked for it; return its pid."""
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")  # it pulls nothing from outside
    environment = {"PATH": CLEAN_PATH, "HOME": str(place.folder), VARIABLE: str(place.folder), **nowhere}
    argv = [_program("dockerd"), "--config-file", str(place.folder / "daemon.json")]
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(place.log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(argv[0], argv, environment, file_actions=actions, setsid=True)


def _await(place: Place, pid: int) -> str:
    end = SYSTEM_CLOCK.now().monotonic + UP_DEADLINE
    while SYSTEM_CLOCK.now().monotonic < end and os.waitpid(pid, os.WNOHANG) == (0, 0):
        if version := _answers(place.socket):
            return version
        time.sleep(READY_INTERVAL)
    said = place.log.read_text(encoding="utf-8", errors="replace")
    last = " / ".join(said.splitlines()[-3:]) or "it said nothing"
    error = failure("The engine did not come up", said, reason=last)
    raise HarnessError(error.problem, hint=error.hint or "`fluxdrill doctor` says what is missing.")


def _end_containers(place: Place) -> None:
    if not _answers(place.socket):
        return
    docker = [_program("docker"), "--host", f"unix://{place.socket}"]
    if names := run([*docker, "ps", "--all", "--quiet"], deadline=10).text.split():
        run([*docker, "rm", "--force", "--volumes", *names], deadline=60)


def _end_processes(place: Place) -> int:
    """SIGTERM to dockerd, which ends containerd; what is left after the deadline is killed."""
    every = list(_processes(place))
    for one in every:
        with suppress(psutil.Error):
            if one.name() == "dockerd":
                one.send_signal(signal.SIGTERM)
    psutil.wait_procs([one for one in every if _is(one, "dockerd")], timeout=DOWN_DEADLINE)
    left = list(_processes(place))
    for one in left:
        with suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(left, timeout=DOWN_DEADLINE)
    return len(every)


def _is(process: psutil.Process, name: str) -> bool:
    with suppress(psutil.Error):
        return bool(process.name() == name)
    return False


def _processes(place: Place) -> Iterator[psutil.Process]:
    """Yield the engine's own, by their mark, and those of its containers, by their control group."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            groups = Path(f"/proc/{process.pid}/cgroup").read_text(encoding="utf-8")
            if f":/{place.bridge}/" in groups or process.environ().get(VARIABLE) == str(place.folder):
                yield process


def _remove_groups(place: Place) -> None:
    for top in Path("/sys/fs/cgroup").glob(f"*/{place.bridge}"):
        below = sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True)
        for folder in [*below, top]:
            with suppress(OSError):  # a process that is just ending; the empty group is harmless
                folder.rmdir()
