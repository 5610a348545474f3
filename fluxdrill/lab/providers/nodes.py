"""The providers of real nodes, kind and k3d: real pods, Flux in the cluster; images are ours, and nothing leads outside.

What a foreign image would do is done by the stand-in's, as annotations say (see `fluxdrill.cluster.standins`).
"""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import yaml

from fluxdrill.cluster import audit, simulated, standins
from fluxdrill.cluster.apiproxy import ApiProxy
from fluxdrill.cluster.images.components import IMAGES, ensure_archives, find
from fluxdrill.cluster.k3d import K3dCluster, K3dOptions
from fluxdrill.cluster.kind import KindCluster, KindOptions
from fluxdrill.cluster.node_parts import ControlPlaneNode, DeploymentPart, StaticPart
from fluxdrill.cluster.nodes import NodesInDocker
from fluxdrill.cluster.part import Part
from fluxdrill.cluster.simulated import Behaviour
from fluxdrill.errors import HarnessError, RefusedError, UsageError
from fluxdrill.flux.controllers import READY_DEADLINE
from fluxdrill.flux.inside import DEPLOYMENTS, InsideOptions, deploy
from fluxdrill.kube.api import Api
from fluxdrill.kube.watch import Store
from fluxdrill.lab.providers import Home
from fluxdrill.model.refs import ObjectRef
from fluxdrill.process import run
from fluxdrill.sources.outside import Outside
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS

if TYPE_CHECKING:
    from fluxdrill.lab.lab import Lab

STANDIN = "standin"
LOADS_AT_ONCE = 3
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


class NodesCluster:
    """A cluster of real nodes as tests and faults see it; `nodes` is the cluster itself."""

    def __init__(self, cluster: NodesInDocker, folder: Path) -> None:
        self.nodes = cluster
        self._folder = folder
        self.processes: dict[str, Part] = {}

    @property
    def audit_log(self) -> Path:
        """Where the API server writes its audit log, if it is asked to."""
        return self._folder / "audit" / audit.LOG

    @cached_property
    def server(self) -> str:
        """The API server's address on this machine, as a URL."""
        return str(self._entry["server"])

    @cached_property
    def authority(self) -> Path:
        """The CA certificate that clients of the API server trust."""
        path = self._folder / "pki" / "ca.crt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(base64.b64decode(self._entry["certificate-authority-data"]))
        return path

    @property
    def _entry(self) -> dict[str, str]:
        config = yaml.safe_load(self.nodes.kubeconfig.read_text(encoding="utf-8"))
        return dict(config["clusters"][0]["cluster"])


class Nodes(ABC):
    """What is the same whoever makes the nodes; see `fluxdrill.lab.providers.Provider`."""

    programs: ClassVar[tuple[str, ...]]

    host: str
    outside: Outside
    proxy: ApiProxy

    def __init__(self, home: Home, stack: ExitStack) -> None:
        del stack  # what is made later is not given back by it: `close` does
        self._home = home
        self._own = ExitStack()
        self._images = ensure_archives(map(find, (*FLUX_CONTROLLERS, STANDIN)), progress=home.progress)
        self._cluster: NodesCluster | None = None
        self._flux: dict[str, Part] = {}

    @property
    def cluster(self) -> NodesCluster:
        """The cluster; raises HarnessError before there is one."""
        if self._cluster is None:
            raise HarnessError("This lab has no cluster yet.")
        return self._cluster

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig."""
        return self.cluster.nodes.kubeconfig

    @property
    def flux(self) -> Mapping[str, Part]:
        """Flux's controllers by name."""
        return self._flux

    @abstractmethod
    def _create(self, audited: Path | None) -> NodesInDocker:
        """Make the cluster; `audited` is the folder of its audit log, where one is wanted."""

    def start_api(self) -> None:
        """Make the cluster, with its nodes' images, and what the lab has at its gateway."""
        home = self._home
        audited = home.folder / "audit" if home.options.audit else None
        if audited:
            audited.mkdir()
        nodes = self._create(audited)
        self._own.callback(nodes.delete)
        self._cluster = NodesCluster(nodes, home.folder)
        self.host = nodes.gateway
        self.outside = self._own.enter_context(Outside(host=self.host))
        self.proxy = ApiProxy(
            home.clients,
            upstream=self._cluster.server.removeprefix("https://"),
            folder=home.folder,
            lab_id=home.lab_id,
            tools=home.tools,
            ports=home.ports,
            host=self.host,
        )
        self._own.callback(self.proxy.process.kill)
        self.proxy.process.start()
        home.progress.update(f"loading {len(self._images)} images into the nodes of {nodes.name}")
        with ThreadPoolExecutor(max_workers=LOADS_AT_ONCE) as pool:
            list(pool.map(nodes.load_image, self._images.values()))

    def start_cluster(self, api: Api) -> None:
        """Have foreign images replaced as their pods are made, from now on."""
        node = ControlPlaneNode(self.cluster.nodes)
        self.cluster.processes = {name: StaticPart(api, name, self.cluster.nodes, node) for name in CONTROL_PLANE}
        for policy in standins.policies(find(STANDIN).reference, [one.reference for one in IMAGES]):
            api.apply(policy)

    def start_flux(self, api: Api, store: Store) -> None:
        """Make the controllers' Deployments and wait until each is Available."""
        self.proxy.process.wait_ready(READY_DEADLINE)
        servers = {name: self.proxy.server(name) for name in FLUX_CONTROLLERS}
        options = InsideOptions(
            pace=self._home.pace, reachable=(self.host,), proxy=self.outside.environment, servers=servers
        )
        deploy(api, store, self._home.tools, options)
        self._flux = {ref.name: DeploymentPart(api, ref, self.cluster.nodes) for ref in DEPLOYMENTS}

    def heal_pod(self, api: Api, pod: ObjectRef) -> None:
        """Have a pod become ready: its stand-in waits for a file."""
        api.patch(pod, simulated.told(Behaviour.READY))
        words = ("exec", "--namespace", pod.namespace, pod.name, "--", "touch", standins.READY_FILE)
        if (done := self.cluster.nodes.kubectl(*words)).returncode:
            raise HarnessError(f"{pod} cannot be healed: {done.stderr.strip()}")

    def wait_cluster(self) -> None:  # noqa: B027 - for every maker of nodes
        """Wait for nothing: the cluster was whole when its API served."""

    def close(self) -> None:
        """End the proxies and remove the cluster, as far as they were made."""
        self._own.close()


class Kind(Nodes):
    """Nodes by kind."""

    programs: ClassVar[tuple[str, ...]] = ("kind", "kustomize", "toxiproxy-server")

    def _create(self, audited: Path | None) -> NodesInDocker:
        wanted, disk = self._home.options, self._home.folder / "disk"
        if wanted.disk:
            disk.mkdir()  # it is unmounted with the lab's folder
            words = ["mount", "-t", "tmpfs", "-o", f"size={wanted.disk}m,mode=0700", "fluxdrill", str(disk)]
            if (done := run(words, deadline=10)).returncode:
                raise HarnessError(f"No disk of {wanted.disk} MiB for workers: {done.stderr.strip()}")
        options = KindOptions(workers=wanted.workers, audit=audited, disk=disk if wanted.disk else None)
        return KindCluster.create(self._home.lease, options, progress=self._home.progress)


class K3d(Nodes):
    """Nodes by k3d, from an image that keeps k3d's contract with upstream Kubernetes: its driver, and not k3s."""

    programs: ClassVar[tuple[str, ...]] = ("k3d", "kustomize", "toxiproxy-server")

    def _create(self, audited: Path | None) -> NodesInDocker:
        wanted = self._home.options
        if wanted.disk:
            raise UsageError("Workers of k3d have no disk of their own here.", hint="Use the provider kind for that.")
        options = K3dOptions(workers=wanted.workers, audit=audited)
        return K3dCluster.create(self._home.lease, options, progress=self._home.progress)


def nodes_of(lab: Lab) -> NodesInDocker:
    """Return the cluster of a lab that has real nodes; raises RefusedError for any other."""
    if not isinstance(lab.provider, Nodes):
        raise RefusedError(
            f"A lab of {lab.spec.provider} has no nodes that can be broken.", hint="Run with --lab-provider=kind."
        )
    return lab.provider.cluster.nodes
