"""Run one scenario in a world, from its plan to its judgement, with everything written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from fluxdrill.faults.world import World
from fluxdrill.lab.marker import require_marker
from fluxdrill.model.clock import Instant
from fluxdrill.model.records import transition_fields
from fluxdrill.model.verdicts import Verdict
from fluxdrill.progress import Progress
from fluxdrill.scenario.dependencies import waits_for
from fluxdrill.scenario.judge import Judgement, judge
from fluxdrill.scenario.ledger import Ledger
from fluxdrill.scenario.plan import Plan
from fluxdrill.scenario.record import Result
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


class Witness(Protocol):
    """Called once, at the moment at which a scenario begins to fail: before anything is healed or torn down."""

    def __call__(self, world: World, *, scenario: str, why: str, since: Instant) -> None:
        """Write down what the world looks like; `since` is when the scenario began."""


def run_scenario(
    world: World,
    plan: Plan,
    journal: Journal,
    *,
    progress: Progress | None = None,
    witness: Witness | None = None,
    dry: bool = False,
) -> Ended:
    """Run `plan` and judge it; raises RefusedError where the cluster is no lab of ours.

    A `dry` run stops before it would change anything: its verdict is never more than unknown.
    """
    lab = require_marker(world.api)
    kubeconfig = str(world.lab.kubeconfig) if world.lab is not None else ""
    ledger = Ledger(world.api, scenario=plan.scenario.id, lab=lab, kubeconfig=kubeconfig)
    watched = _Watched(world, journal, plan.scenario.id, None if dry else witness)
    runner = Runner(world, plan, ledger, watched, progress=progress, dry=dry)
    journal.tell("scenario-begun", scenario=plan.scenario.id, title=plan.scenario.title, seed=plan.seed, lab=lab)
    try:
        records = runner.run()
    finally:
        ledger.close()
        links = waits_for(world.store.view())
        known = runner.facts()
        # what bootstrapped Flux is in no tree of the repository, and must not leave Ready undeclared either
        facts = replace(known, scope=tuple(sorted({*known.scope, *links})))
        journal.tell("scenario", **asdict(facts), waits_for=links)
    judgement = judge(facts, records, list(seen(world, journal, facts.lab)))
    tell(journal, judgement)
    if judgement.verdict is not Verdict.PASS:
        watched.fail(judgement.why)
    return Ended(plan, judgement, runner.dirty)


class _Watched:
    """A journal that calls the witness at the first step that does not end well."""

    def __init__(self, world: World, journal: Journal, scenario: str, witness: Witness | None) -> None:
        self._world, self._journal, self._scenario, self._witness = world, journal, scenario, witness
        self._since = world.store.clock.now()

    def tell(self, type: str, /, *, at: Instant | None = None, **fields: Any) -> None:  # noqa: A002
        """Append an entry."""
        self._journal.tell(type, at=at, **fields)
        if type == "step" and fields["result"] not in {Result.DONE, Result.SKIPPED}:
            self.fail(f"{fields['text']}: {fields['why']}")

    def seconds(self, at: Instant) -> float:
        """Return the seconds of a moment since the run began."""
        return self._journal.seconds(at)

    def fail(self, why: str) -> None:
        """Call the witness, unless it was called already."""
        witness, self._witness = self._witness, None
        if witness is not None:
            witness(self._world, scenario=self._scenario, why=why, since=self._since)


def seen(world: World, journal: Journal, lab: str) -> Iterator[Entry]:
    """Yield what the watch saw, in the journal's own form and time."""
    timeline = world.store.timeline
    for move in timeline.transitions:
        yield {"type": "transition", "t": journal.seconds(move.at), "lab": lab, **transition_fields(move)}
    for gap in timeline.gaps:
        end = journal.seconds(gap.end) if gap.end is not None else None
        yield {"type": "gap", "t": journal.seconds(gap.start), "lab": lab, "why": gap.why, "end": end}
    for loss in timeline.losses:
        yield {"type": "watch-loss", "t": journal.seconds(loss.at), "lab": lab, "what": loss.what, "why": loss.why}


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
