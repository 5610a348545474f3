"""What a runner writes down of each step: the only thing a verdict is judged by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from fluxdrill.scenario.plan import Verb


class Result(StrEnum):
    """How a step ended."""

    DONE = "done"
    MISSED = "missed"
    """What was looked for did not come: known for certain."""
    UNDECIDED = "undecided"
    """It could not be looked at."""
    VOID = "void"
    """The step proves nothing: it hit nothing, was denied, or held before the fault."""
    BROKE = "broke"
    """The harness or the machine failed."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Record:
    """One step as it went; times in seconds since the run began, `met` when what was looked for came about."""

    number: int
    verb: Verb
    text: str
    cycle: int
    fault: int
    result: Result
    why: str
    started: float
    ended: float
    met: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a verdict needs to know of the scenario itself; plain data, so that an old journal can be judged again."""

    id: str
    title: str
    proves: tuple[str, ...]
    outcome: str
    seed: int
    affected: tuple[str, ...]
    decoy: tuple[str, ...]
    scope: tuple[str, ...]
    """All objects that Git renders: outside `affected` none of them may leave Ready."""
    silences: bool
    """Whether one of the faults silences the API server, so that gaps in the watch belong to it."""
    detect: float
    recover: float
    total: float
    faults: tuple[str, ...]
    lab: str


def record_entry(record: Record) -> dict[str, Any]:
    """Return a record as the fields of a journal entry."""
    return {**asdict(record), "verb": str(record.verb), "result": str(record.result)}


def read_records(entries: Iterable[Mapping[str, Any]], scenario: str) -> list[Record]:
    """Return the records of one scenario from a journal."""
    names = Record.__dataclass_fields__
    return [
        Record(
            **{
                **{k: v for k, v in one.items() if k in names},
                "verb": Verb(one["verb"]),
                "result": Result(one["result"]),
            }
        )
        for one in entries
        if one.get("type") == "step" and one.get("scenario") == scenario
    ]


def read_facts(entries: Iterable[Mapping[str, Any]]) -> list[Facts]:
    """Return the scenarios of a journal."""
    names = Facts.__dataclass_fields__
    found = []
    for one in entries:
        if one.get("type") == "scenario":
            fields: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in one.items() if key in names
            }
            found.append(Facts(**fields))
    return found
