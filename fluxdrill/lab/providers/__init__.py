"""What makes a lab's cluster and puts Flux into it: one module per provider, all behind the same protocol."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from fluxdrill.cluster.apiproxy import ApiProxy
from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.cluster.leases import Lease
from fluxdrill.cluster.part import Part
from fluxdrill.cluster.ports import PortBlock
from fluxdrill.flux.controllers import Pace
from fluxdrill.kube.api import Api
from fluxdrill.kube.watch import Store
from fluxdrill.model.refs import ObjectRef
from fluxdrill.progress import Progress
from fluxdrill.sources.outside import Outside
from fluxdrill.toolchain.build import Tools


@dataclass(frozen=True, slots=True)
class Home:
    """What a provider gets of its lab: who owns it, programs, ports, and how cluster and controllers are to be.

    `clients` are the programs that get an address of the API server of their own.
    """

    lease: Lease
    tools: Tools
    ports: PortBlock
    options: ClusterOptions
    pace: Pace
    clients: tuple[str, ...]
    progress: Progress

    @property
    def lab_id(self) -> str:
        """The lab's id."""
        return self.lease.lab_id

    @property
    def folder(self) -> Path:
        """The lab's folder."""
        return Path(self.lease.folder)


class Cluster(Protocol):
    """What tests and faults ask of a lab's cluster."""

    @property
    def server(self) -> str:
        """The API server's URL on this machine."""

    @property
    def authority(self) -> Path:
        """The CA certificate that clients of the API server trust."""

    @property
    def audit_log(self) -> Path:
        """Where the API server writes its audit log, if it is asked to."""

    @property
    def processes(self) -> Mapping[str, Part]:
        """The parts of the control plane by the names of their programs."""


class Provider(Protocol):
    """Makes one lab's cluster and Flux, in the order of its methods; what its construction takes is given back by `stack`, the rest by `close`.

    `host` is the address of this machine where Flux finds what the lab serves, `outside` refuses and records all other
    hosts, `proxy` stands between each of its clients and the API server.
    """

    programs: ClassVar[tuple[str, ...]]
    host: str
    outside: Outside
    proxy: ApiProxy

    def __init__(self, home: Home, stack: ExitStack) -> None: ...

    @property
    def cluster(self) -> Cluster:
        """The cluster; raises HarnessError before `start_api` where it needs a running one."""

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig."""

    @property
    def flux(self) -> Mapping[str, Part]:
        """Flux's controllers by name; empty before `start_flux`."""

    def start_api(self) -> None:
        """Make the cluster as far as its API server serves."""

    def start_cluster(self, api: Api) -> None:
        """Start what else a cluster has, and what makes pods behave as they are told to."""

    def start_flux(self, api: Api, store: Store) -> None:
        """Start Flux's controllers and wait until each is ready; its API and accounts are there."""

    def heal_pod(self, api: Api, pod: ObjectRef) -> None:
        """Have a pod that is told to be never ready become ready, as if its cause had ended."""

    def wait_cluster(self) -> None:
        """Wait until what `start_cluster` started is ready."""

    def close(self) -> None:
        """End all of it."""
