"""The remediation matrix: every legal cell as a release of its own, all at the same time, each to its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from fluxdrill.kube.errors import ApiError, NotFoundError
from fluxdrill.kube.wait import all_of, condition, ready
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK, Instant
from fluxdrill.pytest_plugin.measured import Measured
from suites.ordering.seen import holds, never
from suites.remediation.cells import CELLS, ILLEGAL, Cell, End
from suites.remediation.conftest import MakeRelease, releases_on
from suites.remediation.releases import Outcome, Release, recovered
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_the_end_of_one_cell_is_not_taken_for_that_of_another",)

BY_NAME = {cell.name: cell for cell in CELLS}
DEADLINE = 180.0
"""Seconds: the controller works at four releases at a time, and the others wait for their turn."""


@dataclass(frozen=True, slots=True)
class Running:
    """The release of a cell, and when its failing action was asked for."""

    cell: Cell
    release: Release
    begun: Instant


@pytest.fixture(scope="module")
def running(lab: Lab) -> Iterator[dict[str, Running]]:
    """Every cell, its failing action asked for; none has been waited for."""
    with releases_on(lab) as make:
        found = {cell.name: make(cell.name, **cell.full_spec) for cell in CELLS}
        upgraded = [cell for cell in CELLS if cell.action == "upgrade"]
        for cell in upgraded:
            found[cell.name].install()
        for cell in upgraded:
            found[cell.name].wait(recovered(found[cell.name]), what="to be installed", deadline=DEADLINE)
        begun = SYSTEM_CLOCK.now()
        for cell in CELLS:
            ask = found[cell.name].change if cell.action == "upgrade" else found[cell.name].install
            ask(**cell.values)
        yield {cell.name: Running(cell, found[cell.name], begun) for cell in CELLS}


def serving(release: Release) -> int:
    """Return how many pods of a release serve; none where there is no workload."""
    try:
        return release.available()
    except NotFoundError:
        return 0


def ends_as(cell: Cell, release: Release) -> None:
    """Check what a release that has come to its end says and has, against its cell."""
    assert release.outcome() == cell.outcome
    assert release.statuses() == cell.statuses
    assert serving(release) == cell.serving


def _attempted(one: Running) -> None:
    """Wait for the attempts of one that retries, and check that it never stalled."""
    counts = holds(
        one.release.ref,
        lambda obj: Outcome.of(obj).failures[0] >= one.cell.attempts,
        f"failed {one.cell.attempts} times",
    )
    one.release.wait(counts, what="to go on trying", deadline=DEADLINE)
    assert not one.release.ever("Stalled")


@pytest.mark.parametrize("name", BY_NAME)
def test_each_setting_ends_as_the_table_says(running: dict[str, Running], measured: Measured, name: str) -> None:
    """Conditions, counters, Helm's history and what still serves; one that retries goes on and never stalls."""
    one = running[name]
    match one.cell.end:
        case End.STALLED:
            one.release.wait_stalled(deadline=DEADLINE)
            ends_as(one.cell, one.release)
            measured(f"{name} until stalled", one.release.stalled_at().since(one.begun), kind="other")
        case End.READY:
            tested = condition(one.release.ref, "TestSuccess", "False", "TestFailed")
            one.release.wait(all_of(tested, ready(one.release.ref)), what="to be Ready", deadline=60)
            ends_as(one.cell, one.release)
        case End.RETRIES:
            _attempted(one)
            assert serving(one.release) == one.cell.serving


def test_an_install_that_is_retried_recovers_alone_as_an_upgrade(
    running: dict[str, Running], measured: Measured
) -> None:
    """RetryOnFailure of both leaves the failed install in place and upgrades it once its pods have healed."""
    one = running["both-retry-on-failure"]
    _attempted(one)
    one.release.heal_pods()
    healed = SYSTEM_CLOCK.now()
    measured("heal until Ready", one.release.wait(recovered(one.release), what="to recover").met.since(healed))
    assert one.release.outcome().ready == "True UpgradeSucceeded"


def test_an_install_without_a_block_stays_stalled_although_its_pods_have_healed(
    lab: Lab, running: dict[str, Running]
) -> None:
    """The pods serve, the release says InstallFailed, and nothing tries again."""
    one = running["install-no-block"]
    one.release.wait_stalled(deadline=DEADLINE)
    one.release.heal_pods()
    one.release.wait_serving()
    never(lab, recovered(one.release), seconds=8, what="it to recover by itself")
    ends_as(replace(one.cell, serving=1), one.release)


@pytest.mark.parametrize("why", ILLEGAL)
def test_an_illegal_cell_is_refused_by_the_api_server(make_release: MakeRelease, why: str) -> None:
    """What the schema of HelmRelease rules out never reaches the controller."""
    spec, blamed = ILLEGAL[why]
    with pytest.raises(ApiError, match=blamed):
        make_release("illegal", **spec).install()


def test_control_the_end_of_one_cell_is_not_taken_for_that_of_another(running: dict[str, Running]) -> None:
    """Negative control: with one counter, one revision or one serving pod told wrong, the same end is refused."""
    one = running["upgrade-retries-0"]
    one.release.wait_stalled(deadline=DEADLINE)
    ends_as(one.cell, one.release)
    assert one.cell.outcome is not None
    miscounted = replace(one.cell, outcome=replace(one.cell.outcome, failures=(1, 1, 0)))
    for lie in (miscounted, replace(one.cell, statuses=("deployed",)), replace(one.cell, serving=0)):
        with refused():
            ends_as(lie, one.release)
    with refused():
        one.release.wait(recovered(one.release), what="to recover", deadline=3)
