"""Asks `/livez` at a steady pace: dates the times in which an API server is silent, and tells when it is back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import ApiError, UnreachableError
from fluxdrill.model.clock import Clock, Instant


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two beats, seconds for an answer, and seconds between beats while the server is down."""

    interval: float = 2.0
    deadline: float = 1.0
    while_down: float = 0.25


@dataclass(frozen=True, slots=True)
class Beat:
    """One question to the server: when it was asked, when the answer was there, and what was wrong ("": nothing)."""

    asked: Instant
    answered: Instant
    why: str = ""


class Heartbeat:
    """A thread that asks until `stop`. Every beat is handed to `report`, under no lock.

    `hurry` asks at once instead of at the next beat: after a connection broke, or to confirm what is about to be
    decided.
    """

    def __init__(self, api: Api, *, clock: Clock, pace: Pace, report: Callable[[Beat], None]) -> None:
        self._api = api
        self._clock = clock
        self._pace = pace
        self._report = report
        self._hurry = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fluxdrill-heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def hurry(self) -> None:
        """Ask at once; a question that is under way is finished first, and a second one asked after it."""
        self._hurry.set()

    def stop(self) -> None:
        """Ask no more, and tear the question under way off; `join` waits for the thread."""
        self._stopped.set()
        self._hurry.set()
        self._api.close()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; tell whether the thread has ended."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                self._hurry.clear()
                self._once()
        finally:
            if not self._stopped.is_set():  # a dead heartbeat must not look like a living server
                now = self._clock.now()
                self._report(Beat(now, now, "the heartbeat thread ended with an error"))

    def _once(self) -> None:
        beat = self._beat()
        if not self._stopped.is_set():
            self._report(beat)
            self._hurry.wait(self._pace.while_down if beat.why else self._pace.interval)

    def _beat(self) -> Beat:
        asked = self._clock.now()
        why = self._ask()
        return Beat(asked, self._clock.now(), why)

    def _ask(self) -> str:
        try:
            self._api.request("GET", "/livez", accept="text/plain", deadline=self._pace.deadline)
        except UnreachableError as error:
            return str(error.cause)
        except ApiError as error:
            # 429 and refused credentials are answers of a living server; 5xx is one that calls itself unfit.
            return f"answers {error.status}" if error.status >= 500 else ""
        return ""
