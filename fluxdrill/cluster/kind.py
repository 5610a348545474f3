"""Clusters of real nodes by kind, from images that need no registry; every call has a deadline.

Proved with kind 0.33.0 and Kubernetes 1.36.3 on an engine with cgroup v1.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import yaml

from fluxdrill.cluster import audit, containers, engine
from fluxdrill.cluster.containers import Docker, last_line
from fluxdrill.cluster.images.components import Archive, find
from fluxdrill.cluster.images.node import ensure_node_image
from fluxdrill.cluster.images.places import HOST
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
from fluxdrill.errors import FluxdrillError
from fluxdrill.process import Completed
from fluxdrill.progress import Progress, Silent
from fluxdrill.toolchain.build import ensure

POD_RANGE = "10.244.0.0/16"
"""The pods' addresses: the node's own scripts know this range, too."""
READY_SECONDS = 120
_AUDIT = Path("/audit")
"""Where the control plane node sees the folder of the audit log."""


@dataclass(frozen=True, slots=True)
class KindOptions:
    """What a cluster is made of: `image` is a node image of fluxdrill's that the engine has ("": built and loaded).

    `api_port` is on 127.0.0.1, 0 for a free one. After `hours` a reaper may remove it though its owner lives. `audit` is
    a folder of this machine where the API server writes its audit log (see `fluxdrill.cluster.audit`), `disk` one that
    the kubelets of workers keep all they have in; where it is given, they evict pods to keep a fifth of it free.
    """

    workers: int = 0
    image: str = ""
    api_port: int = 0
    hours: float = 8.0
    suffix: str = ""
    audit: Path | None = None
    disk: Path | None = None


@dataclass(frozen=True, slots=True)
class KindCluster(NodesInDocker):
    """A cluster of one control plane node and workers, in the engine that `docker` talks to."""

    driver: ClassVar[str] = "kind"

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
        require_groups()
        kind = ensure(["kind"], progress=progress)[0]["kind"]
        docker = Docker((engine.find(place) or engine.up(place)).address)
        name = f"{lease.lab_id}{options.suffix and '-'}{options.suffix}"
        cluster = cls(name, docker, kind, Path(lease.folder))
        cluster._refuse_taken()
        image = provide(docker, options.image, ensure_node_image, progress)
        progress.update(f"kind cluster {name}")
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
        return f"{self.name}-control-plane"

    def load_image(self, archive: Archive | Path) -> None:
        """Load an image from an archive into every node's store. Raises HarnessError where it cannot be."""
        path = archive.path if isinstance(archive, Archive) else archive
        self._kind("load", "image-archive", str(path), "--name", self.name, deadline=LOAD_DEADLINE)

    def export_logs(self, folder: Path) -> None:
        """Write every node's logs below `folder`."""
        self._kind("export", "logs", str(folder), "--name", self.name, deadline=LOGS_DEADLINE)

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

    def _kind(self, *words: str, deadline: float, stdin: bytes | None = None) -> Completed:
        own = {"KIND_EXPERIMENTAL_PROVIDER": "docker", "KIND_EXPERIMENTAL_DOCKER_NETWORK": self.name}
        return self._drive(*words, what=words[0], deadline=deadline, reason=_reason, env=own, stdin=stdin)


def _config(options: KindOptions, gateway: str) -> dict[str, object]:
    kubelet: dict[str, object] = {
        "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
    }
    if options.disk:
        # an amount, since the control plane's node has this machine's disk, of which any part may be free;
        # and for five minutes after the pressure has gone a kubelet would otherwise take no pods
        room = f"{shutil.disk_usage(options.disk).total // 5 >> 20}Mi"
        kubelet |= {"evictionHard": {"nodefs.available": room}, "evictionPressureTransitionPeriod": "5s"}
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
    disks = [{"hostPath": str(options.disk), "containerPath": "/var/lib/kubelet"}] if options.disk else []
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
            *({"role": "worker", "extraMounts": disks} for _ in range(options.workers)),
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
