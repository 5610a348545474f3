"""The HTTP side of the scripted API server."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from fluxdrill.model.refs import ObjectRef, Resource

if TYPE_CHECKING:
    from tests.kube.scripted import ScriptedServer


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "true"


class Http(ThreadingHTTPServer):
    daemon_threads = True
    server: ScriptedServer

    def __init__(self, *args: Any) -> None:
        self.sockets: set[socket.socket] = set()
        self.workers: list[threading.Thread] = []
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.sockets.add(request)
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self.workers.append(thread)
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        self.sockets.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections that break are the point."""

    def cut(self) -> None:
        for sock in list(self.sockets):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def join(self) -> None:
        for worker in self.workers:
            worker.join(5)
            assert not worker.is_alive()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Http

    def log_message(self, *_args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def _serve(self) -> None:
        api = self.server.server
        target = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(target.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        request = Request(self.command, target.path, query, dict(self.headers), body)
        with api.changed:
            api.requests.append(request)
            api.changed.notify_all()
            api.changed.wait_for(lambda: not api.frozen)
            script = next((one for one in api.scripts if one.times > 0 and one.matches(self.command, self.path)), None)
            if script is not None:
                script.times -= 1
        if script is not None:
            self._answer(script.status, script.body, script.headers)
        elif target.path == "/livez":
            self._answer(200, "ok")
        elif self.command == "GET":
            self._read(api, request)
        else:
            self._write(api, request)

    def _read(self, api: ScriptedServer, request: Request) -> None:
        if request.path in ("/api", "/apis") or request.path in {_version_path(one) for one in api.served}:
            self._answer(200, _discovery(api, request.path))
            return
        if request.path == "/version":
            self._answer(200, {"gitVersion": "v1.36.3", "major": "1", "minor": "36"})
            return
        resource, namespace, name = _find(api, request.path)
        if resource is None:
            self._answer(404, _status(404, "NotFound", "the server could not find the requested resource"))
        elif request.is_watch:
            self._watch(api, resource, namespace, request)
        elif name:
            self._get(api, resource, ObjectRef(resource.group, resource.kind, namespace, name))
        else:
            self._list(api, resource, namespace, request)

    def _get(self, api: ScriptedServer, resource: Resource, ref: ObjectRef) -> None:
        found = api.state(resource).get(ref)
        message = f'{resource.plural} "{ref.name}" not found'
        self._answer(200, found) if found else self._answer(404, _status(404, "NotFound", message))

    def _list(self, api: ScriptedServer, resource: Resource, namespace: str, request: Request) -> None:
        with api.changed:
            at = request.query.get("resourceVersion", "")
            version = int(at) if request.query.get("resourceVersionMatch") == "Exact" else api.version
            if version < api.oldest:
                self._answer(410, _status(410, "Expired", "too old"))
                return
            items = [obj for ref, obj in sorted(api.state(resource, at=version).items()) if _in(ref, namespace)]
        start = int(request.query.get("continue", "0"))
        bare = [
            {key: value for key, value in obj.items() if key not in ("apiVersion", "kind") or resource.group}
            for obj in items[start : start + api.page]
        ]
        meta = {"resourceVersion": str(version)}
        if start + api.page < len(items):
            meta["continue"] = str(start + api.page)
        self._answer(200, {"kind": f"{resource.kind}List", "metadata": meta, "items": bare})

    def _watch(self, api: ScriptedServer, resource: Resource, namespace: str, request: Request) -> None:
        position = int(request.query["resourceVersion"])
        if position < api.oldest:
            self._answer(410, _status(410, "Expired", "too old resource version"))
            return
        with api.changed:
            epoch, raw = api.epoch, len(api.raw)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            with api.changed:
                events = [
                    {"type": change.type, "object": change.obj}
                    for change in api.history
                    if change.version > position and change.resource == resource and _in(change.ref, namespace)
                    if change.shown
                ]
                position = max(position, api.version)
                events += [event for kind, event in api.raw[raw:] if kind == resource]
                raw = len(api.raw)
                ended = api.epoch != epoch or resource not in api.served or api.http is not self.server
                if not events and not ended:
                    api.changed.wait(1)
                    api.changed.wait_for(lambda: not api.frozen)
                    continue
            for event in events:
                self._chunk(json.dumps(event).encode() + b"\n")
            if ended:
                self._chunk(b"")
                return

    def _write(self, api: ScriptedServer, request: Request) -> None:
        if request.method == "DELETE":
            resource, namespace, name = _find(api, request.path)
            assert resource is not None
            api.remove(ObjectRef(resource.group, resource.kind, namespace, name))
            self._answer(200, _status(200, "", "deleted"))
        elif isinstance(request.body, dict) and "kind" in request.body:
            self._answer(200, api.put(request.body))
        else:
            self._answer(200, {})

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message}


def _in(ref: ObjectRef, namespace: str) -> bool:
    return not namespace or ref.namespace == namespace


def _version_path(resource: Resource) -> str:
    return resource.path().removesuffix(f"/{resource.plural}")


def _find(api: ScriptedServer, path: str) -> tuple[Resource | None, str, str]:
    for resource in api.served:
        root = _version_path(resource)
        if not path.startswith(root + "/"):
            continue
        parts = path.removeprefix(root + "/").split("/")
        namespace = parts[1] if parts[0] == "namespaces" and len(parts) > 2 else ""
        plural, *name = parts[2:] if namespace else parts
        if plural == resource.plural:
            return resource, namespace, name[0] if name else ""
    return None, "", ""


def _discovery(api: ScriptedServer, path: str) -> dict[str, Any]:
    if path in ("/api", "/apis"):
        chosen = [one for one in api.served if bool(one.group) == (path == "/apis")]
        if api.aggregated:
            return {"kind": "APIGroupDiscoveryList", "items": [_group_discovery(one) for one in chosen]}
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        names = {one.group: one.version for one in chosen}
        groups = [
            {"name": group, "versions": [{"version": version}], "preferredVersion": {"version": version}}
            for group, version in names.items()
        ]
        return {"kind": "APIGroupList", "groups": groups}
    resources = [
        {"name": one.plural, "kind": one.kind, "namespaced": one.namespaced}
        for one in api.served
        if _version_path(one) == path
    ]
    return {"kind": "APIResourceList", "resources": resources}


def _group_discovery(resource: Resource) -> dict[str, Any]:
    entry = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
    }
    return {"metadata": {"name": resource.group}, "versions": [{"version": resource.version, "resources": [entry]}]}
