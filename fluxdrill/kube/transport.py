"""One pool of connections to one API server: deadlines, errors, and sockets that can be torn off from outside.

A stopped server (SIGSTOP, a dead network) leaves sockets on which reads hang; `Transport.close` shuts them down,
so that the threads that read from them end at once.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import traceback
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError, SSLError
from urllib3.exceptions import TimeoutError as PoolTimeoutError

from fluxdrill.kube.credentials import Credentials, load
from fluxdrill.kube.errors import Cause, UnreachableError
from fluxdrill.model.clock import SYSTEM_CLOCK

LONGEST_TCP_CONNECT: Final = 1.5
"""Seconds. The kernel completes a TCP handshake even for a stopped server, so a silent one will not get better."""

_CHUNK = 1 << 16
_TLS_FILES = ("cert_file", "key_file", "ca_certs", "ca_cert_data")


class OpenSockets:
    """The sockets of one transport."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.closed = False

    def add(self, sock: socket.socket) -> None:
        """Remember a socket; one that comes after `shutdown` is shut down at once."""
        with self._lock:
            self._sockets.add(sock)
            if self.closed:
                tear_off(sock)

    def shutdown(self) -> None:
        """Make every read and write on the sockets end now, and on all later ones."""
        self.closed = True
        self.reset()

    def reset(self) -> None:
        """Make every read and write on the present sockets end now."""
        with self._lock:
            for sock in list(self._sockets):
                tear_off(sock)


def tear_off(sock: socket.socket) -> None:
    """End every read and write on `sock`, in whichever thread."""
    with suppress(OSError):
        # Not SSLSocket.shutdown: that one drops the TLS state under a thread that is reading.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def close_half_made(error: BaseException) -> None:
    """Close the TLS socket that CPython (3.11 to 3.13) leaves open when the peer resets before the handshake.

    It is only in the frame that raised `error`, where nobody else can close it.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        made = frame.f_locals.get("self")
        if isinstance(made, ssl.SSLSocket):
            made.close()


class _Connection(HTTPConnection):
    sockets: ClassVar[OpenSockets]
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        whole = self.timeout
        self.timeout = min(whole, LONGEST_TCP_CONNECT) if whole else LONGEST_TCP_CONNECT
        try:
            sock = super()._new_conn()
        finally:
            self.timeout = whole
        sock.settimeout(whole)
        # The TLS handshake takes the descriptor out of `sock`; this copy still reaches the connection.
        self._handle = sock.dup()
        self.sockets.add(self._handle)
        return sock

    def connect(self) -> None:
        try:
            super().connect()
            if self.sock is not None:
                self.sockets.add(self.sock)
        except OSError as error:
            close_half_made(error)
            raise
        finally:
            if self._handle is not None:
                self._handle.close()
                self._handle = None


class _TlsConnection(_Connection, HTTPSConnection):
    pass


Guard = Callable[[str, str], None]


class Transport:
    """HTTP to one API server, on the pool and with the credentials of the official client's ApiClient.

    `guard` is asked before each request, with method and path, and raises what refuses it.
    """

    def __init__(
        self, credentials: Credentials, *, auth_lock: threading.Lock | None = None, guard: Guard | None = None
    ) -> None:
        self._credentials = credentials
        self._guard = guard
        self._sockets = OpenSockets()
        self._auth_lock = auth_lock or threading.Lock()
        self._pools: urllib3.PoolManager = credentials.client.rest_client.pool_manager
        self._pools.pool_classes_by_scheme = _pool_classes(self._sockets)
        if credentials.tls is not None:
            options = self._pools.connection_pool_kw
            options |= {**dict.fromkeys(_TLS_FILES), "ssl_context": credentials.tls}

    @classmethod
    def of_kubeconfig(cls, kubeconfig: Path, context: str | None, guard: Guard | None = None) -> Transport:
        """Return a transport with the credentials of a kubeconfig; raises CredentialsError."""
        return cls(load(kubeconfig, context), guard=guard)

    @property
    def server(self) -> str:
        """The URL of the API server, without a path."""
        return str(self._credentials.client.configuration.host)

    def sibling(self) -> Transport:
        """Return a second transport with the same credentials and connections of its own."""
        return Transport(self._credentials.again(), auth_lock=self._auth_lock, guard=self._guard)

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        body: Any,
        headers: Mapping[str, str],
        connect: float,
        read: float,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return the answer with its body unread. `connect` and `read` are seconds.

        Raises UnreachableError, and what the guard raises.
        """
        if self._guard is not None:
            self._guard(method, path)
        what = f"{method} {self.server}{path}"
        if self._sockets.closed:
            raise UnreachableError(Cause.CLOSED, what)
        url = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            return self._pools.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers={**headers, **self._authorization()},
                timeout=urllib3.Timeout(connect=connect, read=read),
                retries=False,
                preload_content=False,
            )
        except (HTTPError, OSError) as error:
            raise self.unreachable(error, what) from error

    def read(self, answer: urllib3.BaseHTTPResponse, what: str, *, until: float) -> bytes:
        """Return the whole body; `until` is a monotonic time. Raises UnreachableError."""
        chunks: list[bytes] = []
        try:
            while chunk := answer.read1(_CHUNK):
                chunks.append(chunk)
                if SYSTEM_CLOCK.now().monotonic > until:
                    raise UnreachableError(Cause.TIMEOUT, what)
        except (HTTPError, OSError) as error:
            raise self.unreachable(error, what) from error
        finally:
            if answer.closed:
                answer.release_conn()
            else:  # a connection with an unread rest cannot be used again
                answer.close()
        return b"".join(chunks)

    def unreachable(self, error: Exception, what: str) -> UnreachableError:
        """Translate an error of the pool; its own text is dropped, as it can hold whole addresses and objects."""
        return UnreachableError(Cause.CLOSED if self._sockets.closed else _cause(error), what)

    def reset(self) -> None:
        """Tear off every connection of this moment; later requests make new ones."""
        self._sockets.reset()

    def close(self) -> None:
        """Tear off every connection, and make later requests fail; may be called from any thread, and twice."""
        self._sockets.shutdown()
        self._pools.clear()

    def _authorization(self) -> dict[str, str]:
        # The official client may refresh an expired token in here, and is not thread-safe while it does.
        with self._auth_lock:
            settings = self._credentials.client.configuration.auth_settings()
        return {entry["key"]: entry["value"] for entry in settings.values() if entry["in"] == "header"}


def _pool_classes(sockets: OpenSockets) -> dict[str, type[HTTPConnectionPool]]:
    plain = type("Connection", (_Connection,), {"sockets": sockets})
    tls = type("TlsConnection", (_TlsConnection,), {"sockets": sockets})
    return {
        "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


def _cause(error: Exception) -> Cause:
    # NewConnectionError is a TimeoutError of urllib3 by inheritance, hence the order.
    if isinstance(error, NewConnectionError):
        return Cause.REFUSED
    if isinstance(error, PoolTimeoutError | TimeoutError):
        return Cause.TIMEOUT
    return Cause.TLS if isinstance(error, SSLError) else Cause.RESET
