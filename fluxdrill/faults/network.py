"""Faults of the way between one controller and the API server: late, cut, or answered with 429."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import time
import urllib.error
import urllib.request
from contextlib import suppress
from typing import Annotated, Any, ClassVar

from pydantic import Field

from fluxdrill.errors import HarnessError
from fluxdrill.faults.controllers import Controller, OfController
from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State, Where
from fluxdrill.faults.world import World
from fluxdrill.flux import NAMESPACE
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.kube.transport import close_half_made
from fluxdrill.model.capabilities import Capability
from fluxdrill.model.refs import ObjectRef

FLOW = "flowcontrol.apiserver.k8s.io"
TOXIC = "late"


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

    @property
    def path(self) -> str:
        """Where the lab's proxy has this way."""
        return f"/proxies/{self.args.controller}"

    def prepare(self, world: World) -> State:
        """See that the way is there and open."""
        found = _proxy(world, "GET", self.path, missing_ok=True)
        if found is None or not found["enabled"] or found["toxics"]:
            shape = "does not exist" if found is None else "is disturbed already"
            raise NotInjectedError(f"The way of {self.args.controller} to the API server {shape}.")
        return {}


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
        toxic = {"name": TOXIC, "type": "latency", "attributes": {"latency": self.args.milliseconds, "jitter": 0}}
        _proxy(world, "POST", f"{self.path}/toxics", toxic)

    def observe(self, world: World, state: State) -> Probe:
        """The proxy delays, and a connection through the controller's own way takes at least that long."""
        del state
        assert isinstance(self.args, Delayed)
        wanted = self.args.milliseconds / 1000

        def ask() -> tuple[bool, str]:
            if _proxy(world, "GET", f"{self.path}/toxics/{TOXIC}", missing_ok=True) is None:
                return False, "the proxy delays nothing"  # a slow machine is no fault of ours
            took = _handshake(world, self.args.controller)
            return took is not None and took >= wanted, f"a handshake {_took(took)}"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Take the delay away."""
        del state
        if world.lab is not None:
            _proxy(world, "DELETE", f"{self.path}/toxics/{TOXIC}", missing_ok=True)


class Cut(_OnWay):
    """One controller is cut off from the API server, as by a network partition; healing reconnects it."""

    name = "apiserver.cut"

    def inject(self, world: World, state: State) -> None:
        """Cut the way."""
        del state
        _proxy(world, "POST", self.path, {"enabled": False})

    def observe(self, world: World, state: State) -> Probe:
        """A connection on the controller's own way is refused."""
        del state

        def ask() -> tuple[bool, str]:
            took = _handshake(world, self.args.controller)
            return took is None, f"a connection on its way {_took(took)}"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Open the way."""
        del state
        if world.lab is not None:
            _proxy(world, "POST", self.path, {"enabled": True})


class Throttle(Fault[OfController]):
    """429: of the controller's own account a priority level without seats lets one request pass at a time.

    The API server (1.36) executes a single request even where the limit is 0; every other one of the same moment is
    rejected. It bites once the controller sends two at once: watches that are open stay open.
    """

    name = "apiserver.throttle"
    arguments = OfController
    rights: ClassVar[str] = "to write FlowSchemas and PriorityLevelConfigurations"

    @property
    def takes(self) -> frozenset[str]:
        """The controller's share of the API server."""
        return frozenset({f"way/{self.args.controller}"})

    def prepare(self, world: World) -> State:
        """Choose the name; an account that does not exist sends nothing."""
        try:
            world.api.get(ObjectRef("", "ServiceAccount", NAMESPACE, self.args.controller))
        except NotFoundError:
            raise NotInjectedError(f"There is no account of {self.args.controller}: nothing to throttle.") from None
        return {"name": f"fluxdrill-{secrets.token_hex(4)}"}

    def inject(self, world: World, state: State) -> None:
        """Apply level and schema."""
        head = {"apiVersion": f"{FLOW}/v1", "metadata": {"name": state["name"]}}
        limits = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
        level = {"type": "Limited", "limited": {**limits, "limitResponse": {"type": "Reject"}}}
        account = {"name": self.args.controller, "namespace": NAMESPACE}
        every = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
        rule = {
            "subjects": [{"kind": "ServiceAccount", "serviceAccount": account}],
            "resourceRules": [every],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }
        # 1 is kept for the schema named exempt
        schema = {"matchingPrecedence": 2, "priorityLevelConfiguration": {"name": state["name"]}, "rules": [rule]}
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
            with suppress(NotFoundError):
                world.api.delete(ObjectRef(FLOW, kind, "", state["name"]))


def _rejected(metrics: str, level: str) -> float:
    lines = [line for line in metrics.splitlines() if line.startswith("apiserver_flowcontrol_rejected_requests_total{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines if f'priority_level="{level}"' in line)


def _proxy(world: World, method: str, path: str, body: object = None, *, missing_ok: bool = False) -> Any:
    """Ask the lab's toxiproxy and return its answer (None where it has no such thing); raises HarnessError."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json", "User-Agent": "fluxdrill"}
    call = urllib.request.Request(f"{world.own_lab.proxy.control}{path}", data=data, method=method, headers=headers)  # noqa: S310 - our own server on loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(call, timeout=5) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            if missing_ok and error.code == 404:
                return None
            raise HarnessError(f"The lab's proxy refused {method} {path}: {error}.") from error
    except OSError as error:
        raise HarnessError(f"The lab's proxy does not answer: {error}.") from error


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
    except OSError as error:
        close_half_made(error)
        return None


def _took(seconds: float | None) -> str:
    return "failed" if seconds is None else f"took {seconds:.2f} s"


FAULTS: tuple[type[Fault[Any]], ...] = (Latency, Cut, Throttle)
