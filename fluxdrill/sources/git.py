"""A Git server over smart HTTP on loopback, with fault switches.

`git http-backend` does the Git part. Flux's source-controller and image-automation-controller (go-git, chunked bodies)
and git itself (gzipped bodies, protocol v2) can clone and push.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from fluxdrill.errors import HarnessError
from fluxdrill.model.clock import SYSTEM_CLOCK, Clock
from fluxdrill.sources.git_backend import Backend
from fluxdrill.sources.git_faults import FaultKind, GitFault
from fluxdrill.sources.git_http import HOST, Listener, RequestRecord, Site

__all__ = ["FaultKind", "GitFault", "GitServer", "RequestRecord"]


class GitServer:
    """Serves the bare repositories below a folder at `url`/<name>; push is allowed; used once, as a context manager.

    With a `user`, every request must carry `user` and `password` (HTTP basic). `deadline` is in seconds per request.
    """

    def __init__(
        self, root: Path, *, user: str = "", password: str = "", deadline: float = 60.0, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        credentials = f"{user}:{password}".encode() if user else b""
        self._site = Site(Backend(root, deadline=deadline), user or "anonymous", credentials, clock)
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
            raise HarnessError("The Git server does not run.", hint="Start it, or use it as a context manager.")
        return int(self._reservation.getsockname()[1])

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`, without credentials; a repository is at `<url>/<its folder's name>`."""
        return f"http://{HOST}:{self.port}"

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
    def fault(self) -> GitFault | None:
        """The fault that is on; set one to turn it on for the next request, None or `heal()` to end it."""
        return self._site.faults.fault

    @fault.setter
    def fault(self, fault: GitFault | None) -> None:
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

    def on_fault(self, listener: Callable[[GitFault | None], None] | None) -> None:
        """Have `listener` told of each fault that is turned on, and None when it is healed; it must be quick."""
        self._site.faults.listener = listener

    def heal(self) -> None:
        """End the fault; requests that wait in it go on at once."""
        self.fault = None

    def start(self) -> None:
        """Serve on a free port.

        Raises HarnessError when called twice, UsageError where git has no HTTP backend or the folder is missing.
        """
        with self._lock:
            if self._reservation is not None or self._retired:
                raise HarnessError("A Git server is started once.", hint="Make a new one.")
            self._site.backend.check()
            self._reservation = _reserve_port()
            self._open_listener()

    def stop(self) -> None:
        """End the listener, all threads and all backend processes; safe to call twice."""
        with self._lock:
            self._close_listener()
            self._site.close()
            for listener in self._retired:
                listener.server_close()  # joins its request threads
            if self._reservation is not None:
                self._reservation.close()
                self._reservation = None

    def _open_listener(self) -> None:
        self._listener = Listener(self._site, self.port)
        self._listener.thread.start()

    def _close_listener(self) -> None:
        if self._listener is None:
            return
        self._listener.shutdown()
        self._listener.thread.join()
        self._listener.socket.close()
        self._retired.append(self._listener)
        self._listener = None


def _reserve_port() -> socket.socket:
    """Bind a free port without listening: connections are refused, and nobody gets the port while the server is down."""
    reservation = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind((HOST, 0))
    return reservation
