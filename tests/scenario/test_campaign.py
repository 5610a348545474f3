"""Campaigns: same seed, same campaign; weights count; the minutes bound what begins and never what runs."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxdrill.errors import UsageError
from fluxdrill.model.verdicts import Verdict
from fluxdrill.scenario.campaign import draw, sometimes, until
from fluxdrill.scenario.judge import judge
from fluxdrill.scenario.schema import Scenario
from tests.scenario.samples import sample
from tests.scenario.test_judge import ENTRIES, FACTS, course, in_cycle

CHOICE = {
    "fault": "controllers.kill",
    "with": {"controller": {"choose": ["kustomize-controller", "source-controller", "helm-controller"]}},
}


def scenarios(**weights: int) -> list[Scenario]:
    return [
        Scenario.model_validate(sample(id=f"scenario-{name}", weight=weight, faults=[CHOICE]))
        for name, weight in weights.items()
    ]


def texts(seed: int, known: list[Scenario], n: int) -> list[str]:
    return [one.text() for one in draw(seed, known, n)]


@given(seed=st.integers(0, 2**40), n=st.integers(0, 30), longer=st.integers(0, 10), order=st.randoms())
def test_the_same_seed_is_the_same_campaign_and_a_longer_one_begins_with_it(
    seed: int, n: int, longer: int, order: Any
) -> None:
    known = scenarios(a=3, b=1, c=2)
    shuffled = order.sample(known, len(known))
    assert texts(seed, known, n) == texts(seed, shuffled, n + longer)[:n]


def test_another_seed_is_another_campaign() -> None:
    assert texts(1, scenarios(a=1, b=1), 20) != texts(2, scenarios(a=1, b=1), 20)


def test_two_draws_of_one_scenario_have_seeds_of_their_own_and_choose_differently() -> None:
    plans = draw(1, scenarios(a=1), 20)
    assert len({one.seed for one in plans}) == 20
    assert len({one.faults[0].text for one in plans}) == 3


def test_weights_say_how_often_and_zero_is_never() -> None:
    drawn = Counter(one.scenario.id for one in draw(1, scenarios(often=9, seldom=1, never=0), 1000))
    assert set(drawn) == {"scenario-often", "scenario-seldom"}
    assert drawn["scenario-often"] == pytest.approx(900, abs=60)


def test_a_campaign_of_nothing_is_refused() -> None:
    for nothing in ([], scenarios(never=0)):
        with pytest.raises(UsageError, match="no scenario to draw"):
            draw(1, nothing, 1)


def test_no_further_scenario_begins_after_the_minutes_but_the_first_always_does() -> None:
    plans = draw(1, scenarios(a=1), 10)
    clock = itertools.count(step=25.0)
    assert list(until(plans, seconds=60, now=lambda: next(clock))) == plans[:3]
    assert list(until(plans, seconds=0, now=lambda: 5.0)) == plans[:1]
    assert list(until(plans, seconds=60, now=lambda: 5.0)) == plans


def test_the_next_plan_is_drawn_only_when_it_is_asked_for() -> None:
    drawn = []
    source = (drawn.append(n) or n for n in range(5))  # type: ignore[func-returns-value]
    timed = until(source, seconds=60, now=lambda: 0.0)  # type: ignore[arg-type]
    next(timed)
    assert drawn == [0]


def test_a_campaign_in_which_nothing_left_ready_is_invalid() -> None:
    felt = judge(FACTS, in_cycle(course()), ENTRIES)
    calm = replace(felt, left=())
    assert felt.left == ("ConfigMap/shop/web",)
    assert sometimes([calm, calm]).verdict is Verdict.INVALID
    assert sometimes([]).verdict is Verdict.INVALID
    assert sometimes([calm, felt]).verdict is Verdict.PASS
