"""The scenarios of a run, as text for the terminal and as entries for the page."""

from __future__ import annotations

from collections.abc import Sequence

from fluxdrill.model.verdicts import Verdict
from fluxdrill.report.journal import Journal
from fluxdrill.scenario.command import Line
from fluxdrill.scenario.judge import Judgement


def tell(journal: Journal, lines: Sequence[Line]) -> None:
    """Write the headline of a run of scenarios."""
    counts = {verdict: sum(line.verdict is verdict for line in lines) for verdict in Verdict}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    not_run = sum(line.verdict is None for line in lines)
    title = f"{told or 'no scenario ran'}{f', {not_run} not run' if not_run else ''}"
    bad = [line for line in lines if line.verdict is not Verdict.PASS]
    journal.tell("headline", title=title, lines=[f"{line.plan.scenario.id}: {line.why}"[:400] for line in bad[:5]])


def text(lines: Sequence[Line]) -> str:
    """Return a run as the terminal shows it: each scenario, and what did not go as declared, with the reason."""
    told = []
    for line in lines:
        told.append(line.text)
        if line.ended is not None and line.verdict is not Verdict.PASS:
            told += _objectives(line.ended.judgement)
    return "\n".join(told)


def _objectives(judgement: Judgement) -> list[str]:
    return [
        f"    {one.verdict:<13} {one.name}: {one.why.splitlines()[0][:300]}"
        for one in judgement.objectives
        if one.verdict is not Verdict.PASS
    ]
