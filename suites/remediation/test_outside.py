"""What is done to a release behind the controller's back, and changes of what it is called and where it lives.

By helm, in Helm's storage (flux.md 4.2.18, C-20), and in the spec (4.2.20, C-29); helm-controller 1.6.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fluxdrill.flux.advice.case import State
from fluxdrill.kube.predicates import Predicate
from fluxdrill.kube.wait import absent, all_of, condition, ready, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.sources.standin import package
from suites.ordering.seen import gone, holds, never
from suites.remediation.conftest import releases_on
from suites.remediation.helm_cli import Helm, helm_of
from suites.remediation.releases import VERSION, Outcome, Release
from suites.remediation.traces import (
    DEADLINE,
    INSTALLED,
    UPGRADED,
    claim,
    identity,
    in_storage,
    says,
    stored,
    told,
    witness,
)
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_a_release_that_nobody_touched_is_not_called_repaired",)

RENAMED = "standin-renamed"
QUIET = 8.0
STATE_ERROR = Outcome("False StateError", "", "True InstallSucceeded", "", "", (0, 0, 0))
DATA = {"enabled": True, "witness": "the data"}
KEEP = {**DATA, "keep": True}


PLAIN = ("upgraded", "rolled-back", "uninstalled", "refused", "lost", "corrupt", "untouched")
VALUES: dict[str, dict[str, object]] = {
    **{name: {"witness": "git"} for name in PLAIN},
    **{name: {"persistence": DATA} for name in ("renamed", "old-name", "moved")},
    "renamed-keep": {"persistence": KEEP},
}
"""The releases of this module and their values."""


@pytest.fixture(scope="module")
def live(lab: Lab) -> Iterator[dict[str, Release]]:
    """Hand out every release of the table, installed; the repository has the chart under a second name too."""
    lab.charts.publish(RENAMED, VERSION, package(VERSION, name=RENAMED))
    with releases_on(lab) as make:
        releases = {name: make(name) for name in VALUES}
        for name, one in releases.items():
            one.install(**VALUES[name])
        for one in releases.values():
            one.wait(says(one, INSTALLED), what="to be installed", deadline=DEADLINE)
        yield releases
    gone(lab, claim(releases["renamed-keep"]))
    lab.charts.withdraw(RENAMED, VERSION)


@pytest.fixture
def helm(lab: Lab) -> Iterator[Helm]:
    """Return the command of a person."""
    with helm_of(lab) as helm:
        yield helm


def carries(release: Release, text: str) -> Predicate:
    """Met when the witness of a release carries `text`."""
    return holds(witness(release), lambda obj: obj["data"]["witness"] == text, f"carries {text}")


def repaired(release: Release, outcome: Outcome, statuses: tuple[str, ...]) -> float:
    """Wait until a release says this and carries what Git says, check Helm's history, and return the seconds it took."""
    took = release.wait(all_of(says(release, outcome), carries(release, "git")), what="to be as in Git", deadline=60)
    assert release.statuses() == statuses
    release.wait_serving()
    return took.seconds


@pytest.mark.ci
@pytest.mark.proves("flux.md 4.2.18", "helm's own upgrade and rollback are undone by an upgrade at the next interval")
def test_what_helm_did_to_a_release_is_undone_at_its_next_interval(
    live: dict[str, Release], helm: Helm, measured: Measured
) -> None:
    """Upgraded and rolled back by hand: upgraded again, the workload is the same one. Uninstalled: installed, another one."""
    names = ("upgraded", "rolled-back", "uninstalled")
    upgraded, rolled_back, uninstalled = releases = [live[name] for name in names]
    before = {one.name: identity(one, one.deployment) for one in releases}
    helm.upgrade(upgraded.name, VERSION, witness="by hand")
    helm.upgrade(rolled_back.name, VERSION, witness="by hand")
    helm.rollback(rolled_back.name, 1)
    helm.uninstall(uninstalled.name)
    measured("helm uninstall until Ready", repaired(uninstalled, INSTALLED, ("deployed",)))
    measured("helm upgrade until Ready", repaired(upgraded, UPGRADED, ("superseded", "superseded", "deployed")))
    rolled_back.wait(says(rolled_back, UPGRADED), what="to be upgraded", deadline=60)
    assert rolled_back.history()[-1].description == "Upgrade complete"
    assert len(_snapshots(rolled_back)) == 1
    same = {one.name: identity(one, one.deployment) == before[one.name] for one in releases}
    assert same == {upgraded.name: True, rolled_back.name: True, uninstalled.name: False}


def _snapshots(release: Release) -> list[dict[str, Any]]:
    return list(release.lab.api.get(release.ref)["status"]["history"])


def test_helm_without_force_is_refused_by_the_controllers_fields_and_still_costs_an_upgrade(
    live: dict[str, Release], helm: Helm, measured: Measured
) -> None:
    """Server-side apply: a conflict with helm-controller. The failed revision in Helm's storage has it upgraded again."""
    release = live["refused"]
    done = helm.run("upgrade", release.name, helm.chart(VERSION), "--set-string=witness=by hand")
    assert done.returncode != 0
    assert 'conflicts with "helm-controller"' in done.stderr
    release.wait(in_storage(release, 3, "deployed"), what="to be upgraded again", deadline=60)
    measured("refused until Ready", repaired(release, UPGRADED, ("superseded", "failed", "deployed")))


def corrupted(release: Release) -> None:
    """Have Helm's storage hold something that is no release."""
    release.lab.api.patch(stored(release, 1), {"data": {"release": "bm90IGEgcmVsZWFzZQ=="}})


@pytest.mark.proves(
    "flux.md C-20", "a deleted release Secret is installed over; a corrupted one is StateError for good"
)
def test_c_20_a_lost_release_secret_is_installed_over_and_a_corrupted_one_is_an_error_until_it_is_deleted(
    lab: Lab, live: dict[str, Release], measured: Measured
) -> None:
    """Lost: installed as revision 1 over what is there, the same workload. Corrupted: Ready=False, uncounted, serving still."""
    lost, corrupt = live["lost"], live["corrupt"]
    before = {one.name: identity(one, one.deployment) for one in (lost, corrupt)}
    revision = identity(lost, stored(lost, 1))
    lab.api.delete(stored(lost, 1))
    corrupted(corrupt)
    broke = SYSTEM_CLOCK.now()
    anew = holds(stored(lost, 1), lambda obj: obj["metadata"]["uid"] != revision, "is another")
    measured("secret lost until installed over", lost.wait(anew, what="to be installed", deadline=60).met.since(broke))
    repaired(lost, INSTALLED, ("deployed",))
    error = corrupt.wait(says(corrupt, STATE_ERROR), what="to say so", deadline=60)
    measured("secret corrupted until told", error.met.since(broke), kind="detection")
    never(lab, ready(corrupt.ref), seconds=QUIET, what="it to heal by itself")
    assert corrupt.outcome() == STATE_ERROR
    assert corrupt.available() == 1
    assert corrupt.advice().state is State.UNREADABLE
    healed = SYSTEM_CLOCK.now()
    lab.api.delete(stored(corrupt, 1))
    met = corrupt.wait(says(corrupt, INSTALLED), what="to be Ready", deadline=60).met
    measured("secret deleted until Ready", met.since(healed))
    assert {one.name: identity(one, one.deployment) for one in (lost, corrupt)} == before


@dataclass(frozen=True, slots=True)
class Moved:
    """A release, and the UIDs of its workload and its claim before it was renamed or moved."""

    release: Release
    workload: str
    claim: str

    @classmethod
    def of(cls, release: Release) -> Moved:
        """Remember it as it is now."""
        found = cls(release, identity(release, release.deployment), identity(release, claim(release)))
        assert found.workload, "there is no workload to lose"
        assert found.claim, "there is no claim to lose"
        return found


@pytest.mark.proves(
    "flux.md C-29", "a chart of another name is installed after an uninstall: the data is lost unless kept"
)
def test_c_29_a_renamed_chart_uninstalls_first_and_takes_the_claim_with_it(
    live: dict[str, Release], measured: Measured
) -> None:
    """The same release name, another workload, another claim; a claim with the policy `keep` is the same."""
    lost, spared = live["renamed"], live["renamed-keep"]
    before = [Moved.of(one) for one in (lost, spared)]
    renamed = SYSTEM_CLOCK.now()
    for one in (lost, spared):
        one.lab.api.patch(one.ref, {"spec": {"chart": {"spec": {"chart": RENAMED}}}})
    for one in (lost, spared):
        under = holds(one.ref, lambda obj: _chart(obj) == RENAMED, "has the other chart")
        met = one.wait(all_of(under, says(one, INSTALLED)), what="to be installed anew", deadline=90).met
        measured(f"{one.name.rpartition('-')[0]}: rename until Ready", met.since(renamed))
        one.wait(told(one, "UninstallSucceeded"), what="to be told of", deadline=10)
        assert one.statuses() == ("deployed",)
    assert [identity(one.release, one.release.deployment) == one.workload for one in before] == [False, False]
    assert [identity(one.release, claim(one.release)) == one.claim for one in before] == [False, True]


def _chart(obj: KubeObject) -> str:
    history = (obj.get("status") or {}).get("history") or [{}]
    return str(history[0].get("chartName", ""))


def _release_of(obj: KubeObject) -> tuple[str, str]:
    history = (obj.get("status") or {}).get("history") or [{}]
    return str(history[0].get("namespace", "")), str(history[0].get("name", ""))


def test_c_29_another_release_name_uninstalls_first_and_is_another_workload_with_another_claim(
    lab: Lab, live: dict[str, Release], measured: Measured
) -> None:
    """Of the old name nothing is left, neither in the cluster nor in Helm's storage."""
    release = live["old-name"]
    name = f"new-{release.name}"
    moved = SYSTEM_CLOCK.now()
    lab.api.patch(release.ref, {"spec": {"releaseName": name}})
    under = holds(release.ref, lambda obj: _release_of(obj) == ("default", name), f"is {name}")
    met = release.wait(all_of(under, says(release, INSTALLED)), what="to be installed anew", deadline=60).met
    measured("another name until Ready", met.since(moved))
    left = all_of(absent(release.deployment), absent(claim(release)), absent(stored(release, 1)))
    wait_for(lab.store, left, deadline=10, what="the old one to be gone")
    for kind, group, suffix in (("Deployment", "apps", ""), ("PersistentVolumeClaim", "", "-data")):
        assert identity(release, ObjectRef(group, kind, "default", f"{name}{suffix}"))


@pytest.fixture
def elsewhere(lab: Lab) -> Iterator[str]:
    """Hand out a namespace for this test."""
    name = f"elsewhere-{secrets.token_hex(2)}"
    lab.api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    lab.api.delete(ObjectRef("", "Namespace", "", name))


@pytest.mark.proves(
    "flux.md 4.2.20",
    "a new targetNamespace uninstalls in the new namespace: the old workload stays as an orphan, "
    "and a namesake in the new namespace is deleted",
)
def test_c_29_another_target_namespace_leaves_the_old_workload_behind_as_an_orphan(
    lab: Lab, live: dict[str, Release], elsewhere: str, measured: Measured
) -> None:
    """Told as UninstallSucceeded, and Helm's release is gone; yet workload and claim go on, and nobody owns them."""
    release = live["moved"]
    before = Moved.of(release)
    namesake = ObjectRef("", "ConfigMap", elsewhere, witness(release).name)
    meta = {"name": namesake.name, "namespace": elsewhere}
    lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"of": "somebody else"}})
    moved = SYSTEM_CLOCK.now()
    lab.api.patch(release.ref, {"spec": {"targetNamespace": elsewhere}})
    there = (elsewhere, f"{elsewhere}-{release.name}")
    under = holds(release.ref, lambda obj: _release_of(obj) == there, f"is {there}")
    met = release.wait(all_of(under, says(release, INSTALLED)), what="to be installed there", deadline=60).met
    measured("another namespace until Ready", met.since(moved))
    release.wait(told(release, "UninstallSucceeded"), what="to be told of", deadline=10)
    assert release.history() == ()
    release.wait(ready(release.deployment), what="to serve from where it was", deadline=5)
    assert Moved.of(release) == before
    assert identity(release, ObjectRef("apps", "Deployment", elsewhere, there[1]))
    assert identity(release, namesake) == "", "a namesake of somebody else in the new namespace was spared"
    release.remove()
    assert Moved.of(release) == before, "the orphan went with the release"
    for orphan in (release.deployment, claim(release), witness(release)):
        gone(lab, orphan)


def test_control_a_release_that_nobody_touched_is_not_called_repaired(live: dict[str, Release]) -> None:
    """Negative control of each repair: a release that is well has another history, and one whose witness lies is refused."""
    release = live["untouched"]
    with refused():
        repaired(release, INSTALLED, ("superseded", "deployed"))
    release.lab.api.patch(witness(release), {"data": {"witness": "by hand"}})
    with refused():
        release.wait(carries(release, "git"), what="to be as in Git", deadline=2)
    with refused():
        release.wait(condition(release.ref, "Ready", "False", "StateError"), what="to say so", deadline=2)
    with refused():
        release.wait(told(release, "UninstallSucceeded"), what="to be told of", deadline=1)
