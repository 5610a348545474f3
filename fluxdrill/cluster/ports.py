"""Blocks of loopback ports, one per lab, below the range the kernel hands out for outgoing connections."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path

from fluxdrill.errors import HarnessError

FIRST = 20000
BLOCK = 48
BLOCKS = 250
HOST = "127.0.0.1"


class PortBlock:
    """A block of ports held through a file lock: two labs never share one, and it frees itself when its owner dies."""

    def __init__(self, first: int, lock: int) -> None:
        self._next = first
        self._end = first + BLOCK
        self._lock = lock

    def take(self) -> int:
        """Return the next port of the block that nobody listens on; raises HarnessError when none is left."""
        while self._next < self._end:
            port = self._next
            self._next += 1
            if is_free(port):
                return port
        raise HarnessError("All ports of this lab's block are busy.", hint="Run `fluxdrill reap`, then start again.")

    def release(self) -> None:
        """Give the block back; may be called twice."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def reserve(folder: Path) -> PortBlock:
    """Reserve a free block; `folder` holds the lock files. Raises HarnessError when all are taken."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(BLOCKS):
        first = FIRST + number * BLOCK
        lock = os.open(folder / f"{first}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        if is_free(first):
            return PortBlock(first, lock)
        os.close(lock)
    raise HarnessError("No free block of ports is left for another lab.", hint="Run `fluxdrill list` and `reap`.")


def is_free(port: int) -> bool:
    """Whether nobody listens on `port` of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
