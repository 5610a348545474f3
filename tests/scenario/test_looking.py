"""What is looked for, without a cluster: a store that is told what to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import pytest

from fluxdrill.faults.fault import Args, Fault, Probe, State
from fluxdrill.faults.world import World
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.refs import ObjectRef
from fluxdrill.scenario.bind import Baseline
from fluxdrill.scenario.checks import Check
from fluxdrill.scenario.looking import Looking, Sightings
from fluxdrill.scenario.record import Result

WEB = ObjectRef("", "ConfigMap", "shop", "web")


class Toothless(Fault[Args]):
    """A fault that never shows."""

    name: ClassVar[str] = "test.toothless"
    bites_within: ClassVar[float] = 0.2
    shows: ClassVar[bool] = False

    @property
    def takes(self) -> frozenset[str]:
        return frozenset({"nothing"})

    def inject(self, world: World, state: State) -> None:
        del world, state

    def observe(self, world: World, state: State) -> Predicate | Probe:
        del world, state
        return Probe(lambda: (self.shows, "asked"))

    def heal(self, world: World, state: State) -> None:
        del world, state


class Sharp(Toothless):
    shows: ClassVar[bool] = True


@dataclass
class View:
    known: bool = True

    def decidable(self, _kinds: object) -> bool:
        return self.known


@dataclass
class Store:
    clock: Any = SYSTEM_CLOCK
    shown: View = field(default_factory=View)

    def view(self) -> View:
        return self.shown

    def follow(self, _kind: object) -> None:
        return None


def looking(store: Store | None = None, *, holds: bool = False) -> Looking:
    """Return one whose every check holds or not."""
    made = Looking(World(cast("Any", None), cast("Any", store or Store())), cast("Any", None))
    answer = Verdict3.met("it is so") if holds else Verdict3.not_yet("not yet")
    made.rule = lambda *_: Predicate(lambda _view: answer, frozenset([WEB]))  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize(("fault", "wanted"), [(Toothless, Result.MISSED), (Sharp, Result.DONE)])
def test_a_fault_that_does_not_show_is_missed(fault: type[Toothless], wanted: Result) -> None:
    assert looking().bite(fault(Args()), {}).result is wanted


def test_what_holds_before_the_fault_is_no_sighting() -> None:
    sightings = Sightings(looking(holds=True), [Check(absent=(WEB,))], Baseline(), cycle=1)
    assert sightings.begin() == "ConfigMap/shop/web is gone"
    sightings.end()
