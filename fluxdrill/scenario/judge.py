"""From the record of a scenario to its verdict: pure rules, so that an old journal can be judged again.

Every objective has a verdict of its own; the scenario's is the worst of them. A step that was skipped proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluxdrill.model.verdicts import Outcome, Verdict, merge
from fluxdrill.scenario.measure import Sample, falls, of_lab, samples, span
from fluxdrill.scenario.plan import Verb
from fluxdrill.scenario.record import Facts, Record, Result

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Objective:
    """One thing that a scenario must show, whether it did, and why."""

    name: str
    verdict: Verdict
    why: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict of a scenario, its objectives, and the times that were measured."""

    facts: Facts
    verdict: Verdict
    objectives: tuple[Objective, ...]
    samples: tuple[Sample, ...]

    @property
    def why(self) -> str:
        """The worst objective's reason."""
        worst = [one for one in self.objectives if one.verdict is self.verdict]
        if self.verdict is Verdict.PASS:
            return f"{self.facts.outcome}, as declared"
        return "; ".join(f"{one.name}: {one.why}" for one in worst[:2])


_ASSUMPTION = {Result.MISSED: Verdict.INVALID, Result.VOID: Verdict.INVALID}
_PRODUCT = {Result.MISSED: Verdict.DEVIATED, Result.VOID: Verdict.INVALID}
_HARNESS = {Result.MISSED: Verdict.HARNESS_ERROR, Result.VOID: Verdict.HARNESS_ERROR}
_OBJECTIVES: tuple[tuple[str, frozenset[Verb], Mapping[Result, Verdict]], ...] = (
    ("steady state before", frozenset({Verb.ARRANGE, Verb.STEADY}), _ASSUMPTION),
    ("the fault was injected", frozenset({Verb.BEFORE, Verb.AWAIT, Verb.INJECT}), _ASSUMPTION),
    ("the fault bit", frozenset({Verb.OBSERVE}), _ASSUMPTION),
    ("it was seen", frozenset({Verb.SEE}), _PRODUCT),
    ("what people did meanwhile", frozenset({Verb.ACT}), _PRODUCT),
    ("it stays broken as documented", frozenset({Verb.STUCK}), _PRODUCT),
    ("the manual step", frozenset({Verb.MANUAL}), _PRODUCT),
    ("outcome", frozenset({Verb.RECOVER}), _PRODUCT),
    ("the decoy was not touched", frozenset({Verb.DECOY}), _PRODUCT),
    ("the fault was healed", frozenset({Verb.HEAL}), _HARNESS),
    ("cleaned up", frozenset({Verb.CLEAN}), _HARNESS),
    ("steady state after", frozenset({Verb.AFTER}), _PRODUCT),
    ("quiet afterwards", frozenset({Verb.QUIET}), _PRODUCT),
)
_OPTIONAL = frozenset({"what people did meanwhile", "it stays broken as documented", "the manual step"})


def judge(facts: Facts, records: Sequence[Record], entries: Iterable[Entry]) -> Judgement:
    """Judge one scenario by its records and the journal's transitions, gaps and watch losses."""
    seen = list(entries)
    judged = (_objective(name, verbs, rules, records) for name, verbs, rules in _OBJECTIVES)
    objectives = [one for one in judged if one is not None]
    measured = samples(facts, records, seen)
    checks: tuple[Callable[[], Objective], ...] = (
        lambda: _blast_radius(facts, records, seen),
        lambda: _budgets(facts, records),
    )
    if any(record.verb is Verb.INJECT and record.result is Result.DONE for record in records):
        objectives += [check() for check in checks]
    return Judgement(facts, merge(one.verdict for one in objectives), tuple(objectives), measured)


def _objective(
    name: str, verbs: frozenset[Verb], rules: Mapping[Result, Verdict], records: Sequence[Record]
) -> Objective | None:
    own = [record for record in records if record.verb in verbs]
    if not own:
        if name in _OPTIONAL:
            return None
        return Objective(name, Verdict.INVALID, "nothing was looked at")
    judged = [(_verdict(record, rules), record) for record in own]
    worst = merge(verdict for verdict, _ in judged)
    reason = next(record for verdict, record in judged if verdict is worst)
    if worst is Verdict.PASS:
        return Objective(name, worst, f"{len(own)} of {len(own)} as wanted: {own[-1].why or own[-1].text}")
    return Objective(name, worst, f"{reason.text}: {reason.why}")


def _verdict(record: Record, rules: Mapping[Result, Verdict]) -> Verdict:
    match record.result:
        case Result.DONE:
            return Verdict.PASS
        case Result.BROKE:
            return Verdict.HARNESS_ERROR
        case Result.UNDECIDED | Result.SKIPPED:
            return Verdict.UNKNOWN
        case other:
            return rules[other]


def _blast_radius(facts: Facts, records: Sequence[Record], entries: Sequence[Entry]) -> Objective:
    """Only what was declared may leave Ready while the fault lasts; a blind spot in the watch leaves it unknown."""
    name = "blast radius"
    begin, end = span(records)
    outside = sorted(left_ready(facts, entries, begin, end) - set(facts.affected))
    if outside:
        return Objective(name, Verdict.DEVIATED, f"beyond what was declared, {', '.join(outside[:4])} left Ready")
    blind = [
        one
        for one in entries
        if one.get("type") in {"gap", "watch-loss"} and _of(one, facts) and begin <= one["t"] <= end
    ]
    if blind and not facts.silences:
        return Objective(name, Verdict.UNKNOWN, f"the watch was blind: {blind[0].get('why', '')}")
    if not any(one.get("type") == "transition" and _of(one, facts) for one in entries):
        return Objective(name, Verdict.UNKNOWN, "the watch told of nothing at all")
    inside = sorted(left_ready(facts, entries, begin, end) & set(facts.affected))
    return Objective(
        name, Verdict.PASS, f"left Ready: {', '.join(inside) or 'nothing'}; declared: {len(facts.affected)}"
    )


def left_ready(facts: Facts, entries: Iterable[Entry], begin: float, end: float) -> set[str]:
    """Return the objects of the repository that left Ready, or were deleted, between two moments."""
    scope = set(facts.scope)
    return {fall.object for fall in falls(of_lab(facts, entries)) if fall.object in scope and begin <= fall.t <= end}


def _of(one: Entry, facts: Facts) -> bool:
    return one.get("lab") == facts.lab


def _budgets(facts: Facts, records: Sequence[Record]) -> Objective:
    name = "budgets"
    begin, end = span(records)
    over = []
    for cycle in sorted({record.cycle for record in records if record.cycle}):
        own = [record for record in records if record.cycle == cycle]
        start = (
            _moment(own, Verb.OBSERVE) if facts.outcome == Outcome.SELF_HEALED else _moment(own, Verb.HEAL, Verb.MANUAL)
        )
        found = [record for record in own if record.verb is Verb.RECOVER and record.met is not None]
        injected = max((one.ended for one in own if one.verb is Verb.INJECT), default=None)
        sighted = [record.met for record in own if record.verb is Verb.SEE and record.met is not None]
        if sighted and injected is not None and min(sighted) - injected > facts.detect:
            over.append(f"first seen after {min(sighted) - injected:.1f} s, allowed are {facts.detect:g}")
        if found and start is not None and (late := max(one.met or 0 for one in found) - start) > facts.recover:
            over.append(f"recovered after {late:.1f} s, allowed are {facts.recover:g}")
    if end - begin > facts.total:
        over.append(f"{end - begin:.0f} s in all, allowed are {facts.total:g}")
    if over:
        return Objective(name, Verdict.DEVIATED, "; ".join(over))
    return Objective(
        name, Verdict.PASS, f"within detect {facts.detect:g} s, recover {facts.recover:g} s, total {facts.total:g} s"
    )


def _moment(records: Sequence[Record], *verbs: Verb) -> float | None:
    return max((record.ended for record in records if record.verb in verbs), default=None)
