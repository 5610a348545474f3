"""Heal what killed runs left broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from fluxdrill.cluster import leases
from fluxdrill.errors import FluxdrillError
from fluxdrill.faults import catalog
from fluxdrill.faults.fault import Where
from fluxdrill.faults.world import World
from fluxdrill.kube.api import Api
from fluxdrill.kube.watch import Store
from fluxdrill.lab.marker import require_marker
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.scenario import ledger
from fluxdrill.scenario.ledger import Entry, Life

LIVES = "its run still lives"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one open fault; `clean` is false where it is still open."""

    entry: Entry
    clean: bool
    how: str

    @property
    def left(self) -> bool:
        """Whether somebody has to do something: a run that lives heals its own."""
        return not self.clean and self.how != LIVES

    def __str__(self) -> str:
        state = "healed" if self.clean else "OPEN  " if self.left else "in use"
        return f"{state}  {self.entry.fault} of {self.entry.scenario}: {self.how}"


def recover_host() -> list[Recovered]:
    """Heal every open fault that this host's ledgers know and whose run is gone, the newest of each run first."""
    found: list[Recovered] = []
    for path in _ledgers():
        for _, entry in list(ledger.open_entries([path])):
            done = _recover(entry) if entry.orphaned else Recovered(entry, False, LIVES)
            if done.clean:
                ledger.append(path, replace(entry, life=Life.HEALED))
            found.append(done)
        _close(path)
    return found


def recover_at(kubeconfig: Path) -> list[Recovered]:
    """Heal what the cluster of a kubeconfig knows; raises what `recover_cluster` raises."""
    with Api.connect(kubeconfig) as api:
        return recover_cluster(api)


def recover_cluster(api: Api) -> list[Recovered]:
    """Heal every open fault that the cluster itself knows; raises RefusedError where it is not a lab of ours.

    Where this host has a ledger of it, the fault is closed there as well.
    """
    require_marker(api)
    found = []
    for entry in ledger.mirrored(api):
        alive = entry.here and not entry.orphaned
        found.append(Recovered(entry, False, LIVES) if alive else _heal(api, entry))
    healed = {one.entry.id for one in found if one.clean}
    for path in _ledgers():
        for _, entry in list(ledger.open_entries([path])):
            if entry.id in healed:
                ledger.append(path, replace(entry, life=Life.HEALED))
        _close(path)
    return found


def _ledgers() -> list[Path]:
    return sorted(ledger.ledgers().glob("*.jsonl"))


def _close(path: Path) -> None:
    """Remove a ledger without an open fault; one of a living run may get another at any time."""
    entries = ledger.read(path)
    if all(one.life == Life.HEALED and one.orphaned for one in entries):
        path.unlink(missing_ok=True)


def _recover(entry: Entry) -> Recovered:
    lease = next((one for one in leases.leases() if one.lab_id == entry.lab), None)
    try:
        if (lease is None and _made_here(entry)) or (lease is not None and not lease.alive):
            leases.remove(entry.lab)  # its reaper may be at it, or was killed as well
            return Recovered(entry, True, f"it ended with its lab {entry.lab}, which is gone")
        if entry.where == Where.HOST:
            hint = f"it is on the host of the living lab {entry.lab}: run `fluxdrill down {entry.lab}`"
            return Recovered(entry, False, hint)
        if not entry.kubeconfig:
            hint = f"it is in the cluster of {entry.lab}: run `fluxdrill recover --kubeconfig FILE`"
            return Recovered(entry, False, hint)
        with Api.connect(Path(entry.kubeconfig)) as api:
            require_marker(api)
            return _heal(api, entry)
    except FluxdrillError as error:
        return Recovered(entry, False, str(error))


def _made_here(entry: Entry) -> bool:
    """Tell whether the lab was one of this host: only then does a missing lease mean that it is gone."""
    return entry.where == Where.HOST or Path(entry.kubeconfig).is_relative_to(leases.labs_folder() / entry.lab)


def _heal(api: Api, entry: Entry) -> Recovered:
    try:
        fault = catalog.make(entry.fault, entry.arguments)
        with Store(api, clock=SYSTEM_CLOCK) as store:
            fault.heal(World(api, store), entry.state)
        ledger.forget(api, entry)
    except (FluxdrillError, ValidationError) as error:
        return Recovered(entry, False, str(error))
    return Recovered(entry, True, "undone in the cluster")


def lines(found: list[Recovered]) -> Iterator[str]:
    """Yield what to tell the user."""
    yield from map(str, found)
    if not found:
        yield "No open fault."
