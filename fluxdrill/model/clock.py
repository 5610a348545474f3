"""The one clock: monotonic seconds for durations, UTC for records."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks: `monotonic` in seconds (for durations), `utc` for records."""

    monotonic: float
    utc: datetime

    def since(self, earlier: Instant) -> float:
        """Seconds from `earlier` to this moment."""
        return self.monotonic - earlier.monotonic


class Clock(Protocol):
    """What tells the time; tests hand in their own."""

    def now(self) -> Instant:
        """Return the present moment."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> Instant:
        """Return the present moment."""
        return Instant(time.monotonic(), datetime.now(UTC))


SYSTEM_CLOCK: Clock = SystemClock()
