"""The container engine of clusters of real nodes: which one would be used, its client, rights, control groups, disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.cluster import engine
from fluxdrill.cluster.containers import Docker, EngineDiedError, last_line
from fluxdrill.cluster.engine import CLEAN_PATH, HOST_SOCKET, PROGRAMS, Engine, Place
from fluxdrill.cluster.nodes import machine_groups
from fluxdrill.doctor.finding import GIB, Finding, gib, ok, warn
from fluxdrill.errors import HarnessError
from fluxdrill.process import DeadlineExceededError, run

DATA = 4 * GIB
"""Bytes of disk for an engine's data (measured: the node image takes 0.9 GB, as much again while it is loaded, each node 0.6 GB when it is Ready)."""
OLDEST = (20, 10)
"""The oldest engine that kind clusters were proved with."""
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}
"""What a private engine cannot do without, by its bit."""
INSTALL = "Install the engine's package (on Debian: docker.io), or start an engine of your own."


@dataclass(frozen=True, slots=True)
class Silent:
    """A socket that is there and where no engine answers; `refused` where this user may not use it."""

    path: Path
    own: bool
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Engines:
    """What was found of container engines. `data`, `runtime` and `groups` are what the engine says of itself.

    `missing` are the programs of a private engine that are not there, `lacking` the capabilities that this process
    lacks for starting one. `groups` is the version of control groups, the machine's own where no engine answers (0: none).
    `wanted` is DOCKER_HOST, `objection` what the client on PATH has to say against the engine.
    """

    engine: Engine | None = None
    silent: tuple[Silent, ...] = ()
    client: str = ""
    missing: tuple[str, ...] = ()
    root: bool = True
    lacking: tuple[str, ...] = ()
    clamped: bool = False
    runtime: str = ""
    data: Path | None = None
    groups: int = 1
    wanted: str = ""
    objection: str = ""

    @property
    def startable(self) -> bool:
        """Whether a private engine can be started."""
        return self.root and not self.missing and not self.lacking


def judge_engine(found: Engines) -> Finding:
    """Return which engine a cluster would be made in."""
    if found.engine is not None:
        whose = "fluxdrill's own" if found.engine.own else "this machine's own"
        return ok("engine", f"{found.engine.version} answers at {found.engine.address} ({whose})")
    if found.startable:
        text = "none answers; a private one is started when a cluster wants it (`fluxdrill engine up` does it now)"
        return ok("engine", text)
    reason, fix = _unstartable(found)
    return warn("engine", f"No container engine answers, and {reason}.", fix=fix, bars_nodes=True)


def _unstartable(found: Engines) -> tuple[str, str]:
    if any(one.refused for one in found.silent):
        return "this user may not use the one that is there", "Run as root, or add this user to the group docker."
    if not found.root:
        return "only root can start a private one", "Run as root, or start the host's engine and let this user use it."
    if found.missing:
        return f"a private one lacks {', '.join(found.missing)}", INSTALL
    fix = "Give this container its host's engine (its socket), or make it privileged."
    return f"this root lacks {', '.join(found.lacking)} to start a private one", fix


def judge_sockets(found: Engines) -> Finding:
    """Return the sockets that promise an engine and keep no promise, and a DOCKER_HOST that nobody follows."""
    for one in found.silent:
        if one.refused:
            fix = "Add this user to the group docker, or run as root."
            return warn("engine socket", f"This user may not use {one.path}.", fix=fix)
        fix = "Run `fluxdrill engine down`." if one.own else "Start the host's engine again, or delete the socket."
        return warn("engine socket", f"Nobody answers at {one.path}.", fix=fix)
    used = found.engine.address if found.engine else "none"
    if found.wanted and found.wanted != used:
        text = f"DOCKER_HOST is {found.wanted}, which fluxdrill does not follow (it uses {used})."
        return warn("engine socket", text, fix="Unset it, so that your own docker shows what fluxdrill does.")
    return ok("engine socket", "no socket without an engine behind it")


def judge_client(found: Engines) -> Finding:
    """Return whether kind and fluxdrill find a docker client; they look for it on PATH."""
    if not found.client:
        text = "There is no docker client on PATH, which kind and k3d call."
        return warn("docker client", text, fix="Install it (on Debian: docker.io), or put its folder on PATH.", bars_nodes=True)  # fmt: skip
    return ok("docker client", found.client)


def judge_rights(found: Engines) -> Finding:
    """Return whether containers can be given what they ask for: CAP_SYS_RESOURCE, or a runtime that does without."""
    who = "root" if found.root else "not root"
    if not found.clamped:
        return ok("rights", f"{who}, CAP_SYS_RESOURCE can be granted")
    if found.engine is None:
        return ok("rights", f"{who}, without CAP_SYS_RESOURCE: a private engine gets the clamping runtime")
    if found.runtime == "clamp":
        return ok("rights", f"{who}, without CAP_SYS_RESOURCE: the engine has the clamping runtime")
    if found.engine.own:
        text = "CAP_SYS_RESOURCE is missing, and fluxdrill's engine was started without the clamping runtime."
        return warn("rights", text, fix="Run `fluxdrill engine down`, then `fluxdrill engine up`.", bars_nodes=True)
    text = "CAP_SYS_RESOURCE is missing here; if the engine lacks it, too, containers end with `unable to apply caps`."
    return warn("rights", text, fix="In that case end that engine and run `fluxdrill engine up` as root.")


def judge_groups(found: Engines) -> Finding:
    """Return whether the node image knows this version of control groups."""
    if found.groups == 1:
        return ok("cgroup", "version 1")
    if found.groups == 0:
        fix = "Mount it (Debian: install cgroupfs-mount), or run on a machine that has it."
        return warn("cgroup", "No control groups are mounted at /sys/fs/cgroup.", fix=fix, bars_nodes=True)
    text = f"version {found.groups}, which fluxdrill's node image does not know yet."
    fix = "Use embedded labs, or kind by hand with its public image; a kernel started with systemd.unified_cgroup_hierarchy=0 has version 1."  # fmt: skip
    return warn("cgroup", text, fix=fix, bars_nodes=True)


def judge_engine_disk(folder: Path | None, free: int) -> Finding:
    """Return whether a node image and its nodes have room; `folder` is None where it is not this machine's."""
    if folder is None:
        fix = f"See that {gib(DATA)} are free where the engine keeps its data (`docker info` names it)."
        return warn("engine disk", "The engine's data folder cannot be looked at from here.", fix=fix)
    if free < DATA:
        text = f"{gib(free)} are free for the engine's data at {folder}, and {gib(DATA)} are needed."
        return warn("engine disk", text, fix="Free some (`docker system prune`), or move the engine's data-root; FLUXDRILL_CACHE moves a private engine's.", bars_nodes=True)  # fmt: skip
    return ok("engine disk", f"{gib(free)} free for the engine's data at {folder}")


def judge_engine_version(found: Engines) -> Finding:
    """Return whether the engine is known to work, and whether the client on PATH can talk to it."""
    if found.engine is None:
        return ok("engine version", "no engine answers yet, so there is none to compare with the docker client")
    version = found.engine.version
    if found.objection:
        text = f"The docker client on PATH does not get on with the engine ({version}): {found.objection.rstrip('.')}."
        return warn("engine version", text, fix="Put a client of the engine's age first on PATH.", bars_nodes=True)
    if numbers(version)[:2] < OLDEST:
        text = f"The engine is {version}; none older than {OLDEST[0]}.{OLDEST[1]} was tried."
        return warn("engine version", text, fix="Install a newer engine.")
    return ok("engine version", f"{version}, and the client on PATH talks to it")


def look() -> Engines:
    """Look for engines, their client and this process's rights. Raises HarnessError where an engine hangs."""
    try:
        found = engine.find()
        said, objection = _ask(found)
    except DeadlineExceededError as error:
        hint = "Run `fluxdrill engine down`, or end the host's engine, and look again."
        raise HarnessError(f"The container engine hangs: {error.problem}", hint=hint) from error
    capabilities = _capabilities()
    return Engines(
        engine=found,
        silent=tuple(_silent(found)),
        client=_client(),
        missing=tuple(one for one in PROGRAMS if shutil.which(one, path=CLEAN_PATH) is None),
        root=os.geteuid() == 0,
        lacking=tuple(name for name, bit in CAPABILITIES.items() if not capabilities >> bit & 1),
        clamped=engine.lacks_resource_capability(),
        runtime=str(said.get("DefaultRuntime", "")),
        data=_data(said, found),
        groups=int(str(said.get("CgroupVersion") or machine_groups())),
        wanted=os.environ.get("DOCKER_HOST", ""),
        objection=objection,
    )


def engine_disk(found: Engines) -> Finding:
    """Look at the disk of the engine's data."""
    return judge_engine_disk(found.data, shutil.disk_usage(found.data).free if found.data else 0)


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version starts with: (20, 10, 24) of "v20.10.24+dfsg1"."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(map(int, match[1].split("."))) if match else ()


def _ask(found: Engine | None) -> tuple[Mapping[str, object], str]:
    """Return what the engine says of itself, and what the client on PATH has against it."""
    if found is None or shutil.which("docker") is None:
        return {}, ""
    try:
        done = Docker(found.address).run("info", "--format", "{{json .}}")
        said = json.loads(done.text or "{}")
    except (EngineDiedError, ValueError) as error:
        return {}, str(error)
    objections = said.get("ServerErrors") or ([last_line(done.stderr)] if done.returncode else [])
    return said, " ".join(map(str, objections))


def _client() -> str:
    """Return the docker client on PATH and its version, "" where there is none."""
    path = shutil.which("docker")
    if path is None:
        return ""
    return f"{run([path, '--version'], deadline=10).text.strip()} ({path})"


def _silent(found: Engine | None) -> Iterator[Silent]:
    askable = shutil.which("docker", path=CLEAN_PATH) is not None
    for path, own in ((Place.usual().socket, True), (HOST_SOCKET, False)):
        asked = askable and (own or found is None or not found.own)
        if (found is None or path != found.socket) and path.is_socket():
            reply = _connect(path)
            if reply is not None or asked:
                yield Silent(path, own, refused=isinstance(reply, PermissionError))


def _connect(path: Path) -> OSError | None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
        except OSError as error:
            return error
    return None


def _data(said: Mapping[str, object], found: Engine | None) -> Path | None:
    """Return the engine's data folder as far as it exists; None where an engine keeps it out of sight."""
    folder = Path(str(said.get("DockerRootDir") or Place.usual().data))
    try:
        if found is not None and not found.own:
            return folder if said and folder.is_dir() else None
        return next(one for one in (folder, *folder.parents) if one.is_dir())
    except OSError:
        return None


def _capabilities() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
