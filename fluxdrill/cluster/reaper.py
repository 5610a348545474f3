"""The process that outlives a killed run: it waits for the run's end of a pipe to close, then removes the lab."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import Self

DONE = b"done"


class Reaper:
    """Watches over one lab from a process of its own, in its own session, so that no signal to the run reaches it."""

    def __init__(self, lab_id: str) -> None:
        # imported late: the other side of this module must start at once
        from fluxdrill.cluster.leases import LAB_VARIABLE, runtime_root  # noqa: PLC0415

        # not part of a lab, even where the run itself is a process of one; the root as it is now, wherever it runs
        environment = {key: value for key, value in os.environ.items() if key != LAB_VARIABLE}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fluxdrill.cluster.reaper", lab_id],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=environment | {"FLUXDRILL_RUNTIME": str(runtime_root())},
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Dismiss it; it tries to remove the lab itself where the block failed."""
        self.dismiss(removed=kind is None)

    def dismiss(self, *, removed: bool = True) -> None:
        """Tell it whether the lab was removed in order (else it tries itself), and wait for its end; may come twice."""
        if self._process.returncode is None:
            with suppress(BrokenPipeError):
                self._process.communicate(DONE if removed else b"", timeout=15)


def main(lab_id: str) -> None:
    """Block until the run ends; remove the lab unless the run did it itself."""
    if sys.stdin.buffer.read() == DONE:
        return
    from fluxdrill.cluster.leases import remove  # noqa: PLC0415 - imported late: almost every run ends in order

    remove(lab_id)


if __name__ == "__main__":
    main(sys.argv[1])
