"""The remediation matrix: every legal cell as a release of its own, all at the same time, each to its end and beyond.

Beyond its end its cause heals while nobody touches the release: does it become Ready by itself? Where it does not, its
counters are reset, which shows that the cause had healed indeed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from fluxdrill.flux.operations import request
from fluxdrill.kube.errors import ApiError, NotFoundError
from fluxdrill.kube.predicates import Predicate
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

BY_NAME = {cell.name: cell for cell in CELLS}
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


@dataclass(frozen=True, slots=True)
class Run:
    """A cell that went to its end: when its failing action was asked for, what was seen there, when its cause healed."""

    cell: Cell
    release: Release
    begun: Instant
    seen: Seen
    healed: Instant


Runs = Mapping[str, Future[Run]]


def drive(cell: Cell, release: Release) -> Run:
    """Have a cell fail, wait for its end, look at it, and take its cause away; what is scripted is over by itself."""
    ask = release.install
    if cell.fails is Fails.UPGRADE:
        release.install()
        release.wait(recovered(release), what="to be installed", deadline=DEADLINE)
        ask = release.change
    begun = SYSTEM_CLOCK.now()
    ask(**cell.values(release.name))
    release.wait(_at_end(cell, release), what="to come to its end", deadline=DEADLINE)
    if cell.serving:
        release.wait(_serves(cell, release), what=f"to serve with {cell.serving}", deadline=30)
    seen = Seen.of(release)
    if (missing := _missing(cell, release)) is not None:
        release.lab.api.create(missing)
    return Run(cell, release, begun, seen, SYSTEM_CLOCK.now())


def _at_end(cell: Cell, release: Release) -> Predicate:
    match cell.end:
        case End.STALLED:
            return condition(release.ref, "Stalled", "True", "RetriesExceeded")
        case End.READY:
            return all_of(condition(release.ref, "TestSuccess", "False", "TestFailed"), ready(release.ref))
        case End.RETRIES:
            return holds(
                release.ref,
                lambda obj: Outcome.of(obj).failures[0] >= cell.attempts,
                f"has failed {cell.attempts} times",
            )


def _serves(cell: Cell, release: Release) -> Predicate:
    """Met when as many pods serve as the table says: what a failed install left is not waited for by Helm."""
    return holds(
        release.deployment, lambda obj: (obj.get("status") or {}).get("availableReplicas") == cell.serving, "serves"
    )


def _missing(cell: Cell, release: Release) -> KubeObject | None:
    """Return the object outside of the release that it fails for want of; None where its failing is scripted."""
    match cell.cause:
        case Cause.NO_NAMESPACE:
            return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": release.name}}
        case Cause.NO_CLAIM:
            meta = {"name": release.name, "namespace": "default"}
            spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
            return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}
        case _:
            return None


@pytest.fixture(scope="module")
def runs(lab: Lab) -> Iterator[Runs]:
    """Every cell, on its way to its end: all are driven there at the same time."""
    with releases_on(lab) as make:
        found = {cell.name: make(cell.name, **cell.full_spec) for cell in CELLS}
        longest_first = sorted(CELLS, key=lambda cell: cell.attempts, reverse=True)
        with ThreadPoolExecutor(max_workers=len(CELLS)) as pool:
            yield {cell.name: pool.submit(drive, cell, found[cell.name]) for cell in longest_first}
    for cell in CELLS:
        if (missing := _missing(cell, found[cell.name])) is not None:
            with suppress(NotFoundError):
                lab.api.delete(ObjectRef.of(missing))  # nobody waits for it: a namespace takes Kubernetes 5 to 10 s


def ends_as(cell: Cell, seen: Seen) -> None:
    """Check what was seen of a release at its end against its cell; one that retries is only at one of its moments."""
    assert seen.serving == cell.serving
    if cell.end is End.RETRIES:
        assert seen.outcome.failures[0] >= cell.attempts
        assert (seen.outcome.stalled, seen.outcome.ready.split()[0]) == ("", "False")
        return
    assert seen == Seen(cell.outcome or seen.outcome, cell.statuses, cell.serving)
    assert seen.outcome.failures[0] == cell.attempts


def goes_on_as(cell: Cell, run: Run, *, deadline: float = DEADLINE) -> None:
    """Check whether a release whose cause has healed becomes Ready by itself, against a cell."""
    release = run.release
    if cell.recovers_alone:
        release.wait(deployed(release), what="to recover by itself", deadline=deadline)
        assert not release.ever("Stalled")
        assert (release.outcome().failures == (0, 0, 0)) is cell.forgets
        return
    left = QUIET - SYSTEM_CLOCK.now().since(run.healed)
    never(release.lab, deployed(release), seconds=max(left, 0.5), what=f"{release.name} to recover by itself")


@pytest.mark.parametrize("name", BY_NAME)
def test_each_setting_ends_as_the_table_says(runs: Runs, measured: Measured, name: str) -> None:
    """Conditions, counters, Helm's history and what still serves; one that retries goes on and never stalls."""
    run = runs[name].result()
    ends_as(run.cell, run.seen)
    if run.cell.end is End.STALLED:
        measured(f"{name} until stalled", run.release.stalled_at().since(run.begun), kind="other")


@pytest.mark.parametrize("name", BROKEN)
def test_a_healed_cause_is_noticed_by_those_that_retry_and_by_nobody_who_stalled(
    runs: Runs, measured: Measured, name: str
) -> None:
    """Recovering alone is the table's last column. Counters are cleared by RetryOnFailure, and kept by remediation."""
    run = runs[name].result()
    goes_on_as(run.cell, run)
    if run.cell.recovers_alone:
        measured(f"{name}: heal until Ready", run.release.ready_after(run.healed))


def test_control_a_release_that_stays_stalled_is_not_taken_for_one_that_recovers(runs: Runs) -> None:
    """Negative control of recovering alone: each of the two answers is refused where the other is true."""
    stalled, retried = runs["install-no-block"].result(), runs["upgrade-hook-retry-on-failure"].result()
    with refused():
        goes_on_as(replace(stalled.cell, end=End.RETRIES), stalled, deadline=3)
    goes_on_as(retried.cell, retried)
    with refused():
        goes_on_as(replace(retried.cell, end=End.STALLED), retried)


@pytest.fixture(scope="module")
def reset(runs: Runs) -> Instant:
    """Ask for a reset of the counters of all that stalled, at once, their causes being healed; return when."""
    stalled = [runs[name].result().release for name in STALLED]
    begun = SYSTEM_CLOCK.now()
    for release in stalled:
        request(release.lab.api, release.ref, reset=True)
    return begun


@pytest.mark.parametrize("name", STALLED)
def test_one_reset_of_its_counters_un_stalls_each_whose_cause_has_healed(
    runs: Runs, reset: Instant, measured: Measured, name: str
) -> None:
    """And shows so that the cause had healed: nothing else was changed."""
    release = runs[name].result().release
    release.wait(recovered(release), what="to recover", deadline=DEADLINE)
    measured(f"{name}: reset until Ready", release.ready_after(reset))


@pytest.mark.ci
@pytest.mark.parametrize("why", ILLEGAL)
def test_an_illegal_cell_is_refused_by_the_api_server(make_release: MakeRelease, why: str) -> None:
    """What the schema of HelmRelease rules out never reaches the controller."""
    spec, blamed = ILLEGAL[why]
    with pytest.raises(ApiError, match=blamed):
        make_release("illegal", **spec).install()


def test_control_the_end_of_one_cell_is_not_taken_for_that_of_another(runs: Runs) -> None:
    """Negative control: with one counter, one revision or one serving pod told wrong, the same end is refused."""
    run = runs["upgrade-retries-0"].result()
    ends_as(run.cell, run.seen)
    assert run.cell.outcome is not None
    miscounted = replace(run.cell, outcome=replace(run.cell.outcome, failures=(1, 1, 0)))
    for lie in (miscounted, replace(run.cell, statuses=("deployed",)), replace(run.cell, serving=0)):
        with refused():
            ends_as(lie, run.seen)
