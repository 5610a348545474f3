"""The journal: an append-only record of a run, one JSON object per line, written as it happens.

Every entry has `type` and `t`, seconds since the run began. A run that was killed leaves a journal that can be read.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fluxdrill.errors import UsageError
from fluxdrill.model.clock import SYSTEM_CLOCK, Clock, Instant
from fluxdrill.model.records import Intervention, Record, Wait, transition_fields
from fluxdrill.model.timeline import Gap, Transition, WatchLoss

Entry = dict[str, Any]
WAIT_OBJECTS = 20
"""Objects named of one wait; `count` says how many there are."""


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

    def observe(self, lab: str, entry: Record) -> None:
        """Append what a lab tells; for `Lab.start(..., observer=...)`. What has ended is told again, with its end."""
        match entry:
            case Transition():
                self.tell("transition", at=entry.at, lab=lab, **transition_fields(entry))
            case Gap():
                self.tell("gap", at=entry.start, lab=lab, why=entry.why, end=self._end(entry.end))
            case WatchLoss():
                self.tell("watch-loss", at=entry.at, lab=lab, what=entry.what, why=entry.why)
            case Wait():
                self.tell("wait", at=entry.started, lab=lab, end=self._end(entry.ended), **wait_fields(entry))
            case Intervention():
                done = {"what": entry.what, "target": entry.target, "end": self._end(entry.ended)}
                self.tell("disturbance", at=entry.started, lab=lab, **done)

    @contextmanager
    def disturbance(self, what: str, *, target: str, lab: str = "") -> Iterator[None]:
        """Record that `what` was done to `target` from here to the end of the `with` block, for what no lab tells itself."""
        begun = Intervention(what, target, self._clock.now())
        self.observe(lab, begun)
        try:
            yield
        finally:
            self.observe(lab, replace(begun, ended=self._clock.now()))

    def _end(self, at: Instant | None) -> float | None:
        return self.seconds(at) if at is not None else None

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


def wait_fields(entry: Wait) -> Entry:
    """Return the plain fields of a wait: what and which objects were waited for, the deadline in seconds, the outcome."""
    return {
        "what": entry.what,
        "objects": [str(ref) for ref in entry.refs[:WAIT_OBJECTS]],
        "count": len(entry.refs),
        "deadline": entry.deadline,
        "outcome": str(entry.outcome),
        "why": entry.why[:500],
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
