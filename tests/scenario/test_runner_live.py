"""The runner on a real lab: what it must not let pass. Each test is a negative control of one objective."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from fluxdrill.faults import catalog
from fluxdrill.faults.fault import Fault, State
from fluxdrill.faults.objects import Delete, OfObject
from fluxdrill.faults.world import World
from fluxdrill.model.verdicts import Verdict
from fluxdrill.scenario.ledger import forget, ledgers, mirrored
from fluxdrill.scenario.session import Ended
from tests.scenario.conftest import REPOSITORIES, Run

pytestmark = [pytest.mark.live]

DEPLOYMENT = "Deployment/shop/web"
WEB = "ConfigMap/shop/web"
APPS = "clusters/lab/apps.yaml"
INTERVAL = {
    "commit": {
        "message": "apps looks every 5 s",
        "files": {APPS: (REPOSITORIES / "fleet" / APPS).read_text(encoding="utf-8").replace("10m", "5s")},
    }
}
DRIFT: dict[str, Any] = {
    "arrange": [INTERVAL],
    "faults": [{"fault": "objects.delete", "with": {"object": WEB}}],
    "seen": [{"absent": [WEB], "within": 10}],
    "affected": [WEB],
    "outcome": "self-healed",
    "recovered": [{"replaced": [WEB]}, {"converged": True, "within": 45, "stays": 1}],
}


class Nothing(Delete):
    """A deletion that deletes nothing: the no-op twin."""

    name: ClassVar[str] = "test.nothing"
    bites_within: ClassVar[float] = 2.0

    def inject(self, world: World, state: State) -> None:
        """Do nothing."""
        del world, state


class Unhealable(Fault[OfObject]):
    """A fault whose healing fails."""

    name: ClassVar[str] = "test.unhealable"
    arguments = OfObject

    @property
    def takes(self) -> frozenset[str]:
        """Nothing real."""
        return frozenset({"test"})

    def prepare(self, world: World) -> State:
        """Read as a deletion does."""
        return Delete(self.args).prepare(world)

    def inject(self, world: World, state: State) -> None:
        """Delete it."""
        Delete(self.args).inject(world, state)

    def observe(self, world: World, state: State) -> Any:
        """See it gone."""
        return Delete(self.args).observe(world, state)

    def heal(self, world: World, state: State) -> None:
        """Fail, as a harness without rights would."""
        del state
        world.api.patch(self.args.object, {"kind": "Nonsense"})


@pytest.fixture(autouse=True)
def more_faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let scenarios name the faults of this module."""
    known = {**catalog.FAULTS, **{one.name: one for one in (Nothing, Unhealable)}}
    monkeypatch.setattr(catalog, "FAULTS", known)
    return iter([None])


def objective(ended: Ended, name: str) -> str:
    """Return the verdict of one objective."""
    return str(next(one.verdict for one in ended.judgement.objectives if one.name == name))


@pytest.mark.ci
def test_a_drift_that_flux_heals_passes_and_leaves_no_note_behind(run: Run, world: World) -> None:
    ended = run(**DRIFT)
    assert ended.judgement.verdict is Verdict.PASS, ended.judgement.objectives
    assert {(one.what, one.object) for one in ended.judgement.samples} >= {("recovery", ""), ("recovery", WEB)}
    assert not ended.dirty
    assert mirrored(world.api) == []
    assert list(ledgers().glob("sample-scenario-*")) == []


@pytest.mark.ci
def test_a_fault_without_effect_is_invalid(run: Run) -> None:
    ended = run(**DRIFT | {"faults": [{"fault": "test.nothing", "with": {"object": WEB}}]})
    assert ended.judgement.verdict is Verdict.INVALID
    assert objective(ended, "the fault bit") == "invalid"


def test_a_fault_that_hits_nothing_is_invalid_and_nothing_is_broken(run: Run) -> None:
    ended = run(**DRIFT | {"faults": [{"fault": "objects.delete", "with": {"object": "ConfigMap/shop/nobody"}}]})
    assert ended.judgement.verdict is Verdict.INVALID
    assert "nothing to hit" in ended.judgement.why


def test_drift_that_nobody_heals_is_a_deviation(run: Run) -> None:
    """The interval is 10 minutes: within 5 s Flux does nothing, and the harness must not help."""
    short = [{"replaced": [WEB], "within": 5}]
    ended = run(**DRIFT | {"arrange": [], "recovered": short})
    assert ended.judgement.verdict is Verdict.DEVIATED
    assert objective(ended, "outcome") == "deviated"
    assert objective(ended, "steady state after") == "pass"


def test_what_was_already_so_is_no_sighting(run: Run) -> None:
    ended = run(**DRIFT | {"seen": [{"present": [DEPLOYMENT]}]})
    assert ended.judgement.verdict is Verdict.INVALID
    assert "held before the fault" in ended.judgement.why


def test_a_decoy_that_was_touched_is_a_deviation(run: Run) -> None:
    ended = run(**DRIFT | {"decoy": [WEB], "affected": []})
    assert objective(ended, "the decoy was not touched") == "deviated"


def test_more_than_was_declared_is_a_deviation(run: Run) -> None:
    ended = run(**DRIFT | {"affected": []})
    assert ended.judgement.verdict is Verdict.DEVIATED
    assert objective(ended, "blast radius") == "deviated"


def test_a_decoy_that_does_not_exist_is_invalid(run: Run) -> None:
    assert run(**DRIFT | {"decoy": ["ConfigMap/shop/nobody"]}).judgement.verdict is Verdict.INVALID


def test_a_steady_state_that_does_not_hold_breaks_nothing(run: Run) -> None:
    ended = run(**DRIFT | {"steady": [{"present": ["ConfigMap/shop/nobody"], "within": 2}]})
    assert ended.judgement.verdict is Verdict.INVALID
    assert objective(ended, "the fault was injected") == "unknown"


def test_a_healing_that_fails_is_a_harness_error_and_stays_on_the_books(run: Run, world: World) -> None:
    ended = run(**DRIFT | {"faults": [{"fault": "test.unhealable", "with": {"object": "ConfigMap/shop/settings"}}]})
    assert ended.judgement.verdict is Verdict.HARNESS_ERROR
    assert ended.dirty
    note = list(ledgers().glob("sample-scenario-*"))
    assert [one.fault for one in mirrored(world.api)] == ["test.unhealable"]
    assert len(note) == 1
    note[0].unlink()  # nothing heals it, and its lab ends with this module
    for one in mirrored(world.api):
        forget(world.api, one)
