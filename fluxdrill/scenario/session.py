"""Run one scenario in a world, from its plan to its judgement, with everything written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fluxdrill.faults.world import World, require_marker
from fluxdrill.model.verdicts import Verdict
from fluxdrill.progress import Progress
from fluxdrill.scenario.judge import Judgement, judge
from fluxdrill.scenario.ledger import Ledger
from fluxdrill.scenario.plan import Plan
from fluxdrill.scenario.runner import Journal, Runner

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A scenario that ended; `dirty` if something is still broken."""

    plan: Plan
    judgement: Judgement
    dirty: bool

    @property
    def clean(self) -> bool:
        """Whether the world is as it was before."""
        return not self.dirty and self.judgement.verdict is Verdict.PASS


def run_scenario(
    world: World, plan: Plan, journal: Journal, *, progress: Progress | None = None, dry: bool = False
) -> Ended:
    """Run `plan` and judge it; raises RefusedError where the cluster is no lab of ours.

    A `dry` run stops before it would change anything: its verdict is never more than unknown.
    """
    lab = require_marker(world.api)
    kubeconfig = str(world.lab.kubeconfig) if world.lab is not None else ""
    ledger = Ledger(world.api, scenario=plan.scenario.id, lab=lab, kubeconfig=kubeconfig)
    runner = Runner(world, plan, ledger, journal, progress=progress, dry=dry)
    try:
        records = runner.run()
    finally:
        ledger.close()
        facts = runner.facts()
        journal.tell("scenario", **asdict(facts))
    entries = list(seen(world, journal, facts.lab))
    judgement = judge(facts, records, entries)
    tell(journal, judgement)
    return Ended(plan, judgement, runner.dirty)


def seen(world: World, journal: Journal, lab: str) -> list[Entry]:
    """Return what the watch saw, in the journal's own form and time."""
    from fluxdrill.report.journal import transition_fields  # noqa: PLC0415

    timeline = world.store.timeline
    found: list[Entry] = [
        {"type": "transition", "t": journal.seconds(one.at), "lab": lab, **transition_fields(one)}
        for one in timeline.transitions
    ]
    found += [{"type": "gap", "t": journal.seconds(one.start), "lab": lab, "why": one.why} for one in timeline.gaps]
    found += [
        {"type": "watch-loss", "t": journal.seconds(one.at), "lab": lab, "why": one.why} for one in timeline.losses
    ]
    return found


def tell(journal: Journal, judgement: Judgement) -> None:
    """Write the judgement down."""
    journal.tell(
        "verdict",
        scenario=judgement.facts.id,
        verdict=str(judgement.verdict),
        why=judgement.why,
        objectives=[{"name": one.name, "verdict": str(one.verdict), "why": one.why} for one in judgement.objectives],
        samples=[asdict(one) for one in judgement.samples],
    )
