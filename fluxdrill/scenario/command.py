"""What `fluxdrill scenario ...` does, without the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.errors import ExitCode, UsageError
from fluxdrill.faults.catalog import FAULTS
from fluxdrill.model.verdicts import Verdict, merge
from fluxdrill.progress import Progress
from fluxdrill.scenario.load import find, load_all
from fluxdrill.scenario.plan import Plan, plan
from fluxdrill.scenario.runner import Journal
from fluxdrill.scenario.schema import Scenario
from fluxdrill.scenario.session import Ended, Witness, run_scenario
from fluxdrill.scenario.worlds import Worlds, missing

FOLDER = Path("scenarios")
REPOSITORIES = "repositories"


def scenarios(places: Sequence[Path], *, ids: Sequence[str] = ()) -> dict[Path, Scenario]:
    """Return the scenarios of files and folders, all of `scenarios/` where none is named; `ids` choose among them."""
    loaded = load_all(find(places or [FOLDER]))
    if unknown := set(ids) - {one.id for one in loaded.values()}:
        known = ", ".join(sorted(one.id for one in loaded.values()))
        raise UsageError(f"There is no scenario {', '.join(sorted(unknown))}.", hint=f"There are: {known}.")
    return {path: one for path, one in loaded.items() if not ids or one.id in ids}


def repositories(places: Sequence[Path]) -> Path:
    """Return where the scenarios' repositories lie: beside or above the first place named."""
    start = (places[0] if places else FOLDER).resolve()
    for folder in (start, *start.parents):
        if (folder / REPOSITORIES).is_dir():
            return folder / REPOSITORIES
    return FOLDER / REPOSITORIES


@dataclass(frozen=True, slots=True)
class Line:
    """One scenario of a run: its plan, and how it ended or why it did not run."""

    plan: Plan
    ended: Ended | None
    why: str

    @property
    def verdict(self) -> Verdict | None:
        """The verdict; None where it did not run."""
        return self.ended.judgement.verdict if self.ended is not None else None

    @property
    def text(self) -> str:
        """It as one line."""
        return (
            f"{self.verdict or 'not run':<13} {self.plan.scenario.id}: {self.why.splitlines()[0] if self.why else ''}"
        )


def run_all(
    plans: Iterable[Plan],
    worlds: Worlds,
    journal: Journal,
    *,
    progress: Progress,
    witness: Witness | None = None,
    told: Callable[[Line], None] = lambda _: None,
    dry: bool = False,
) -> list[Line]:
    """Run plans one after the other; one that this machine cannot run is left out with the reason.

    `plans` is asked for the next one only when the one before has ended. A `dry` run does all the reads up to the first
    fault, and no writes to anything that the repository holds.
    """
    lines: list[Line] = []
    for one in plans:
        ended = None
        if reason := missing(one.scenario, worlds.provider):
            journal.tell("not-run", scenario=one.scenario.id, title=one.scenario.title, seed=one.seed, why=reason)
        else:
            ended = run_scenario(worlds.get(one.scenario), one, journal, progress=progress, witness=witness, dry=dry)
            worlds.done(one.scenario, clean=ended.clean)
        lines.append(Line(one, ended, reason or (ended.judgement.why if ended else "")))
        told(lines[-1])
    return lines


def verdict(lines: Sequence[Line]) -> str:
    """Return the worst verdict of a run as a report shows it; of nothing run it is "nothing ran"."""
    known = [line.verdict for line in lines if line.verdict is not None]
    return str(merge(known)) if known else "nothing ran"


def exit_code(lines: Sequence[Line]) -> ExitCode:
    """Return the exit code of a run."""
    if any(line.ended is not None and line.ended.dirty for line in lines):
        return ExitCode.LEFT_DIRTY
    known = [line.verdict for line in lines if line.verdict is not None]
    return merge(known).exit_code if known else ExitCode.NOTHING_RAN


def plans(found: Iterable[Scenario], seed: int) -> list[Plan]:
    """Return the plans of several scenarios with one seed."""
    return [plan(one, seed) for one in found]


def json_schema() -> str:
    """Return the JSON Schema of a scenario file, with the faults and their arguments."""
    schema = Scenario.model_json_schema(by_alias=True)
    faults = {name: one.arguments.model_json_schema(by_alias=True) for name, one in sorted(FAULTS.items())}
    schema["$id"] = "https://fluxdrill.dev/v1/scenario.schema.json"
    schema["x-faults"] = faults
    return json.dumps(schema, indent=1) + "\n"


def fault_lines() -> list[tuple[str, str, str, str]]:
    """Return name, where it lives, what it needs and what it does of every fault."""
    return [
        (name, str(one.where), ", ".join(sorted(one.needs)) or "-", (one.__doc__ or "").splitlines()[0])
        for name, one in sorted(FAULTS.items())
    ]
