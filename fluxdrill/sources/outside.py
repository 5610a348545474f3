"""The end of the world: a proxy that refuses every outside host and records who was wanted.

Controllers get it as HTTP, HTTPS and SOCKS proxy, so they resolve no name and open no connection outside the machine.
"""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from fluxdrill.model.clock import SYSTEM_CLOCK, Clock, Instant

HOST = "127.0.0.1"
_TIMEOUT = 5.0
_SOCKS5 = b"\5"
_HEAD_LIMIT = 65536
_REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 33\r\nConnection: close\r\n\r\nfluxdrill: labs reach no outside\n"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One refused attempt: when, which host and port, and by which protocol."""

    at: Instant
    host: str
    port: int
    protocol: str


class Outside:
    """The refusing, recording proxy of one lab; a context manager. Listens on `port` of `host` (0: any)."""

    def __init__(self, *, host: str = HOST, port: int = 0, clock: Clock = SYSTEM_CLOCK) -> None:
        self._host = host
        self._clock = clock
        self._wanted: list[Wanted] = []
        self._lock = threading.Lock()
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="outside", daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self.close()

    def close(self) -> None:
        """Stop listening."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """Environment for a program that must not reach outside; loopback and our own address stay reachable."""
        address = f"{self._host}:{self._server.server_address[1]}"
        http, socks = f"http://{address}", f"socks5h://{address}"
        local = ",".join(dict.fromkeys(("127.0.0.1", "localhost", "::1", self._host)))
        values = {"HTTP_PROXY": http, "HTTPS_PROXY": http, "ALL_PROXY": socks, "NO_PROXY": local}
        return values | {name.lower(): value for name, value in values.items()}

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """Every refused attempt so far, oldest first."""
        with self._lock:
            return tuple(self._wanted)

    def hosts(self) -> dict[str, int]:
        """Return host:port -> number of refused attempts, most wanted first."""
        counted = Counter(f"{one.host}:{one.port}" for one in self.wanted)
        return dict(counted.most_common())

    def record(self, host: str, port: int, protocol: str) -> None:
        """Note one attempt."""
        with self._lock:
            self._wanted.append(Wanted(self._clock.now(), host, port, protocol))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], outside: Outside) -> None:
        self.outside = outside
        super().__init__(address, _Handler)


class _Handler(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        self.request.settimeout(_TIMEOUT)
        with suppress(OSError):
            first = self.request.recv(1)
            try:
                self._refuse_socks() if first == _SOCKS5 else self._refuse_http(first)
            except ValueError:
                if first:  # whatever it speaks, it wanted out
                    self.server.outside.record("?", 0, "unknown")
            self._leave()

    def _refuse_http(self, first: bytes) -> None:
        head = first
        while head and b"\r\n\r\n" not in head:
            part = self.request.recv(4096)
            if not part or len(head) > _HEAD_LIMIT:
                raise ValueError("no HTTP request")
            head += part
        method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ", 2)
        tunnel = method == "CONNECT"
        url = urlsplit(f"//{target}" if tunnel else target)
        if not url.hostname:
            raise ValueError("no host")
        port = url.port or (443 if tunnel else 80)
        self.server.outside.record(url.hostname, port, "https" if tunnel else "http")
        self.request.sendall(_REFUSAL)

    def _refuse_socks(self) -> None:
        methods = self._exactly(1)[0]
        self._exactly(methods)
        self.request.sendall(_SOCKS5 + b"\0")
        _, _, _, kind = self._exactly(4)
        host = self._socks_host(kind)
        port = int.from_bytes(self._exactly(2), "big")
        self.server.outside.record(host, port, "socks")
        not_allowed_by_ruleset = b"\2"
        self.request.sendall(_SOCKS5 + not_allowed_by_ruleset + b"\0\1" + bytes(6))

    def _socks_host(self, kind: int) -> str:
        if kind == 1:
            return socket.inet_ntop(socket.AF_INET, self._exactly(4))
        if kind == 4:
            return socket.inet_ntop(socket.AF_INET6, self._exactly(16))
        return self._exactly(self._exactly(1)[0]).decode("ascii", "replace")

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.request.recv(count - len(data))
            if not part:
                raise ValueError("the client left")
            data += part
        return data

    def _leave(self) -> None:
        """Read what is left before closing: the kernel would answer it with a reset, and the refusal would be lost."""
        self.request.shutdown(socket.SHUT_WR)
        end = time.monotonic() + _TIMEOUT
        while time.monotonic() < end and self.request.recv(65536):
            pass
