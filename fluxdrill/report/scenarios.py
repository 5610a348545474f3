"""The scenarios of a run in the terminal, and what a run of them writes into its journal beside what they say themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.model.verdicts import Verdict, merge
from fluxdrill.report.journal import Journal
from fluxdrill.scenario.campaign import sometimes
from fluxdrill.scenario.command import Line
from fluxdrill.scenario.judge import Judgement, Objective
from fluxdrill.scenario.worlds import Start


def recorded(start: Start, journal: Journal) -> Start:
    """Return `start` so that each lab it starts is written down."""

    def begin(spec: LabSpec, **how: Any) -> Lab:
        lab = start(spec, **how)
        journal.tell("lab", lab=lab.lab_id, seconds=round(lab.seconds, 2))
        return lab

    return begin


def tell_campaign(journal: Journal, lines: Sequence[Line], *, seed: int, left_out: Sequence[str]) -> Objective:
    """Judge a campaign as a whole and write that down; return its own objective."""
    objective = sometimes(line.ended.judgement for line in lines if line.ended is not None)
    journal.tell(
        "campaign",
        seed=seed,
        drawn=[line.plan.scenario.id for line in lines],
        left_out=list(left_out),
        objective=objective.name,
        verdict=str(objective.verdict),
        why=objective.why,
    )
    return objective


def with_campaign(verdict: str, objective: Objective) -> Verdict:
    """Return the verdict of a campaign: the worst of its scenarios' and of its own objective."""
    return merge([objective.verdict, *(one for one in Verdict if one == verdict)])


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
