"""A helm-controller whose failures are hidden: between it and the API server, a proxy makes every Ready True.

As a pytest plugin (`pytest -p suites.liar suites/remediation`) it lies to a whole run, which then has to fail. That is
what it is for: a suite that passes on such a lab would believe anything.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
import urllib3

from fluxdrill.flux.controllers import READY_DEADLINE
from fluxdrill.lab.lab import Lab

CONTROLLER = "helm-controller"
HIDDEN = {"Stalled", "Remediated", "Reconciling"}
"""Conditions that would give the failure away."""
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive"}
_CHUNK = 65536


def lied(body: bytes) -> bytes:
    """Return the write of a status in which everything went well; one that says nothing of conditions stays as it is."""
    document = json.loads(body)
    conditions = (document.get("status") or {}).get("conditions")
    if conditions is None:
        return body
    told = [_well(one) for one in conditions if one.get("type") not in HIDDEN]
    return json.dumps({**document, "status": {**document["status"], "conditions": told}}).encode()


def _well(condition: dict[str, Any]) -> dict[str, Any]:
    return {**condition, "status": "True", "reason": "UpgradeSucceeded", "message": "all is well"}


class Liar:
    """Lies about one lab from `with` to its end; `lies` counts the writes that it changed."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._config = lab.folder / "kubeconfig" / CONTROLLER
        self._truth = self._config.read_text(encoding="utf-8")
        known = json.loads(self._truth)
        server = known["clusters"][0]["cluster"]["server"]
        # over plain HTTP a client of Kubernetes keeps its token to itself
        headers = {"Authorization": f"Bearer {known['users'][0]['user']['token']}"}
        self._pool = urllib3.PoolManager(ca_certs=str(lab.cluster.authority), maxsize=64, retries=False)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, self._pool, server, headers))
        self._server.daemon_threads = True
        self.lies = 0

    def __enter__(self) -> Self:
        """Put the proxy in between, and start the controller again with it."""
        threading.Thread(target=self._server.serve_forever, name="liar", daemon=True).start()
        document = json.loads(self._truth)
        document["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        self._tell(json.dumps(document))
        return self

    def __exit__(self, *_exc: object) -> None:
        """Have it speak for itself again."""
        self._tell(self._truth)
        self._server.shutdown()
        self._server.server_close()
        self._pool.clear()

    def _tell(self, config: str) -> None:
        self._config.write_text(config, encoding="utf-8")
        self._lab.flux[CONTROLLER].restart()
        self._lab.flux[CONTROLLER].wait_ready(READY_DEADLINE)


def _handler(
    liar: Liar, pool: urllib3.PoolManager, server: str, credentials: Mapping[str, str]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.command in {"PATCH", "PUT"} and "/helmreleases/" in self.path and "/status" in self.path:
                changed = lied(body)
                liar.lies += changed != body
                body = changed
            own = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            headers = {**own, **credentials}
            answer = pool.request(
                self.command,
                server + self.path,
                body=body,
                headers=headers,
                preload_content=False,
                decode_content=False,
            )
            try:
                self._answer(answer)
            finally:
                answer.close()

        def _answer(self, answer: urllib3.BaseHTTPResponse) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            while part := answer.read1(_CHUNK):
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - the names that http.server looks for

    return Handler


@pytest.fixture(scope="session", autouse=True)
def hidden_failures(lab: Lab) -> Iterator[None]:
    """Lie to every test of the run; a run to which nothing was lied proves nothing."""
    with Liar(lab) as liar:
        yield
        assert liar.lies, "the proxy has not changed a single status"


def pytest_report_header() -> str:
    """Say it in the output: nobody should take such a run for a real one."""
    return f"SABOTAGE ({Path(__file__).name}): {CONTROLLER}'s failures are hidden in this run"
