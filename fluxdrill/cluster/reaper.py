"""The process that outlives a killed run: it waits for the run's end of a pipe to close, then removes the lab."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

DONE = b"done"


class Reaper:
    """Watches over one lab from a process of its own, in its own session, so that no signal to the run reaches it."""

    def __init__(self, lab_id: str) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "FLUXDRILL_LAB"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fluxdrill.cluster.reaper", lab_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=environment,
        )

    def dismiss(self) -> None:
        """Tell it that the lab was removed in order, and wait for its end."""
        with suppress(BrokenPipeError):
            self._process.communicate(DONE, timeout=15)


def main(lab_id: str) -> None:
    """Block until the run ends; remove the lab unless the run did it itself."""
    if sys.stdin.buffer.read() == DONE:
        return
    from fluxdrill.cluster.leases import remove  # noqa: PLC0415 - imported late: almost every run ends in order

    remove(lab_id)


if __name__ == "__main__":
    main(sys.argv[1])
