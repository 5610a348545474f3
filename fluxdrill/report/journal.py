"""The journal: an append-only record of a run, one JSON object per line, written as it happens.

Every entry has `type` and `t`, seconds since the run began. A run that was killed leaves a journal that can be read.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fluxdrill.errors import UsageError
from fluxdrill.model.clock import SYSTEM_CLOCK, Clock, Instant
from fluxdrill.model.timeline import Gap, Transition, WatchLoss

Entry = dict[str, Any]


class Journal:
    """Writes entries to `path` from any thread, in order; a context manager.

    Writing happens in a thread of its own, so that telling the journal never delays a watch; each line is flushed.
    """

    def __init__(self, path: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._clock = clock
        self.began = clock.now()
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()
        self.tell("run", utc=self.began.utc.isoformat(), monotonic=self.began.monotonic)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def tell(self, type: str, /, *, at: Instant | None = None, **fields: Any) -> None:  # noqa: A002 - the entry's own word
        """Append an entry of `type`; `fields` must be plain data."""
        self._queue.put({"type": type, "t": self.seconds(at or self._clock.now()), **fields})

    def take(self, entries: Iterable[Entry], *, shift: float) -> None:
        """Append another journal's entries, `shift` seconds later than they say; its own `run` entries stay out."""
        for entry in entries:
            if entry.get("type") != "run":
                end = {"end": entry["end"] + shift} if isinstance(entry.get("end"), float) else {}
                self._queue.put({**entry, "t": round(float(entry["t"]) + shift, 4), **end})

    def seconds(self, at: Instant) -> float:
        """Return the seconds of `at` since the run began."""
        return round(at.since(self.began), 4)

    def observe(self, lab: str, entry: Transition | Gap | WatchLoss) -> None:
        """Append what a lab's watch saw; for `Store(..., on_record=...)`."""
        match entry:
            case Transition():
                self.tell("transition", at=entry.at, lab=lab, **transition_fields(entry))
            case Gap():
                end = self.seconds(entry.end) if entry.end is not None else None
                self.tell("gap", at=entry.start, lab=lab, why=entry.why, end=end)
            case WatchLoss():
                self.tell("watch-loss", at=entry.at, lab=lab, what=entry.what, why=entry.why)

    def close(self) -> None:
        """Write what is queued and end; may be called twice."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join(10)

    def _work(self) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            while (entry := self._queue.get()) is not None:
                file.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")
                file.flush()


def transition_fields(entry: Transition) -> Entry:
    """Return the plain fields of a transition: the object, what was seen, and its Ready condition or kstatus."""
    ready = next((one for one in entry.conditions if one.type == "Ready"), None)
    status = str(ready.status) if ready else str(entry.status.status)
    return {
        "object": str(entry.ref),
        "group": entry.ref.group,
        "change": str(entry.kind),
        "seen": str(entry.seen),
        "status": status,
        "reason": ready.reason if ready else entry.status.reason,
        "message": (ready.message if ready else entry.status.message)[:500],
        "kstatus": str(entry.status.status),
        "generation": entry.generation,
        "revision": entry.revision,
    }


def read_journal(path: Path) -> list[Entry]:
    """Read a journal; a last line that was cut by a kill is left out. Raises UsageError where it is no journal."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(
            f"The journal {path} cannot be read: {error.strerror}.", hint="Name a run's folder."
        ) from error
    entries = [
        entry for number, line in enumerate(lines) if (entry := _parse(path, line, last=number == len(lines) - 1))
    ]
    if not entries or entries[0].get("type") != "run":
        raise UsageError(f"{path} is not a journal of fluxdrill.", hint="Name the journal.jsonl of a run.")
    return entries


def _parse(path: Path, line: str, *, last: bool) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError as error:
        if last:
            return None
        raise UsageError(f"{path} has a line that is not JSON: {line[:60]!r}.", hint="Name another run.") from error
    return dict(entry) if isinstance(entry, Mapping) else None
