"""One server process of a lab: start, stop, kill, pause, restart, and what it said last."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from fluxdrill.cluster.leases import marker
from fluxdrill.cluster.part import STOP_DEADLINE, Action, Part, State
from fluxdrill.errors import HarnessError

READY_INTERVAL = 0.03
"""Seconds between two readiness probes of our own process; the only kind of poll a lab start does."""


class Supervised(Part):
    """A server process; its data folder and log survive a restart, its command line stays the same.

    `ready` is asked until it answers true; None means that a running process is ready. `listener`, where one is set, is
    told the name and each thing that was done to it.
    """

    def __init__(
        self,
        name: str,
        argv: list[str],
        *,
        lab_id: str,
        log: Path,
        env: Mapping[str, str] | None = None,
        ready: Callable[[], bool] | None = None,
    ) -> None:
        self.name = name
        self.argv = argv
        self.log = log
        self.listener: Callable[[str, Action], None] | None = None
        self._env = {**os.environ, **(env or {}), **marker(lab_id)}
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    @property
    def state(self) -> State:
        """The state now."""
        if self._process is None:
            return State.NOT_STARTED
        if self._process.poll() is not None:
            return State.EXITED
        return State.PAUSED if self._paused else State.RUNNING

    @property
    def pid(self) -> int:
        """The process id; raises HarnessError if it was never started."""
        if self._process is None:
            raise HarnessError(f"{self.name} was not started.")
        return self._process.pid

    @property
    def identity(self) -> str:
        """The process id, as text; raises HarnessError if it was never started."""
        return str(self.pid)

    @property
    def frozen(self) -> bool:
        """Whether the kernel says that it is stopped."""
        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)
        except psutil.NoSuchProcess:
            return False

    def start(self) -> None:
        """Start it; raises HarnessError if it runs already or cannot be started."""
        if self.state in (State.RUNNING, State.PAUSED):
            raise HarnessError(f"{self.name} runs already (pid {self.pid}).", hint="Stop it first.")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    self.argv,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.log.parent,
                    start_new_session=True,
                )
            except OSError as error:
                raise HarnessError(f"{self.name} cannot be started: {error.strerror}.") from error
        self._paused = False
        self._tell(Action.STARTED)

    def wait_ready(self, deadline: float) -> None:
        """Wait until it is ready; raises HarnessError with its last words if it ends or `deadline` seconds pass."""
        end = time.monotonic() + deadline
        while self.state is not State.RUNNING or (self._ready is not None and not self._ready()):
            if self.state in (State.EXITED, State.NOT_STARTED):
                code = self._process.returncode if self._process else "none"
                raise HarnessError(f"{self.name} ended while starting (exit code {code}): {self.last_words()}")
            if time.monotonic() > end:
                raise HarnessError(f"{self.name} was not ready after {deadline:g} s: {self.last_words()}")
            time.sleep(READY_INTERVAL)
        self._tell(Action.READY)

    def pause(self) -> None:
        """SIGSTOP its process group: it keeps its connections and answers nothing."""
        self._signal(signal.SIGSTOP)
        self._paused = True
        self._tell(Action.PAUSED)

    def resume(self) -> None:
        """SIGCONT after a pause."""
        self._signal(signal.SIGCONT)
        self._paused = False
        self._tell(Action.RESUMED)

    def kill(self) -> None:
        """SIGKILL its process group and wait for the end; fine if it is gone."""
        self._end(signal.SIGKILL)

    def stop(self, deadline: float = STOP_DEADLINE) -> None:
        """SIGTERM, then SIGKILL after `deadline` seconds; a paused process is resumed so that it can stop."""
        if self.state is State.PAUSED:
            self.resume()
        self._end(signal.SIGTERM, deadline)

    def tail(self, size: int = 1 << 20) -> list[str]:
        """Return the lines in the last `size` bytes of the log; empty where there is none yet."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - size))
                return log.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return []

    def memory(self) -> int:
        """Return its resident memory in bytes; 0 if it does not run."""
        if self.state is not State.RUNNING:
            return 0
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.NoSuchProcess:
            return 0

    def _tell(self, action: Action) -> None:
        if self.listener is not None:
            self.listener(self.name, action)

    def _signal(self, number: signal.Signals) -> None:
        if self.state not in (State.RUNNING, State.PAUSED):
            raise HarnessError(f"{self.name} is {self.state}: it cannot get {number.name}.")
        os.killpg(self.pid, number)

    def _end(self, number: signal.Signals, deadline: float = STOP_DEADLINE) -> None:
        self._paused = False
        if self._process is None or self._process.poll() is not None:
            return  # its number may belong to another process by now
        self._tell(Action.KILLED if number is signal.SIGKILL else Action.STOPPED)
        os.killpg(self._process.pid, number)
        try:
            self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self._kill_at_last(self._process)

    def _kill_at_last(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            raise HarnessError(f"{self.name} (pid {process.pid}) does not die.", hint="See `ps` for state D.") from None
