"""Every fault on a real lab: it is seen when it bites and only then, it is healed from its state alone, and it never hits air."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fluxdrill.faults import catalog
from fluxdrill.faults.fault import Fault, NotInjectedError, Where
from fluxdrill.faults.world import World
from fluxdrill.kube.wait import DeviatedTimeoutError
from fluxdrill.scenario.converge import Rendering
from fluxdrill.scenario.looking import Look, Looking
from fluxdrill.scenario.record import Result
from tests.faults.cases import CASES, CI, Case
from tests.faults.standing import converge, identities, of_world

EVERY = [
    pytest.param(name, marks=[pytest.mark.live, *([pytest.mark.ci] if name in CI else [])]) for name in sorted(CASES)
]
SHORT = 0.7


@contextmanager
def as_arranged(world: World, name: str) -> Iterator[tuple[Case, Fault[Any]]]:
    """Yield the case and its fault, in a world with what the fault is about."""
    case = CASES[name]
    with case.around(world):
        yield case, catalog.make(name, case.arguments)


def bite(world: World, fault: Fault[Any], state: dict[str, Any]) -> Look:
    """Return what came of looking for the effect, within the fault's own time."""
    return Looking(world, Rendering(world)).bite(fault, state)


def test_every_fault_of_the_catalogue_is_tested_here() -> None:
    assert set(CASES) == set(catalog.FAULTS)
    assert {len(family.FAULTS) - len({one.name for one in family.FAULTS} - CI) for family in catalog.FAMILIES} == {1}


@pytest.mark.parametrize("name", EVERY)
def test_a_fault_that_is_not_injected_is_not_seen_and_healing_it_changes_nothing(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with as_arranged(world, name) as (case, fault):
        monkeypatch.setattr(type(fault), "bites_within", SHORT)
        before = of_world(world) | identities(world)
        state = fault.prepare(world)
        case.provoke(world)
        assert not is_seen(world, fault, state)
        fault.heal(world, state)
        assert of_world(world) | identities(world) == before


def is_seen(world: World, fault: Fault[Any], state: dict[str, Any]) -> bool:
    """Tell whether it is; a watch that cannot decide raises."""
    try:
        return bite(world, fault, state).result is Result.DONE
    except DeviatedTimeoutError:
        return False


@pytest.mark.parametrize("name", EVERY)
def test_a_fault_bites_and_is_healed_from_its_written_state_alone_and_twice(world: World, name: str) -> None:
    before = of_world(world)
    with as_arranged(world, name) as (case, fault):
        state = fault.prepare(world)
        written, arguments = json.dumps(state), json.dumps(fault.args.model_dump(mode="json"))
        try:
            fault.inject(world, state)
            case.provoke(world)
            found = bite(world, fault, state)
            assert found.result is Result.DONE, found.why
            json.dumps(state)
            other = catalog.make(name, json.loads(arguments))
            # a fault inside the cluster must not need more than the API
            healer = World(world.api, world.store) if fault.where is Where.CLUSTER else world
            for _ in range(2):
                other.heal(healer, json.loads(written))
        finally:
            fault.heal(world, state)
        converge(world)
    assert of_world(world) == before


@pytest.mark.parametrize("name", EVERY)
def test_a_fault_that_would_hit_nothing_says_so_before_it_is_injected(world: World, name: str) -> None:
    with (
        as_arranged(world, name) as (case, fault),
        case.blank(world, fault) as (blank, aimed),
        pytest.raises(NotInjectedError),
    ):
        aimed.prepare(blank)
