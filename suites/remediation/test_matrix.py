"""The remediation matrix: every legal cell as a release of its own, all at the same time, each to its end and beyond.

Beyond its end its cause heals while nobody touches the release: does it become Ready by itself? Where it does not, its
counters are reset, which shows that the cause had healed indeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from fluxdrill.flux.operations import reconcile
from fluxdrill.kube.errors import ApiError, NotFoundError
from fluxdrill.kube.wait import all_of, condition, ready
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK, Instant
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from suites.ordering.seen import holds, never
from suites.remediation.cells import CELLS, ILLEGAL, Cause, Cell, End, Fails
from suites.remediation.conftest import MakeRelease, releases_on
from suites.remediation.releases import Outcome, Release, deployed, recovered
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_the_end_of_one_cell_is_not_taken_for_that_of_another",
    "test_control_a_release_that_stays_stalled_is_not_taken_for_one_that_recovers",
)

BY_NAME = {cell.name: cell for cell in sorted(CELLS, key=lambda cell: cell.end is not End.RETRIES)}
"""Those that retry come first: the longer they are left alone, the longer they wait between two attempts."""
BROKEN = [cell.name for cell in CELLS if cell.end is not End.READY]
STALLED = [cell.name for cell in CELLS if cell.end is End.STALLED]
DEADLINE = 180.0
"""Seconds: the controller works at four releases at a time, and the others wait for their turn."""
QUIET = 8.0
"""Seconds in which a stalled release could try again by itself: its interval is over once at least."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a release said and had at one moment: as in the table."""

    outcome: Outcome
    statuses: tuple[str, ...]
    serving: int

    @classmethod
    def of(cls, release: Release) -> Seen:
        """Look at it now; nothing serves where there is no workload."""
        try:
            serving = release.available()
        except NotFoundError:
            serving = 0
        return cls(release.outcome(), release.statuses(), serving)


@dataclass(slots=True)
class Running:
    """The release of a cell, and when its failing action was asked for; what happened to it since."""

    cell: Cell
    release: Release
    begun: Instant
    seen: Seen | None = None
    healed: Instant | None = None
    made: ObjectRef | None = None

    def end(self) -> Seen:
        """Wait until it has come to its end, once, and return what was seen there."""
        if self.seen is None:
            self._wait_for_end()
            self.seen = Seen.of(self.release)
        return self.seen

    def _wait_for_end(self) -> None:
        match self.cell.end:
            case End.STALLED:
                self.release.wait_stalled(deadline=DEADLINE)
            case End.READY:
                tested = condition(self.release.ref, "TestSuccess", "False", "TestFailed")
                self.release.wait(all_of(tested, ready(self.release.ref)), what="to be Ready", deadline=DEADLINE)
            case End.RETRIES:
                counts = holds(self.release.ref, self._has_tried, f"failed {self.cell.attempts} times")
                self.release.wait(counts, what="to go on trying", deadline=DEADLINE)

    def _has_tried(self, obj: KubeObject) -> bool:
        return Outcome.of(obj).failures[0] >= self.cell.attempts

    def heal(self) -> Instant:
        """Take its cause away after its end, once, and return when; what is scripted is over by itself."""
        self.end()
        if self.healed is None:
            self._make_what_is_missing()
            self.healed = SYSTEM_CLOCK.now()
        return self.healed

    def _make_what_is_missing(self) -> None:
        made = missing(self.cell.cause, self.release.name)
        if made is not None:
            self.made = ObjectRef.of(self.release.lab.api.create(made))


def missing(cause: Cause, name: str) -> KubeObject | None:
    """Return the object outside of the release `name` that it fails for want of; None where its failing is scripted."""
    match cause:
        case Cause.NO_NAMESPACE:
            return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        case Cause.NO_CLAIM:
            meta = {"name": name, "namespace": "default"}
            spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
            return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}
        case _:
            return None


@pytest.fixture(scope="module")
def running(lab: Lab) -> Iterator[dict[str, Running]]:
    """Every cell, its failing action asked for; none has been waited for."""
    with releases_on(lab) as make:
        found = {cell.name: make(cell.name, **cell.full_spec) for cell in CELLS}
        upgraded = [cell for cell in CELLS if cell.fails is Fails.UPGRADE]
        for cell in upgraded:
            found[cell.name].install()
        for cell in upgraded:
            found[cell.name].wait(recovered(found[cell.name]), what="to be installed", deadline=DEADLINE)
        begun = SYSTEM_CLOCK.now()
        for cell in CELLS:
            release = found[cell.name]
            ask = release.change if cell.fails is Fails.UPGRADE else release.install
            ask(**cell.values(release.name))
        cells = {cell.name: Running(cell, found[cell.name], begun) for cell in CELLS}
        yield cells
    for one in cells.values():
        if one.made is not None:
            lab.api.delete(one.made)  # nobody waits for it: a namespace takes Kubernetes 5 to 10 s


def ends_as(cell: Cell, seen: Seen) -> None:
    """Check what was seen of a release at its end against its cell; one that retries is only at one of its moments."""
    assert seen.serving == cell.serving
    if cell.end is End.RETRIES:
        assert seen.outcome.failures[0] >= cell.attempts
        assert (seen.outcome.stalled, seen.outcome.ready.split()[0]) == ("", "False")
        return
    assert seen == Seen(cell.outcome or seen.outcome, cell.statuses, cell.serving)
    assert seen.outcome.failures[0] == cell.attempts


def goes_on_as(cell: Cell, release: Release, *, healed: Instant, deadline: float = DEADLINE) -> None:
    """Check whether a release whose cause has healed becomes Ready by itself, against its cell."""
    if cell.recovers_alone:
        release.wait(deployed(release), what="to recover by itself", deadline=deadline)
        assert not release.ever("Stalled")
        assert (release.outcome().failures == (0, 0, 0)) is cell.forgets
        return
    left = healed.since(SYSTEM_CLOCK.now()) + QUIET
    never(release.lab, deployed(release), seconds=max(left, 0.5), what=f"{release.name} to recover by itself")


@pytest.mark.parametrize("name", BY_NAME)
def test_each_setting_ends_as_the_table_says(running: dict[str, Running], measured: Measured, name: str) -> None:
    """Conditions, counters, Helm's history and what still serves; one that retries goes on and never stalls."""
    one = running[name]
    ends_as(one.cell, one.end())
    if one.cell.end is End.STALLED:
        measured(f"{name} until stalled", one.release.stalled_at().since(one.begun), kind="other")
    one.heal()


@pytest.mark.parametrize("name", BROKEN)
def test_a_healed_cause_is_noticed_by_those_that_retry_and_by_nobody_who_stalled(
    running: dict[str, Running], measured: Measured, name: str
) -> None:
    """Recovering alone is the table's last column. Counters are cleared by RetryOnFailure, and kept by remediation."""
    one = running[name]
    healed = one.heal()
    goes_on_as(one.cell, one.release, healed=healed)
    if one.cell.recovers_alone:
        measured(f"{name}: heal until Ready", one.release.ready_after(healed))


def test_control_a_release_that_stays_stalled_is_not_taken_for_one_that_recovers(running: dict[str, Running]) -> None:
    """Negative control of recovering alone: each of the two answers is refused where the other is true."""
    stalled, retried = running["install-no-block"], running["upgrade-hook-retry-on-failure"]
    healed = stalled.heal()
    with refused():
        goes_on_as(replace(stalled.cell, end=End.RETRIES), stalled.release, healed=healed, deadline=3)
    healed = retried.heal()
    goes_on_as(retried.cell, retried.release, healed=healed)
    with refused():
        goes_on_as(replace(retried.cell, end=End.STALLED), retried.release, healed=healed)


@pytest.mark.parametrize("name", STALLED)
def test_one_reset_of_its_counters_un_stalls_each_whose_cause_has_healed(
    running: dict[str, Running], measured: Measured, name: str
) -> None:
    """And shows so that the cause had healed: nothing else was changed."""
    one = running[name]
    one.heal()
    begun = SYSTEM_CLOCK.now()
    reconcile(one.release.lab.api, one.release.lab.store, one.release.ref, deadline=60, reset=True)
    measured("reset until Ready", one.release.wait(recovered(one.release), what="to recover").met.since(begun))


@pytest.mark.parametrize("why", ILLEGAL)
def test_an_illegal_cell_is_refused_by_the_api_server(make_release: MakeRelease, why: str) -> None:
    """What the schema of HelmRelease rules out never reaches the controller."""
    spec, blamed = ILLEGAL[why]
    with pytest.raises(ApiError, match=blamed):
        make_release("illegal", **spec).install()


def test_control_the_end_of_one_cell_is_not_taken_for_that_of_another(running: dict[str, Running]) -> None:
    """Negative control: with one counter, one revision or one serving pod told wrong, the same end is refused."""
    one = running["upgrade-retries-0"]
    seen = one.end()
    ends_as(one.cell, seen)
    assert one.cell.outcome is not None
    miscounted = replace(one.cell, outcome=replace(one.cell.outcome, failures=(1, 1, 0)))
    for lie in (miscounted, replace(one.cell, statuses=("deployed",)), replace(one.cell, serving=0)):
        with refused():
            ends_as(lie, seen)
