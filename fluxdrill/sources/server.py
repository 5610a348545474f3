"""A server of a lab, with fault switches: what the Git server, the chart repository and the registry share.

It listens on loopback. For pods it listens on their network's gateway: an address of this machine that only what is
plugged into the bridge reaches.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, Self

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.model.clock import SYSTEM_CLOCK, Clock
from fluxdrill.sources.exchange import Backend
from fluxdrill.sources.faults import FaultKind, ServerFault
from fluxdrill.sources.front import HOST, Listener, RequestRecord, Site

EVERYWHERE = "0.0.0.0"  # noqa: S104 - refused
Told = Callable[[str, str | None], None]
"""Is told what is wrong: of which part of a server ("" is all of it), and how (None: no longer)."""


class Server:
    """Serves what a backend answers, unless a fault is on; used once, as a context manager.

    With a `user`, every request must carry `user` and `password` (HTTP basic). Faults are turned by any thread. `host`
    is the one address of this machine to listen on (IPv4).
    """

    title: ClassVar[str] = "server"

    def __init__(
        self,
        backend: Backend,
        *,
        user: str = "",
        password: str = "",
        clock: Clock = SYSTEM_CLOCK,
        host: str = HOST,
    ) -> None:
        self._host = host
        credentials = f"{user}:{password}".encode() if user else b""
        self._site = Site(backend, user or "anonymous", credentials, clock)
        self._told: Told | None = None
        self._lock = threading.Lock()
        self._reservation: socket.socket | None = None
        self._listener: Listener | None = None
        self._retired: list[Listener] = []

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def port(self) -> int:
        """The port, the same from start to stop; raises HarnessError when the server does not run."""
        if self._reservation is None:
            raise HarnessError(f"The {self.title} does not run.", hint="Start it, or use it as a context manager.")
        return int(self._reservation.getsockname()[1])

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`, or that of another `host`; without credentials."""
        return f"http://{self._host}:{self.port}"

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The last 10,000 requests, oldest first."""
        return tuple(self._site.records)

    @property
    def bitten(self) -> int:
        """How many requests the present (or last) fault has bitten.

        `down` stays at 0, since a refused connection never reaches the server: ask the client.
        """
        return self._site.faults.bitten

    @property
    def fault(self) -> ServerFault | None:
        """The fault that is on; set one to turn it on for the next request, None or `heal()` to end it."""
        return self._site.faults.fault

    @fault.setter
    def fault(self, fault: ServerFault | None) -> None:
        with self._lock:
            _ = self.port  # a fault of a server that does not run would bite nobody
            if fault is None:
                self._site.faults.turn_off()
            else:
                self._site.faults.turn_on(fault)
            if fault is not None and fault.kind is FaultKind.DOWN:
                self._close_listener()
            elif self._listener is None:
                self._open_listener()
            self._tell("", None if fault is None else str(fault))

    def on_fault(self, told: Told | None) -> None:
        """Have `told` called with each fault that is turned on, and when it is healed; it must be quick."""
        self._told = told

    def _tell(self, part: str, words: str | None) -> None:
        if self._told is not None:
            self._told(part, words)

    def heal(self) -> None:
        """End the fault; requests that wait in it go on at once."""
        self.fault = None

    def start(self) -> None:
        """Serve on a free port.

        Raises HarnessError when called twice, UsageError where `host` is no one address of this machine, and what the
        backend raises that cannot get ready.
        """
        with self._lock:
            if self._reservation is not None or self._retired:
                raise HarnessError(f"A {self.title} is started once.", hint="Make a new one.")
            self._site.backend.open()
            self._reservation = _reserve_port(self._host)
            self._open_listener()

    def stop(self) -> None:
        """End the listener, all threads and what the backend has under way; safe to call twice."""
        with self._lock:
            self._close_listener()
            self._site.close()
            for listener in self._retired:
                listener.server_close()  # joins its request threads
            if self._reservation is not None:
                self._reservation.close()
                self._reservation = None

    def _open_listener(self) -> None:
        self._listener = Listener(self._site, (self._host, self.port))
        self._listener.thread.start()

    def _close_listener(self) -> None:
        if self._listener is None:
            return
        self._listener.shutdown()
        self._listener.thread.join()
        self._listener.socket.close()
        self._retired.append(self._listener)
        self._listener = None


def _reserve_port(host: str) -> socket.socket:
    """Bind a free port without listening: connections are refused, and nobody gets the port while the server is down."""
    reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reservation.bind((host, 0))
    except OSError as error:
        reservation.close()
        raise _not_here(host) from error
    if reservation.getsockname()[0] == EVERYWHERE:  # every network this machine is in would reach it
        reservation.close()
        raise _not_here(host)
    return reservation


def _not_here(host: str) -> UsageError:
    hint = "Leave it out for loopback, or give the gateway of the pods' network."
    return UsageError(f"{host or EVERYWHERE} is no one address of this machine to listen on.", hint=hint)
