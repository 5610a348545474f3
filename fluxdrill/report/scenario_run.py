"""Run scenarios outside pytest with a folder for their report: what `scenario run` and `campaign` have in common."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.errors import ExitCode
from fluxdrill.progress import Progress
from fluxdrill.report.evidence import witness
from fluxdrill.report.facts import run_facts
from fluxdrill.report.folder import RunFolder
from fluxdrill.report.scenarios import recorded, tell_campaign, text, with_campaign
from fluxdrill.scenario import command
from fluxdrill.scenario.campaign import draws, until
from fluxdrill.scenario.command import Line
from fluxdrill.scenario.plan import Plan
from fluxdrill.scenario.schema import Scenario
from fluxdrill.scenario.worlds import Worlds, missing, starter


@dataclass(frozen=True, slots=True)
class Where:
    """Where scenarios come from and reports go: `source` and `path` replace the repository that scenarios name."""

    places: Sequence[Path]
    reports: Path
    source: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A run of scenarios: what the terminal shows, the page, and the exit code."""

    text: str
    page: Path
    exit_code: ExitCode


def run_scenarios(plans: Sequence[Plan], where: Where, *, seed: int, progress: Progress, dry: bool = False) -> Done:
    """Run `plans` one after the other in labs made for them; raises what a lab raises that does not start."""
    count = f"{len(plans)} scenario{'' if len(plans) == 1 else 's'}"
    folder = RunFolder(where.reports, "scenarios", title=f"{count}, seed {seed}", facts={"seed": seed, **run_facts()})
    with folder:
        lines = _run(plans, where, folder, progress=progress, dry=dry)
    page = folder.finish(verdict=command.verdict(lines))
    return Done(text(lines), page, command.exit_code(lines))


def run_campaign(scenarios: Iterable[Scenario], where: Where, *, seed: int, minutes: float, progress: Progress) -> Done:
    """Run scenarios drawn with `seed` until `minutes` are over; one that runs then still ends, and is always healed.

    A scenario that this provider cannot run is left out of the draw and named. Raises UsageError where none is left.
    """
    known = list(scenarios)
    left_out = sorted(one.id for one in known if missing(one))
    plans = draws(seed, (one for one in known if not missing(one)))
    timed = until(plans, seconds=minutes * 60, now=time.monotonic)
    title = f"Campaign of {minutes:g} min, seed {seed}"
    folder = RunFolder(where.reports, "campaign", title=title, facts={"seed": seed, **run_facts()})
    with folder:
        lines = _run(timed, where, folder, progress=progress)
        objective = tell_campaign(folder.journal, lines, seed=seed, left_out=left_out)
    verdict = with_campaign(command.verdict(lines), objective)
    page = folder.finish(verdict=str(verdict))
    told = f"{text(lines)}\n{objective.verdict:<13} campaign: {objective.name}: {objective.why}"
    return Done(told, page, max(command.exit_code(lines), verdict.exit_code))


def _run(
    plans: Iterable[Plan], where: Where, folder: RunFolder, *, progress: Progress, dry: bool = False
) -> list[Line]:
    journal = folder.journal
    start = recorded(starter(progress, journal.observe), journal)
    repositories = command.repositories(where.places)
    with Worlds(start, repositories, source=where.source, path=where.path) as worlds:
        return command.run_all(
            plans,
            worlds,
            journal,
            progress=progress,
            witness=witness(journal),
            told=lambda line: progress.note(line.text),
            dry=dry,
        )
