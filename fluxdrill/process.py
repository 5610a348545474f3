"""Run other programs: argv lists, always a deadline, and the whole process group ends together."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread, Timer

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

    `on_stderr` is called with each line of standard error as it comes. Raises DeadlineExceededError, and HarnessError
    where the program cannot be started.
    """
    with _group(argv, cwd=cwd, env=env, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL) as process:
        timed_out: list[bool] = []
        timer = Timer(deadline, lambda: (timed_out.append(True), end_group(process.pid)))
        timer.daemon = True
        timer.start()
        try:
            stdout, stderr = _converse(process, stdin, on_stderr)
        finally:
            timer.cancel()
    command = tuple(map(str, argv))
    if timed_out:
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


def _converse(
    process: subprocess.Popen[bytes], stdin: bytes | None, on_stderr: Callable[[str], None] | None
) -> tuple[bytes, str]:
    lines: list[str] = []

    def listen() -> None:
        for raw in process.stderr or ():
            lines.append(raw.decode("utf-8", "replace").rstrip("\n"))
            if on_stderr is not None:
                on_stderr(lines[-1])

    def feed() -> None:
        if stdin is not None and process.stdin is not None:
            with suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(stdin)

    # threads of their own: whichever pipe nobody serves would fill and stop the program
    helpers = [Thread(target=listen, daemon=True), Thread(target=feed, daemon=True)]
    for helper in helpers:
        helper.start()
    stdout = process.stdout.read() if process.stdout else b""
    process.wait()
    for helper in helpers:
        helper.join()
    return stdout, "\n".join(lines)
