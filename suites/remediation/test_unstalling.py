"""What makes a stalled release try again, and what does not (helm-controller 1.6): its cause has healed in every case."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fluxdrill.flux.operations import FORCE, REQUESTED, RESET, reconcile, request, resume, suspend
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import condition, ready
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.pytest_plugin.measured import Measured
from suites.ordering.seen import holds, never
from suites.remediation.cells import IMPATIENT
from suites.remediation.conftest import releases_on
from suites.remediation.releases import NEVER_READY, VERSION, Outcome, Release
from suites.remediation.traces import DEADLINE, UPGRADED, installed, says
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_release_that_was_reset_is_not_called_untouched",
    "test_control_a_ready_that_a_person_wrote_is_no_unstalling",
)

QUIET = 8.0
STALLED = Outcome("False UpgradeFailed", "True RetriesExceeded", "False UpgradeFailed", "", "", (1, 0, 1))
FORCED = Outcome("True UpgradeSucceeded", "", "True UpgradeSucceeded", "", "", (1, 0, 1))
"""Forcing leaves the counters as they are: a release can be Ready and have failures."""
ROLLED_BACK = "RollbackSucceeded"


def rolled_back(failures: int) -> Outcome:
    """Return what a release says that was rolled back after so many failed upgrades, and is out of retries."""
    reason = f"False {ROLLED_BACK}"
    counters = (failures, 0, failures)
    return Outcome(reason, "True RetriesExceeded", "False UpgradeFailed", f"True {ROLLED_BACK}", "", counters)


def _mismatched(annotation: str) -> Callable[[Release], None]:
    def annotate(release: Release) -> None:
        names = {REQUESTED: "this request", annotation: "another request"}
        release.lab.api.patch(release.ref, {"metadata": {"annotations": names}})
        told = holds(
            release.ref, lambda obj: obj["status"].get("lastHandledReconcileAt") == "this request", "is handled"
        )
        release.wait(told, what="to handle the request", deadline=30)

    return annotate


def _requested(release: Release) -> None:
    reconcile(release.lab.api, release.lab.store, release.ref, deadline=30)


def _resumed(release: Release) -> None:
    suspend(release.lab.api, release.ref)
    resume(release.lab.api, release.ref)


IDLE: dict[str, Callable[[Release], None]] = {
    "requested": _requested,
    "reset-of-another-request": _mismatched(RESET),
    "force-of-another-request": _mismatched(FORCE),
}
MOVING: dict[str, tuple[Callable[[Release], object], Outcome]] = {
    "new-values": (lambda release: release.change(witness="new"), UPGRADED),
    "reset": (lambda release: request(release.lab.api, release.ref, reset=True), UPGRADED),
    "force": (lambda release: request(release.lab.api, release.ref, force=True), FORCED),
    "suspend-and-resume": (_resumed, UPGRADED),
}


@pytest.fixture(scope="module")
def stalled(lab: Lab) -> Iterator[dict[str, Release]]:
    """A release for each of these, stalled after its one attempt, its pods healed and serving; and one rolled back."""
    with releases_on(lab) as make:
        spec = {"upgrade": {"timeout": IMPATIENT}}
        once = {name: make(name, **spec) for name in (*IDLE, *MOVING)}
        back = make("back", upgrade={"timeout": IMPATIENT, "remediation": {"retries": 0, "remediateLastFailure": True}})
        every = [back, *once.values()]
        installed(every)
        for one in every:
            one.change(**NEVER_READY)
        for one in once.values():
            one.wait_stalled(deadline=DEADLINE)
            one.heal_pods()
        for one in once.values():
            one.wait_serving()
        back.wait(says(back, rolled_back(1)), what="to be rolled back", deadline=DEADLINE)
        yield {**once, "back": back}


def stirs(releases: list[Release]) -> Predicate:
    """Met when any of these is no longer as it was when it stalled."""

    def judge(view: View) -> Verdict3:
        for one in releases:
            if (found := view.get(one.ref)) is not None and Outcome.of(found) != STALLED:
                return Verdict3.met(f"{one.name} says {Outcome.of(found)}")
        return Verdict3.not_yet("each is stalled as it was", *(one.ref for one in releases))

    return Predicate(judge, frozenset(one.ref for one in releases))


def stay_stalled(lab: Lab, releases: list[Release]) -> None:
    """Check that nothing happens to these for longer than their interval, neither in their status nor in Helm's."""
    assert [one.outcome() for one in releases] == [STALLED] * len(releases)
    before = [one.history() for one in releases]
    never(lab, stirs(releases), seconds=QUIET, what="one of them to try again")
    assert [one.history() for one in releases] == before


@pytest.mark.proves(
    "flux.md 4.2.1", "neither the interval, a request, a healed cause nor another controller un-stalls it"
)
def test_nothing_but_a_reason_un_stalls_a_release(lab: Lab, stalled: dict[str, Release]) -> None:
    """Its interval, healed pods, a restart, a plain request, and a reset or force that names another request: nothing.

    Both annotations are recorded as handled all the same.
    """
    controller = lab.flux["helm-controller"]
    before = controller.identity
    controller.restart()
    assert controller.identity != before
    for name, lever in IDLE.items():
        lever(stalled[name])
    stay_stalled(lab, [stalled[name] for name in IDLE])
    handled = {name: stalled[name].lab.api.get(stalled[name].ref)["status"] for name in IDLE}
    assert handled["reset-of-another-request"]["lastHandledResetAt"] == "another request"
    assert handled["force-of-another-request"]["lastHandledForceAt"] == "another request"


@pytest.mark.core
@pytest.mark.ci
@pytest.mark.parametrize("name", MOVING)
def test_each_lever_un_stalls_a_release_whose_cause_has_healed(
    stalled: dict[str, Release], measured: Measured, name: str
) -> None:
    """A new generation, a reset, and suspending and resuming clear the counters; forcing upgrades and keeps them."""
    release, (lever, outcome) = stalled[name], MOVING[name]
    begun = SYSTEM_CLOCK.now()
    lever(release)
    met = release.wait(says(release, outcome), what="to be Ready again", deadline=60).met
    measured(f"{name} until Ready", met.since(begun))
    assert release.statuses() == ("superseded", "failed", "deployed")
    release.wait(ready(release.ref), what="to be Ready", deadline=5)
    assert release.available() == 1


def test_a_rolled_back_release_that_is_forced_fails_once_more_and_only_new_values_make_it_ready(
    stalled: dict[str, Release], measured: Measured
) -> None:
    """Forced: one upgrade more than it had retries, rolled back again, never Ready. Good values: Ready, counters cleared."""
    release = stalled["back"]
    release.wait_serving()
    request(release.lab.api, release.ref, force=True)
    release.wait(condition(release.ref, "Reconciling", "True"), what="to try again", deadline=30)
    release.wait(says(release, rolled_back(2)), what="to be rolled back again", deadline=60)
    assert release.statuses()[-2:] == ("failed", "deployed")
    assert release.history()[-1].description == "Rollback to 3"
    begun = SYSTEM_CLOCK.now()
    release.change(behaviour="ready", witness="good")
    met = release.wait(says(release, UPGRADED), what="to be Ready", deadline=60).met
    measured("good values until Ready", met.since(begun))


def test_control_a_release_that_was_reset_is_not_called_untouched(lab: Lab, stalled: dict[str, Release]) -> None:
    """Negative control of staying stalled: among releases that stay so, one that is reset is noticed."""
    names = list(IDLE)
    request(lab.api, stalled[names[0]].ref, reset=True)
    with refused():
        stay_stalled(lab, [stalled[name] for name in names])


def test_control_a_ready_that_a_person_wrote_is_no_unstalling(lab: Lab, stalled: dict[str, Release]) -> None:
    """Negative control of each lever: a faked Ready of a release that nothing moved is told from a real one."""
    release = stalled["force-of-another-request"]
    stop_and_fake_ready(lab, release.ref, revision=VERSION)
    release.wait(ready(release.ref), what="to be called Ready", deadline=10)
    for outcome in (UPGRADED, FORCED):
        with refused():
            release.wait(says(release, outcome), what="to be Ready again", deadline=2)
    assert release.statuses() == ("deployed", "failed")
    resume(lab.api, release.ref)
