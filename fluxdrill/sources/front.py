"""The HTTP side of every server of a lab: request threads, bodies, credentials, and where a fault meets a request."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import re
import socket
import tempfile
import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol
from urllib.parse import unquote, urlsplit

from fluxdrill.model.clock import Clock
from fluxdrill.sources.exchange import Answer, Backend, Request, plain_answer, unauthorized
from fluxdrill.sources.faults import ActiveFault, FaultKind, FaultSwitch

HOST = "127.0.0.1"
KEPT_RECORDS = 10_000
STOP_CHECK = 0.05  # seconds; the standard library's server looks this often whether it should stop
IDLE_CLIENT = 60.0  # seconds a client may be silent in the middle of a request
BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request: `path` without the query, `status` 0 when it got no answer; credentials are never kept."""

    at: datetime
    method: str
    path: str
    status: int
    fault: FaultKind | None


class Site:
    """What all request threads of one server share."""

    def __init__(self, backend: Backend, user: str, credentials: bytes, clock: Clock) -> None:
        self.backend = backend
        self.user = user
        self.faults = FaultSwitch()
        self.clients = Clients()
        self.records: deque[RequestRecord] = deque(maxlen=KEPT_RECORDS)
        self._credentials = credentials
        self._clock = clock

    def answer(self, request: Request) -> Answer:
        """Return the answer to `request` as a server without a fault gives it."""
        return self.backend.answer(request) if self._admits(request) else unauthorized()

    def record(self, method: str, path: str, status: int, active: ActiveFault | None) -> None:
        """Note one request."""
        fault = active.fault.kind if active else None
        self.records.append(RequestRecord(self._clock.now().utc, method, path, status, fault))

    def close(self) -> None:
        """End every request: first the connections, so that what was waiting finds nobody to answer."""
        self.clients.close()
        self.faults.turn_off()
        self.backend.close()

    def _admits(self, request: Request) -> bool:
        if not self._credentials:
            return True
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except binascii.Error:
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(given, self._credentials)


class Clients:
    """Open connections, so that a stop ends reads and writes that would wait for a silent client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.closed = False

    def add(self, client: socket.socket) -> None:
        """Note a new connection; it is ended at once when all are to end."""
        with self._lock:
            self._open.add(client)
            if self.closed:
                _hang_up(client)

    def remove(self, client: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.discard(client)

    def close(self) -> None:
        """End all connections, also those still to come."""
        with self._lock:
            self.closed = True
            for client in self._open:
                _hang_up(client)


class Listener(ThreadingHTTPServer):
    """One life of the listening socket; request threads may outlive it until `server_close`."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, site: Site, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.site = site
        self.thread = threading.Thread(target=self.serve_forever, args=(STOP_CHECK,), name=f"server-{address[1]}")


class _BadRequestError(Exception):
    """The client's request is malformed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_CLIENT
    server: Listener

    def setup(self) -> None:
        super().setup()
        self.server.site.clients.add(self.connection)

    def finish(self) -> None:
        self.server.site.clients.remove(self.connection)
        with contextlib.suppress(ConnectionError):  # the client has gone before the last bytes
            super().finish()

    def do_GET(self) -> None:
        """Serve one request; the connection ends with it, so that a fault meets the next one."""
        self.close_connection = True
        self.asked = unquote(urlsplit(self.path).path)
        self.met = self.server.site.faults.meet(self.asked)
        self.recorded = False
        try:
            self._serve()
        except (ConnectionError, TimeoutError):
            pass  # the client has gone
        finally:
            self._record(0)

    do_POST = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - names the standard library asks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Write nothing: `Server.requests` is the log."""

    def _record(self, status: int) -> None:
        """Note the request once; before its answer is sent, so that a client that has it finds it in the log."""
        if not self.recorded:
            self.server.site.record(self.command, self.asked, status, self.met)
        self.recorded = True

    def _serve(self) -> None:
        with tempfile.TemporaryFile() as body:
            try:
                length = self._receive(body)
            except _BadRequestError as error:
                self._send(plain_answer(400, str(error)))
                return
            body.seek(0)
            query = urlsplit(self.path).query
            self._respond(
                Request(self.command, self.asked, query, self._headers(), self.server.site.user, body, length)
            )

    def _headers(self) -> dict[str, str]:
        """Return the headers by their title; one that was given several times has all its values, as one list."""
        return {name.title(): ", ".join(self.headers.get_all(name, ())) for name in self.headers}

    def _respond(self, request: Request) -> None:
        if self.met is None:
            self._send(self.server.site.answer(request))
        else:
            self._respond_with(self.met, request)

    def _respond_with(self, active: ActiveFault, request: Request) -> None:
        site, fault = self.server.site, active.fault
        site.faults.bite(active)
        if fault.kind is FaultKind.STATUS:
            self._send(unauthorized() if fault.status == 401 else plain_answer(fault.status, "Fault injected."))
            return
        if fault.kind in {FaultKind.SLOW, FaultKind.HANG}:
            active.over.wait(fault.seconds if fault.kind is FaultKind.SLOW else None)
        if site.clients.closed or fault.kind is FaultKind.DOWN:  # accepted just before the listener closed
            raise ConnectionAbortedError
        self._send(site.answer(request), cut=fault.kind is FaultKind.TRUNCATED)

    def _receive(self, body: _Writable) -> int:
        """Copy the request's body to `body` and return its bytes."""
        if "\0" in unquote(self.path):
            raise _BadRequestError("A path has no NUL.")
        if self.headers.get("Transfer-Encoding", "").strip().lower() == "chunked":
            return _copy_chunks(self.rfile, body)
        given = self.headers.get("Content-Length", "0")
        if not re.fullmatch(r"[0-9]{1,15}", given):
            raise _BadRequestError("Content-Length is not a number.")
        _copy(self.rfile, body, int(given))
        return int(given)

    def _send(self, answer: Answer, *, cut: bool = False) -> None:
        self._record(answer.status)
        with contextlib.closing(answer.body):
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(answer.length))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                _copy(answer.body, self.wfile, answer.length // 2 if cut else answer.length)


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Lines(_Source, Protocol):
    def readline(self, size: int, /) -> bytes: ...


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


def _hang_up(client: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has hung up itself
        client.shutdown(socket.SHUT_RDWR)


def _copy(source: _Source, target: _Writable, length: int) -> None:
    """Copy exactly `length` bytes; raises ConnectionError when `source` ends before."""
    while length > 0:
        block = source.read(min(length, BLOCK))
        if not block:
            raise ConnectionAbortedError
        target.write(block)
        length -= len(block)


def _copy_chunks(source: _Lines, target: _Writable) -> int:
    """Copy a body in chunked transfer coding (RFC 9112, 7.1) and return its bytes; trailers are dropped."""
    total = 0
    while size := _chunk_size(source.readline(1024)):
        _copy(source, target, size)
        total += size
        if source.readline(3) != b"\r\n":
            raise _BadRequestError("A chunk does not end where it says.")
    while source.readline(1024) not in {b"\r\n", b"\n", b""}:
        pass
    return total


def _chunk_size(line: bytes) -> int:
    if not line:
        raise ConnectionAbortedError
    size = re.match(rb"[0-9A-Fa-f]{1,15}(?=[;\s])", line)
    if size is None:
        raise _BadRequestError("A chunk has no size.")
    return int(size[0], 16)
