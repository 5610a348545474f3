"""Faults of the control plane: the API server and etcd, and the way to them."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import Annotated, Any, ClassVar

from pydantic import Field

from fluxdrill.cluster.embedded import START_DEADLINE
from fluxdrill.cluster.supervised import State as ProcessState
from fluxdrill.faults.controllers import Controller, OfController
from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State, Where
from fluxdrill.faults.world import World
from fluxdrill.flux import NAMESPACE
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.model.capabilities import Capability
from fluxdrill.model.refs import ObjectRef

FLOW = "flowcontrol.apiserver.k8s.io"


class _OnPart(Fault[Args]):
    """A fault of a process of the control plane."""

    where = Where.HOST
    rights: ClassVar[str] = "signals to the lab's own control plane"
    part: ClassVar[str]

    @property
    def takes(self) -> frozenset[str]:
        """The part."""
        return frozenset({"apiserver" if self.part == "kube-apiserver" else self.part})

    def observe(self, world: World, state: State) -> Probe:
        """The API server gives no sign of life."""
        del state

        def ask() -> tuple[bool, str]:
            alive = world.api.livez(deadline=1.0)
            return not alive, f"the API server {'answers' if alive else 'does not answer'}"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Start it, or let it go on, and wait until it serves."""
        del state
        process = world.own_lab.cluster.processes[self.part]
        if process.state is ProcessState.PAUSED:
            process.resume()
        if process.state is ProcessState.EXITED:
            process.start()
        process.wait_ready(START_DEADLINE)
        world.own_lab.cluster.processes["kube-apiserver"].wait_ready(START_DEADLINE)


class ApiKill(_OnPart):
    """SIGKILL of the API server; healing starts it again."""

    name = "apiserver.kill"
    part = "kube-apiserver"
    needs = frozenset({Capability.STOP_APISERVER})

    def inject(self, world: World, state: State) -> None:
        """Kill it."""
        del state
        world.own_lab.cluster.processes[self.part].kill()


class ApiPause(_OnPart):
    """SIGSTOP of the API server: connections stay open and nothing is answered; healing lets it go on."""

    name = "apiserver.pause"
    part = "kube-apiserver"
    needs = frozenset({Capability.STOP_APISERVER})

    def inject(self, world: World, state: State) -> None:
        """Stop it."""
        del state
        world.own_lab.cluster.processes[self.part].pause()


class EtcdKill(_OnPart):
    """SIGKILL of etcd: the API server can read and write nothing; healing starts it again."""

    name = "etcd.kill"
    part = "etcd"
    needs = frozenset({Capability.STOP_ETCD})

    def inject(self, world: World, state: State) -> None:
        """Kill it."""
        del state
        world.own_lab.cluster.processes[self.part].kill()

    def observe(self, world: World, state: State) -> Probe:
        """Its process is gone, and with it what the API server stands on."""
        del state
        process = world.own_lab.cluster.processes[self.part]
        return Probe(lambda: (process.state is ProcessState.EXITED, f"etcd is {process.state}"))


class Snapshot(_OnPart):
    """A copy of etcd's data is taken while it is stopped, for `etcd.restore`; it is no harm but a short silence."""

    name = "etcd.snapshot"
    part = "etcd"
    reversible = False
    needs = frozenset({Capability.STOP_ETCD, Capability.STOP_APISERVER})

    @property
    def takes(self) -> frozenset[str]:
        """The snapshot; the restore takes etcd itself."""
        return frozenset({"etcd-snapshot"})

    def inject(self, world: World, state: State) -> None:
        """Stop etcd, copy its folder, start it."""
        del state
        with _stopped(world):
            shutil.copytree(_data(world), _copy(world))

    def observe(self, world: World, state: State) -> Probe:
        """The copy is there."""
        del state
        return Probe(lambda: (_copy(world).is_dir(), f"the copy is {'there' if _copy(world).is_dir() else 'missing'}"))

    def heal(self, world: World, state: State) -> None:
        """Remove the copy."""
        del state
        if world.lab is not None:
            shutil.rmtree(_copy(world), ignore_errors=True)


class Restore(_OnPart):
    """etcd goes back to the snapshot: the cluster forgets all since, while Git and the controllers do not."""

    name = "etcd.restore"
    part = "etcd"
    reversible = False
    needs = frozenset({Capability.STOP_ETCD, Capability.STOP_APISERVER})

    @property
    def takes(self) -> frozenset[str]:
        """The store and what stands on it."""
        return frozenset({"etcd", "apiserver"})

    def prepare(self, world: World) -> State:
        """Note the present version of the store."""
        if not _copy(world).is_dir():
            raise NotInjectedError("There is no snapshot: use etcd.snapshot before etcd.restore.")
        return {"version": _version(world)}

    def inject(self, world: World, state: State) -> None:
        """Stop etcd and the API server, put the copy in place, start both."""
        del state
        with _stopped(world):
            shutil.rmtree(_data(world))
            shutil.copytree(_copy(world), _data(world))

    def observe(self, world: World, state: State) -> Probe:
        """The store's version went back in time."""

        def ask() -> tuple[bool, str]:
            now = _version(world)
            return now < state["version"], f"the store was at version {state['version']} and is at {now}"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """See that both run; time does not come back."""
        super().heal(world, state)


class _stopped:  # noqa: N801 - reads as a statement
    """Stop the API server and etcd, and start both again, whatever happens in between."""

    def __init__(self, world: World) -> None:
        self._parts = [world.own_lab.cluster.processes[name] for name in ("etcd", "kube-apiserver")]

    def __enter__(self) -> None:
        for part in reversed(self._parts):
            part.stop()

    def __exit__(self, *_exc: object) -> None:
        for part in self._parts:
            part.start()
        for part in self._parts:
            part.wait_ready(START_DEADLINE)


def _data(world: World) -> Any:
    return world.own_lab.folder / "etcd"


def _copy(world: World) -> Any:
    return world.own_lab.folder / "etcd-snapshot"


def _version(world: World) -> int:
    return int(world.api.list(world.api.resource("", "Namespace")).resource_version)


class _OnWay(Fault[OfController]):
    """A fault of the connection between one controller and the API server, made by toxiproxy."""

    arguments: ClassVar[type[Args]] = OfController
    where = Where.HOST
    needs = frozenset({Capability.STOP_CONTROLLER})
    rights: ClassVar[str] = "the lab's own proxy"

    @property
    def takes(self) -> frozenset[str]:
        """The controller's way to the API server."""
        return frozenset({f"way/{self.args.controller}"})


class Delayed(OfController):
    """The controller and the delay of every answer."""

    milliseconds: Annotated[int, Field(ge=50, le=20_000)] = 1000


class Latency(_OnWay):
    """Every answer of the API server reaches one controller late; healing takes the delay away."""

    name = "apiserver.latency"
    arguments = Delayed

    def inject(self, world: World, state: State) -> None:
        """Put the delay on."""
        del state
        assert isinstance(self.args, Delayed)
        toxic = {"name": "late", "type": "latency", "attributes": {"latency": self.args.milliseconds, "jitter": 0}}
        _proxy(world, "POST", f"/proxies/{self.args.controller}/toxics", toxic)

    def observe(self, world: World, state: State) -> Probe:
        """A connection through the controller's own way takes at least that long."""
        del state
        assert isinstance(self.args, Delayed)
        wanted = self.args.milliseconds / 1000

        def ask() -> tuple[bool, str]:
            took = _handshake(world, self.args.controller)
            return (
                took is not None and took >= wanted,
                f"a handshake took {'for ever' if took is None else f'{took:.2f} s'}",
            )

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Take the delay away."""
        del state
        if world.lab is not None:
            _proxy(world, "DELETE", f"/proxies/{self.args.controller}/toxics/late", missing_ok=True)


class Cut(_OnWay):
    """One controller is cut off from the API server, as by a network partition; healing reconnects it."""

    name = "apiserver.cut"

    def inject(self, world: World, state: State) -> None:
        """Cut the way."""
        del state
        _proxy(world, "POST", f"/proxies/{self.args.controller}", {"enabled": False})

    def observe(self, world: World, state: State) -> Probe:
        """A connection on the controller's own way is refused."""
        del state

        def ask() -> tuple[bool, str]:
            took = _handshake(world, self.args.controller)
            return took is None, f"a connection {'is refused' if took is None else 'is made'}"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Open the way."""
        del state
        if world.lab is not None:
            _proxy(world, "POST", f"/proxies/{self.args.controller}", {"enabled": True})


class Throttle(Fault[OfController]):
    """429: a priority level without a seat rejects every request of the controller's own account."""

    name = "apiserver.throttle"
    arguments = OfController
    rights: ClassVar[str] = "to write FlowSchemas and PriorityLevelConfigurations"

    @property
    def takes(self) -> frozenset[str]:
        """The controller's share of the API server."""
        return frozenset({f"way/{self.args.controller}"})

    def prepare(self, world: World) -> State:
        """Choose the name."""
        del world
        return {"name": f"fluxdrill-{secrets.token_hex(4)}"}

    def inject(self, world: World, state: State) -> None:
        """Apply level and schema."""
        head = {"apiVersion": f"{FLOW}/v1", "metadata": {"name": state["name"]}}
        limits = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
        level = {"type": "Limited", "limited": {**limits, "limitResponse": {"type": "Reject"}}}
        account = {"name": self.args.controller, "namespace": NAMESPACE}
        every = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
        rule = {"subjects": [{"kind": "ServiceAccount", "serviceAccount": account}], "resourceRules": [every]}
        schema = {"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": state["name"]}, "rules": [rule]}
        world.api.apply({**head, "kind": "PriorityLevelConfiguration", "spec": level})
        world.api.apply({**head, "kind": "FlowSchema", "spec": schema})

    def observe(self, world: World, state: State) -> Probe:
        """The API server has counted rejected requests on this level."""

        def ask() -> tuple[bool, str]:
            rejected = _rejected(str(world.api.request("GET", "/metrics", accept="text/plain")), state["name"])
            return rejected > 0, f"{rejected:g} requests of {self.args.controller} were rejected"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Remove both."""
        for kind in ("FlowSchema", "PriorityLevelConfiguration"):
            try:
                world.api.delete(ObjectRef(FLOW, kind, "", state["name"]))
            except NotFoundError:
                continue


def _rejected(metrics: str, level: str) -> float:
    lines = [line for line in metrics.splitlines() if line.startswith("apiserver_flowcontrol_rejected_requests_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if f'priority_level="{level}"' in line)


def _proxy(world: World, method: str, path: str, body: object = None, *, missing_ok: bool = False) -> None:
    """Ask the lab's toxiproxy; raises NotInjectedError with its words."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json", "User-Agent": "fluxdrill"}
    call = urllib.request.Request(f"{world.own_lab.proxy.control}{path}", data=data, method=method, headers=headers)  # noqa: S310 - our own server on loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(call, timeout=5).close()
    except urllib.error.HTTPError as error:
        if not (missing_ok and error.code == 404):
            raise NotInjectedError(f"The lab's proxy refused {method} {path}: {error}.") from error
    except OSError as error:
        raise NotInjectedError(f"The lab's proxy does not answer: {error}.") from error


def _handshake(world: World, controller: Controller) -> float | None:
    """Return the seconds of a TLS handshake with the API server on a controller's own way; None where it fails."""
    host, _, port = world.own_lab.proxy.server(controller).removeprefix("https://").rpartition(":")
    context = ssl.create_default_context(cafile=str(world.own_lab.cluster.authority))
    began = time.monotonic()
    try:
        with (
            socket.create_connection((host, int(port)), timeout=25) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return time.monotonic() - began
    except OSError:
        return None


FAULTS: tuple[type[Fault[Any]], ...] = (
    ApiKill, ApiPause, EtcdKill, Snapshot, Restore, Latency, Cut, Throttle,
)  # fmt: skip
