"""The four ways to recover a failed HelmRelease that a guide for operators offers, as they really end (flux.md 4.2, Helm 4).

A: reconcile it. B: suspend, fix, resume. C: `helm rollback`. D: delete and recreate it. Each by hand, as the guide says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fluxdrill.flux.operations import reconcile, request, resume, suspend
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.kube.wait import absent, all_of, ready, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.pytest_plugin.measured import Measured
from suites.ordering.seen import holds, never
from suites.remediation.cells import IMPATIENT
from suites.remediation.conftest import MakeRelease, releases_on
from suites.remediation.helm_cli import Helm, helm_of
from suites.remediation.releases import NEVER_READY, Outcome, Release, recovered
from suites.remediation.traces import (
    DEADLINE,
    INSTALLED,
    UPGRADED,
    claim,
    identity,
    in_storage,
    installed,
    says,
    stored,
    witness,
)
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_a_workload_that_was_replaced_is_not_called_kept",)

QUIET = 8.0
"""Seconds: the interval of a release is over once at least."""
STALLED = Outcome("False UpgradeFailed", "True RetriesExceeded", "False UpgradeFailed", "", "", (1, 0, 1))
FAILING = {"upgrade": {"timeout": IMPATIENT}}
CONFLICT = 'conflicts with "helm-controller"'
DATA = {"enabled": True, "witness": "the data"}


@pytest.fixture(scope="module")
def failed(lab: Lab) -> Iterator[dict[str, Release]]:
    """Hand out releases that are stalled after an upgrade, their pods ill: one for each option that begins so."""
    with releases_on(lab) as make:
        found = {name: make(name, **FAILING) for name in ("plain", "fixed", "rolled", "rolled-suspended")}
        installed(list(found.values()))
        for one in found.values():
            one.change(**NEVER_READY)
        for one in found.values():
            one.wait_stalled(deadline=DEADLINE)
        yield found


@pytest.fixture
def helm(lab: Lab) -> Iterator[Helm]:
    """Return the command of a person."""
    with helm_of(lab) as helm:
        yield helm


def carries(release: Release, text: str) -> bool:
    """Tell what the witness of a release carries."""
    return bool(release.lab.api.get(witness(release))["data"]["witness"] == text)


@pytest.mark.proves("recovery.md S36", "a plain request is handled and tries nothing; a reset does")
def test_s36_option_a_a_plain_reconcile_is_handled_and_tries_nothing_and_a_reset_does(
    lab: Lab, failed: dict[str, Release], measured: Measured
) -> None:
    """Its pods have healed. Requested: handled, and as stalled as before. Reset: Ready."""
    release = failed["plain"]
    release.heal_pods()
    release.wait_serving()
    before = release.history()
    reconcile(lab.api, lab.store, release.ref, deadline=30)
    never(lab, recovered(release), seconds=3, what="a plain request to help")
    assert (release.outcome(), release.history()) == (STALLED, before)
    begun = SYSTEM_CLOCK.now()
    reconcile(lab.api, lab.store, release.ref, deadline=60, reset=True)
    measured(
        "reset until Ready", release.wait(says(release, UPGRADED), what="to be Ready", deadline=60).met.since(begun)
    )


@pytest.mark.ci
@pytest.mark.proves("recovery.md S37", "while it is suspended a fix does nothing; resumed, it is upgraded at once")
def test_s37_option_b_a_fix_waits_for_the_resume_and_clears_the_counters(
    lab: Lab, failed: dict[str, Release], measured: Measured
) -> None:
    """Suspended it still says Stalled, also of the fixed generation; resumed it is Ready with no failures left."""
    release = failed["fixed"]
    suspend(lab.api, release.ref)
    release.change(behaviour="ready", witness="fixed")
    never(lab, recovered(release), seconds=3, what="a suspended release to recover")
    assert release.outcome() == STALLED
    assert release.statuses() == ("deployed", "failed")
    begun = SYSTEM_CLOCK.now()
    resume(lab.api, release.ref)
    met = release.wait(says(release, UPGRADED), what="to be Ready", deadline=60).met
    measured("resume until Ready", met.since(begun))
    assert carries(release, "fixed")


@pytest.mark.proves(
    "recovery.md S38",
    "helm refuses unless its conflicts with helm-controller are forced; a stalled release keeps the rollback until "
    "anything has it looked at, a plain request is enough, and is then upgraded again",
)
def test_s38_option_c_a_rollback_of_a_stalled_release_has_to_be_forced_and_a_plain_request_undoes_it(
    lab: Lab, failed: dict[str, Release], helm: Helm, measured: Measured
) -> None:
    """Stalled, it is not looked at, so the rollback holds past its interval; looked at, it is upgraded to what fails.

    Its rollback target is lost on the way: the snapshots of what Flux itself did are gone.
    """
    release = failed["rolled"]
    done = helm.run("rollback", release.name, "1", "--wait", "--timeout=30s")
    assert done.returncode != 0
    assert CONFLICT in done.stderr
    helm.rollback(release.name, 1)
    rolled_back = release.history()[-1]
    assert (rolled_back.number, rolled_back.status, rolled_back.description) == (4, "deployed", "Rollback to 1")
    release.wait_serving()
    never(lab, in_storage(release, 5, "pending-upgrade"), seconds=QUIET, what="a stalled release to be upgraded")
    assert release.outcome() == STALLED
    asked = SYSTEM_CLOCK.now()
    request(lab.api, release.ref)
    again = release.wait(in_storage(release, 5, "failed"), what="to be upgraded to what fails", deadline=60).met
    measured("request until the rollback is undone", again.since(asked), kind="other")
    twice = replace(STALLED, failures=(2, 0, 2))
    release.wait(says(release, twice), what="to be stalled again", deadline=30)
    assert [one["version"] for one in _snapshots(release)] == [5]


@pytest.mark.proves("recovery.md S38", "suspended first, a forced rollback holds until the release is resumed")
def test_s38_option_c_a_forced_rollback_holds_while_the_release_is_suspended_and_not_longer(
    lab: Lab, failed: dict[str, Release], helm: Helm, measured: Measured
) -> None:
    """It serves revision 1 and says UpgradeFailed; resumed with values that are still bad it is upgraded and fails."""
    release = failed["rolled-suspended"]
    suspend(lab.api, release.ref)
    current = holds(release.ref, lambda obj: obj["status"].get("observedGeneration") == 3, "is seen to be suspended")
    release.wait(current, what="to be suspended", deadline=30)
    helm.rollback(release.name, 1)
    release.wait_serving()
    never(lab, in_storage(release, 4, "pending-upgrade"), seconds=QUIET, what="a suspended release to be upgraded")
    assert release.outcome() == STALLED
    assert [one.description for one in release.history()][2:] == ["Rollback to 1"]
    resumed = SYSTEM_CLOCK.now()
    resume(lab.api, release.ref)
    undone = release.wait(in_storage(release, 4, "failed"), what="to be upgraded again", deadline=60).met
    measured("resume until the rollback is undone", undone.since(resumed), kind="other")
    release.wait(says(release, STALLED), what="to be stalled again", deadline=30)
    release.change(behaviour="ready")
    release.wait(says(release, UPGRADED), what="to be Ready with good values", deadline=60)


def _snapshots(release: Release) -> list[dict[str, object]]:
    return list(release.lab.api.get(release.ref)["status"]["history"])


def _recreated(release: Release, outcome: Outcome, persistence: dict[str, object]) -> float:
    """Create the HelmRelease anew, wait for its outcome and return the seconds until then."""
    begun = SYSTEM_CLOCK.now()
    release.install(persistence=persistence, witness="again")
    return release.wait(says(release, outcome), what="to be there again", deadline=60).met.since(begun)


def kept(release: Release, uids: dict[str, str]) -> dict[str, bool]:
    """Tell which of these still are what they were."""
    refs = {"workload": release.deployment, "claim": claim(release)}
    return {name: identity(release, ref) == uids[name] != "" for name, ref in refs.items()}


def identities(release: Release) -> dict[str, str]:
    """Return the UIDs of workload and claim."""
    found = {"workload": identity(release, release.deployment), "claim": identity(release, claim(release))}
    assert all(found.values()), f"{release.name} lacks what it should lose or keep: {found}"
    return found


@pytest.mark.proves(
    "recovery.md S39", "deleting uninstalls: workload and claim are gone, and kept only if suspended first"
)
def test_s39_option_d_deleting_a_release_loses_its_workload_and_its_claim(
    lab: Lab, make_release: MakeRelease, measured: Measured
) -> None:
    """Recreated: another Deployment, another claim. A claim that the chart says to keep is the same, and bound still."""
    lost, spared = make_release("deleted"), make_release("deleted-keep")
    lost.install(persistence=DATA)
    spared.install(persistence={**DATA, "keep": True})
    for one in (lost, spared):
        one.wait(recovered(one), what="to be installed", deadline=60)
    before = {one.name: identities(one) for one in (lost, spared)}
    for one in (lost, spared):
        lab.api.delete(one.ref)
    gone = all_of(*(absent(ref) for one in (lost, spared) for ref in (one.ref, one.deployment)), absent(claim(lost)))
    wait_for(lab.store, gone, deadline=60, what="workloads and the claim to be gone", fail_fast=False)
    assert [one.history() for one in (lost, spared)] == [(), ()]
    measured("recreated until Ready", _recreated(lost, INSTALLED, DATA))
    _recreated(spared, INSTALLED, {**DATA, "keep": True})
    assert kept(lost, before[lost.name]) == {"workload": False, "claim": False}
    assert kept(spared, before[spared.name]) == {"workload": False, "claim": True}
    assert lab.api.get(claim(spared))["status"]["phase"] == "Bound"
    lab.api.delete(claim(spared))


def test_s39_option_d_a_release_that_is_suspended_before_it_is_deleted_keeps_everything_and_is_taken_up_again(
    lab: Lab, make_release: MakeRelease, measured: Measured
) -> None:
    """Helm's release, workload, claim and HelmChart stay; recreated it is upgraded, and all are the same as before."""
    release = make_release("let-go")
    release.install(persistence=DATA)
    release.wait(recovered(release), what="to be installed", deadline=60)
    before = identities(release)
    suspend(lab.api, release.ref)
    lab.api.delete(release.ref)
    wait_for(lab.store, absent(release.ref), deadline=30, what="the HelmRelease to be gone")
    assert lab.api.get(stored(release, 1))["metadata"]["labels"]["status"] == "deployed"
    lab.api.get(release.chart)
    release.wait(ready(release.deployment), what="to go on serving", deadline=5)
    measured("recreated until Ready", _recreated(release, UPGRADED, DATA))
    assert kept(release, before) == {"workload": True, "claim": True}
    assert release.statuses() == ("superseded", "deployed")
    assert carries(release, "again")


def test_control_a_workload_that_was_replaced_is_not_called_kept(lab: Lab, make_release: MakeRelease) -> None:
    """Negative control of keeping: a Deployment of the same name that a person made anew is another one."""
    release = make_release("replaced")
    installed([release], persistence=DATA)
    before = identities(release)
    assert kept(release, before) == {"workload": True, "claim": True}
    lab.api.delete(release.deployment)
    wait_for(lab.store, absent(release.deployment), deadline=30, what="the Deployment to be gone")
    with refused():
        assert kept(release, before) == {"workload": True, "claim": True}
    with refused():
        identities(release)
    with pytest.raises(NotFoundError):
        lab.api.get(release.deployment)
