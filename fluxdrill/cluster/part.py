"""A program of a lab that faults act upon: a process of this machine, or one in a container on a lab's node."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

STOP_DEADLINE = 10.0
"""Seconds that a program has to end in order, unless it is given others."""


class State(StrEnum):
    """Where a process stands."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"


class Action(StrEnum):
    """What was done to a process, as its `listener` is told."""

    STARTED = "started"
    READY = "ready"
    PAUSED = "paused"
    RESUMED = "resumed"
    STOPPED = "stopped"
    KILLED = "killed"


class Part(Protocol):
    """What can be done to a program of a lab, whatever runs it. What is stopped or killed stays down until `start`.

    `name` is what it is called in reports. `listener`, where one is set, is told the name and each thing that was done to it.
    """

    name: str
    listener: Callable[[str, Action], None] | None

    @property
    def state(self) -> State:
        """The state now."""

    @property
    def identity(self) -> str:
        """What tells this run of the program from the one before and after it; raises HarnessError if there was none."""

    @property
    def frozen(self) -> bool:
        """Whether the kernel says that it is stopped."""

    def start(self) -> None:
        """Start it; raises HarnessError if it runs already or cannot be started."""

    def wait_ready(self, deadline: float) -> None:
        """Wait until it is ready; raises HarnessError with its last words if `deadline` seconds pass."""

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""

    def resume(self) -> None:
        """SIGCONT after a pause."""

    def kill(self) -> None:
        """SIGKILL, and wait for the end; fine if it is gone."""

    def stop(self, deadline: float = STOP_DEADLINE) -> None:
        """SIGTERM, then SIGKILL after `deadline` seconds; a paused one is resumed so that it can stop."""

    def restart(self, *, ready_within: float = 60.0) -> None:
        """Stop, start and wait until ready."""
        self.stop()
        self.start()
        self.wait_ready(ready_within)

    def last_words(self, lines: int = 3) -> str:
        """Return the last lines of its log, for error messages."""
        return " / ".join(line[:400] for line in self.tail(16384)[-lines:]) or "(it said nothing)"

    def tail(self, size: int = 1 << 20) -> list[str]:
        """Return the lines in the last `size` bytes of its log; empty where there is none."""

    def memory(self) -> int:
        """Return its resident memory in bytes; 0 if it does not run, or is not to be measured."""
