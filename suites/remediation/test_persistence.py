"""The guide's example of a database that fails (its step 4): what deleting its pod and its claim keeps, and what it loses.

Pods and volumes are simulated, so that the witness is the claim's UID and the name of its volume: the data goes where the
volume goes. The claim is protected and bound by Kubernetes' own controllers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from fluxdrill.flux.advice.case import State
from fluxdrill.flux.operations import reconcile
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import absent, all_of, present, ready, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from suites.ordering.seen import gone, holds, never
from suites.remediation.conftest import MakeRelease, releases_on
from suites.remediation.releases import POD, Outcome, Release, recovered
from suites.remediation.traces import DEADLINE, claim, installed
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_claim_that_was_made_anew_is_not_called_kept",
    "test_control_one_fate_is_not_taken_for_another",
)

VOLUME = GroupKind("", "PersistentVolume")
QUIET = 8.0
"""Seconds: the interval of a release is over once at least."""
DATA = {"persistence": {"enabled": True, "witness": "the data"}}
SPECS = {
    "pod": {},
    "mounted": {},
    "lost": {},
    "corrected": {"driftDetection": {"mode": "enabled"}},
    "control": {},
}


MISSING = {"elsewhere": "nowhere-at-all"}
"""Values with which every action fails at once, for want of a namespace."""


class Fate(StrEnum):
    """What becomes of the data of a release."""

    KEPT = "the same claim on the same volume"
    GONE = "no claim"
    EMPTY = "another claim on another volume"


@dataclass(frozen=True, slots=True)
class Data:
    """Where the data of a release is: its claim's UID and its volume."""

    claim: str
    volume: str

    @classmethod
    def of(cls, release: Release) -> Data:
        """Read it; raises NotFoundError where there is no claim."""
        found = release.lab.api.get(claim(release))
        return cls(str(found["metadata"]["uid"]), str(found["spec"].get("volumeName", "")))


@pytest.fixture(scope="module")
def databases(lab: Lab) -> Iterator[dict[str, Release]]:
    """Hand out a release with a claim for each test, its pod serving."""
    with releases_on(lab) as make:
        found = {name: make(f"db-{name}", **spec) for name, spec in SPECS.items()}
        lab.store.follow(VOLUME)
        installed(list(found.values()), **DATA)
        yield found


def pod_of(release: Release) -> ObjectRef:
    """Return the pod of a release that is not being deleted."""
    pods = release.lab.store.list(POD, "default")
    return next(
        ObjectRef.of(one) for one in pods if _is_of(one, release) and "deletionTimestamp" not in one["metadata"]
    )


def _is_of(pod: KubeObject, release: Release) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get("app") == release.name)


def kept(release: Release, data: Data) -> Predicate:
    """Met when the claim is the same one, bound to the same volume, and nobody has asked for its deletion."""
    return holds(claim(release), lambda obj: _is_kept(obj, data), "is the same and bound to the same volume")


def _is_kept(obj: KubeObject, data: Data) -> bool:
    meta, bound = obj["metadata"], (obj.get("status") or {}).get("phase") == "Bound"
    return (
        (meta["uid"], obj["spec"].get("volumeName")) == (data.claim, data.volume)
        and bound
        and "deletionTimestamp" not in meta
    )


@pytest.mark.core
@pytest.mark.ci
@pytest.mark.proves("recovery.md S60", "true of the pod: it is started again, on the same claim")
def test_s60_a_deleted_pod_is_started_again_on_the_same_claim(
    databases: dict[str, Release], measured: Measured
) -> None:
    """S60: its point 2 is right: another pod serves, the claim and its volume are the same."""
    release = databases["pod"]
    data, before = Data.of(release), pod_of(release)
    begun = SYSTEM_CLOCK.now()
    release.lab.api.delete(before)
    release.wait(absent(before), what="to lose its pod", deadline=30)
    met = release.wait(all_of(ready(release.deployment), kept(release, data)), what="to serve again", deadline=60).met
    measured("pod deleted until it serves", met.since(begun))
    assert pod_of(release) != before


@pytest.mark.proves("recovery.md S60", "a mounted claim is only Terminating: protection holds it, nothing is lost yet")
def test_s60_a_claim_that_is_deleted_while_it_is_mounted_waits_and_nothing_is_lost_yet(
    databases: dict[str, Release],
) -> None:
    """S60, corrected: protection holds the claim in Terminating as long as a pod uses it; the data is there, and doomed."""
    release = databases["mounted"]
    data = Data.of(release)
    release.lab.api.delete(claim(release))
    doomed = holds(claim(release), lambda obj: "deletionTimestamp" in obj["metadata"], "is Terminating")
    release.wait(doomed, what="to have its claim Terminating", deadline=30)
    never(release.lab, absent(claim(release)), seconds=QUIET, what="a mounted claim to go")
    assert Data.of(release) == data
    assert release.available() == 1
    assert release.advice().state is State.READY, "the release knows nothing of it"


@pytest.mark.proves(
    "recovery.md S60", "false: a deleted claim is not made again before the next upgrade, and then it is empty"
)
def test_s60_a_deleted_claim_is_not_made_again_and_the_release_stays_ready_over_a_pod_that_cannot_start(
    lab: Lab, databases: dict[str, Release], measured: Measured
) -> None:
    """S60, corrected: claim and volume go with the last pod. Nobody makes another before the next upgrade, and that is empty."""
    release = databases["lost"]
    data = _lose(release)
    never(lab, present(claim(release)), seconds=QUIET, what="the claim to be made again by itself")
    assert release.outcome().ready.startswith("True")
    advice = release.advice()
    assert (advice.state, advice.leaf.kind) == (State.NOT_SERVING, "Pod")
    assert "not found" in advice.cause
    begun = SYSTEM_CLOCK.now()
    reconcile(lab.api, lab.store, release.ref, deadline=60, force=True)
    release.wait(all_of(present(claim(release)), ready(release.deployment)), what="to serve again", deadline=60)
    measured("forced upgrade until it serves, empty", SYSTEM_CLOCK.now().since(begun))
    assert Data.of(release).claim != data.claim
    assert Data.of(release).volume != data.volume


@pytest.mark.proves("recovery.md S60", "only drift detection makes a deleted claim again, and it is empty")
def test_s60_with_drift_detection_a_deleted_claim_is_made_again_and_is_empty(
    databases: dict[str, Release], measured: Measured
) -> None:
    """S60, corrected: "recreates automatically" is true with drift detection, and the data is gone all the same."""
    release = databases["corrected"]
    data = _lose(release)
    anew = holds(claim(release), lambda obj: obj["metadata"]["uid"] != data.claim, "is another one")
    begun = SYSTEM_CLOCK.now()
    release.wait(all_of(anew, ready(release.deployment)), what="to serve on another claim", deadline=DEADLINE)
    measured("claim lost until it serves, empty", SYSTEM_CLOCK.now().since(begun))
    assert Data.of(release).volume != data.volume


def _lose(release: Release) -> Data:
    """Delete the claim and the pod that holds it, as the guide says; return where the data was."""
    data, pod = Data.of(release), pod_of(release)
    was = claim(release)
    release.lab.api.delete(was)
    release.lab.api.delete(pod)
    release.wait(lost(was, data), what="to lose its claim", deadline=60)
    volume = ObjectRef("", "PersistentVolume", "", data.volume)
    wait_for(release.lab.store, absent(volume), deadline=30, what="its volume to be deleted", fail_fast=False)
    return data


def lost(ref: ObjectRef, data: Data) -> Predicate:
    """Met when the claim is gone, or is another one already."""
    none = absent(ref)

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        if obj is not None and obj["metadata"]["uid"] != data.claim:
            return Verdict3.met(f"{ref} is another one")
        return none.judge(view)

    return Predicate(judge, frozenset([ref]))


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done to a release with data, and what becomes of the data; `spec` and `values` beyond the usual."""

    do: Callable[[Release], None]
    fate: Fate
    spec: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def _change(outcome: str, **values: object) -> Callable[[Release], None]:
    """Return what changes values and waits until the release says `outcome` of it."""

    def do(release: Release) -> None:
        release.change(**values)
        told = holds(release.ref, lambda obj: _current(obj) and Outcome.of(obj).ready == outcome, f"says {outcome}")
        release.wait(told, what=f"to say {outcome}", deadline=DEADLINE)

    return do


def _current(obj: KubeObject) -> bool:
    return bool((obj.get("status") or {}).get("observedGeneration") == obj["metadata"]["generation"])


def _reinstall(release: Release) -> None:
    release.remove()
    release.install(**DEEDS["reinstalled, kept"].values)
    release.wait(recovered(release), what="to be installed again", deadline=DEADLINE)


UPGRADED, NOT_UPGRADED = "True UpgradeSucceeded", "False UpgradeFailed"
KEEP = {"persistence": {**DATA["persistence"], "keep": True}}
OFF = {"persistence": {"enabled": False}}
SMALLER = {"persistence": {"size": "512Mi"}}
ROLLED_BACK, NOT_INSTALLED = "False RollbackSucceeded", "False InstallFailed"

DEEDS = {
    "uninstalled": Deed(Release.remove, Fate.GONE),
    "uninstalled, kept": Deed(Release.remove, Fate.KEPT, values=KEEP),
    "reinstalled, kept": Deed(_reinstall, Fate.KEPT, values=KEEP),
    "switched off": Deed(_change(UPGRADED, **OFF), Fate.GONE),
    "switched off, kept": Deed(_change(UPGRADED, **OFF), Fate.KEPT, values=KEEP),
    "workload renamed": Deed(_change(UPGRADED, suffix="-two"), Fate.KEPT),
    "shrunk": Deed(_change(NOT_UPGRADED, **SMALLER), Fate.KEPT),
    "rolled back": Deed(
        _change(ROLLED_BACK, **MISSING),
        Fate.KEPT,
        {"upgrade": {"remediation": {"retries": 0, "remediateLastFailure": True}}},
    ),
    "remediated by uninstall": Deed(
        _change(NOT_INSTALLED, **MISSING),
        Fate.EMPTY,
        {"upgrade": {"remediation": {"retries": 0, "strategy": "uninstall", "remediateLastFailure": True}}},
    ),
    "remediated by uninstall, kept": Deed(
        _change(NOT_INSTALLED, **MISSING),
        Fate.KEPT,
        {"upgrade": {"remediation": {"retries": 0, "strategy": "uninstall", "remediateLastFailure": True}}},
        KEEP,
    ),
}
"""Nothing here was asked to delete data."""


def done(release: Release, deed: Deed) -> tuple[Release, Data]:
    """Install a release with data, do the deed, and return where the data was before."""
    release.install(**{**DATA, **deed.values})
    release.wait(recovered(release), what="to be installed", deadline=DEADLINE)
    release.wait(ready(claim(release)), what="to have its claim bound", deadline=30)
    data = Data.of(release)
    deed.do(release)
    return release, data


Deeds = Mapping[str, Future[tuple[Release, Data]]]


@pytest.fixture(scope="module")
def deeds(lab: Lab) -> Iterator[Deeds]:
    """Begin all deeds at once; what is kept is removed afterwards."""
    with releases_on(lab) as make, ThreadPoolExecutor(len(DEEDS)) as pool:
        releases = {name: make(f"deed-{number}", **deed.spec) for number, (name, deed) in enumerate(DEEDS.items())}
        yield {name: pool.submit(done, releases[name], deed) for name, deed in DEEDS.items()}
    for release in releases.values():
        gone(lab, claim(release))


def ends_as(fate: Fate, release: Release, data: Data, *, deadline: float = 60) -> None:
    """Wait until the data of a release has met this fate."""
    ref = claim(release)
    other = holds(ref, lambda obj: obj["metadata"]["uid"] != data.claim, "is another one")
    expected = {Fate.KEPT: kept(release, data), Fate.GONE: absent(ref), Fate.EMPTY: all_of(other, ready(ref))}[fate]
    release.wait(expected, what=f"to have {fate}", deadline=deadline)
    if fate is Fate.EMPTY:
        assert Data.of(release).volume != data.volume


@pytest.mark.parametrize("name", DEEDS)
@pytest.mark.proves("recovery.md S40", "remediation by uninstall deletes the claim: what is installed then is empty")
def test_what_becomes_of_the_data_is_as_the_table_says(deeds: Deeds, name: str) -> None:
    """Helm deletes a claim with its release, and when the chart no longer has it, unless its policy is keep."""
    ends_as(DEEDS[name].fate, *deeds[name].result())


@pytest.mark.parametrize("name", ["uninstalled", "workload renamed", "remediated by uninstall"])
def test_control_one_fate_is_not_taken_for_another(deeds: Deeds, name: str) -> None:
    """Negative control: data that is kept, gone or lost is not taken for any of the others."""
    release, data = deeds[name].result()
    ends_as(DEEDS[name].fate, release, data)
    for lie in set(Fate) - {DEEDS[name].fate}:
        with refused():
            ends_as(lie, release, data, deadline=1)


def test_control_a_claim_that_was_made_anew_is_not_called_kept(
    databases: dict[str, Release], make_release: MakeRelease
) -> None:
    """Negative control: the same name, another claim; and a claim that is Terminating is not kept either."""
    release = databases["control"]
    data = Data.of(release)
    release.wait(kept(release, data), what="to be kept", deadline=5)
    with refused():
        release.wait(kept(release, Data("another", data.volume)), what="to be kept", deadline=2)
    release.lab.api.delete(claim(release))
    with refused():
        release.wait(kept(release, data), what="to be kept", deadline=2)
    other = make_release("db-other")
    other.install()
    other.wait(recovered(other), what="to be installed")
    with refused():
        other.wait(kept(other, data), what="to be kept", deadline=2)
