"""Progress is one rewritten line on a terminal, a heartbeat elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxdrill.process import run
from fluxdrill.progress import Silent, TerminalProgress
from tests.processes import python

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A pseudo-terminal: what is written to `stream` is read back by `shown`."""

    def __init__(self) -> None:
        self._reading, writing = pty.openpty()
        self.stream = os.fdopen(writing, "w", encoding="utf-8")

    def shown(self) -> str:
        """Close the writing side and return everything that was shown."""
        self.stream.close()
        text = b""
        try:
            while part := os.read(self._reading, 65536):
                text += part
        except OSError:  # how Linux says that the other side is closed
            pass
        os.close(self._reading)
        return text.decode()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CI", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    return iter([None])


def on_terminal() -> str:
    terminal = Terminal()
    with TerminalProgress(terminal.stream).running() as progress:
        assert progress.interactive
        progress.update("first")
        time.sleep(0.3)  # longer than the line's own refresh: without it only the last text would be drawn
        progress.note("a line that stays")
        progress.update("second " + "x" * 100)
        time.sleep(0.3)
    return terminal.shown()


def test_a_terminal_shows_one_rewritten_line_with_the_elapsed_time() -> None:
    shown = on_terminal()
    assert re.search(r"0\.\d s  first", shown)
    assert "\x1b[2K" in shown, "the line is erased before it is written anew"
    assert "a line that stays\r\n" in shown
    assert re.search(r"0\.\d s  second x+…", shown), "a long line is cut: wrapped lines cannot be rewritten"


def test_no_color_leaves_no_colour_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOUR.findall(on_terminal())


def test_a_pipe_gets_no_escape_and_at_most_a_heartbeat() -> None:
    stream = io.StringIO()
    with TerminalProgress(stream, heartbeat=0.2).running() as progress:
        for number in range(50):
            progress.update(f"step {number}")
            time.sleep(0.01)
    lines = stream.getvalue().splitlines()
    assert 1 <= len(lines) <= 3
    assert all(re.fullmatch(r" +0\.\d s  step \d+", line) for line in lines)


def test_the_default_heartbeat_says_nothing_in_short_work() -> None:
    stream = io.StringIO()
    with TerminalProgress(stream).running() as progress:
        progress.update("soon done")
        progress.note("but a note is printed")
    assert stream.getvalue() == "but a note is printed\n"


def test_ci_gets_a_heartbeat_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    terminal = Terminal()
    with TerminalProgress(terminal.stream, heartbeat=0.0).running() as progress:
        progress.update("beat")
    assert re.fullmatch(r" +0\.\d s  beat\r\n", terminal.shown())


def test_standard_output_stays_apart_from_the_line(tmp_path: Path) -> None:
    code = (
        "import sys, pty, os\nfrom fluxdrill.progress import TerminalProgress\n"
        "r, w = pty.openpty()\n"
        "with TerminalProgress(os.fdopen(w, 'w')).running() as p:\n    p.update('busy')\n    print('data')"
    )
    assert run(python(code), deadline=20, env={**os.environ, "PATH": os.defpath}).text == "data\n"


def test_silent_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    Silent().update("a")
    Silent().note("b")
    assert capfd.readouterr() == ("", "")


def test_text_that_looks_like_markup_is_shown_as_it_is() -> None:
    stream = io.StringIO()
    TerminalProgress(stream).note("pod [red]not a colour[/red]")
    assert stream.getvalue() == "pod [red]not a colour[/red]\n"
    assert sys.stdout is not stream
