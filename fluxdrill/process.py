"""Run other programs: argv lists, always a deadline, and the whole process group ends together."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread, Timer

from fluxdrill.errors import HarnessError


class DeadlineExceededError(HarnessError):
    """A program did not end within its deadline; its whole process group was killed."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended: exit code and what it printed."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode("utf-8", "replace")


def run(
    argv: Sequence[str | Path],
    *,
    deadline: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    on_stderr: Callable[[str], None] | None = None,
) -> Completed:
    """Run `argv` to its end within `deadline` seconds; any exit code is returned, not raised.

    `on_stderr` is called with each line of standard error as it comes. What the program leaves running in its group is
    killed. Raises DeadlineExceededError, and HarnessError where the program cannot be started.
    """
    with _group(argv, cwd=cwd, env=env, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL) as process:
        talk = _Talk(process, stdin, on_stderr)
        in_time = _await_end(process.pid, deadline)
        stdout, stderr = talk.end()
    command = tuple(map(str, argv))
    if not in_time:
        raise DeadlineExceededError(f"{command[0]} did not end within {deadline:g} s and was killed.")
    return Completed(command, process.returncode, stdout, stderr)


def end_group(pid: int) -> None:
    """SIGKILL the process group `pid` leads; a group that is gone is fine."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


@contextmanager
def _group(
    argv: Sequence[str | Path], *, cwd: Path | None, env: Mapping[str, str] | None, stdin: int
) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            list(map(str, argv)),
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise HarnessError(f"{argv[0]} cannot be started: {error.strerror} ({error.filename}).") from error
    with process:
        try:
            yield process
        except BaseException:
            end_group(process.pid)
            raise


def _await_end(pid: int, deadline: float) -> bool:
    """Wait for a child's end and end its group; tell whether it ended by itself. The child stays to be reaped."""
    late = Event()

    def give_up() -> None:
        late.set()
        end_group(pid)

    timer = Timer(deadline, give_up)
    timer.daemon = True
    timer.start()
    try:
        # not reaped yet, so that its number cannot belong to another group when that is killed
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    finally:
        timer.cancel()
        timer.join()
    end_group(pid)
    return not late.is_set()


class _Talk:
    """Serves the three pipes of a program, each in a thread of its own: an unserved one would fill and stop it."""

    def __init__(
        self, process: subprocess.Popen[bytes], stdin: bytes | None, on_stderr: Callable[[str], None] | None
    ) -> None:
        self._process = process
        self._stdin = stdin
        self._on_stderr = on_stderr
        self._stdout = b""
        self._lines: list[str] = []
        self._threads = [Thread(target=work, daemon=True) for work in (self._hear, self._listen, self._feed)]
        for thread in self._threads:
            thread.start()

    def end(self) -> tuple[bytes, str]:
        """Return standard output and standard error once all was read."""
        for thread in self._threads:
            thread.join()
        return self._stdout, "\n".join(self._lines)

    def _hear(self) -> None:
        # a ValueError is a pipe that was closed under us: an interrupt ended the call, and nobody wants the rest
        with suppress(ValueError):
            if self._process.stdout is not None:
                self._stdout = self._process.stdout.read()

    def _listen(self) -> None:
        with suppress(ValueError):
            for raw in self._process.stderr or ():
                self._lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
                if self._on_stderr is not None:
                    self._on_stderr(self._lines[-1])

    def _feed(self) -> None:
        if self._stdin is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError), self._process.stdin as pipe:
                pipe.write(self._stdin)
