"""The witness of a failure is called at the first step that does not end well, once, and before anything later is done."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fluxdrill.faults.world import World
from fluxdrill.model.clock import SYSTEM_CLOCK, Instant
from fluxdrill.scenario.session import _Watched


class Told:
    """A journal and a witness that note in one list what they are told."""

    def __init__(self) -> None:
        self.order: list[str] = []

    def tell(self, type: str, /, *, at: Instant | None = None, **fields: Any) -> None:  # noqa: A002, ARG002
        self.order.append(f"{type} {fields.get('text', '')}".strip())

    def seconds(self, at: Instant) -> float:  # noqa: ARG002
        return 0.0

    def witness(self, world: World, *, scenario: str, why: str, since: Instant) -> None:  # noqa: ARG002
        self.order.append(f"witness {scenario}: {why}")


class Nowhere:
    """As much of a world as a clock."""

    class store:  # noqa: N801 - the attribute's own name
        clock = SYSTEM_CLOCK


def watched(told: Told, *, witness: bool = True) -> _Watched:
    return _Watched(cast("World", Nowhere()), told, "git-down", told.witness if witness else None)


def step(watch: _Watched, text: str, result: str) -> None:
    watch.tell("step", text=text, result=result, why="why")


@pytest.mark.parametrize("result", ["missed", "undecided", "void", "broke"])
def test_the_witness_sees_the_world_between_the_step_that_failed_and_the_next(result: str) -> None:
    told = Told()
    watch = watched(told)
    for text, ended in (("steady", "done"), ("see", result), ("heal", "done"), ("after", result)):
        step(watch, text, ended)
    watch.fail("the verdict")
    assert told.order == ["step steady", "step see", "witness git-down: see: why", "step heal", "step after"]


def test_a_run_whose_steps_went_well_calls_it_only_for_its_verdict() -> None:
    told = Told()
    watch = watched(told)
    step(watch, "steady", "done")
    step(watch, "see", "skipped")
    watch.fail("blast radius")
    assert told.order[-1] == "witness git-down: blast radius"
    assert len(told.order) == 3


def test_without_a_witness_nothing_is_called() -> None:
    told = Told()
    watch = watched(told, witness=False)
    step(watch, "see", "missed")
    watch.fail("x")
    assert told.order == ["step see"]
