"""From the record of a scenario to its verdict: pure rules, so that an old journal can be judged again.

Every objective has a verdict of its own; the scenario's is the worst of them. A step that was skipped proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluxdrill.model.verdicts import Verdict, merge
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
    left: tuple[str, ...] = ()
    """Objects of the repository that left Ready, or were deleted, while the fault lasted."""

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
    begin, end = span(records)
    left = left_ready(facts, seen, begin, end)
    if any(record.verb is Verb.INJECT and record.result is Result.DONE for record in records):
        objectives += [_blast_radius(facts, left, seen, begin, end), _budgets(facts, measured, end - begin)]
    verdict = merge(one.verdict for one in objectives)
    return Judgement(facts, verdict, tuple(objectives), measured, tuple(sorted(left)))


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


def _blast_radius(facts: Facts, left: set[str], entries: Sequence[Entry], begin: float, end: float) -> Objective:
    """Only what was declared may leave Ready while the fault lasts; a blind spot in the watch leaves it unknown."""
    name = "blast radius"
    if outside := sorted(left - set(facts.affected)):
        return Objective(name, Verdict.DEVIATED, f"beyond what was declared, {', '.join(outside[:4])} left Ready")
    own = [one for one in entries if _of(one, facts)]
    blind = [one for one in _blind(own, begin, end) if not _declared(one, facts)]
    if blind and not facts.silences:
        return Objective(name, Verdict.UNKNOWN, f"the watch was blind: {blind[0].get('why', '')}")
    if not any(one.get("type") == "transition" and _of(one, facts) for one in entries):
        return Objective(name, Verdict.UNKNOWN, "the watch told of nothing at all")
    return Objective(
        name, Verdict.PASS, f"left Ready: {', '.join(sorted(left)) or 'nothing'}; declared: {len(facts.affected)}"
    )


def _blind(own: Iterable[Entry], begin: float, end: float) -> list[Entry]:
    """Return when the watch saw nothing; a gap is told when it begins, and again as the same one when it ends."""
    told = {(one["type"], one["t"]): one for one in own if one.get("type") in {"gap", "watch-loss"}}

    def until(one: Entry) -> float:
        last = one.get("end") if one["type"] == "gap" else one["t"]
        return float("inf") if last is None else float(last)

    return [one for one in told.values() if one["t"] <= end and until(one) >= begin]


def _of(one: Entry, facts: Facts) -> bool:
    return one.get("lab") == facts.lab


def _declared(one: Entry, facts: Facts) -> bool:
    """Tell whether a watch was lost because its kind's definition, declared as affected, is gone: no blindness."""
    head = "CustomResourceDefinition/"
    groups = {ref.removeprefix(head).partition(".")[2] for ref in facts.affected if ref.startswith(head)}
    return one.get("type") == "watch-loss" and str(one.get("what", "")).partition(".")[2] in groups


def left_ready(facts: Facts, entries: Iterable[Entry], begin: float, end: float) -> set[str]:
    """Return the objects of the repository that left Ready, or were deleted, between two moments."""
    scope = set(facts.scope)
    return {fall.object for fall in falls(of_lab(facts, entries)) if fall.object in scope and begin <= fall.t <= end}


def _budgets(facts: Facts, measured: Iterable[Sample], total: float) -> Objective:
    name = "budgets"
    words = {"detection": ("first seen", facts.detect), "recovery": ("recovered", facts.recover)}
    over = [
        f"{words[one.what][0]} after {one.seconds:.1f} s, allowed are {words[one.what][1]:g}"
        for one in measured
        if not one.object and one.seconds > words[one.what][1]
    ]
    if total > facts.total:
        over.append(f"{total:.0f} s in all, allowed are {facts.total:g}")
    if over:
        return Objective(name, Verdict.DEVIATED, "; ".join(over))
    return Objective(
        name, Verdict.PASS, f"within detect {facts.detect:g} s, recover {facts.recover:g} s, total {facts.total:g} s"
    )
