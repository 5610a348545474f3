"""Keep a lab for hand use: a background process owns it, `fluxdrill up` only waits for its word."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

from fluxdrill.cluster import leases
from fluxdrill.errors import FluxdrillError, HarnessError, RefusedError
from fluxdrill.lab.lab import Lab, LabSpec, provider_of
from fluxdrill.progress import Progress

DOWN_DEADLINE = 30.0


class _Pipe:
    """Progress of the keeper, told to the waiting `fluxdrill up` as JSON lines."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")

    def update(self, text: str) -> None:
        """Tell the newest state."""
        self.tell(update=text)

    def note(self, text: str) -> None:
        """Tell a line that stays."""
        self.tell(note=text)

    def tell(self, **message: object) -> None:
        """Write one message."""
        self._file.write(json.dumps(message) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Say that nothing more comes."""
        self._file.close()


def up(*, hours: float, provider: str, progress: Progress) -> leases.Lease:
    """Start a lab owned by a background process; return its lease once every Flux controller is ready.

    The lab ends by itself after `hours`. Raises UsageError for a provider that does not exist, and HarnessError with the keeper's reason if it does not start.
    """
    provider_of(LabSpec(provider=provider))  # here, where it is a wrong call and not a keeper that failed
    reading, writing = os.pipe()
    try:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "fluxdrill.lab.keeper", str(writing), str(hours), provider],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(writing,),
            start_new_session=True,
        )
    finally:
        os.close(writing)
    try:
        return leases.find_lease(_listen(reading, progress))
    except BaseException:
        keeper.send_signal(signal.SIGTERM)
        raise


def down(lab_id: str) -> None:
    """End a kept lab in order, whatever state it is in.

    Raises UsageError for an unknown lab and RefusedError for one that belongs to a run, such as pytest, that lives.
    """
    lease = leases.find_lease(lab_id)
    if lease.alive and not lease.kept:
        raise RefusedError(f"{lab_id} belongs to a run that lives (pid {lease.owner}).", hint="End that run instead.")
    with suppress(psutil.NoSuchProcess):
        _end(lease)
    leases.remove(lab_id)


def _end(lease: leases.Lease) -> None:
    if not lease.alive:
        return
    owner = psutil.Process(lease.owner)
    owner.terminate()
    deadline = time.monotonic() + DOWN_DEADLINE
    while lease.alive:
        if time.monotonic() > deadline:
            owner.kill()
            return
        time.sleep(0.05)


def kubeconfig(lease: leases.Lease) -> Path:
    """Return the admin kubeconfig of a lab."""
    return Path(lease.folder) / "kubeconfig" / "admin"


def _listen(descriptor: int, progress: Progress) -> str:
    """Pass the keeper's progress on until it names its lab."""
    with os.fdopen(descriptor, encoding="utf-8") as file:
        for line in file:
            match json.loads(line):
                case {"ready": lab_id}:
                    return str(lab_id)
                case {"problem": problem, "hint": hint}:
                    raise HarnessError(problem, hint=hint)
                case {"update": text}:
                    progress.update(text)
                case {"note": text}:
                    progress.note(text)
    raise HarnessError("The lab's keeper ended without a word.", hint="Run it again with --debug.")


def main(descriptor: int, hours: float, provider: str) -> None:
    """Own one lab until SIGTERM or for `hours`."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    pipe = _Pipe(descriptor)
    try:
        lab = Lab.start(LabSpec(provider=provider, kept=True), progress=pipe)
    except FluxdrillError as error:
        pipe.tell(problem=error.problem, hint=error.hint)
        return
    with lab:
        pipe.tell(ready=lab.lab_id)
        pipe.close()
        ended.wait(hours * 3600)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
