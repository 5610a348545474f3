"""One running throwaway world: a cluster, the Git server that feeds it, Flux, and a watch on all of it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from fluxdrill.cluster import leases
from fluxdrill.cluster.apiproxy import ApiProxy
from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.cluster.part import Part
from fluxdrill.cluster.ports import reserve
from fluxdrill.cluster.reaper import Reaper
from fluxdrill.errors import UsageError
from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.controllers import READY_DEADLINE, Pace
from fluxdrill.flux.install import install_crds, install_identities
from fluxdrill.flux.kinds import EVENT, RECONCILED, WORKLOADS
from fluxdrill.kube.api import Api
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.wait import all_current, ready, wait_for
from fluxdrill.kube.watch import Store
from fluxdrill.lab import confinement
from fluxdrill.lab.interventions import Interventions
from fluxdrill.lab.marker import MARKER
from fluxdrill.lab.providers import Cluster, Home, Provider
from fluxdrill.lab.providers.embedded import Embedded
from fluxdrill.lab.providers.nodes import K3d, Kind
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.records import Record
from fluxdrill.model.refs import ObjectRef, Resource
from fluxdrill.progress import Progress, Silent
from fluxdrill.sealedsecrets import controller, sealing
from fluxdrill.sealedsecrets.controller import SealedSecretsController
from fluxdrill.sources.charts import ChartServer
from fluxdrill.sources.git import GitServer
from fluxdrill.sources.outside import Outside
from fluxdrill.sources.registry import PROGRAM as REGISTRY
from fluxdrill.sources.registry import Registry, RegistryHome
from fluxdrill.toolchain.build import Tools, ensure
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS

CRDS = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
SEALED_SECRET = GroupKind(sealing.GROUP, sealing.KIND)
PROVIDERS: dict[str, type[Provider]] = {"embedded": Embedded, "kind": Kind, "k3d": K3d}
LAB_BINARIES = Embedded.programs
"""The programs of a usual lab."""
GIT_USER = "flux"


Observer = Callable[[str, Record], None]
"""Is told a lab's id and what its watch saw, what was waited for, and what was done to its parts."""


@dataclass(frozen=True, slots=True)
class LabSpec:
    """What a lab is made of; `pace` is how fast the controllers retry, `sealed_secrets` adds that controller and a key.

    `provider` is a key of PROVIDERS.
    """

    provider: str = "embedded"
    flux: bool = True
    sealed_secrets: bool = False
    pace: Pace = field(default_factory=Pace)
    cluster: ClusterOptions = field(default_factory=ClusterOptions)
    kept: bool = False


class Lab:
    """A lab that runs from `Lab.start` until `close` (or the end of its `with` block).

    `api` talks to its API server as admin, `store` watches it, `git` serves repositories, `charts` and `registry` Helm
    charts to it, `outside` refuses and records the hosts it wanted, `flux` and `cluster.processes` are its parts, `interventions`
    records what is done to it, `seconds` tells its start.
    """

    def __init__(
        self,
        spec: LabSpec,
        tools: Tools,
        progress: Progress,
        *,
        observer: Observer | None = None,
    ) -> None:
        self.spec = spec
        self._observe = self._observed_by(observer)
        self.interventions = Interventions(self._observe, clock=SYSTEM_CLOCK)
        self.closed = False
        self._watching = ExitStack()
        self.tools = tools
        self._progress = progress
        self._began = time.monotonic()
        self.start_times: dict[str, float] = {}
        self._registry: Registry | None = None
        self._registry_lock = threading.Lock()
        self._confided: tuple[str, ...] = ()
        with ExitStack() as stack:
            self._take_place(stack)
            self._stack = stack.pop_all()

    def _take_place(self, stack: ExitStack) -> None:
        """Take what a lab needs before anything runs; `stack` gives it back."""
        lease = leases.open_lease(kept=self.spec.kept)
        self.lab_id = lease.lab_id
        self.folder = Path(lease.folder)
        stack.enter_context(Reaper(self.lab_id))
        stack.callback(leases.remove, self.lab_id)
        self._ports = reserve()
        stack.callback(self._ports.release)
        self.password = secrets.token_urlsafe(16)
        self.git_root = self.folder / "git"
        self.git_root.mkdir()
        clients = (*FLUX_CONTROLLERS, *self._optional_programs(self.spec))
        spec, ports = self.spec, self._ports
        home = Home(lease, self.tools, ports, spec.cluster, spec.pace, clients, self._progress)
        self.provider: Provider = provider_of(spec)(home, stack)
        self.sealed_secrets: SealedSecretsController | None = None

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self.provider.cluster

    @property
    def flux(self) -> Mapping[str, Part]:
        """Flux's controllers by name."""
        return self.provider.flux

    @property
    def host(self) -> str:
        """The address of this machine at which Flux and the API server of this lab reach what runs on it."""
        return self.provider.host

    @property
    def outside(self) -> Outside:
        """What refuses the hosts outside, and knows who was wanted."""
        return self.provider.outside

    @property
    def proxy(self) -> ApiProxy:
        """What stands between each controller and the API server."""
        return self.provider.proxy

    @classmethod
    def start(
        cls,
        spec: LabSpec | None = None,
        *,
        progress: Progress | None = None,
        prepare: Callable[[Path], object] | None = None,
        observer: Observer | None = None,
    ) -> Lab:
        """Start a lab and return it once every Flux controller is ready.

        Builds what the toolchain lacks. `prepare` gets the folder that the Git server will serve, before anything is
        started: what is wrong with a repository is found there first. `observer` is told the lab's id and every record
        of it (transitions, waits, disturbances), as it happens. Raises HarnessError if a part does not start,
        and whatever `prepare` raises; nothing is left behind then.
        """
        progress = progress or Silent()
        spec = spec or LabSpec()
        tools, _ = ensure([*provider_of(spec).programs, *cls._optional_programs(spec)], progress=progress)
        lab = cls(spec, tools, progress, observer=observer)
        try:
            if prepare is not None:
                prepare(lab.git_root)
            lab._start()
        except BaseException:
            lab.close()
            raise
        return lab

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the lab: every process, thread, port and file of it. May be called twice."""
        self.closed = True
        try:
            self._watching.close()  # before the API server ends: its end is no disturbance
            for part in (self.sealed_secrets, self._registry):
                if part is not None:
                    part.process.kill()
            self.provider.close()
        finally:
            self._stack.close()

    @property
    def processes(self) -> dict[str, Part]:
        """Every part of the lab that can be stopped, by name."""
        sealed: dict[str, Part] = (
            {self.sealed_secrets.process.name: self.sealed_secrets.process} if self.sealed_secrets else {}
        )
        registry: dict[str, Part] = {REGISTRY: self._registry.process} if self._registry else {}
        return {**self.flux, **sealed, **registry, "toxiproxy": self.proxy.process, **self.cluster.processes}

    @property
    def registry(self) -> Registry:
        """The lab's OCI registry, without credentials; started, and built if need be, when it is first asked for."""
        with self._registry_lock:
            if self._registry is None:
                made = Registry(self.registry_home(REGISTRY), host=self.host)
                self._registry = self._stack.enter_context(made)
                self._watching.enter_context(self.interventions.of([made.process], {REGISTRY: made}))
            return self._registry

    def registry_home(self, name: str) -> RegistryHome:
        """Return a place for a registry in this lab, below `name`: for one with credentials, or with faults of its own."""
        program = ensure([REGISTRY], progress=self._progress)[0][REGISTRY]
        return RegistryHome(program, self.folder / name, self.lab_id, self._ports.take(), self.outside.environment)

    def heal_pod(self, pod: ObjectRef) -> None:
        """Have a pod whose annotations say never-ready become ready: the cause ends, and its owner is not touched."""
        self.provider.heal_pod(self.api, pod)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not stand in any text about this lab."""
        return (self.password, *self._confided)

    def confide(self, values: Iterable[str]) -> None:
        """Add to the `secrets` of this lab."""
        self._confided += tuple(values)

    @property
    def kubeconfig(self) -> Path:
        """The admin kubeconfig."""
        return self.provider.kubeconfig

    @property
    def seconds(self) -> float:
        """Seconds from the first step to the last controller ready."""
        return self.start_times["ready"]

    def memory(self) -> dict[str, int]:
        """Return resident bytes per process."""
        return {name: process.memory() for name, process in self.processes.items()}

    def _start(self) -> None:
        self._step("API server", self.provider.start_api)
        self.api = self._stack.enter_context(Api.connect(self.kubeconfig))
        self.store = self._watching.enter_context(Store(self.api, clock=SYSTEM_CLOCK, on_record=self._observe))
        self.git = self._stack.enter_context(self._git_server())
        self.charts = self._stack.enter_context(ChartServer(host=self.host))
        self._step("cluster and its pods", partial(self.provider.start_cluster, self.api))
        if self.spec.sealed_secrets:
            self._step("sealing key and sealed-secrets", self._start_sealed_secrets)
        if self.spec.flux:
            self._step("Flux API", self._install_flux)
            self._step("Flux controllers", self._start_flux)
        self._step("cluster controllers", self.provider.wait_cluster)
        self.start_times["ready"] = time.monotonic() - self._began
        self._watching.enter_context(
            self.interventions.of(self.processes.values(), {"git": self.git, "charts": self.charts})
        )

    def _observed_by(self, observer: Observer | None) -> Callable[[Record], None]:
        return lambda record: observer(self.lab_id, record) if observer is not None else None

    def _step(self, name: str, work: Callable[[], None]) -> None:
        self._progress.update(f"lab {self.lab_id}: {name}")
        work()
        self.start_times[name] = time.monotonic() - self._began

    def _git_server(self) -> GitServer:
        return GitServer(self.git_root, user=GIT_USER, password=self.password, host=self.host)

    @staticmethod
    def _optional_programs(spec: LabSpec) -> list[str]:
        return [controller.NAME] if spec.sealed_secrets else []

    def _sealed_secrets(self) -> SealedSecretsController:
        server = self.proxy.server(controller.NAME)
        home = controller.ControllerHome(
            self.folder, self.lab_id, self.tools, server, self.cluster.authority, self.outside.environment
        )
        return SealedSecretsController(home, self._ports)

    def _start_sealed_secrets(self) -> None:
        self.sealed_secrets = part = self._sealed_secrets()
        part.install(self.api)
        self.store.follow(CRDS)
        wait_for(self.store, ready(controller.CRD), deadline=30, what="the CRD of SealedSecret")
        self.proxy.process.wait_ready(READY_DEADLINE)
        part.process.start()
        part.process.wait_ready(READY_DEADLINE)
        self.store.follow(SEALED_SECRET)

    def _install_flux(self) -> None:
        install_identities(self.api, self.tools)
        self.api.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {MARKER: self.lab_id}}},
            field_manager="fluxdrill-lab",
        )
        for policy in confinement.policies():
            self.api.apply(policy)
        self.store.follow(CRDS)
        definitions = install_crds(self.api, self.tools)
        wait_for(self.store, all_current(definitions), deadline=30, what="Flux CRDs established")

    def _start_flux(self) -> None:
        self.provider.start_flux(self.api, self.store)
        for kind in (*RECONCILED, EVENT, *WORKLOADS):
            self.store.follow(kind)


def provider_of(spec: LabSpec) -> type[Provider]:
    """Return the provider of a lab; raises UsageError for a name that none has."""
    if spec.provider not in PROVIDERS:
        raise UsageError(f"There is no provider {spec.provider!r}.", hint=f"Known: {', '.join(PROVIDERS)}.")
    return PROVIDERS[spec.provider]
