"""The plan of a scenario: numbered steps, made from the file and one seed before any cluster exists."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fluxdrill.faults.fault import Fault
from fluxdrill.model.verdicts import Outcome
from fluxdrill.scenario.checks import Action, Check
from fluxdrill.scenario.load import decide
from fluxdrill.scenario.schema import FaultUse, Order, Scenario


class Verb(StrEnum):
    """What a step does."""

    ARRANGE = "arrange"
    STEADY = "steady"
    BEFORE = "before"
    AWAIT = "await"
    INJECT = "inject"
    OBSERVE = "observe"
    SEE = "see"
    ACT = "act"
    HEAL = "heal"
    STUCK = "stuck"
    MANUAL = "manual"
    RECOVER = "recover"
    DECOY = "decoy"
    CLEAN = "clean"
    AFTER = "after"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `what` is the check, action or fault that it is about, `cycle` the repetition it belongs to (0: none)."""

    number: int
    verb: Verb
    text: str
    cycle: int = 0
    what: Check | Action | Fault[Any] | None = None
    fault: int = -1
    """Index of the fault among the plan's faults, for inject, observe and heal."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one scenario with one seed."""

    scenario: Scenario
    seed: int
    faults: tuple[Fault[Any], ...]
    steps: tuple[Step, ...]

    @property
    def takes(self) -> frozenset[str]:
        """All resources that its faults take."""
        return frozenset(resource for fault in self.faults for resource in fault.takes)

    def text(self) -> str:
        """Return the plan for people: same seed, same text."""
        head = [f"{self.scenario.id}: {self.scenario.title}", f"expected: {self.scenario.outcome}, seed {self.seed}"]
        return "\n".join([*head, *(f"{step.number:>3}  {step.verb:<8} {step.text}" for step in self.steps)]) + "\n"


_Line = tuple[Verb, str, int, Check | Action | Fault[Any] | None, int]


def plan(scenario: Scenario, seed: int) -> Plan:
    """Return the plan of `scenario`; every open choice is made by `seed` and the scenario's id alone."""
    chance = random.Random(f"{seed}/{scenario.id}")  # noqa: S311 - a plan must be repeatable, not secret
    faults: list[Fault[Any]] = []
    lines = list(_lines(scenario, chance, faults))
    steps = (Step(number, *line) for number, line in enumerate(lines, 1))
    return Plan(scenario, seed, tuple(faults), tuple(steps))


def _lines(scenario: Scenario, chance: random.Random, faults: list[Fault[Any]]) -> Iterator[_Line]:
    if scenario.arrange:
        yield from _checks(Verb.STEADY, scenario.steady, 0)
        yield from _actions(Verb.ARRANGE, scenario.arrange, 0)
    yield from _checks(Verb.STEADY, scenario.steady, 0)
    groups = [scenario.faults] if scenario.order is Order.TOGETHER else [(use,) for use in scenario.faults]
    cycle = 0
    for _ in range(scenario.repeat):
        for group in groups:
            cycle += 1
            first = len(faults)
            faults += [decide(use, chance) for use in group]
            yield from _cycle(scenario, cycle, list(enumerate(faults))[first:], group)
    for ref in scenario.decoy:
        yield Verb.DECOY, f"{ref} was not touched", 0, Check(untouched=(ref,)), -1
    yield (
        Verb.CLEAN,
        "heal what is still open, restore the tree of the steady state, take back what was arranged",
        0,
        None,
        -1,
    )
    for check in scenario.steady:
        yield Verb.AFTER, check.text, 0, check, -1
    yield Verb.QUIET, "nothing of Flux is written any more", 0, None, -1


def _cycle(
    scenario: Scenario, cycle: int, faults: Sequence[tuple[int, Fault[Any]]], uses: Sequence[FaultUse]
) -> Iterator[_Line]:
    for (number, fault), use in zip(faults, uses, strict=True):
        yield from _actions(Verb.BEFORE, use.before, cycle)
        yield from _checks(Verb.AWAIT, [use.after] if use.after is not None else [], cycle)
        yield Verb.INJECT, fault.text, cycle, fault, number
        yield from _actions(Verb.ACT, use.then, cycle)
    for number, fault in faults:
        yield Verb.OBSERVE, f"{fault.name} bit", cycle, fault, number
    yield from _checks(Verb.SEE, scenario.seen, cycle)
    yield from _actions(Verb.ACT, scenario.meanwhile, cycle)
    lasts = [scenario.outcome is Outcome.SELF_HEALED or use.lasting for use in uses]
    pairs = list(zip(faults, lasts, strict=True))[::-1]
    yield from ((Verb.HEAL, fault.text, cycle, fault, number) for (number, fault), late in pairs if not late)
    yield from _checks(Verb.STUCK, scenario.stuck, cycle)
    yield from _actions(Verb.MANUAL, scenario.manual, cycle)
    yield from _checks(Verb.RECOVER, scenario.recovered, cycle)
    # only now: before the judgement nothing may help
    yield from ((Verb.HEAL, fault.text, cycle, fault, number) for (number, fault), late in pairs if late)


def _checks(verb: Verb, checks: Iterable[Check], cycle: int) -> Iterator[_Line]:
    return ((verb, check.text, cycle, check, -1) for check in checks)


def _actions(verb: Verb, actions: Iterable[Action], cycle: int) -> Iterator[_Line]:
    return ((verb, action.text, cycle, action, -1) for action in actions)
