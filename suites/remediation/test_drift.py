"""Drift of what a HelmRelease manages: not seen, told of, or corrected, as `driftDetection` says (helm-controller 1.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from fluxdrill.flux.operations import reconcile, resume, suspend
from fluxdrill.kube.predicates import Answer, Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import all_of, condition, present
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK, Instant
from fluxdrill.pytest_plugin.measured import Measured
from suites.ordering.seen import holds, never
from suites.remediation.conftest import releases_on
from suites.remediation.releases import Outcome, Release
from suites.remediation.traces import DEADLINE, INSTALLED, UPGRADED, identity, installed, says, serving, told, witness
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_drift_that_stays_is_not_called_corrected",)

QUIET = 8.0
"""Seconds: the interval of a release is over once at least."""
ENABLED = {"mode": "enabled"}
REPLICAS = [{"paths": ["/spec/replicas"], "target": {"kind": "Deployment"}}]
SETTINGS: dict[str, dict[str, Any]] = {
    "unset": {},
    "off": {"driftDetection": {"mode": "disabled"}},
    "warn": {"driftDetection": {"mode": "warn"}},
    "deleted": {"driftDetection": ENABLED},
    "scaled": {"driftDetection": ENABLED},
    "edited": {"driftDetection": ENABLED},
    "ignored": {"driftDetection": {**ENABLED, "ignore": REPLICAS}},
    "annotated": {"driftDetection": ENABLED},
    "suspended": {"driftDetection": ENABLED},
}
"""The releases of this module: each is one setting, and some are named after their drift."""
DELETED, SCALED, EDITED = "deleted", "scaled", "edited"
DRIFT = {
    "unset": (DELETED, EDITED), "off": (DELETED, EDITED), "warn": (DELETED, EDITED), "deleted": (DELETED, EDITED),
    "scaled": (SCALED,), "edited": (EDITED,), "ignored": (SCALED,), "annotated": (SCALED,), "suspended": (EDITED,),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drifted:
    """Releases that were installed and then changed by hand at a moment, and the UIDs of their workloads before.

    `back` are those of which nothing of their drift was left at any time of the quiet period that followed.
    """

    releases: dict[str, Release]
    uids: dict[str, str]
    at: Instant
    back: frozenset[str]


@pytest.fixture(scope="module")
def drifted(lab: Lab) -> Iterator[Drifted]:
    """Hand out every release of the table, its interval having passed since its drift."""
    with releases_on(lab) as make:
        releases = {name: make(name, **spec) for name, spec in SETTINGS.items()}
        installed(list(releases.values()), witness="git")
        uids = {name: identity(one, one.deployment) for name, one in releases.items()}
        exempt = {"metadata": {"annotations": {"helm.toolkit.fluxcd.io/driftDetection": "disabled"}}}
        lab.api.patch(releases["annotated"].deployment, exempt)
        suspend(lab.api, releases["suspended"].ref)
        at = SYSTEM_CLOCK.now()
        for name, one in releases.items():
            for what in DRIFT[name]:
                drift(one, what)
        yield Drifted(releases, uids, at, back(lab, releases))
        resume(lab.api, releases["suspended"].ref)


def drift(release: Release, what: str) -> None:
    """Change by hand what the release manages."""
    api = release.lab.api
    match what:
        case "deleted":
            api.delete(release.deployment)
        case "scaled":
            api.patch(release.deployment, {"spec": {"replicas": 2}})
        case _:
            api.patch(witness(release), {"data": {"witness": "drift"}})


def corrected(release: Release, *whats: str) -> Predicate:
    """Met when nothing of this drift is left."""
    parts = {
        DELETED: present(release.deployment),
        SCALED: holds(release.deployment, lambda obj: obj["spec"]["replicas"] == 1, "has one replica"),
        EDITED: holds(witness(release), lambda obj: obj["data"]["witness"] == "git", "carries what Git says"),
    }
    return all_of(*(parts[what] for what in whats))


def back(lab: Lab, releases: dict[str, Release]) -> frozenset[str]:
    """Watch for a quiet period and return which of these were ever found to be corrected."""
    found: set[str] = set()
    rules = {name: corrected(one, *DRIFT[name]) for name, one in releases.items()}

    def judge(view: View) -> Verdict3:
        found.update(name for name, rule in rules.items() if rule.judge(view).answer is Answer.MET)
        return Verdict3.not_yet("the time is not over")

    refs = frozenset(ref for rule in rules.values() for ref in rule.refs)
    never(lab, Predicate(judge, refs), seconds=QUIET, what="the quiet period to end")
    return frozenset(found)


def said_at(release: Release, status: str, after: Instant) -> Instant:
    """Return when its Drifted was first seen to have this status after a moment."""
    later = [one for one in release.lab.store.timeline.of(release.ref) if one.at.since(after) > 0]
    return next(one.at for one in later if any(c.type == "Drifted" and c.status == status for c in one.conditions))


def undisturbed(release: Release, outcome: Outcome = INSTALLED) -> None:
    """Check that a release says what it did before its drift, and that Helm has no revision for it."""
    assert release.outcome() == outcome
    assert release.statuses() == ("deployed",)


@pytest.mark.parametrize("name", ["unset", "off"])
@pytest.mark.proves("flux.md C-21", "without drift detection a release stays Ready over a workload that is gone")
def test_without_drift_detection_nothing_is_told_and_nothing_comes_back(lab: Lab, drifted: Drifted, name: str) -> None:
    """Its Deployment is gone and it is Ready, past its interval and after a request; there is no condition Drifted."""
    release = drifted.releases[name]
    assert name not in drifted.back
    reconcile(lab.api, lab.store, release.ref, deadline=30)
    assert identity(release, release.deployment) == ""
    undisturbed(release)
    assert not release.ever("Drifted")
    with refused():
        release.wait(told(release, "DriftDetected"), what="to be told of", deadline=1)


def test_forcing_a_release_without_drift_detection_brings_everything_back(
    lab: Lab, drifted: Drifted, measured: Measured
) -> None:
    """Forced, it is upgraded to what it already was: the Deployment is another one, the witness is Git's again."""
    release = drifted.releases["unset"]
    begun = SYSTEM_CLOCK.now()
    reconcile(lab.api, lab.store, release.ref, deadline=60, force=True)
    met = release.wait(all_of(says(release, UPGRADED), corrected(release, *DRIFT["unset"])), what="to be back").met
    measured("force until corrected", met.since(begun))
    assert release.statuses() == ("superseded", "deployed")
    assert identity(release, release.deployment) != drifted.uids["unset"]


@pytest.mark.proves(
    "flux.md 4.6", "a forced upgrade of a release that has drifted in mode warn is handled and never done"
)
def test_a_warning_is_a_condition_and_an_event_and_neither_corrects_nor_is_forced(
    lab: Lab, drifted: Drifted, measured: Measured
) -> None:
    """Drifted=True names both objects, Ready stays; a forced upgrade, recorded as handled, never happens."""
    release = drifted.releases["warn"]
    release.wait(condition(release.ref, "Drifted", "True", "DriftDetected"), what="to say so", deadline=DEADLINE)
    measured("drift until told", said_at(release, "True", drifted.at).since(drifted.at), kind="detection")
    for named in (f"Deployment/default/{release.name} removed", f"ConfigMap/default/{witness(release).name} changed"):
        release.wait(told(release, "DriftDetected", named), what="to be told of", deadline=10)
    assert "warn" not in drifted.back
    reconcile(lab.api, lab.store, release.ref, deadline=30, force=True)
    assert identity(release, release.deployment) == ""
    undisturbed(release)
    status = lab.api.get(release.ref)["status"]
    assert status["lastHandledForceAt"] == status["lastHandledReconcileAt"]
    assert readiness(release, drifted.at) == {"True"}


def readiness(release: Release, since: Instant) -> set[str]:
    """Return every status that its Ready had since a moment."""
    seen = [one for one in release.lab.store.timeline.of(release.ref) if one.at.since(since) > 0]
    return {str(c.status) for one in seen for c in one.conditions if c.type == "Ready"}


@pytest.mark.ci
@pytest.mark.parametrize("name", ["deleted", "scaled", "edited"])
@pytest.mark.proves("flux.md 4.2.17", "while drift is corrected Ready is Unknown (Progressing); it is never False")
def test_enabled_drift_detection_corrects_without_a_revision(drifted: Drifted, measured: Measured, name: str) -> None:
    """Told of by DriftDetected and DriftCorrected; Helm's history does not grow; Ready is Unknown for a moment."""
    release = drifted.releases[name]
    release.wait(corrected(release, *DRIFT[name]), what="to be corrected", deadline=DEADLINE)
    for reason in ("DriftDetected", "DriftCorrected"):
        release.wait(told(release, reason), what=f"to be told of: {reason}", deadline=10)
    settled = all_of(condition(release.ref, "Drifted", "False", "NoDriftDetected"), says(release, INSTALLED))
    release.wait(settled, what="to say that nothing has drifted", deadline=DEADLINE)
    detected = said_at(release, "True", drifted.at)
    measured(f"{name}: drift until detected", detected.since(drifted.at), kind="detection")
    measured(f"{name}: detected until corrected", said_at(release, "False", detected).since(detected))
    release.wait_serving()
    undisturbed(release)
    assert serving(release) == 1
    assert (identity(release, release.deployment) == drifted.uids[name]) is (name != "deleted")
    assert readiness(release, drifted.at) == {"True", "Unknown"}


@pytest.mark.parametrize("name", ["ignored", "annotated"])
def test_what_is_exempt_from_detection_stays_as_it_was_changed_and_the_rest_is_corrected(
    drifted: Drifted, name: str
) -> None:
    """An ignore rule for a path, and an annotation on the object: two replicas stay, an edited witness does not."""
    release = drifted.releases[name]
    assert name not in drifted.back
    drift(release, EDITED)
    release.wait(corrected(release, EDITED), what="to have its witness corrected", deadline=DEADLINE)
    release.wait_serving()
    assert serving(release) == 2
    release.wait(says(release, INSTALLED), what="to be Ready", deadline=30)
    undisturbed(release)


def test_a_suspended_release_corrects_nothing_until_it_is_resumed(
    lab: Lab, drifted: Drifted, measured: Measured
) -> None:
    """While it is suspended the edit stays; resumed, it is corrected."""
    release = drifted.releases["suspended"]
    assert "suspended" not in drifted.back
    with refused():
        release.wait(corrected(release, EDITED), what="to be corrected", deadline=1)
    resumed = SYSTEM_CLOCK.now()
    resume(lab.api, release.ref)
    met = release.wait(corrected(release, EDITED), what="to be corrected", deadline=DEADLINE).met
    measured("resume until corrected", met.since(resumed))


def test_control_drift_that_stays_is_not_called_corrected(lab: Lab, drifted: Drifted) -> None:
    """Negative control of both: drift that stays is refused as corrected, and one that a person undid is seen as undone."""
    stays, goes = drifted.releases["off"], drifted.releases["edited"]
    with refused():
        stays.wait(corrected(stays, *DRIFT["off"]), what="to be corrected", deadline=2)
    goes.wait(corrected(goes, EDITED), what="to be corrected", deadline=DEADLINE)
    assert back(lab, {"off": stays, "edited": goes}) == {"edited"}
    with refused():
        undisturbed(stays, UPGRADED)
