"""The ledger: a note of each fault, written before it is injected, so that a killed run can be healed later.

One file per run on this host, each line fsynced. Faults inside the cluster are noted there as well, in a ConfigMap of
the harness's own namespace and never on the broken object: any machine with the kubeconfig can heal them.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from fluxdrill.cluster.leases import runtime_root
from fluxdrill.cluster.leases import started as started_at
from fluxdrill.errors import HarnessError
from fluxdrill.faults.fault import Fault, State, Where
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import KubeError, NotFoundError
from fluxdrill.model.refs import ObjectRef

NAMESPACE = "fluxdrill"
"""The harness's own namespace in a cluster."""
LABEL = "fluxdrill.dev/intent"
MANAGER = "fluxdrill-ledger"


class Life(StrEnum):
    """How far a fault has come."""

    INTENDED = "intended"
    INJECTED = "injected"
    HEALED = "healed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault: all that is needed to heal it, by whom it was made, and in which lab."""

    id: str
    scenario: str
    fault: str
    arguments: dict[str, Any]
    state: State
    where: str
    lab: str
    kubeconfig: str
    host: str
    owner: int
    owner_started: float
    """Seconds since boot: a pid alone may be reused."""
    life: str = Life.INTENDED

    @property
    def here(self) -> bool:
        """Whether it was made on this host."""
        return self.host == socket.gethostname()

    @property
    def orphaned(self) -> bool:
        """Whether the process of this host that made it is gone."""
        return started_at(self.owner) != self.owner_started

    @classmethod
    def of(cls, text: str) -> Entry:
        """Read one; raises ValueError for what is no entry. What a newer version wrote beside is left out."""
        document = json.loads(text)
        try:
            return cls(**{field.name: document[field.name] for field in fields(cls)})
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no entry of a ledger: {error}") from None


def ledgers() -> Path:
    """Return the folder of all ledgers of this user on this host."""
    return runtime_root() / "ledgers"


class Ledger:
    """The ledger of one run; `api` is where faults inside the cluster are noted as well."""

    def __init__(self, api: Api, *, scenario: str, lab: str, kubeconfig: str) -> None:
        self._api = api
        self._scenario, self._lab, self._kubeconfig = scenario, lab, kubeconfig
        self.path = ledgers() / f"{scenario}-{secrets.token_hex(4)}.jsonl"
        self._entries: dict[str, Entry] = {}

    @property
    def open(self) -> list[Entry]:
        """What is not healed yet, the newest first."""
        return [one for one in reversed(self._entries.values()) if one.life != Life.HEALED]

    def intend(self, fault: Fault[Any], state: State) -> Entry:
        """Note a fault before it is injected; raises HarnessError where it cannot be noted, and then nothing may be broken."""
        entry = Entry(
            id=f"intent-{secrets.token_hex(4)}",
            scenario=self._scenario,
            fault=fault.name,
            arguments=fault.args.model_dump(mode="json"),
            state=state,
            where=str(fault.where),
            lab=self._lab,
            kubeconfig=self._kubeconfig,
            host=socket.gethostname(),
            owner=os.getpid(),
            owner_started=started_at(os.getpid()) or 0.0,
        )
        self._write(entry)
        if fault.where is Where.CLUSTER:
            try:
                mirror(self._api, entry)
            except HarnessError:
                self._withdraw(entry)
                raise
        return entry

    def injected(self, entry: Entry) -> Entry:
        """Note that it is in; a crash before this line leaves it indeterminate, which is healed like injected."""
        return self._write(replace(entry, life=Life.INJECTED))

    def healed(self, entry: Entry) -> Entry:
        """Note that it is healed, last of all in the file."""
        if entry.where == Where.CLUSTER:
            forget(self._api, entry)
        return self._write(replace(entry, life=Life.HEALED))

    def close(self) -> None:
        """Remove the file if nothing is open any more."""
        if not self.open:
            self.path.unlink(missing_ok=True)

    def _withdraw(self, entry: Entry) -> None:
        """Take back what could not be noted in the cluster: nothing was broken. No answer may still mean a note."""
        with suppress(KubeError):
            forget(self._api, entry)
        self._write(replace(entry, life=Life.HEALED))

    def _write(self, entry: Entry) -> Entry:
        append(self.path, entry)
        self._entries[entry.id] = entry
        return entry


def append(path: Path, entry: Entry) -> None:
    """Append one line and have it on the disk before this returns; raises HarnessError where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("a+b") as file:
            # a kill may have cut the last line short: what comes now must not be lost with it
            torn = file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
            file.write((b"\n" if torn else b"") + json.dumps(asdict(entry)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise HarnessError(
            f"The ledger {path} cannot be written: {error.strerror}.", hint="Nothing is broken without a note of it."
        ) from error


def read(path: Path) -> list[Entry]:
    """Return the newest state of every entry in a ledger; a line that a kill cut short is left out.

    Raises HarnessError for a whole line that is no entry: it may be an open fault.
    """
    entries: dict[str, Entry] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = Entry.of(line)
        except json.JSONDecodeError:
            continue
        except ValueError as error:
            raise HarnessError(f"{path}:{number}: {error}.", hint="Use the version that wrote it.") from None
        entries[entry.id] = entry
    return list(entries.values())


def open_entries(paths: Iterable[Path]) -> Iterator[tuple[Path, Entry]]:
    """Yield what is not healed in some ledgers, the newest of each first."""
    for path in paths:
        for entry in reversed(read(path)):
            if entry.life != Life.HEALED:
                yield path, entry


def mirror(api: Api, entry: Entry) -> None:
    """Note an entry in the cluster; raises HarnessError where that fails."""
    try:
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, field_manager=MANAGER)
        meta = {"name": entry.id, "namespace": NAMESPACE, "labels": {LABEL: "open"}}
        note = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"entry": json.dumps(asdict(entry))}}
        api.apply(note, field_manager=MANAGER)
    except KubeError as error:
        raise HarnessError(
            f"The fault {entry.fault} cannot be noted in the cluster: {error}",
            hint="Nothing is broken without a note of it.",
        ) from error


def mirrored(api: Api) -> list[Entry]:
    """Return what the cluster says is open; raises HarnessError for a note that cannot be read."""
    notes = api.list(api.resource("", "ConfigMap"), namespace=NAMESPACE, label_selector=f"{LABEL}=open").items
    try:
        return [Entry.of((note.get("data") or {}).get("entry", "null")) for note in notes]
    except ValueError as error:
        raise HarnessError(
            f"A note in namespace {NAMESPACE} cannot be read: {error}.", hint="Use the version that wrote it."
        ) from None


def forget(api: Api, entry: Entry) -> None:
    """Remove an entry's note from the cluster; fine if there is none."""
    with suppress(NotFoundError):
        api.delete(ObjectRef("", "ConfigMap", NAMESPACE, entry.id))
