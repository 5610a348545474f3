"""Judge an old journal with today's rules, and say what differs from the verdicts that were recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxdrill.errors import ExitCode, UsageError
from fluxdrill.model.verdicts import Verdict, merge
from fluxdrill.report.journal import Entry, read_journal
from fluxdrill.report.seal import JOURNAL, VERDICT, verify
from fluxdrill.scenario.campaign import sometimes
from fluxdrill.scenario.judge import Judgement, judge
from fluxdrill.scenario.record import Run, read_runs


@dataclass(frozen=True, slots=True)
class Rejudged:
    """One scenario of a journal: the verdict that was recorded ("none" if it never ended), today's, and what differs."""

    scenario: str
    recorded: str
    verdict: Verdict
    why: str
    differences: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """It for people."""
        same = "as recorded" if not self.differences else f"recorded was {self.recorded}"
        return [
            f"{self.verdict:<13} {self.scenario}: {self.why} ({same})",
            *(f"    {one}" for one in self.differences),
        ]


def rejudge(entries: Sequence[Entry]) -> list[Rejudged]:
    """Return every scenario of a journal judged again, and a campaign's own objective; UsageError where there is none."""
    runs = read_runs(entries)
    if not runs:
        raise UsageError("The journal holds no scenario that could be judged.", hint="Name the run of a scenario.")
    judged = [judge(run.facts, run.records, entries) if run.facts is not None else None for run in runs]
    found = [_one(run, judgement) for run, judgement in zip(runs, judged, strict=True)]
    known = [one for one in judged if one is not None]
    return [*found, *(_campaign(one, known) for one in entries if one.get("type") == "campaign")]


def verdict(found: Sequence[Rejudged]) -> Verdict:
    """Return the worst of today's verdicts."""
    return merge(one.verdict for one in found)


def _one(run: Run, judgement: Judgement | None) -> Rejudged:
    recorded = str(run.told["verdict"]) if run.told is not None else "none"
    if judgement is None:
        why = f"it never ended: {len(run.records)} steps were recorded"
        return Rejudged(run.scenario, recorded, Verdict.UNKNOWN, why, ())
    differences = tuple(_differences(run.told or {}, judgement))
    return Rejudged(run.scenario, recorded, judgement.verdict, judgement.why, differences)


def _differences(told: Mapping[str, Any], judgement: Judgement) -> Iterator[str]:
    if (recorded := told.get("verdict", "none")) != judgement.verdict:
        yield f"verdict: {recorded} then, {judgement.verdict} now"
    then = {one["name"]: one["verdict"] for one in told.get("objectives", ())}
    now = {one.name: str(one.verdict) for one in judgement.objectives}
    for name in dict.fromkeys([*then, *now]):
        if then.get(name) != now.get(name):
            yield f"{name}: {then.get(name, 'not judged')} then, {now.get(name, 'not judged')} now"


def _campaign(entry: Entry, judgements: Sequence[Judgement]) -> Rejudged:
    objective = sometimes(judgements)
    recorded = str(entry["verdict"])
    differs = () if recorded == objective.verdict else (f"verdict: {recorded} then, {objective.verdict} now",)
    return Rejudged("campaign", recorded, objective.verdict, f"{objective.name}: {objective.why}", differs)


def rejudge_run(run: Path) -> tuple[list[str], ExitCode]:
    """Judge a run's folder again: the lines for people and the exit code by today's verdict.

    A journal that was changed since the run ended is told, and never ends with a pass. Raises UsageError where the
    folder holds no journal.
    """
    found = rejudge(read_journal(run / JOURNAL))
    changed = verify(run) if (run / VERDICT).exists() else []
    lines = [line for one in found for line in one.lines] + changed
    differing = sum(bool(one.differences) for one in found)
    lines.append(f"{differing} of {len(found)} verdicts differ from what was recorded.")
    code = verdict(found).exit_code
    return lines, max(code, ExitCode.FAILED) if changed else code
