"""Run scenarios outside pytest with a folder for their report: what `scenario run` and `campaign` have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from fluxdrill.errors import ExitCode
from fluxdrill.progress import Progress
from fluxdrill.report.evidence import witness
from fluxdrill.report.facts import run_facts
from fluxdrill.report.folder import RunFolder
from fluxdrill.report.scenarios import recorded, tell_campaign, text, with_campaign
from fluxdrill.scenario import command, soak
from fluxdrill.scenario.campaign import draws, until
from fluxdrill.scenario.command import Line
from fluxdrill.scenario.plan import Plan
from fluxdrill.scenario.schema import Scenario
from fluxdrill.scenario.worlds import Worlds, missing, starter


@dataclass(frozen=True, slots=True)
class Where:
    """Where scenarios come from and reports go: `source` and `path` replace the repository that scenarios name.

    `provider` makes the labs.
    """

    places: Sequence[Path]
    reports: Path
    source: str = ""
    path: str = ""
    provider: str = "embedded"


@dataclass(frozen=True, slots=True)
class Done:
    """A run of scenarios: what the terminal shows, the page, and the exit code."""

    text: str
    page: Path
    exit_code: ExitCode


def run_scenarios(plans: Sequence[Plan], where: Where, *, seed: int, progress: Progress, dry: bool = False) -> Done:
    """Run `plans` one after the other in labs made for them; raises what a lab raises that does not start."""
    count = f"{len(plans)} scenario{'' if len(plans) == 1 else 's'}"
    folder = RunFolder(
        where.reports, "scenarios", title=f"{count}, seed {seed}", facts={"seed": seed, **run_facts(where.provider)}
    )
    with folder:
        lines = _run(plans, where, folder, progress=progress, dry=dry)
    page = folder.finish(verdict=command.verdict(lines))
    return Done(text(lines), page, command.exit_code(lines))


def run_campaign(scenarios: Iterable[Scenario], where: Where, *, seed: int, minutes: float, progress: Progress) -> Done:
    """Run scenarios drawn with `seed` until `minutes` are over; one that runs then still ends, and is always healed.

    A scenario that this provider cannot run is left out of the draw and named. Raises UsageError where none is left.
    """
    known = list(scenarios)
    left_out = sorted(one.id for one in known if missing(one, where.provider))
    plans = draws(seed, (one for one in known if not missing(one, where.provider)))
    timed = until(plans, seconds=minutes * 60, now=time.monotonic)
    title = f"Campaign of {minutes:g} min, seed {seed}"
    folder = RunFolder(where.reports, "campaign", title=title, facts={"seed": seed, **run_facts(where.provider)})
    with folder:
        lines = _run(timed, where, folder, progress=progress)
        objective = tell_campaign(folder.journal, lines, seed=seed, left_out=left_out)
    verdict = with_campaign(command.verdict(lines), objective)
    page = folder.finish(verdict=str(verdict))
    told = f"{text(lines)}\n{objective.verdict:<13} campaign: {objective.name}: {objective.why}"
    return Done(told, page, max(command.exit_code(lines), verdict.exit_code))


def run_soak(
    plans: Sequence[Plan], where: Where, state: Path, *, times: int, progress: Progress
) -> tuple[str, ExitCode]:
    """Run every plan `times` times, one round after the other; return the summary and the exit code.

    Ends are noted in `state`, and what is noted there already is not run again.
    """
    by_id = {one.scenario.id: one for one in plans}
    known = soak.read(state)
    begun = time.monotonic()

    def note(line: Line, number: int) -> None:
        nonlocal begun
        now = time.monotonic()
        verdict = str(line.verdict or "not run")
        soak.note(state, soak.Ended(number, line.plan.scenario.id, verdict, line.why, round(now - begun, 1)))
        begun = now

    for number, ids in groupby(soak.left(known, list(by_id), times), key=itemgetter(0)):
        title = f"Soak, round {number} of {times}"
        folder = RunFolder(where.reports, "soak", title=title, facts=run_facts(where.provider))
        begun = time.monotonic()
        with folder:
            told = partial(note, number=number)
            lines = _run([by_id[one] for _, one in ids], where, folder, progress=progress, told=told)
        folder.finish(verdict=command.verdict(lines))
    ended = soak.read(state)
    good = all(one.verdict == "pass" for one in ended)
    return soak.summary(ended), ExitCode.PASS if good and ended else ExitCode.FAILED


def _run(
    plans: Iterable[Plan],
    where: Where,
    folder: RunFolder,
    *,
    progress: Progress,
    dry: bool = False,
    told: Callable[[Line], None] = lambda _: None,
) -> list[Line]:
    journal = folder.journal
    start = recorded(starter(progress, journal.observe), journal)
    repositories = command.repositories(where.places)

    def tell(line: Line) -> None:
        progress.note(line.text)
        told(line)

    with Worlds(start, repositories, source=where.source, path=where.path, provider=where.provider) as worlds:
        return command.run_all(plans, worlds, journal, progress=progress, witness=witness(journal), told=tell, dry=dry)
