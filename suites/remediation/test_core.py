"""An upgrade that never becomes ready, watched through remediation to its end, for three settings (Flux 2.9).

What heals is the pods, and never the release: nobody touches it.
"""

from __future__ import annotations

import pytest

from fluxdrill.flux.operations import reconcile
from fluxdrill.kube.wait import condition, ready
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK, Instant
from fluxdrill.pytest_plugin.measured import Measured
from suites.ordering.seen import holds, never
from suites.remediation.conftest import MakeRelease
from suites.remediation.releases import NEVER_READY, VERSION, Outcome, Release, recovered
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_status_that_a_person_wrote_is_no_recovery",
    "test_control_a_good_upgrade_neither_fails_nor_stalls",
)

QUIET = 8.0
"""Seconds in which a release could try again by itself: its interval is over once at least."""
STALLED = Outcome("False UpgradeFailed", "True RetriesExceeded", "False UpgradeFailed", "", "", (1, 0, 1))
ROLLED_BACK = Outcome(
    "False RollbackSucceeded", "True RetriesExceeded", "False UpgradeFailed", "True RollbackSucceeded", "", (2, 0, 2)
)
RETRYING = Outcome("False UpgradeFailed", "", "False UpgradeFailed", "", "", (2, 0, 2))
HEALTHY = Outcome("True UpgradeSucceeded", "", "True UpgradeSucceeded", "", "", (0, 0, 0))


def upgraded_badly(release: Release) -> Instant:
    """Install the release, have it upgraded to pods that never become ready, and return when that was asked for."""
    release.install()
    release.wait(recovered(release), what="to be installed")
    begun = SYSTEM_CLOCK.now()
    release.change(**NEVER_READY)
    return begun


def stays_stalled(lab: Lab, release: Release, outcome: Outcome) -> None:
    """Check that neither its interval nor a plain request makes a stalled release try again."""
    assert release.outcome() == outcome
    before = release.history()
    never(lab, recovered(release), seconds=QUIET, what=f"{release.name} to recover by itself")
    reconcile(lab.api, lab.store, release.ref, deadline=30)
    assert (release.outcome(), release.history()) == (outcome, before)


@pytest.mark.core
@pytest.mark.ci
def test_without_a_block_one_failed_upgrade_is_the_end_even_after_its_cause_healed(
    lab: Lab, make_release: MakeRelease, measured: Measured
) -> None:
    """One attempt, then Stalled; its pods serve again and it still says UpgradeFailed, until its counters are reset."""
    release = make_release("no-block")
    begun = upgraded_badly(release)
    measured("upgrade until stalled", release.wait_stalled().met.since(begun), kind="detection")
    assert release.outcome() == STALLED
    assert release.statuses() == ("deployed", "failed")
    assert release.available() == 1, "the pod of the revision before no longer serves"
    release.heal_pods()
    release.wait_serving()
    stays_stalled(lab, release, STALLED)
    reset = SYSTEM_CLOCK.now()
    reconcile(lab.api, lab.store, release.ref, deadline=40, reset=True)
    measured("reset until Ready", release.wait(recovered(release), what="to recover").met.since(reset))
    assert release.outcome() == HEALTHY
    assert release.statuses() == ("superseded", "failed", "deployed")


def test_a_rollback_that_succeeded_is_not_ready_and_stalls_although_the_last_good_version_serves(
    lab: Lab, make_release: MakeRelease, measured: Measured
) -> None:
    """`upgrade.remediation.retries: 1`: two attempts, two rollbacks, five revisions; and nothing tries again."""
    release = make_release("rollback", upgrade={"remediation": {"retries": 1}})
    begun = upgraded_badly(release)
    measured("upgrade until stalled", release.wait_stalled(deadline=120).met.since(begun), kind="detection")
    assert release.outcome() == ROLLED_BACK
    assert release.statuses() == ("superseded", "failed", "superseded", "failed", "deployed")
    assert [one.description for one in release.history()][2::2] == ["Rollback to 1", "Rollback to 3"]
    release.wait_serving()
    stays_stalled(lab, release, ROLLED_BACK)


def test_retry_on_failure_never_stalls_and_recovers_alone_once_the_cause_healed(
    lab: Lab, make_release: MakeRelease, measured: Measured
) -> None:
    """`upgrade.strategy.name: RetryOnFailure`: no remediation, attempt after attempt, and the good one clears it all."""
    release = make_release("retry", upgrade={"strategy": {"name": "RetryOnFailure", "retryInterval": "2s"}})
    upgraded_badly(release)
    twice = holds(release.ref, lambda obj: Outcome.of(obj) == RETRYING, "failed twice and retries")
    release.wait(twice, what="to fail twice")
    release.wait(condition(release.ref, "Reconciling", "True", "ProgressingWithRetry"), what="to say it retries")
    assert release.statuses()[:3] == ("deployed", "failed", "failed")
    release.heal_pods()
    healed = SYSTEM_CLOCK.now()
    measured("heal until Ready", release.wait(recovered(release), what="to recover alone").met.since(healed))
    assert release.outcome() == HEALTHY
    assert not release.ever("Stalled")


def test_control_a_status_that_a_person_wrote_is_no_recovery(lab: Lab, make_release: MakeRelease) -> None:
    """Negative control of recovering: a faked Ready fools whoever looks at Ready only, and not the check."""
    release = make_release("faked")
    upgraded_badly(release)
    release.wait_stalled()
    stop_and_fake_ready(lab, release.ref, revision=VERSION)
    release.wait(ready(release.ref), what="to be called Ready", deadline=10)
    with refused():
        release.wait(recovered(release), what="to recover", deadline=5)
    with refused():
        stays_stalled(lab, release, STALLED)


def test_control_a_good_upgrade_neither_fails_nor_stalls(lab: Lab, make_release: MakeRelease) -> None:
    """Negative control of stalling: the same upgrade of pods that do become ready is told from a bad one."""
    release = make_release("good")
    release.install()
    release.wait(recovered(release), what="to be installed")
    release.change(witness="second")
    release.wait(
        holds(release.ref, lambda obj: Outcome.of(obj) == HEALTHY, "is upgraded"), what="to be upgraded", deadline=40
    )
    with refused():
        release.wait_stalled(deadline=4)
    assert release.statuses() == ("superseded", "deployed")
    assert not release.ever("Stalled")
