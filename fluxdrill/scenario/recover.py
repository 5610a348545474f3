"""Heal what killed runs left broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fluxdrill.cluster import leases
from fluxdrill.errors import FluxdrillError
from fluxdrill.faults import catalog
from fluxdrill.faults.fault import Where
from fluxdrill.faults.world import World, require_marker
from fluxdrill.kube.api import Api
from fluxdrill.kube.watch import Store
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.scenario import ledger
from fluxdrill.scenario.ledger import Entry, Life


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one open fault; `clean` is false where it is still open."""

    entry: Entry
    clean: bool
    how: str

    def __str__(self) -> str:
        return f"{'healed' if self.clean else 'OPEN  '}  {self.entry.fault} of {self.entry.scenario}: {self.how}"


def recover_host() -> list[Recovered]:
    """Heal every open fault that this host's ledgers know and whose run is gone."""
    found: list[Recovered] = []
    for path in sorted(ledger.ledgers().glob("*.jsonl")):
        for _, entry in list(ledger.open_entries([path])):
            found.append(_recover(path, entry) if entry.orphaned else Recovered(entry, False, "its run still lives"))
        if not list(ledger.open_entries([path])):
            path.unlink()
    return found


def recover_at(kubeconfig: Path) -> list[Recovered]:
    """Heal what the cluster of a kubeconfig knows; raises what `recover_cluster` raises."""
    with Api.connect(kubeconfig) as api:
        return recover_cluster(api)


def recover_cluster(api: Api) -> list[Recovered]:
    """Heal every open fault that the cluster itself knows; raises RefusedError where it is not a lab of ours."""
    require_marker(api)
    return [_heal(api, entry) for entry in ledger.mirrored(api)]


def _recover(path: Path, entry: Entry) -> Recovered:
    lease = next((one for one in leases.leases() if one.lab_id == entry.lab), None)
    if lease is None or not lease.alive:
        if lease is not None:
            leases.remove(entry.lab)
        done = Recovered(entry, True, f"it ended with its lab {entry.lab}, which is gone")
    elif entry.where == Where.HOST:
        done = Recovered(
            entry, False, f"it is on the host of the living lab {entry.lab}: run `fluxdrill down {entry.lab}`"
        )
    else:
        try:
            with Api.connect(Path(entry.kubeconfig)) as api:
                done = _heal(api, entry)
        except FluxdrillError as error:
            done = Recovered(entry, False, str(error))
    if done.clean:
        ledger.append(path, replace(entry, life=Life.HEALED))
    return done


def _heal(api: Api, entry: Entry) -> Recovered:
    try:
        fault = catalog.make(entry.fault, entry.arguments)
        with Store(api, clock=SYSTEM_CLOCK) as store:
            fault.heal(World(api, store), entry.state)
        ledger.forget(api, entry)
    except FluxdrillError as error:
        return Recovered(entry, False, str(error))
    return Recovered(entry, True, "undone in the cluster")


def lines(found: list[Recovered]) -> Iterator[str]:
    """Yield what to tell the user."""
    yield from map(str, found)
    if not found:
        yield "No open fault."
