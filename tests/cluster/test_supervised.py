"""One server process: every fault a scenario can do to it, on small real programs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fluxdrill.cluster.leases import LAB_VARIABLE
from fluxdrill.cluster.part import State
from fluxdrill.cluster.supervised import Supervised
from fluxdrill.errors import HarnessError
from tests.processes import lives, python, wait_until

TICKS = """
import pathlib, sys, time
print("started")
count = 0
while True:
    count += 1
    pathlib.Path(sys.argv[1]).write_text(str(count))
    time.sleep(0.01)
"""
# sigwait: a handler would lose a signal that comes just before the sleep begins
POLITE = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\nprint('up')\nsignal.sigwait([signal.SIGTERM])\nprint('bye')"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up')\ntime.sleep(60)"

Make = Callable[..., Supervised]


@pytest.fixture
def make(runtime: Path, tmp_path: Path) -> Iterator[Make]:
    made: list[Supervised] = []

    def supervise(code: str, *arguments: str, ready: Callable[[], bool] | None = None) -> Supervised:
        log = tmp_path / "logs" / "program.log"
        made.append(Supervised("program", [*python(code), *arguments], lab_id="lab-test", log=log, ready=ready))
        return made[-1]

    yield supervise
    for one in made:
        one.kill()


def state(process: Supervised) -> State:
    return process.state


def says(process: Supervised, text: str) -> Callable[[], bool]:
    return lambda: text in process.last_words(1000)


def begun(process: Supervised, text: str = "up") -> Supervised:
    process.start()
    wait_until(says(process, text))
    return process


def test_it_goes_from_not_started_to_running_to_exited(make: Make) -> None:
    process = make(POLITE)
    assert state(process) is State.NOT_STARTED
    assert process.memory() == 0
    begun(process)
    assert state(process) is State.RUNNING
    assert process.memory() > 1_000_000
    process.stop()
    assert state(process) is State.EXITED
    assert process.memory() == 0


def test_stop_lets_a_program_end_in_order(make: Make) -> None:
    process = begun(make(POLITE))
    process.stop()
    assert process.last_words(1) == "bye"


def test_kill_does_not(make: Make) -> None:
    process = begun(make(POLITE))
    process.kill()
    assert process.last_words(1) == "up"
    assert state(process) is State.EXITED


def test_a_program_that_ignores_sigterm_is_killed_at_the_deadline(make: Make) -> None:
    process = begun(make(STUBBORN))
    began = time.monotonic()
    process.stop(deadline=0.3)
    assert 0.3 <= time.monotonic() - began < 5
    assert not lives(process.pid)


def test_kill_takes_the_whole_group(make: Make) -> None:
    code = "import subprocess, sys, time\nprint(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)\ntime.sleep(60)"
    process = make(code)
    process.start()
    wait_until(lambda: process.last_words().isdigit())
    child = int(process.last_words())
    process.kill()
    wait_until(lambda: not lives(child))


def test_a_paused_process_does_nothing_until_resumed(make: Make, tmp_path: Path) -> None:
    note = tmp_path / "count"
    process = begun(make(TICKS, str(note)), "started")
    process.pause()
    assert state(process) is State.PAUSED
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    before = note.read_text()
    time.sleep(0.2)  # twenty times the program's own rhythm
    assert note.read_text() == before
    process.resume()
    assert state(process) is State.RUNNING
    wait_until(lambda: note.read_text() not in ("", before))


def test_a_paused_process_can_be_stopped_in_order(make: Make) -> None:
    process = begun(make(POLITE))
    process.pause()
    process.stop()
    assert (process.state, process.last_words(1)) == (State.EXITED, "bye")


def test_a_paused_process_can_be_killed(make: Make) -> None:
    process = begun(make(POLITE))
    process.pause()
    process.kill()
    assert state(process) is State.EXITED
    assert not lives(process.pid)


def test_restart_keeps_command_line_and_log(make: Make) -> None:
    process = begun(make(POLITE))
    first = process.pid
    process.restart()
    assert state(process) is State.RUNNING
    assert process.pid != first
    wait_until(lambda: process.last_words().endswith("up / bye / up"))


def test_restart_waits_until_it_is_ready(make: Make, tmp_path: Path) -> None:
    flag = tmp_path / "ready"
    process = make(
        "import pathlib, sys, time\ntime.sleep(0.2)\npathlib.Path(sys.argv[1]).touch()\ntime.sleep(60)",
        str(flag),
        ready=flag.exists,
    )
    process.start()
    process.wait_ready(10)
    flag.unlink()
    process.restart()
    assert flag.exists()


def test_stop_and_kill_of_what_does_not_run_do_nothing(make: Make) -> None:
    process = make(POLITE)
    process.stop()
    process.kill()
    assert state(process) is State.NOT_STARTED
    begun(process).kill()
    process.stop()
    process.kill()


def test_a_number_that_was_reaped_is_never_signalled_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    process = begun(make("print('up')"))
    wait_until(lambda: state(process) is State.EXITED)
    monkeypatch.setattr(os, "killpg", lambda pid, _: pytest.fail(f"signalled {pid}"))
    process.kill()
    process.stop()


def test_it_cannot_be_started_twice(make: Make) -> None:
    process = begun(make(POLITE))
    with pytest.raises(HarnessError, match=r"program runs already \(pid \d+\)"):
        process.start()
    process.pause()
    with pytest.raises(HarnessError, match="program runs already"):
        process.start()


def test_what_does_not_run_cannot_be_paused(make: Make) -> None:
    with pytest.raises(HarnessError, match="program is not started: it cannot get SIGSTOP"):
        make(POLITE).pause()
    process = begun(make(POLITE))
    process.kill()
    with pytest.raises(HarnessError, match="program is exited: it cannot get SIGCONT"):
        process.resume()


def test_a_program_that_ends_while_starting_is_told_with_its_last_words(make: Make) -> None:
    process = make("import sys\nprint('reading flags')\nsys.exit('unknown flag: --nonsense')", ready=lambda: False)
    process.start()
    with pytest.raises(
        HarnessError, match=r"program ended while starting \(exit code 1\): reading flags / unknown flag: --nonsense"
    ):
        process.wait_ready(20)


def test_a_program_that_never_gets_ready_is_told_with_its_last_words(make: Make) -> None:
    process = begun(make(POLITE, ready=lambda: False))
    with pytest.raises(HarnessError, match=r"program was not ready after 0\.2 s: up"):
        process.wait_ready(0.2)


def test_a_paused_program_is_not_ready(make: Make) -> None:
    process = begun(make(POLITE))
    process.pause()
    with pytest.raises(HarnessError, match="was not ready after"):
        process.wait_ready(0.2)
    process.resume()
    process.wait_ready(5)


def test_a_program_that_said_nothing_has_no_last_words(make: Make) -> None:
    process = make("import time; time.sleep(60)")
    assert (process.tail(), process.last_words()) == ([], "(it said nothing)")
    process.start()
    assert (process.tail(), process.last_words()) == ([], "(it said nothing)")


def test_the_tail_of_a_long_log_is_cut_at_its_size(make: Make) -> None:
    process = begun(make("print('x' * 5000)\nprint('up')\nimport time\ntime.sleep(60)"))
    assert process.tail() == ["x" * 5000, "up"]
    assert process.tail(1000) == ["x" * 996, "up"]
    assert process.last_words() == "x" * 400 + " / up"


def test_a_program_that_is_not_there_is_said(runtime: Path, tmp_path: Path) -> None:
    process = Supervised("ghost", [str(tmp_path / "none")], lab_id="lab-test", log=tmp_path / "log")
    with pytest.raises(HarnessError, match="ghost cannot be started: No such file"):
        process.start()
    with pytest.raises(HarnessError, match="ghost was not started"):
        _ = process.pid


def test_every_process_carries_the_labs_mark_and_its_own_group(make: Make, runtime: Path) -> None:
    process = begun(make(POLITE))
    assert psutil.Process(process.pid).environ()[LAB_VARIABLE] == str(runtime / "labs" / "lab-test")
    assert os.getpgid(process.pid) == process.pid
