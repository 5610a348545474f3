"""Small real programs and waits for them, for tests of what starts and ends processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO

import psutil

from fluxdrill.cluster.part import Part
from fluxdrill.cluster.supervised import Supervised


def python(code: str) -> list[str]:
    """Return the argv of a Python program; unbuffered, so that a test can wait for what it prints."""
    return [sys.executable, "-u", "-c", code]


def process_of(part: Part) -> Supervised:
    """Return a part of a lab as the process of this machine that it is in an embedded one."""
    assert isinstance(part, Supervised)
    return part


@contextmanager
def running(
    argv: list[str], *, env: Mapping[str, str] | None = None, fds: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Run a program, which inherits the descriptors `fds`, until the block ends; `env` is added to the environment."""
    pipe, environment = subprocess.PIPE, {**os.environ, **(env or {})}
    with subprocess.Popen(argv, stdout=pipe, stdin=pipe, env=environment, text=True, pass_fds=fds) as one:
        try:
            yield one
        finally:
            one.kill()


def line(stream: IO[str] | None) -> str:
    """Return the next line of a program's output, without its end."""
    assert stream is not None
    return stream.readline().rstrip("\n")


def wait_until(holds: Callable[[], bool], *, within: float = 10.0) -> None:
    """Return as soon as `holds`; raises TimeoutError after `within` seconds."""
    end = time.monotonic() + within
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
