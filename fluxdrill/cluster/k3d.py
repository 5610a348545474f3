"""Clusters of real nodes by k3d, from an image that needs no registry; every call has a deadline.

The k3d driver is proved, k3s itself is not: the image keeps k3d's contract with upstream Kubernetes (see
`fluxdrill.cluster.images.k3d`). Proved with k3d 5.9.0 and Kubernetes 1.36.3 on an engine with cgroup v1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fluxdrill.cluster import audit, containers, engine, ports
from fluxdrill.cluster.containers import Docker, last_line
from fluxdrill.cluster.images import engine_store
from fluxdrill.cluster.images.components import Archive, ensure_archives, find
from fluxdrill.cluster.images.k3d import ensure_k3d_image
from fluxdrill.cluster.leases import Lease
from fluxdrill.cluster.nodes import (
    CREATE_DEADLINE,
    LOAD_DEADLINE,
    LOGS_DEADLINE,
    NodesInDocker,
    provide,
    require_groups,
    told,
)
from fluxdrill.errors import FluxdrillError, HarnessError, UsageError
from fluxdrill.process import Completed
from fluxdrill.progress import Progress, Silent
from fluxdrill.toolchain.build import ensure

READY_SECONDS = 150
ADD_SECONDS = 90
QUICK = 30.0
STOP_DEADLINE = 90.0
LONGEST = 32
"""As many characters as k3d lets a cluster's name have."""
_AUDIT = Path("/audit")
_ARRIVING = "/kind/arriving"
_COLOUR = re.compile(r"\x1b\[\d*m")
_SAID = re.compile(r"^(?:ERRO|FATA)\[\d+\] (?P<what>.*)")
_TOOLS = "pause"
"""k3d keeps a container beside the nodes while it works; of what it can do nothing is asked here."""


@dataclass(frozen=True, slots=True)
class K3dOptions:
    """What a cluster is made of, as for kind: `workers` are k3d's agents, `image` is one of fluxdrill's k3d images."""

    workers: int = 0
    image: str = ""
    api_port: int = 0
    hours: float = 8.0
    suffix: str = ""
    audit: Path | None = None


@dataclass(frozen=True, slots=True)
class K3dCluster(NodesInDocker):
    """A cluster of one server and agents by k3d: its driver on upstream Kubernetes, which is not k3s.

    A server that is stopped drains itself first, as k3d's own start script has it: its pods are deleted, and come back
    as others when it is started.
    """

    driver: ClassVar[str] = "k3d"

    @classmethod
    def create(
        cls,
        lease: Lease,
        options: K3dOptions | None = None,
        *,
        place: engine.Place | None = None,
        progress: Progress | None = None,
    ) -> K3dCluster:
        """Make a cluster that belongs to `lease` and return it once its nodes are Ready and names are answered in it.

        Starts a private engine where none answers. Raises UsageError for what the caller can mend (no engine and no
        rights, an image that is not there, a name or port that is taken), HarnessError where engine or k3d fail; then
        nothing is left of it.
        """
        options, progress = options or K3dOptions(), progress or Silent()
        name = named(lease.lab_id, options.suffix)
        require_groups()
        program = ensure(["k3d"], progress=progress)[0]["k3d"]
        docker = Docker((engine.find(place) or engine.up(place)).address)
        cluster = cls(name, docker, program, Path(lease.folder))
        cluster._refuse_taken()
        image = provide(docker, options.image, ensure_k3d_image, progress)
        engine_store.load(docker, ensure_archives([find(_TOOLS)], progress=progress)[_TOOLS])
        progress.update(f"k3d cluster {name} (k3d's driver, not k3s)")
        try:
            cluster._make(lease, options, image)
        except BaseException as error:
            cluster._undo(place)
            if isinstance(error, FluxdrillError):
                raise told(error, options.api_port) from error
            raise
        return cluster

    @property
    def control_plane(self) -> str:
        """The name of the control plane node."""
        return f"k3d-{self.name}-server-0"

    def load_image(self, archive: Archive | Path) -> None:
        """Load an image from an archive into every node's store. Raises HarnessError where it cannot be.

        Not by `k3d image import`: that of 5.9.0 asks whether ctr has ended before it may have begun, takes it for done,
        and then says so without any image in the node, or waits for ever for the other nodes.
        """
        path = archive.path if isinstance(archive, Archive) else archive
        for node in self.nodes():
            self._import(node, path)

    def _import(self, node: str, path: Path) -> None:
        what = f"{path.name} cannot be loaded into {node}"
        arriving = f"{_ARRIVING}-{path.name}"  # several may come at once
        self.docker.must("cp", path, f"{node}:{arriving}", what=what, deadline=LOAD_DEADLINE)
        try:
            argv = ("ctr", "--namespace", "k8s.io", "images", "import", "--all-platforms", arriving)
            done = self.node_exec(node, *argv, deadline=LOAD_DEADLINE)
            if done.returncode:
                raise HarnessError(f"{what}: {last_line(done.stderr)}")
        finally:
            self.node_exec(node, "rm", "--force", arriving)

    def export_logs(self, folder: Path) -> None:
        """Write every node's logs below `folder`: k3d has no command for it."""
        for node in self.nodes():
            place = folder / node
            place.mkdir(parents=True, exist_ok=True)
            what = f"The logs of {node} cannot be had"
            self.docker.must("cp", f"{node}:/var/log/.", place, what=what, deadline=LOGS_DEADLINE)
            said = self.docker.run("logs", node, deadline=LOGS_DEADLINE)
            (place / "k3s.log").write_text(said.text + said.stderr, encoding="utf-8")

    def stop(self) -> None:
        """Stop every node, as k3d does it."""
        self._k3d("cluster", "stop", self.name, deadline=STOP_DEADLINE)

    def start(self) -> None:
        """Start every node and return once they are Ready; k3d gives CoreDNS its names anew."""
        words = ("cluster", "start", self.name, "--timeout", f"{READY_SECONDS}s")
        self._k3d(*words, deadline=READY_SECONDS + QUICK)
        self._await("nodes", "condition=Ready", "--all")

    def add_node(self, name: str = "added") -> str:
        """Add a worker and return its name once it is Ready. Raises HarnessError where it does not; then it is gone."""
        whole = f"{self.name}-{name}"
        node = f"k3d-{whole}-0"
        if node in self.nodes():
            raise UsageError(f"There is a node {node} already.", hint="Remove it, or give another name.")
        words = ("node", "create", whole, "--cluster", self.name, "--role", "agent", "--timeout", f"{ADD_SECONDS}s")
        try:
            self._k3d(*words, deadline=ADD_SECONDS + QUICK)
            self._await(f"node/{node}", "condition=Ready")
        except BaseException:
            for one in (node, f"k3d-{self.name}-tools"):
                containers.remove_one(self.docker, one, image=find(_TOOLS).reference)
            self.kubectl("delete", "node", node, "--ignore-not-found")
            raise
        return node

    def remove_node(self, node: str) -> None:
        """Remove a worker with its container, then its Node.

        Raises UsageError for what is none of the cluster's workers, HarnessError where one of the two does not go.
        """
        workers = sorted(set(self.nodes()) - {self.control_plane})
        if node not in workers:
            raise UsageError(f"{self.name} has no worker {node}.", hint=f"Its workers: {', '.join(workers) or 'none'}.")
        self._k3d("node", "delete", node, deadline=QUICK)
        done = self.kubectl("delete", "node", node, "--ignore-not-found")
        if done.returncode:
            raise HarnessError(f"{node} has gone, but not its Node: {last_line(done.stderr)}")

    def _make(self, lease: Lease, options: K3dOptions, image: str) -> None:
        containers.mark(
            self.docker,
            self.name,
            folder=self.folder,
            owner=lease.owner,
            owner_started=lease.owner_started,
            hours=options.hours,
        )
        self.kubeconfig.parent.mkdir(mode=0o700, exist_ok=True)
        block = ports.reserve()  # a port is looked for here: k3d would write 0 into the kubeconfig as it is
        try:
            port = options.api_port or block.take()
            words = arguments(self.name, options, image, port=port, gateway=self.gateway)
            self._k3d(*words, deadline=CREATE_DEADLINE)
        finally:
            block.release()
        done = self._k3d("kubeconfig", "get", self.name, deadline=QUICK)
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_bytes(done.stdout)
        self._await("serviceaccount/default", "create")
        # not its condition: a Deployment of one that may miss one is Available without any
        self._await("deployment/coredns", "jsonpath={.status.readyReplicas}=1", "--namespace", "kube-system")
        self._await("nodes", "condition=Ready", "--all")

    def _k3d(self, *words: str, deadline: float) -> Completed:
        # what k3d would give its container is the engine's socket, which it has no need of
        own = {"K3D_IMAGE_TOOLS": find(_TOOLS).reference, "DOCKER_SOCK": "/dev/null"}
        return self._drive(*words, what=" ".join(words[:2]), deadline=deadline, reason=self._reason, env=own)

    def _reason(self, stderr: str) -> str:
        """Return what went wrong: what a node said last before it gave up, else k3d's own words."""
        for node in self.nodes():
            said = self.docker.run("logs", "--tail", "500", node)
            if fatal := re.findall(r'level=fatal msg="(.*)"', said.text + said.stderr):
                return f"{node}: {fatal[-1]}"
        return reason(stderr)


def named(lab_id: str, suffix: str) -> str:
    """Return a cluster's name; raises UsageError for one that k3d would not take."""
    name = f"{lab_id}{suffix and '-'}{suffix}"
    if len(name) > LONGEST:
        raise UsageError(
            f"k3d takes no name of more than {LONGEST} characters: {name}.",
            hint=f"Give a suffix of {LONGEST - len(lab_id) - 1} at the most.",
        )
    return name


def arguments(name: str, options: K3dOptions, image: str, *, port: int, gateway: str) -> list[str]:
    """Return how k3d is called to make a cluster in the network of its name, which is there already."""
    words = ["cluster", "create", name, "--image", image, "--network", name, "--agents", str(options.workers)]
    words += ["--api-port", f"127.0.0.1:{port}", "--no-lb", "--kubeconfig-update-default=false"]
    words += ["--timeout", f"{READY_SECONDS}s", "--no-rollback"]  # what failed is looked at, then removed, by us
    flags = [f"--tls-san={gateway}"]
    if options.audit:
        audit.write_policy(options.audit)
        flags += [f"--kube-apiserver-arg={key}={value}" for key, value in audit.arguments(_AUDIT).items()]
        words += ["--volume", f"{options.audit}:{_AUDIT}@server:0"]
    return words + [word for flag in flags for word in ("--k3s-arg", f"{flag}@server:0")]


def reason(stderr: str) -> str:
    """Return what k3d says went wrong: its first complaint, which has what the later ones leave out."""
    lines = [_COLOUR.sub("", line).strip() for line in stderr.splitlines()]
    said = [match["what"].strip() for line in lines if (match := _SAID.match(line))]
    return said[0][:600] if said else last_line(stderr)
