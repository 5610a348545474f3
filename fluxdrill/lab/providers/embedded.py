"""The embedded provider: the control plane and Flux's controllers are processes of this machine, pods are simulated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from fluxdrill.cluster import simulated
from fluxdrill.cluster.apiproxy import ApiProxy
from fluxdrill.cluster.embedded import BINARIES, EmbeddedCluster
from fluxdrill.cluster.part import Part
from fluxdrill.cluster.ports import HOST
from fluxdrill.cluster.simulated import Behaviour
from fluxdrill.cluster.supervised import Supervised
from fluxdrill.flux.controllers import READY_DEADLINE, Addresses, ControllerHome, controllers
from fluxdrill.flux.install import controller_kubeconfig
from fluxdrill.kube.api import Api
from fluxdrill.kube.watch import Store
from fluxdrill.lab.providers import Home
from fluxdrill.model.refs import ObjectRef
from fluxdrill.sources.outside import Outside
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS


class Embedded:
    """See `fluxdrill.lab.providers.Provider`."""

    programs: ClassVar[tuple[str, ...]] = (*BINARIES, "toxiproxy-server", *FLUX_CONTROLLERS)

    def __init__(self, home: Home, stack: ExitStack) -> None:
        self._home = home
        self.host = HOST
        self.outside = stack.enter_context(Outside())
        self.cluster = EmbeddedCluster(
            home.folder,
            lab_id=home.lab_id,
            tools=home.tools,
            ports=home.ports,
            proxy=self.outside.environment,
            options=home.options,
        )
        self.proxy = ApiProxy(
            home.clients,
            upstream=self.cluster.api_address,
            folder=home.folder,
            lab_id=home.lab_id,
            tools=home.tools,
            ports=home.ports,
        )
        self._addresses = Addresses.take(home.ports)
        self._flux: dict[str, Supervised] = {}

    @property
    def kubeconfig(self) -> Path:
        """The admin's kubeconfig."""
        return self.cluster.admin_kubeconfig

    @property
    def flux(self) -> Mapping[str, Part]:
        """Flux's controllers by name."""
        return self._flux

    def start_api(self) -> None:
        """Start etcd and the API server."""
        self.cluster.start_api()

    def start_cluster(self, api: Api) -> None:
        """Start controller-manager, scheduler and kwok, and make the simulated node."""
        self.cluster.start_controllers()
        self.proxy.process.start()
        for obj in simulated.objects():
            api.apply(obj)

    def start_flux(self, api: Api, store: Store) -> None:
        """Start the six controllers, each with its own token and address of the API server."""
        del store
        kubeconfigs = {name: self._kubeconfig(api, name) for name in FLUX_CONTROLLERS}
        home = self._home
        parts = ControllerHome(home.folder, home.lab_id, home.tools, kubeconfigs, self.outside.environment)
        self._flux = controllers(parts, self._addresses, home.pace)
        self.proxy.process.wait_ready(READY_DEADLINE)
        _start_all(self._flux.values())

    def heal_pod(self, api: Api, pod: ObjectRef) -> None:
        """Have a pod become ready: kwok does what its annotation says now."""
        api.patch(pod, simulated.told(Behaviour.READY))

    def wait_cluster(self) -> None:
        """Wait until controller-manager, scheduler and kwok answer as ready."""
        self.cluster.wait_controllers()

    def close(self) -> None:
        """Kill every process."""
        with ThreadPoolExecutor() as pool:
            list(
                pool.map(Supervised.kill, (*self._flux.values(), self.proxy.process, *self.cluster.processes.values()))
            )

    def _kubeconfig(self, api: Api, controller: str) -> Path:
        return controller_kubeconfig(
            api,
            controller,
            path=self._home.folder / "kubeconfig" / controller,
            server=self.proxy.server(controller),
            authority=self.cluster.authority,
        )


def _start_all(processes: Iterable[Supervised]) -> None:
    """Start several processes at once and wait until each is ready."""
    processes = list(processes)
    for process in processes:
        process.start()
    for process in processes:
        process.wait_ready(READY_DEADLINE)
