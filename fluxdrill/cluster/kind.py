"""Clusters of real nodes by kind, from images that need no registry; every call has a deadline.

Proved with kind 0.33.0 and Kubernetes 1.36.3 on an engine with cgroup v1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from fluxdrill.cluster import audit, containers, engine
from fluxdrill.cluster.containers import Docker, EngineDiedError, last_line
from fluxdrill.cluster.images import engine_store
from fluxdrill.cluster.images.components import Archive, find
from fluxdrill.cluster.images.node import ensure_node_image
from fluxdrill.cluster.images.places import HOST
from fluxdrill.cluster.leases import LAB_VARIABLE, Lease
from fluxdrill.errors import FluxdrillError, HarnessError, UsageError
from fluxdrill.process import Completed, run
from fluxdrill.progress import Progress, Silent
from fluxdrill.toolchain.build import ensure

POD_RANGE = "10.244.0.0/16"
"""The pods' addresses: the node's own scripts know this range, too."""
CREATE_DEADLINE = 240.0
READY_SECONDS = 120
DELETE_DEADLINE = 90.0
LOAD_DEADLINE = 180.0
LOGS_DEADLINE = 120.0
NODE_DEADLINE = 60.0
EXEC_DEADLINE = 30.0
DNS_SECONDS = 90
ADMIN = "/etc/kubernetes/admin.conf"
_AUDIT = Path("/audit")
"""Where the control plane node sees the folder of the audit log."""
_UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers")


@dataclass(frozen=True, slots=True)
class KindOptions:
    """What a cluster is made of: `image` is a node image of fluxdrill's that the engine has ("": built and loaded).

    `api_port` is on 127.0.0.1, 0 for a free one. After `hours` a reaper may remove it though its owner lives. `audit` is
    a folder of this machine where the API server writes its audit log (see `fluxdrill.cluster.audit`).
    """

    workers: int = 0
    image: str = ""
    api_port: int = 0
    hours: float = 8.0
    suffix: str = ""
    audit: Path | None = None


@dataclass(frozen=True, slots=True)
class KindCluster:
    """A cluster of one control plane node and workers, in the engine that `docker` talks to."""

    name: str
    docker: Docker
    kind: Path
    folder: Path

    @classmethod
    def create(
        cls,
        lease: Lease,
        options: KindOptions | None = None,
        *,
        place: engine.Place | None = None,
        progress: Progress | None = None,
    ) -> KindCluster:
        """Make a cluster that belongs to `lease` and return it once its nodes are Ready and names are answered in it.

        Starts a private engine where none answers. Raises UsageError for what the caller can mend (no engine and no
        rights, an image that is not there, a name or port that is taken), HarnessError where engine or kind fail; then
        nothing is left of it.
        """
        options, progress = options or KindOptions(), progress or Silent()
        _require_groups()
        kind = ensure(["kind"], progress=progress)[0]["kind"]
        docker = Docker((engine.find(place) or engine.up(place)).address)
        name = f"{lease.lab_id}{options.suffix and '-'}{options.suffix}"
        cluster = cls(name, docker, kind, Path(lease.folder))
        cluster._refuse_taken()
        image = _provide(docker, options.image, progress)
        progress.update(f"kind cluster {name}")
        try:
            cluster._make(lease, options, image)
        except BaseException as error:
            cluster._undo(place)
            if isinstance(error, FluxdrillError):
                raise _told(error, options) from error
            raise
        return cluster

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, for this machine."""
        return self.folder / "kubeconfig" / ("admin" if self.folder.name == self.name else self.name)

    @property
    def control_plane(self) -> str:
        """The name of the control plane node."""
        return f"{self.name}-control-plane"

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

    def load_image(self, archive: Archive | Path) -> None:
        """Load an image from an archive into every node's store. Raises HarnessError where it cannot be."""
        path = archive.path if isinstance(archive, Archive) else archive
        self._kind("load", "image-archive", str(path), "--name", self.name, deadline=LOAD_DEADLINE)

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

    def export_logs(self, folder: Path) -> None:
        """Write every node's logs below `folder`."""
        self._kind("export", "logs", str(folder), "--name", self.name, deadline=LOGS_DEADLINE)

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
            raise UsageError(f"A kind cluster {self.name} exists already.", hint="Delete it, or give another suffix.")
        if found or known:
            raise UsageError(
                f"Something is left of a kind cluster {self.name}: {', '.join(found) or 'its network'}.",
                hint="Delete it (KindCluster.delete), or end its lab and run `fluxdrill reap`.",
            )

    def _make(self, lease: Lease, options: KindOptions, image: str) -> None:
        containers.mark(
            self.docker,
            self.name,
            folder=self.folder,
            owner=lease.owner,
            owner_started=lease.owner_started,
            hours=options.hours,
        )
        self.kubeconfig.parent.mkdir(mode=0o700, exist_ok=True)
        config = yaml.safe_dump(_config(options, self.gateway), sort_keys=False).encode()
        words = ["create", "cluster", "--name", self.name, "--image", image, "--config", "-"]
        words += ["--kubeconfig", str(self.kubeconfig), "--wait", f"{READY_SECONDS}s"]
        self._kind(*words, deadline=CREATE_DEADLINE, stdin=config)
        self._await("serviceaccount/default", "create")
        self._await("deployment/coredns", "condition=Available", "--namespace", "kube-system")
        self._await("nodes", "condition=Ready", "--all")

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

    def _kind(self, *words: str, deadline: float, stdin: bytes | None = None) -> Completed:
        own = {"KIND_EXPERIMENTAL_PROVIDER": "docker", "KIND_EXPERIMENTAL_DOCKER_NETWORK": self.name}
        own[LAB_VARIABLE] = str(self.folder)  # a kind whose caller was killed is found and ended with the lab
        done = run([self.kind, *words], deadline=deadline, env=self.docker.environment | own, stdin=stdin)
        if done.returncode:
            if not self.docker.answers():
                raise EngineDiedError(
                    f"The container engine ended while kind was at work on {self.name}.",
                    hint="`fluxdrill engine up` starts it again; its log says why it ended.",
                )
            raise HarnessError(f"kind {words[0]} failed for {self.name}: {_reason(done.stderr)}")
        return done

    def _docker(self, *words: str, what: str) -> None:
        self.docker.must(*words, what=what, deadline=NODE_DEADLINE)


def _require_groups() -> None:
    if _UNIFIED.exists():
        raise UsageError(
            "This machine has cgroup v2, which fluxdrill's node image does not know yet.",
            hint="Use the embedded provider, or kind by hand with its public image.",
        )


def _provide(docker: Docker, image: str, progress: Progress) -> str:
    """Return the node image to use, which the engine has then."""
    if image:
        if not engine_store.has(docker, image):
            raise UsageError(
                f"The engine has no image {image}.",
                hint="Load it (docker load), or leave the image out: then fluxdrill builds its own.",
            )
        return image
    archive = ensure_node_image(progress=progress)
    progress.update(f"loading {archive.reference}")
    engine_store.load(docker, archive)
    return archive.reference


def _config(options: KindOptions, gateway: str) -> dict[str, object]:
    kubelet = {"kind": "KubeletConfiguration", "cgroupDriver": "cgroupfs", "failCgroupV1": False}
    etcd, dns = (find(name).tag for name in ("etcd", "coredns"))
    cluster = {
        "kind": "ClusterConfiguration",
        "imageRepository": HOST,
        "etcd": {"local": {"imageRepository": HOST, "imageTag": etcd}},
        "dns": {"imageRepository": HOST, "imageTag": dns},
        # by the gateway, too: there a lab's proxy listens, through which its controllers reach the API server
        "apiServer": {"certSANs": ["localhost", "127.0.0.1", gateway], **_audit_of(options)},
    }
    mounts = [{"hostPath": str(options.audit), "containerPath": str(_AUDIT)}] if options.audit else []
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {
            "ipFamily": "ipv4",
            "disableDefaultCNI": True,  # the node image brings its own
            "podSubnet": POD_RANGE,
            "apiServerAddress": "127.0.0.1",
            "apiServerPort": options.api_port,
        },
        "nodes": [
            {"role": "control-plane", "extraMounts": mounts},
            *({"role": "worker"} for _ in range(options.workers)),
        ],
        "kubeadmConfigPatches": [yaml.safe_dump(kubelet), yaml.safe_dump(cluster)],
    }


def _audit_of(options: KindOptions) -> dict[str, object]:
    if options.audit is None:
        return {}
    audit.write_policy(options.audit)
    volume = {"name": "audit", "hostPath": str(_AUDIT), "mountPath": str(_AUDIT), "pathType": "Directory"}
    flags = [{"name": name, "value": value} for name, value in audit.arguments(_AUDIT).items()]
    return {"extraArgs": flags, "extraVolumes": [volume]}


def _reason(stderr: str) -> str:
    """Return what kind says went wrong: its own line, with docker's last one where that has more to say."""
    lines = stderr.splitlines()
    own = next((line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")), "")
    reply = next((line for line in lines if "Error response from daemon" in line), "")
    return " / ".join(re.sub(r"\s+", " ", one)[:400] for one in (own, reply) if one) or last_line(stderr)


def _told(error: FluxdrillError, options: KindOptions) -> FluxdrillError:
    """Return the error in the words of whoever asked, where they can mend it."""
    if options.api_port and re.search(r"port is already allocated|address already in use", error.problem):
        return UsageError(
            f"Port {options.api_port} on 127.0.0.1 is taken.", hint="Give another port, or 0 for any that is free."
        )
    if isinstance(error, HarnessError) and not error.hint:
        return HarnessError(error.problem, hint="`fluxdrill doctor` looks at the machine; nothing was left behind.")
    return error
