"""helm-controller killed, stopped and paused in the middle of each of its actions (flux.md 4.2.8 to 4.2.10).

Each signal comes once Helm's storage says that every release of the batch is in the middle of its action. The lab is
this module's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from fluxdrill.cluster.part import Part, State
from fluxdrill.flux.advice.case import State as AdvisedState
from fluxdrill.flux.operations import reconcile, request
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.kube.predicates import Predicate
from fluxdrill.kube.wait import absent, all_of, condition, present, ready, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.pytest_plugin.plugin import start
from suites.ordering.seen import holds, never
from suites.remediation.cells import IMPATIENT
from suites.remediation.conftest import MakeRelease, releases_on
from suites.remediation.helm_cli import helm_of
from suites.remediation.releases import NEVER_READY, Outcome, Release, recovered
from suites.remediation.traces import INSTALLED, UPGRADED, in_storage, installed, says, serving, stored, told, witness
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_an_upgrade_that_nobody_interrupts_is_not_called_unlocked",)

SLOW = {"after": "14s"}
"""Pods that need so long that the signal comes first."""
PATIENT = {"timeout": "40s"}
STOP_DEADLINE = 40.0
"""Seconds for a SIGTERM: the controller ends its uninstalls first, and it waits 10 s for its caches."""
STUCK = "fluxdrill.dev/stuck"


def _failed(reason: str, failures: tuple[int, int, int]) -> Outcome:
    return Outcome("False UpgradeFailed", f"True {reason}", "False UpgradeFailed", "", "", failures)


@dataclass(frozen=True, slots=True)
class Work:
    """An action to be interrupted: revision `number` is `status` in Helm's storage meanwhile.

    `values` are those of the action, `outcome` and `statuses` (Helm's history) are how it ends after SIGKILL or SIGTERM.
    """

    number: int
    status: str
    values: Mapping[str, object]
    outcome: Outcome
    statuses: tuple[str, ...]
    spec: Mapping[str, Any]
    serving: int = 1


LOST = {"timeout": "12s", "remediation": {"retries": 1}}
WORKS = {
    "install": Work(1, "pending-install", SLOW, UPGRADED, ("superseded", "deployed"), {"install": PATIENT}),
    "upgrade": Work(
        2, "pending-upgrade", SLOW, UPGRADED, ("superseded", "failed", "deployed"), {"upgrade": PATIENT}
    ),
    "upgrade-that-fails": Work(
        2, "pending-upgrade", NEVER_READY, _failed("MissingRollbackTarget", (1, 0, 1)),
        ("deployed", "failed", "failed"), {"upgrade": LOST},
    ),
    "rollback": Work(
        3, "pending-rollback", NEVER_READY, _failed("MissingRollbackTarget", (2, 0, 2)),
        ("deployed", "failed", "failed", "failed"),
        {"upgrade": {**LOST, "timeout": IMPATIENT}, "rollback": PATIENT},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def broken(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Hand out a lab whose helm-controller may be disturbed."""
    with start(request.config, None) as lab:
        yield lab


@pytest.fixture
def make(broken: Lab) -> Iterator[MakeRelease]:
    """Return a function that makes releases on it; the controller runs again before they are removed."""
    with releases_on(broken) as make:
        yield make
        comes_back(broken.flux["helm-controller"])


def comes_back(controller: Part) -> None:
    """Have it run again, whatever was done to it."""
    if controller.state is State.PAUSED:
        controller.resume()
    if controller.state is State.EXITED:
        controller.start()
        controller.wait_ready(60)


def killed(controller: Part) -> None:
    """SIGKILL."""
    controller.kill()


def stopped(controller: Part) -> None:
    """SIGTERM, and it ends by itself."""
    controller.stop(STOP_DEADLINE)
    assert "proceeding to shutdown the manager" in controller.last_words(1), controller.last_words()


def midway(lab: Lab, make: MakeRelease, *names: str) -> dict[str, Release]:
    """Return a release for each of these, in the middle of its action, as Helm's storage says."""
    found = {name: make(name, **WORKS[name].spec) for name in names}
    upgrades = [found[name] for name in names if name != "install"]
    if upgrades:
        installed(upgrades)
    for name in names:
        ask = found[name].install if name == "install" else found[name].change
        ask(**WORKS[name].values)
    pending = [is_midway(found[name], WORKS[name]) for name in names]
    wait_for(lab.store, all_of(*pending), deadline=60, what="each to be in the middle", fail_fast=False)
    return found


def is_midway(release: Release, work: Work) -> Predicate:
    """Met while Helm's storage says that the action is under way, its workload having been written."""
    written = holds(release.deployment, lambda obj: obj["metadata"]["generation"] == work.number, "is written")
    return all_of(in_storage(release, work.number, work.status), written)


def ends(release: Release, work: Work) -> float:
    """Wait until it is as the table says, check Helm's history and what serves, and return the seconds it took."""
    took = release.wait(says(release, work.outcome), what=f"to say {work.outcome}", deadline=90).seconds
    assert release.statuses() == work.statuses
    assert serving(release) == work.serving
    return took


@pytest.fixture(scope="module", params=[killed, stopped], ids=["SIGKILL", "SIGTERM"])
def interrupted(
    request: pytest.FixtureRequest, broken: Lab
) -> Iterator[tuple[Callable[[Part], None], dict[str, Release]]]:
    """Hand out a release for each work, interrupted in its midst by this signal; the controller is back."""
    signal = request.param
    controller = broken.flux["helm-controller"]
    with releases_on(broken) as make:
        found = midway(broken, make, *WORKS)
        signal(controller)
        assert controller.state is State.EXITED
        comes_back(controller)
        yield signal, found


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.proves(
    "flux.md 4.2.9",
    "SIGKILL and SIGTERM in mid-upgrade both cost the rollback target, and neither costs a retry: "
    "with remediation the next failure is MissingRollbackTarget",
)
def test_an_action_cut_short_is_done_again_as_an_upgrade_without_a_way_back(
    interrupted: tuple[Callable[[Part], None], dict[str, Release]], measured: Measured, name: str
) -> None:
    """C-04, C-05, C-06: it ends Ready where its pods become so; else Stalled without a target, and the old pods serve."""
    _, releases = interrupted
    measured(f"{name}: back until it has ended", ends(releases[name], WORKS[name]))


@pytest.mark.proves("flux.md C-06", "SIGTERM marks the release failed and burns no retry: the status never hears of it")
def test_only_after_a_kill_is_a_release_unlocked(
    interrupted: tuple[Callable[[Part], None], dict[str, Release]],
) -> None:
    """After SIGKILL an event PendingRelease tells of each; after SIGTERM Helm itself had written "context canceled"."""
    signal, releases = interrupted
    for name, release in releases.items():
        ends(release, WORKS[name])
        number, status = WORKS[name].number, WORKS[name].status
        said = release.history()[number - 1].description
        if signal is killed:
            assert said == f"Release unlocked from stale '{status}' state"
            release.wait(told(release, "PendingRelease", status), what="to be told of", deadline=10)
        else:
            assert said.endswith("context canceled")
            with refused():
                release.wait(told(release, "PendingRelease"), what="to be told of", deadline=1)


@pytest.mark.parametrize("interrupted", [pytest.param(killed, id="SIGKILL")], indirect=True)
@pytest.mark.proves("flux.md C-05", "reset alone ends Stalled again, MissingRollbackTarget; a good version is Ready")
def test_without_a_rollback_target_a_reset_does_not_help_and_good_values_do(
    interrupted: tuple[Callable[[Part], None], dict[str, Release]], measured: Measured
) -> None:
    """Reset while its pods still fail: one upgrade more, stalled for the same reason. Good values: Ready."""
    release = interrupted[1]["upgrade-that-fails"]
    work = WORKS["upgrade-that-fails"]
    ends(release, work)
    assert release.advice().state is AdvisedState.NO_ROLLBACK_TARGET
    reconcile(release.lab.api, release.lab.store, release.ref, deadline=60, reset=True)
    release.wait(in_storage(release, 4, "failed"), what="to fail once more", deadline=60)
    release.wait(says(release, work.outcome), what="to be stalled again", deadline=30)
    assert release.statuses() == (*work.statuses, "failed")
    begun = SYSTEM_CLOCK.now()
    release.change(behaviour="ready", witness="good")
    met = release.wait(says(release, UPGRADED), what="to be Ready", deadline=60).met
    measured("good values until Ready", met.since(begun))


@pytest.mark.core
@pytest.mark.ci
@pytest.mark.proves("flux.md C-04", "killed in mid-upgrade without a block: a failing upgrade is just out of retries")
def test_a_failing_upgrade_without_a_block_that_was_killed_is_out_of_retries_and_a_reset_helps_once_it_has_healed(
    broken: Lab, make: MakeRelease, measured: Measured
) -> None:
    """Nothing would have rolled it back, so no target is missed: RetriesExceeded, one failure, three revisions."""
    release = make("no-block", upgrade={"timeout": IMPATIENT})
    installed([release])
    release.change(**NEVER_READY)
    release.wait(in_storage(release, 2, "pending-upgrade"), what="to be in the middle", deadline=30)
    killed(broken.flux["helm-controller"])
    comes_back(broken.flux["helm-controller"])
    release.wait(says(release, _failed("RetriesExceeded", (1, 0, 1))), what="to stall", deadline=60)
    assert release.statuses() == ("deployed", "failed", "failed")
    assert release.available() == 1
    release.heal_pods()
    release.wait_serving()
    begun = SYSTEM_CLOCK.now()
    request(broken.api, release.ref, reset=True)
    measured(
        "reset until Ready", release.wait(says(release, UPGRADED), what="to be Ready", deadline=60).met.since(begun)
    )


def test_a_paused_controller_loses_nothing(broken: Lab, make: MakeRelease, measured: Measured) -> None:
    """Paused in mid-install and mid-upgrade while the pods become ready: nothing is told; resumed, it ends as ever."""
    controller = broken.flux["helm-controller"]
    found = midway(broken, make, "install", "upgrade")
    controller.pause()
    for one in found.values():
        one.wait(ready(one.deployment), what="to serve", deadline=30)
    for one in found.values():
        never(broken, ready(one.ref), seconds=2, what="a paused controller to call it Ready")
    controller.resume()
    for name, outcome, statuses in (
        ("install", INSTALLED, ("deployed",)),
        ("upgrade", UPGRADED, ("superseded", "deployed")),
    ):
        resumed = found[name].wait(says(found[name], outcome), what="to end", deadline=60)
        measured(f"{name}: resumed until Ready", resumed.seconds)
        assert found[name].statuses() == statuses


def _hold(release: Release) -> None:
    """Have its uninstall hang."""
    release.wait(present(witness(release)), what="to have a witness", deadline=30)
    release.lab.api.patch(witness(release), {"metadata": {"finalizers": [STUCK]}})


def _let_go(release: Release) -> None:
    try:
        release.lab.api.patch(witness(release), {"metadata": {"finalizers": None}})
    except NotFoundError:
        return


def uninstalling(lab: Lab, make: MakeRelease) -> dict[str, Release]:
    """Return a deleted release, and one that is remediated by an uninstall after install and upgrade, each in its midst."""
    spec = {"timeout": IMPATIENT, "remediation": {"retries": 1}}
    deleted, install = make("deleted", uninstall=PATIENT), make("install-remedy", install=spec, uninstall=PATIENT)
    upgrade_spec = {"timeout": IMPATIENT, "remediation": {"retries": 1, "strategy": "uninstall"}}
    upgrade = make("upgrade-remedy", upgrade=upgrade_spec, uninstall=PATIENT)
    installed([deleted, upgrade])
    install.install(**NEVER_READY)
    upgrade.change(**NEVER_READY)
    for one in (deleted, install, upgrade):
        _hold(one)
    lab.api.delete(deleted.ref)
    midst = [in_storage(one, number, "uninstalling") for one, number in ((deleted, 1), (install, 1), (upgrade, 2))]
    wait_for(lab.store, all_of(*midst), deadline=90, what="each to be in its midst", fail_fast=False)
    return {"deleted": deleted, "install": install, "upgrade": upgrade}


LOOP = '"{name}" has no deployed releases'


@pytest.mark.proves(
    "flux.md 4.2.10",
    "an install remediation that is killed loops on 'has no deployed releases': failures grow, nothing is counted, "
    "never Stalled; a deletion and an upgrade remediation go on",
)
def test_c_30_a_kill_in_mid_uninstall_is_survived_except_by_an_install_remediation(
    broken: Lab, make: MakeRelease, measured: Measured
) -> None:
    """The deleted one goes; the upgraded one is upgraded anew; the installed one neither installs nor stalls, until helm uninstalls it."""
    found = uninstalling(broken, make)
    killed(broken.flux["helm-controller"])
    comes_back(broken.flux["helm-controller"])
    for one in found.values():
        _let_go(one)
    wait_for(broken.store, absent(found["deleted"].ref), deadline=60, what="the deletion to end")
    assert found["deleted"].history() == ()
    again = in_storage(found["upgrade"], 3, "pending-upgrade")
    found["upgrade"].wait(again, what="to be upgraded anew, its revision 1 still called deployed", deadline=60)
    _loops(found["install"])
    with helm_of(broken) as helm:
        helm.uninstall(found["install"].name)
    found["install"].change(behaviour="ready")
    met = found["install"].wait(says(found["install"], INSTALLED), what="to be installed", deadline=60)
    measured("helm uninstall until Ready", met.seconds)


def _loops(release: Release) -> None:
    """Check that it fails again and again without ever being out of retries, and that resetting it changes nothing."""
    looping = holds(release.ref, lambda obj: Outcome.of(obj).failures[0] >= 4, "failed four times")
    release.wait(looping, what="to fail again and again", deadline=60)
    release.wait(told(release, "UpgradeFailed", LOOP.format(name=release.name)), what="to say why", deadline=30)
    outcome = release.outcome()
    assert (outcome.released, outcome.stalled, outcome.failures[1:]) == ("False UpgradeFailed", "", (1, 0))
    assert release.statuses() == ("uninstalling",)
    assert serving(release) == 0
    request(release.lab.api, release.ref, reset=True, force=True)
    never(release.lab, recovered(release), seconds=5, what="a reset to help")
    assert not release.ever("Stalled")
    advice = release.advice()
    assert (advice.state, advice.do) == (AdvisedState.HALF_UNINSTALLED, f"helm uninstall {release.name} -n default")


def test_a_sigterm_in_mid_uninstall_waits_for_it(broken: Lab, make: MakeRelease, measured: Measured) -> None:
    """Helm's uninstall hears of no SIGTERM: the controller ends it first, and the deletion is done after its return."""
    release = make("deleted", uninstall={"timeout": IMPATIENT})
    installed([release])
    _hold(release)
    broken.api.delete(release.ref)
    release.wait(in_storage(release, 1, "uninstalling"), what="to be in its midst", deadline=30)
    begun = SYSTEM_CLOCK.now()
    stopped(broken.flux["helm-controller"])
    measured("SIGTERM until it ended", SYSTEM_CLOCK.now().since(begun), kind="other")
    assert release.history() == (), "the uninstall was cut short"
    wait_for(broken.store, present(release.ref), deadline=5, what="the release to be there still")
    _let_go(release)
    comes_back(broken.flux["helm-controller"])
    gone = wait_for(broken.store, absent(release.ref), deadline=60, what="the deletion to end")
    measured("back until it is gone", gone.seconds)


def test_control_an_upgrade_that_nobody_interrupts_is_not_called_unlocked(broken: Lab, make: MakeRelease) -> None:
    """Negative control of the table: an ordinary upgrade has two revisions and no event, and is refused as interrupted."""
    release = make("undisturbed")
    installed([release])
    release.change(witness="second")
    release.wait(says(release, UPGRADED), what="to be upgraded", deadline=60)
    with refused():
        ends(release, WORKS["upgrade"])
    with refused():
        release.wait(told(release, "PendingRelease"), what="to be told of", deadline=2)
    with refused():
        release.wait(condition(release.ref, "Stalled", "True", "MissingRollbackTarget"), what="to stall", deadline=2)
    broken.api.get(stored(release, 2))
