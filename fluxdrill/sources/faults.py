"""What can be wrong with a server of a lab (Git, charts, registry), as values, and the switch that turns one on."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import StrEnum

from fluxdrill.errors import UsageError


class FaultKind(StrEnum):
    """The ways a server fails."""

    DOWN = "down"
    SLOW = "slow"
    STATUS = "status"
    TRUNCATED = "truncated"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class ServerFault:
    """One fault of a server; made by the class methods.

    `only` limits it to a path and all below it (`fleet.git`, `index.yaml`, `v2/charts/app/blobs`); empty means every
    request.
    """

    kind: FaultKind
    only: str = ""
    seconds: float = 0.0
    status: int = 0

    @classmethod
    def down(cls) -> ServerFault:
        """Refuse connections: the listening socket is closed. It concerns every path."""
        return cls(FaultKind.DOWN)

    @classmethod
    def slow(cls, seconds: float, *, only: str = "") -> ServerFault:
        """Wait `seconds` before each request is answered; healing ends the wait at once."""
        if seconds <= 0:
            raise UsageError(f"A delay of {seconds} s is none.", hint="Give a positive number of seconds.")
        return cls(FaultKind.SLOW, only, seconds=seconds)

    @classmethod
    def server_error(cls, status: int = 503, *, only: str = "") -> ServerFault:
        """Answer each request with `status` (500 to 599)."""
        if not 500 <= status <= 599:
            raise UsageError(f"{status} is not a server error.", hint="Give a status from 500 to 599.")
        return cls(FaultKind.STATUS, only, status=status)

    @classmethod
    def unauthorized(cls, *, only: str = "") -> ServerFault:
        """Answer each request with 401, whatever its credentials: they were revoked."""
        return cls(FaultKind.STATUS, only, status=401)

    @classmethod
    def truncated(cls, *, only: str = "") -> ServerFault:
        """Cut each answer in the middle of its body and close the connection."""
        return cls(FaultKind.TRUNCATED, only)

    @classmethod
    def hang(cls, *, only: str = "") -> ServerFault:
        """Accept each request and do not answer it until the fault is healed."""
        return cls(FaultKind.HANG, only)

    def __str__(self) -> str:
        scope = f" for {self.only.strip('/')}" if self.only.strip("/") else ""
        return _WORDS[self.kind].format(seconds=self.seconds, status=self.status) + scope

    def concerns(self, path: str) -> bool:
        """Tell whether a request for the URL path `path` is in scope."""
        scope = self.only.strip("/")
        return not scope or f"{path.strip('/')}/".startswith(f"{scope}/")


_WORDS = {
    FaultKind.DOWN: "is down",
    FaultKind.SLOW: "answers {seconds:g} s late",
    FaultKind.STATUS: "answers {status}",
    FaultKind.TRUNCATED: "cuts its answers",
    FaultKind.HANG: "hangs",
}


@dataclass(slots=True, eq=False)
class ActiveFault:
    """A fault as requests meet it; `over` is set once it is healed, replaced, or the server stops."""

    fault: ServerFault
    over: threading.Event = field(default_factory=threading.Event)
    bitten: int = 0


class FaultSwitch:
    """The fault that is on, for many threads; a change is seen by the next request, and ends all waiting in old ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: ActiveFault | None = None
        self._last: ActiveFault | None = None

    @property
    def fault(self) -> ServerFault | None:
        """The fault that is on."""
        with self._lock:
            return self._active.fault if self._active else None

    @property
    def bitten(self) -> int:
        """How many requests the fault that is on (or, when healed, the last one) has bitten."""
        with self._lock:
            return self._last.bitten if self._last else 0

    def turn_on(self, fault: ServerFault) -> None:
        """Replace what is on by `fault` and start counting at 0."""
        self._replace(ActiveFault(fault))

    def turn_off(self) -> None:
        """Heal; requests that wait go on at once."""
        self._replace(None)

    def meet(self, path: str) -> ActiveFault | None:
        """Return the fault that a request for `path` meets."""
        with self._lock:
            active = self._active
        return active if active and active.fault.concerns(path) else None

    def bite(self, active: ActiveFault) -> None:
        """Count one request that `active` has bitten."""
        with self._lock:
            active.bitten += 1

    def _replace(self, active: ActiveFault | None) -> None:
        with self._lock:
            before, self._active = self._active, active
            self._last = active or self._last
        if before:
            before.over.set()
