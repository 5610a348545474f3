"""A scripted API server: real HTTP and real watch streams, whose misbehaviour a test switches on."""

from __future__ import annotations

import copy
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fluxdrill.model.refs import ObjectRef, Resource
from tests.kube.scripted_http import Handler, Http, Request

CRDS = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False)
KUSTOMIZATIONS = Resource("kustomize.toolkit.fluxcd.io", "v1", "Kustomization", "kustomizations", True)
SECRETS = Resource("", "v1", "Secret", "secrets", True)
CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", True)


@dataclass
class Change:
    version: int
    type: str
    resource: Resource
    ref: ObjectRef
    obj: dict[str, Any]
    shown: bool = True


@dataclass
class Scripted:
    """An answer to give instead of the real one, to requests that match, a number of times."""

    matches: Callable[[str, str], bool]
    status: int
    body: dict[str, Any] | str
    headers: dict[str, str]
    times: float


@dataclass
class ScriptedServer:
    """Holds objects with resource versions; every change is an event on the open watches."""

    served: list[Resource] = field(default_factory=lambda: [CRDS, KUSTOMIZATIONS, SECRETS, CONFIG_MAPS])
    aggregated: bool = True
    page: int = 500
    port: int = 0
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        self.history: list[Change] = []
        self.version = 100
        self.oldest = 0
        self.requests: list[Request] = []
        self.scripts: list[Scripted] = []
        self.raw: list[tuple[Resource, dict[str, Any]]] = []
        self.watches = 0
        self.epoch = 0
        self.frozen = False
        self.http: Http | None = None

    # The server's life.

    def start(self) -> None:
        self.http = Http(("127.0.0.1", self.port), Handler)
        self.http.server = self
        if self.tls is not None:
            self.http.socket = self.tls.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.005,), daemon=True).start()

    def stop(self) -> None:
        """Die: connections are reset, new ones refused."""
        http, self.http = self.http, None
        if http is None:
            return
        http.shutdown()
        http.server_close()
        self.end_watches()
        http.cut()
        self.thaw()
        http.join()

    def freeze(self) -> None:
        """Hang like a stopped process: connections stay open, nothing is answered."""
        with self.changed:
            self.frozen = True

    def thaw(self) -> None:
        with self.changed:
            self.frozen = False
            self.changed.notify_all()

    # What a test does to it.

    def put(self, obj: dict[str, Any], *, shown: bool = True) -> dict[str, Any]:
        """Create or replace an object; with `shown=False` no watch tells of it."""
        with self.changed:
            resource = self._resource(obj)
            ref = ObjectRef.of(obj)
            known = self.state(resource).get(ref)
            self.version += 1
            made = copy.deepcopy(obj)
            meta = {"uid": f"uid-{ref.name}", "generation": 1, **made["metadata"]}
            made["metadata"] = {**meta, "resourceVersion": str(self.version)}
            type_ = "MODIFIED" if known else "ADDED"
            self.history.append(Change(self.version, type_, resource, ref, made, shown))
            self.changed.notify_all()
            return made

    def remove(self, ref: ObjectRef, *, shown: bool = True) -> None:
        with self.changed:
            resource = next(one for one in self.served if (one.group, one.kind) == (ref.group, ref.kind))
            obj = copy.deepcopy(self.state(resource)[ref])
            self.version += 1
            obj["metadata"]["resourceVersion"] = str(self.version)
            self.history.append(Change(self.version, "DELETED", resource, ref, obj, shown))
            self.changed.notify_all()

    def emit(self, resource: Resource, event: dict[str, Any]) -> None:
        """Push a line into the open watches of a kind: a bookmark, an error."""
        with self.changed:
            self.raw.append((resource, event))
            self.changed.notify_all()

    def bookmark(self, resource: Resource) -> None:
        obj = {"apiVersion": resource.api_version, "kind": resource.kind}
        obj["metadata"] = {"resourceVersion": str(self.version)}  # type: ignore[assignment]
        self.emit(resource, {"type": "BOOKMARK", "object": obj})

    def end_watches(self) -> None:
        """End all streams in an orderly way."""
        with self.changed:
            self.epoch += 1
            self.changed.notify_all()

    def compact(self) -> None:
        """Forget all history: older versions are too old from now on."""
        with self.changed:
            self.oldest = self.version

    def script(
        self,
        status: int,
        *,
        method: str = "GET",
        path: str = "",
        watch: bool | None = None,
        message: str = "scripted",
        headers: dict[str, str] | None = None,
        times: float = float("inf"),
        text: str | None = None,
        **more: Any,
    ) -> Scripted:
        """Answer requests under `path` with an error, `times` times."""

        def matches(asked: str, target: str) -> bool:
            is_watch = "watch=true" in target
            fits = path in target and not (path != "/livez" and "/livez" in target)
            return asked == method and fits and watch in (None, is_watch)

        body = {"kind": "Status", "status": "Failure", "message": message, "reason": "Scripted", "code": status, **more}
        script = Scripted(matches, status, body if text is None else text, headers or {}, times)
        self.scripts.append(script)
        return script

    # What a test asks it.

    def state(self, resource: Resource, *, at: float = float("inf")) -> dict[ObjectRef, dict[str, Any]]:
        found: dict[ObjectRef, dict[str, Any]] = {}
        for change in self.history:
            if change.resource == resource and change.version <= at:
                if change.type == "DELETED":
                    found.pop(change.ref, None)
                else:
                    found[change.ref] = change.obj
        return found

    def asked(self, path: str, *, watch: bool | None = None) -> list[Request]:
        return [one for one in list(self.requests) if path in one.path and watch in (None, one.is_watch)]

    def until(self, condition: Callable[[], object], *, seconds: float = 5.0) -> None:
        """Wait until something is true of the server, re-checked when anything happens on it."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout=seconds), "the server never came to that"

    def await_watch(self, resource: Resource, count: int = 1) -> None:
        self.until(lambda: len(self.asked(resource.path(), watch=True)) >= count)

    def _resource(self, obj: dict[str, Any]) -> Resource:
        return next(one for one in self.served if (one.api_version, one.kind) == (obj["apiVersion"], obj["kind"]))
