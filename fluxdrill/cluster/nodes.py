"""Clusters whose nodes are containers: what is the same whoever drives them, kind or k3d."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fluxdrill.cluster import containers, engine
from fluxdrill.cluster.containers import Docker, EngineDiedError, failure, last_line
from fluxdrill.cluster.images import engine_store
from fluxdrill.cluster.images.components import Archive
from fluxdrill.cluster.leases import LAB_VARIABLE
from fluxdrill.errors import FluxdrillError, HarnessError, UsageError
from fluxdrill.process import Completed, run
from fluxdrill.progress import Progress

CREATE_DEADLINE = 240.0
LOAD_DEADLINE = 180.0
LOGS_DEADLINE = 120.0
NODE_DEADLINE = 60.0
EXEC_DEADLINE = 30.0
DNS_SECONDS = 90
ADMIN = "/etc/kubernetes/admin.conf"
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class NodesInDocker(ABC):
    """A cluster of nodes in the engine that `docker` talks to, made by `program`; `folder` is its lab's."""

    name: str
    docker: Docker
    program: Path
    folder: Path

    driver: ClassVar[str]
    """What the driver is called."""

    @property
    @abstractmethod
    def control_plane(self) -> str:
        """The name of the control plane node."""

    @abstractmethod
    def load_image(self, archive: Archive | Path) -> None:
        """Load an image from an archive into every node's store. Raises HarnessError where it cannot be."""

    @abstractmethod
    def export_logs(self, folder: Path) -> None:
        """Write every node's logs below `folder`."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for this machine."""
        return self.folder / "kubeconfig" / ("admin" if self.folder.name == self.name else self.name)

    @property
    def gateway(self) -> str:
        """This machine's address in the cluster's network: what listens on it is reached by nodes and pods (IPv4)."""
        return containers.gateway(self.docker, self.name)

    def exists(self) -> bool:
        """Whether the cluster has all that makes it one: its control plane's container and its network."""
        made = any(one.cluster == self.name for one in containers.owned(self.docker))
        return made and self.control_plane in self.nodes()

    def nodes(self) -> dict[str, str]:
        """Return the nodes by name with the state of their containers ("running", "paused", "exited")."""
        return containers.nodes(self.docker, self.name)

    def node_exec(
        self, node: str, *argv: str, deadline: float = EXEC_DEADLINE, stdin: bytes | None = None
    ) -> Completed:
        """Run a program in a node and return how it ended; a node is named as in `nodes`."""
        listening = ["--interactive"] if stdin is not None else []
        return self.docker.run("exec", *listening, node, *argv, deadline=deadline, stdin=stdin)

    def kubectl(self, *words: str, deadline: float = EXEC_DEADLINE, stdin: bytes | None = None) -> Completed:
        """Run the node's own kubectl as the administrator, in the control plane node."""
        argv = ("kubectl", "--kubeconfig", ADMIN, *words)
        return self.node_exec(self.control_plane, *argv, deadline=deadline, stdin=stdin)

    def stop_node(self, node: str) -> None:
        """Stop a node: its kubelet and containerd are told to end, its pods are cut off."""
        self._docker("stop", "--time", "20", node, what=f"{node} does not stop")

    def kill_node(self, node: str) -> None:
        """Cut a node's power."""
        self._docker("kill", node, what=f"{node} cannot be killed")

    def start_node(self, node: str) -> None:
        """Start a stopped node; it may come back with another address."""
        self._docker("start", node, what=f"{node} does not start")

    def restart_node(self, node: str) -> None:
        """Stop and start a node."""
        self._docker("restart", "--time", "20", node, what=f"{node} does not restart")

    def pause_node(self, node: str) -> None:
        """Freeze a node: it answers nobody, and its clock goes on."""
        self._docker("pause", node, what=f"{node} cannot be paused")

    def unpause_node(self, node: str) -> None:
        """Let a frozen node go on."""
        self._docker("unpause", node, what=f"{node} cannot be let go on")

    def delete(self) -> None:
        """Remove the cluster with its data and its network, also one that is half gone; nothing is left of it.

        Raises HarnessError where the engine does not remove it.
        """
        containers.remove(self.docker, self.name)
        self.kubeconfig.unlink(missing_ok=True)

    def _refuse_taken(self) -> None:
        found = self.nodes()
        known = [one for one in containers.owned(self.docker) if one.cluster == self.name]
        if self.control_plane in found:
            raise UsageError(
                f"A {self.driver} cluster {self.name} exists already.", hint="Delete it, or give another suffix."
            )
        if found or known:
            raise UsageError(
                f"Something is left of a {self.driver} cluster {self.name}: {', '.join(found) or 'its network'}.",
                hint=f"Delete it ({type(self).__name__}.delete), or end its lab and run `fluxdrill reap`.",
            )

    def _await(self, what: str, state: str, *words: str) -> None:
        argv = ("wait", f"--for={state}", what, f"--timeout={DNS_SECONDS}s", *words)
        done = self.kubectl(*argv, deadline=DNS_SECONDS + 10)
        if done.returncode:
            raise HarnessError(f"{self.name} came up, but {what} did not get {state}: {last_line(done.stderr)}")

    def _undo(self, place: engine.Place | None) -> None:
        """Remove what was made; a private engine that has died is started again for it: it would bring the nodes back."""
        try:
            self.delete()
        except EngineDiedError:
            if str((place or engine.Place.usual()).socket) in self.docker.address:
                engine.up(place)
                self.delete()
                # of a container that was just being made the engine knows only the volume
                self._docker("volume", "prune", "--force", what="Volumes cannot be tidied")

    def _drive(
        self,
        *words: str,
        what: str,
        deadline: float,
        reason: Callable[[str], str],
        env: Mapping[str, str],
        stdin: bytes | None = None,
    ) -> Completed:
        """Run the driver's program for `what`, which must go well; `reason` finds in what it said why it did not."""
        # a driver whose caller was killed is found by the variable, and ended with the lab
        own = {**self.docker.environment, **env, LAB_VARIABLE: str(self.folder)}
        done = run([self.program, *words], deadline=deadline, env=own, stdin=stdin)
        if done.returncode:
            if not self.docker.answers():
                raise EngineDiedError(
                    f"The container engine ended while {self.driver} was at work on {self.name}.",
                    hint="`fluxdrill engine up` starts it again; its log says why it ended.",
                )
            raise failure(f"{self.driver} {what} failed for {self.name}", done.stderr, reason=reason(done.stderr))
        return done

    def _docker(self, *words: str, what: str) -> None:
        self.docker.must(*words, what=what, deadline=NODE_DEADLINE)


def machine_groups(root: Path = CGROUPS) -> int:
    """Return the version of the control groups mounted at `root`, 0 where none are."""
    if (root / "cgroup.controllers").exists():
        return 2
    return 1 if (root / "memory").is_dir() else 0


def require_groups() -> None:
    """Raise UsageError where the node images do not know this machine's control groups."""
    if machine_groups() == 2:
        raise UsageError(
            "This machine has cgroup v2, which fluxdrill's node images do not know yet.",
            hint="Use the embedded provider, or kind by hand with its public image.",
        )


def provide(docker: Docker, image: str, build: Callable[..., Archive], progress: Progress) -> str:
    """Return the node image to use, which the engine has then: `image`, or what `build` makes where it is ""."""
    if image:
        if not engine_store.has(docker, image):
            raise UsageError(
                f"The engine has no image {image}.",
                hint="Load it (docker load), or leave the image out: then fluxdrill builds its own.",
            )
        return image
    archive = build(progress=progress)
    progress.update(f"loading {archive.reference}")
    engine_store.load(docker, archive)
    return archive.reference


def told(error: FluxdrillError, api_port: int) -> FluxdrillError:
    """Return why a cluster was not made in the words of whoever asked, where they can mend it."""
    if api_port and re.search(r"port is already allocated|address already in use", error.problem):
        return UsageError(
            f"Port {api_port} on 127.0.0.1 is taken.", hint="Give another port, or 0 for any that is free."
        )
    if isinstance(error, HarnessError) and not error.hint:
        return HarnessError(error.problem, hint="`fluxdrill doctor` looks at the machine; nothing was left behind.")
    return error
