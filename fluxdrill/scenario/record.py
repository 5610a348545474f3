"""What a runner writes down of each step: the only thing a verdict is judged by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
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
    uncompared: tuple[str, ...] = ()
    """Objects whose fields were not compared with Git, each with the reason."""
    provider: str = "embedded"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a scenario in a journal. `facts` is None where it never ended, `told` the verdict that it got then."""

    scenario: str
    facts: Facts | None
    records: tuple[Record, ...]
    told: Mapping[str, Any] | None = None
    waits_for: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Flux's own objects, with what must be Ready before each."""
    evidence: tuple[Mapping[str, Any], ...] = ()


def record_entry(record: Record) -> dict[str, Any]:
    """Return a record as the fields of a journal entry."""
    return {**asdict(record), "verb": str(record.verb), "result": str(record.result)}


def read_runs(entries: Iterable[Mapping[str, Any]]) -> list[Run]:
    """Return every run of a scenario in a journal, in the order in which they ended; the same one may have run twice.

    What a kill cut short stands last, without facts.
    """
    ended: list[Run] = []
    going: dict[str, Run] = {}
    for one in entries:
        name = str(one.get("id") if one.get("type") == "scenario" else one.get("scenario", ""))
        run = going.get(name, Run(name, None, ()))
        match one.get("type"):
            case "scenario-begun":
                going[name] = run
            case "step":
                going[name] = replace(run, records=(*run.records, _record(one)))
            case "evidence":
                _to_its_run(ended, going, name, one)
            case "scenario":
                going.pop(name, None)
                ended.append(replace(run, facts=_facts(one), waits_for=one.get("waits_for") or {}))
            case "verdict":
                _say(ended, name, one)
    return [*ended, *going.values()]


def _to_its_run(ended: list[Run], going: dict[str, Run], name: str, one: Mapping[str, Any]) -> None:
    """Add evidence to a run that goes on, or that has just ended."""
    if name in going:
        going[name] = replace(going[name], evidence=(*going[name].evidence, one))
    elif (last := _last(ended, name)) is not None:
        ended[last] = replace(ended[last], evidence=(*ended[last].evidence, one))


def _say(ended: list[Run], name: str, one: Mapping[str, Any]) -> None:
    last = _last(ended, name)
    if last is not None and ended[last].told is None:
        ended[last] = replace(ended[last], told=one)


def _last(ended: Sequence[Run], name: str) -> int | None:
    return next((n for n in range(len(ended) - 1, -1, -1) if ended[n].scenario == name), None)


def _record(one: Mapping[str, Any]) -> Record:
    known = {key: value for key, value in one.items() if key in Record.__dataclass_fields__}
    return Record(**{**known, "verb": Verb(one["verb"]), "result": Result(one["result"])})


def _facts(one: Mapping[str, Any]) -> Facts:
    known: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in one.items()
        if key in Facts.__dataclass_fields__
    }
    return Facts(**known)
