"""Blocks of loopback ports, one per lab, below the range the kernel hands out for outgoing connections."""

from __future__ import annotations

import socket

from fluxdrill.errors import HarnessError

FIRST = 20000
BLOCK = 48
BLOCKS = 250
HOST = "127.0.0.1"


class PortBlock:
    """A block of ports held by a socket on its first one.

    No two labs of this machine share a block, whoever runs them, and it frees itself when its owner dies.
    """

    def __init__(self, first: int, holder: socket.socket) -> None:
        self.first = first
        self._holder = holder
        self._next = first + 1

    def take(self) -> int:
        """Return the next port of the block that nobody listens on; raises HarnessError when none is left."""
        while self._next < self.first + BLOCK:
            port = self._next
            self._next += 1
            if is_free(port):
                return port
        raise HarnessError("All ports of this lab's block are busy.", hint="Run `fluxdrill reap`, then start again.")

    def release(self) -> None:
        """Give the block back; may be called twice."""
        self._holder.close()


def reserve() -> PortBlock:
    """Reserve a free block; raises HarnessError when all are taken."""
    for number in range(BLOCKS):
        first = FIRST + number * BLOCK
        holder = _bind(first)
        if holder is None:
            continue
        # the rest may still be held by what a killed lab left and nobody has reaped yet
        if all(is_free(port) for port in range(first + 1, first + BLOCK)):
            return PortBlock(first, holder)
        holder.close()
    raise HarnessError("No free block of ports is left for another lab.", hint="Run `fluxdrill list` and `reap`.")


def is_free(port: int) -> bool:
    """Whether nobody listens on `port` of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that just ended is no listener
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _bind(port: int) -> socket.socket | None:
    holder = socket.socket()
    try:
        holder.bind((HOST, port))  # never listens: nothing can connect, and nobody else can bind
    except OSError:
        holder.close()
        return None
    return holder
