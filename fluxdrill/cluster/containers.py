"""What labs have in a container engine: the docker client with deadlines, and clusters marked with their owner.

A cluster's containers carry its name as kind or k3d labels them; its network, made before and removed after them, has the same
name and carries the lab's folder, the owner's process and an expiry. That is how a reaper finds all of it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.errors import FluxdrillError, HarnessError, UsageError
from fluxdrill.process import Completed, run

LAB_LABEL = "fluxdrill.lab"
OWNER_LABEL = "fluxdrill.owner"
STARTED_LABEL = "fluxdrill.owner-started"
EXPIRES_LABEL = "fluxdrill.expires"
KIND_LABEL = "io.x-k8s.kind.cluster"
K3D_LABEL = "k3d.cluster"
ADDRESS_FILE = "engine"
"""The file in a lab's folder that names the engine of its clusters."""
QUICK = 20.0
REMOVE_DEADLINE = 60.0
_MOST = 100
_INTERVAL = 0.2
_GONE = re.compile(r"No such (container|network)|not found|already in progress", re.IGNORECASE)
_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_DEAD = ("Cannot connect to the Docker daemon", "error during connect")


class EngineDiedError(HarnessError):
    """The container engine does not answer any more."""


@dataclass(frozen=True, slots=True)
class Docker:
    """The docker client for the engine at `address` (what DOCKER_HOST would be)."""

    address: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a program that calls docker itself; of docker's own variables only the address."""
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "KIND_", "KUBECONFIG"))
        }
        return kept | {"DOCKER_HOST": self.address}

    def run(self, *words: str | Path, deadline: float = QUICK, stdin: bytes | None = None) -> Completed:
        """Return how `docker WORDS` ended; raises UsageError where there is no client, EngineDiedError without engine."""
        client = shutil.which("docker")
        if client is None:
            raise UsageError("There is no docker client here.", hint="Install it (on Debian: docker.io).")
        done = run([client, *words], deadline=deadline, env=self.environment, stdin=stdin)
        if done.returncode and is_dead(done.stderr):
            raise EngineDiedError(
                f"The container engine at {self.address} does not answer.",
                hint="Run `fluxdrill engine down`, then `fluxdrill engine up`; or start the host's engine.",
            )
        return done

    def must(self, *words: str | Path, what: str, deadline: float = QUICK) -> str:
        """Return what `docker WORDS` printed; raises HarnessError, which starts with `what`, where it fails."""
        done = self.run(*words, deadline=deadline)
        if done.returncode:
            raise failure(what, done.stderr)
        return done.text.strip()

    def answers(self) -> bool:
        """Whether the engine answers."""
        try:
            return self.run("version", "--format", "{{.Server.Version}}").returncode == 0
        except FluxdrillError:
            return False


@dataclass(frozen=True, slots=True)
class Owned:
    """One cluster of a lab as its network tells: `folder` is the lab's, `expires` is seconds since the epoch."""

    cluster: str
    folder: str
    owner: int
    owner_started: float
    expires: float

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return time.time() > self.expires


def is_dead(text: str) -> bool:
    """Whether docker says that it cannot talk to its engine."""
    return any(sign in text for sign in _DEAD)


def failure(what: str, text: str, *, reason: str = "") -> HarnessError:
    """Return the error for what docker or kind said in `text`: a full disk with its remedy, else `reason` or its last line."""
    if match := _FULL.search(text):
        return HarnessError(
            f"{what}: the engine's disk is full ({match[0]}).",
            hint="Free some of it: `fluxdrill doctor` names the folder and says how much is needed.",
        )
    return HarnessError(f"{what}: {reason or last_line(text)}")


def last_line(text: str) -> str:
    """Return the last line that says something, without docker's prefix."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("Error response from daemon: ") if lines else "it said nothing"


def mark(docker: Docker, cluster: str, *, folder: Path, owner: int, owner_started: float, hours: float) -> None:
    """Make the network of a new cluster, with its owner on it, and note the engine in the lab's folder.

    Raises HarnessError where the engine makes no network.
    """
    (folder / ADDRESS_FILE).write_text(docker.address, encoding="utf-8")
    labels = {
        LAB_LABEL: str(folder),
        OWNER_LABEL: str(owner),
        STARTED_LABEL: str(owner_started),
        EXPIRES_LABEL: f"{time.time() + hours * 3600:.0f}",
    }
    options = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    docker.must("network", "create", *options, cluster, what=f"The network of {cluster} cannot be made")


def owned(docker: Docker) -> list[Owned]:
    """Return every cluster of any lab in the engine."""
    listed = docker.must("network", "ls", "--quiet", "--filter", f"label={LAB_LABEL}", what="Networks cannot be listed")
    if not listed:
        return []
    done = docker.run("network", "inspect", *listed.split())
    # one that has gone since is left out of what is printed
    return sorted((_owned(one) for one in json.loads(done.text or "[]")), key=lambda one: one.cluster)


def _owned(network: Mapping[str, object]) -> Owned:
    labels = network["Labels"]
    assert isinstance(labels, dict)  # noqa: S101 - docker's own answer
    return Owned(
        str(network["Name"]),
        str(labels.get(LAB_LABEL, "")),
        int(labels.get(OWNER_LABEL, 0)),
        float(labels.get(STARTED_LABEL, 0)),
        float(labels.get(EXPIRES_LABEL, 0)),
    )


def nodes(docker: Docker, cluster: str) -> dict[str, str]:
    """Return the containers of a cluster by name, with their state as docker says it ("running", "paused", ...)."""
    # both labels are looked at in one answer: filters by them would have to hold at once
    line = f'{{{{.Names}}}}\t{{{{.State}}}}\t{{{{.Label "{KIND_LABEL}"}}}}\t{{{{.Label "{K3D_LABEL}"}}}}'
    listed = docker.must("ps", "--all", "--format", line, what=f"The nodes of {cluster} cannot be listed")
    found = (one.split("\t") for one in listed.splitlines())
    return {name: state for name, state, *marks in sorted(found) if cluster in marks}


def gateway(docker: Docker, cluster: str) -> str:
    """Return the IPv4 address that this machine has in a cluster's network.

    Raises HarnessError where there is no such network, or none of IPv4.
    """
    what = f"The network of {cluster} cannot be looked at"
    words = ("network", "inspect", "--format", "{{range .IPAM.Config}}{{.Gateway}} {{end}}", cluster)
    found = [one for one in docker.must(*words, what=what).split() if "." in one]
    if not found:
        raise HarnessError(
            f"The network of {cluster} has no IPv4 gateway.", hint="Delete the cluster and make it anew."
        )
    return found[0]


def remove(docker: Docker, cluster: str) -> int:
    """Remove a cluster's containers with their volumes, then its network; return how many containers there were.

    Raises HarnessError where the engine does not remove them.
    """
    removed, end = 0, time.monotonic() + REMOVE_DEADLINE
    # in rounds: the engine may still be at work for a client that was killed; k3d's volume is in use then
    while (found := nodes(docker, cluster)) or not _removed_volumes(docker, cluster):
        what = f"{cluster} cannot be removed"
        if removed > _MOST or time.monotonic() > end:
            raise HarnessError(f"{what}: its containers come back.", hint="See who makes them: `docker ps`.")
        if not found:
            time.sleep(_INTERVAL)
            continue
        done = docker.run("rm", "--force", "--volumes", *found, deadline=REMOVE_DEADLINE)
        if done.returncode and not _GONE.search(done.stderr):  # another reaper may be at it
            raise HarnessError(f"{what}: {last_line(done.stderr)}")
        removed += len(found)
    done = docker.run("network", "rm", cluster)
    if done.returncode and not _GONE.search(done.stderr):
        raise HarnessError(f"The network of {cluster} cannot be removed: {last_line(done.stderr)}")
    return removed


def _removed_volumes(docker: Docker, cluster: str) -> bool:
    """Remove the volume that k3d makes for a cluster, unless it is in use, and tell whether there is none any more."""
    what = f"The volumes of {cluster} cannot be listed"
    listed = docker.must("volume", "ls", "--quiet", "--filter", f"label={K3D_LABEL}={cluster}", what=what).split()
    return not listed or docker.run("volume", "rm", "--force", *listed).returncode == 0


def remove_one(docker: Docker, name: str, *, image: str) -> None:
    """Remove a container, also one that the engine is still making for a client that has gone.

    Such a one is not listed, but its name is taken: it is gone once the name can be had, for a container of `image` that
    never starts. Raises HarnessError where that is not so in time.
    """
    end = time.monotonic() + REMOVE_DEADLINE
    while True:
        docker.run("rm", "--force", "--volumes", name, deadline=REMOVE_DEADLINE)
        done = docker.run("create", "--name", name, "--network", "none", image)
        if done.returncode == 0:
            docker.must("rm", "--force", "--volumes", name, what=f"{name} cannot be removed")
            return
        if "is already in use" not in done.stderr or time.monotonic() > end:
            raise HarnessError(f"{name} cannot be removed: {last_line(done.stderr)}")
        time.sleep(_INTERVAL)


def remove_of_lab(folder: Path) -> int:
    """Remove the clusters of the lab with this folder from the engine it noted; return how many there were.

    An engine that does not answer runs none of it; what it still knows is found by its label when it does.
    """
    try:
        docker = Docker((folder / ADDRESS_FILE).read_text(encoding="utf-8"))
    except OSError:
        return 0
    if not docker.answers():
        return 0
    found = [one for one in owned(docker) if one.folder == str(folder)]
    for one in found:
        remove(docker, one.cluster)
    return len(found)
