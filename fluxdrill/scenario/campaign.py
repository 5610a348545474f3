"""Campaigns: scenarios drawn by weight with one seed, run one after the other until the minutes are over.

One scenario at a time: faults of two scenarios never overlap, and within one the schema refuses two faults that take
the same resource.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from fluxdrill.errors import UsageError
from fluxdrill.model.verdicts import Verdict
from fluxdrill.scenario.judge import Judgement, Objective
from fluxdrill.scenario.plan import Plan, plan
from fluxdrill.scenario.schema import Scenario

SEEDS = 2**31


def draws(seed: int, scenarios: Iterable[Scenario]) -> Iterator[Plan]:
    """Yield plans without end, each scenario as often as its weight says and with a seed of its own.

    The same seed and scenarios give the same plans, in whatever order the files were found. Raises UsageError where no
    scenario has a weight.
    """
    known = sorted((one for one in scenarios if one.weight), key=lambda one: one.id)
    if not known:
        raise UsageError("There is no scenario to draw.", hint="Give at least one a `weight` above 0.")
    chance = random.Random(f"campaign/{seed}")  # noqa: S311 - a campaign must be repeatable, not secret
    weights = [one.weight for one in known]
    while True:
        (drawn,) = chance.choices(known, weights)
        yield plan(drawn, chance.randrange(SEEDS))


def draw(seed: int, scenarios: Iterable[Scenario], n: int) -> list[Plan]:
    """Return the first `n` plans of a campaign; a longer one begins with the same."""
    return list(islice(draws(seed, scenarios), n))


def until(plans: Iterable[Plan], *, seconds: float, now: Callable[[], float]) -> Iterator[Plan]:
    """Hand on plans until `seconds` have passed on the clock `now`; the first always, and one that runs is not cut."""
    began = now()
    for number, one in enumerate(plans):
        if number and now() - began >= seconds:
            return
        yield one


def sometimes(judgements: Iterable[Judgement]) -> Objective:
    """Judge that at least once something left Ready: a campaign of faults that nobody felt proves nothing."""
    known = list(judgements)
    felt = sorted({ref for one in known for ref in one.left})
    name = "something left Ready"
    if not felt:
        return Objective(name, Verdict.INVALID, f"nothing did, in {len(known)} scenarios: no fault was felt")
    count = sum(bool(one.left) for one in known)
    return Objective(name, Verdict.PASS, f"in {count} of {len(known)} scenarios, {len(felt)} objects in all")
