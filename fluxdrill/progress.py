"""Live progress in the terminal: one rewritten line on a TTY, otherwise a heartbeat at most every 30 seconds."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

HEARTBEAT = 30.0
"""Seconds between two progress lines where the line cannot be rewritten (CI, a pipe)."""


class Progress(Protocol):
    """What long work tells while it runs."""

    def update(self, text: str) -> None:
        """Replace the current line; cheap, may be called for every event."""
        ...

    def note(self, text: str) -> None:
        """Print a line that stays."""
        ...


class Silent:
    """Says nothing: for library use and tests."""

    def update(self, text: str) -> None:
        """Drop the text."""

    def note(self, text: str) -> None:
        """Drop the text."""


class TerminalProgress:
    """Progress on a stream: a rewritten line with elapsed time on a TTY, else a heartbeat of the newest text."""

    def __init__(self, stream: TextIO | None = None, *, heartbeat: float = HEARTBEAT) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._heartbeat = heartbeat
        self._live: Live | None = None
        self._lock = threading.Lock()
        self._started = self._last = time.monotonic()

    @property
    def interactive(self) -> bool:
        """Whether one line can be rewritten."""
        return self._console.is_terminal and not self._console.is_dumb_terminal and "CI" not in os.environ

    def update(self, text: str) -> None:
        """Show `text` as the current state."""
        with self._lock:
            if self._live is not None:
                self._live.update(self._line(text))
            elif not self.interactive and time.monotonic() - self._last >= self._heartbeat:
                self._last = time.monotonic()
                self._console.print(self._line(text))

    def note(self, text: str) -> None:
        """Print `text` as a line that stays."""
        with self._lock:
            self._last = time.monotonic()
            self._console.print(Text(text))

    @contextmanager
    def running(self) -> Iterator[TerminalProgress]:
        """Own the terminal's last line until the block ends; the line is wiped then."""
        self._started = self._last = time.monotonic()
        if not self.interactive:
            yield self
            return
        # standard output stays what it is: it may be piped
        with Live(Text(""), console=self._console, transient=True, refresh_per_second=8, redirect_stdout=False) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def _line(self, text: str) -> Text:
        line = Text(f"{time.monotonic() - self._started:6.1f} s  {text}", no_wrap=True, overflow="ellipsis")
        if self._live is not None:
            line.truncate(max(20, self._console.width - 1), overflow="ellipsis")
        return line
