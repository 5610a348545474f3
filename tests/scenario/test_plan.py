from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxdrill.scenario.plan import Verb, plan
from fluxdrill.scenario.schema import Scenario
from tests.scenario.samples import sample

TWO = [
    {"fault": "controllers.kill", "with": {"controller": {"choose": ["kustomize-controller", "helm-controller"]}}},
    {"fault": "objects.delete", "with": {"object": "ConfigMap/shop/web"}},
]
STUCK = {
    "outcome": "stuck-as-documented",
    "stuck": [{"absent": ["ConfigMap/shop/web"], "within": 5, "stays": 2}],
    "manual": [{"reconcile": "Kustomization/flux-system/apps"}],
}


def scenario(**changes: Any) -> Any:
    return Scenario.model_validate(sample(**changes))


def verbs(made: Any) -> Any:
    return [step.verb for step in made.steps]


def test_the_plan_reads_as_numbered_steps() -> None:
    assert plan(scenario(), 7).text() == (
        "sample-scenario: A scenario that is made for a test\n"
        "expected: recovered, seed 7\n"
        "  1  steady   Git, Flux's inventory and the live objects agree at the newest commit\n"
        "  2  inject   controllers.kill(controller=kustomize-controller)\n"
        "  3  observe  controllers.kill bit\n"
        "  4  see      ConfigMap/shop/web is gone\n"
        "  5  heal     controllers.kill(controller=kustomize-controller)\n"
        "  6  recover  Git, Flux's inventory and the live objects agree at the newest commit\n"
        "  7  decoy    Deployment/monitoring/watcher was not touched\n"
        "  8  clean    heal what is still open, restore the tree of the steady state, take back what was arranged\n"
        "  9  after    Git, Flux's inventory and the live objects agree at the newest commit\n"
        " 10  quiet    nothing of Flux is written any more\n"
    )


@given(st.integers())
def test_the_same_seed_gives_the_same_plan(seed: int) -> None:
    assert plan(scenario(faults=TWO), seed).text() == plan(scenario(faults=TWO), seed).text()


def test_the_seed_decides_what_is_left_open() -> None:
    drawn = {plan(scenario(faults=TWO), seed).faults[0].args.controller for seed in range(40)}
    assert drawn == {"kustomize-controller", "helm-controller"}


def test_what_heals_itself_is_judged_before_anything_is_healed() -> None:
    made = verbs(plan(scenario(outcome="self-healed"), 1))
    assert made.index(Verb.RECOVER) < made.index(Verb.HEAL)


@pytest.mark.parametrize("changes", [{}, STUCK], ids=["recovered", "stuck"])
def test_everything_else_is_judged_after_its_cause_is_gone(changes: dict[str, Any]) -> None:
    made = verbs(plan(scenario(**changes), 1))
    assert made.index(Verb.HEAL) < made.index(Verb.RECOVER)


def test_what_is_stuck_must_stay_so_before_a_hand_helps() -> None:
    made = verbs(plan(scenario(**STUCK), 1))
    assert made.index(Verb.HEAL) < made.index(Verb.STUCK) < made.index(Verb.MANUAL) < made.index(Verb.RECOVER)


def test_faults_together_are_all_injected_before_one_is_healed_and_healed_in_reverse() -> None:
    steps = plan(scenario(faults=TWO), 1).steps
    assert [step.fault for step in steps if step.verb is Verb.INJECT] == [0, 1]
    assert [step.fault for step in steps if step.verb is Verb.HEAL] == [1, 0]


def test_faults_one_by_one_are_cycles_of_their_own() -> None:
    made = plan(scenario(faults=TWO, order="one-by-one"), 1)
    assert [step.cycle for step in made.steps if step.verb is Verb.INJECT] == [1, 2]
    first_recovery = next(step.number for step in made.steps if step.verb is Verb.RECOVER)
    second_fault = [step.number for step in made.steps if step.verb is Verb.INJECT][1]
    assert first_recovery < second_fault


@given(st.integers(1, 20))
def test_a_repeated_fault_is_injected_observed_and_healed_as_often(times: int) -> None:
    made = plan(scenario(repeat=times), 1)
    for verb in (Verb.INJECT, Verb.OBSERVE, Verb.HEAL, Verb.RECOVER):
        assert len([step for step in made.steps if step.verb is verb]) == times


def test_a_trigger_and_what_comes_before_a_fault_stand_before_it() -> None:
    use = {
        **TWO[1],
        "before": [{"reconcile": "Kustomization/flux-system/apps"}],
        "after": {"ready": ["Kustomization/flux-system/apps"]},
    }
    assert verbs(plan(scenario(faults=[use]), 1))[1:4] == [Verb.BEFORE, Verb.AWAIT, Verb.INJECT]
