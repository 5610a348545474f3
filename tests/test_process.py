"""Programs are run with a deadline, and nothing of them is left."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest

from fluxdrill.errors import ExitCode, HarnessError
from fluxdrill.process import DeadlineExceededError, run
from tests.processes import lives, python, wait_until

SPAWN = """
import subprocess, sys, time, pathlib
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
"""


def test_output_and_exit_code_are_returned_whatever_the_code() -> None:
    done = run(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"), deadline=20)
    assert (done.text, done.stderr, done.returncode) == ("out\n", "err", 7)


def test_deadline_kills_the_program_and_says_so() -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"did not end within 0\.5 s and was killed") as caught:
        run(python("import time; time.sleep(60)"), deadline=0.5)
    assert caught.value.exit_code is ExitCode.HARNESS_ERROR
    assert time.monotonic() - began < 10


def test_a_program_that_ends_in_time_is_no_deadline_exceeded() -> None:
    assert run(python("import time; time.sleep(0.2)"), deadline=20).returncode == 0


def test_deadline_kills_grandchildren_too(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(DeadlineExceededError):
        run(["sh", "-c", 'sleep 60 & echo $! > "$0"; sleep 60', str(note)], deadline=0.5)
    pid = int(note.read_text())
    wait_until(lambda: not lives(pid))


def test_a_grandchild_that_holds_the_pipes_ends_with_its_program(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    done = run([*python(SPAWN + "print('done')"), str(note)], deadline=20)
    assert done.text == "done\n"
    pid = int(note.read_text())
    wait_until(lambda: not lives(pid))


def test_large_input_and_outputs_at_once_do_not_deadlock() -> None:
    echo = (
        "import sys, hashlib\n"
        "sys.stderr.write('e' * 3_000_000 + chr(10)); sys.stdout.write('o' * 3_000_000)\n"
        "sys.stdout.flush(); data = sys.stdin.buffer.read(); print(hashlib.sha256(data).hexdigest())"
    )
    data = bytes(range(256)) * 12_000
    done = run(python(echo), deadline=20, stdin=data)
    assert done.stdout == b"o" * 3_000_000 + hashlib.sha256(data).hexdigest().encode() + b"\n"
    assert done.stderr == "e" * 3_000_000


def test_a_program_that_does_not_read_its_input_ends_all_the_same() -> None:
    assert run(python("print('deaf')"), deadline=20, stdin=b"x" * 1_000_000).text == "deaf\n"


def test_standard_error_is_told_line_by_line_while_the_program_runs(tmp_path: Path) -> None:
    heard, go = threading.Event(), tmp_path / "go"
    code = "import sys, time, pathlib\nprint('first', file=sys.stderr, flush=True)\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.01)"

    def on_stderr(text: str) -> None:
        assert text == "first"
        heard.set()
        go.touch()  # the program ends only after it was heard

    assert run([*python(code), str(go)], deadline=20, on_stderr=on_stderr).returncode == 0
    assert heard.is_set()


def test_a_program_that_is_not_there_is_a_harness_error() -> None:
    with pytest.raises(HarnessError, match="no-such-program cannot be started: No such file"):
        run(["no-such-program"], deadline=1)


def test_an_exception_in_the_caller_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "pid"

    def interrupt(pid: int, deadline: float) -> bool:
        wait_until(lambda: note.exists() and note.read_text() != "")
        raise KeyboardInterrupt

    monkeypatch.setattr("fluxdrill.process._await_end", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run([*python(SPAWN + "time.sleep(60)"), str(note)], deadline=20)
    pid = int(note.read_text())
    wait_until(lambda: not lives(pid))
