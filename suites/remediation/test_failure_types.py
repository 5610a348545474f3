"""The six failure types that a guide for operators lists for HelmReleases: how each shows, and what cures it (Flux 2.9).

All of them fail at the same time. Where the guide names a symptom or a cure that is not so, the test says what is.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fluxdrill.flux.operations import reconcile
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import condition
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK, Instant
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.sources.standin import NAME, crd, package
from suites.ordering.seen import failed, gone, never
from suites.remediation.cells import IMPATIENT
from suites.remediation.conftest import MakeRelease, Told, all_at_once
from suites.remediation.releases import NEVER_READY, POD, VERSION, Outcome, Release, deployed, recovered
from suites.remediation.traces import in_storage, says
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_release_that_works_shows_no_failure_type",
    "test_control_a_ready_that_a_person_wrote_is_no_cure",
)

QUIET = 6.0
"""Seconds in which a release could recover by itself: its interval is over once at least."""
DEADLINE = 120.0
"""Seconds for one of several releases: the controller works at four at a time."""
ROLLED_BACK = Outcome(
    "False RollbackSucceeded", "True RetriesExceeded", "False UpgradeFailed", "True RollbackSucceeded", "", (1, 0, 1)
)
MARK = secrets.token_hex(3)
GROUP = f"g{MARK}.example"
"""API group of the custom resource whose CRD is missing, and of the chart that brings it."""
WIDGETS = f"widgets-{MARK}"


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds from the fault until it was told, and from the cure until the release was Ready."""

    told: float
    cured: float


def cured(release: Release, since: Instant) -> float:
    """Wait until a release is Ready with all its counters cleared, and return the seconds it took since the cure."""
    return release.wait(recovered(release), what="to be cured", deadline=DEADLINE).met.since(since)


def too_slow(lab: Lab, make: MakeRelease) -> Times:
    """S30. Every attempt begins anew, since each failed one is rolled back: no attempt can profit from the one before."""
    release = make("slow", timeout=IMPATIENT, upgrade={"remediation": {"retries": 0, "remediateLastFailure": True}})
    release.install()
    release.wait(recovered(release), what="to be installed", deadline=DEADLINE)
    begun = SYSTEM_CLOCK.now()
    release.change(after="8s")
    told = release.wait(in_storage(release, 2, "failed"), what="to time out", deadline=DEADLINE).met.since(begun)
    release.wait(says(release, ROLLED_BACK), what="to be rolled back", deadline=DEADLINE)
    _is_timeout(release)
    release.change_spec(interval="6s")
    release.wait(in_storage(release, 4, "failed"), what="to time out anew", deadline=DEADLINE)
    release.wait(says(release, ROLLED_BACK), what="to be rolled back", deadline=DEADLINE)
    begun = SYSTEM_CLOCK.now()
    release.change_spec(timeout="20s")
    return Times(told, cured(release, begun))


def _is_timeout(release: Release) -> None:
    obj = release.lab.api.get(release.ref)
    (released,) = [one for one in obj["status"]["conditions"] if one["type"] == "Released"]
    assert released["reason"] == "UpgradeFailed"
    assert f"timeout waiting for: [Deployment/default/{release.name} status: 'InProgress']" in released["message"]


def values_that_the_schema_refuses(lab: Lab, make: MakeRelease) -> Times:
    """S31. Told by the failed action, not as ValuesError; tried again and again, counted nowhere but in `failures`."""
    release = make("schema")
    begun = SYSTEM_CLOCK.now()
    release.install(behaviour="hope")
    said = failed(release.ref, "InstallFailed", "values don't meet the specifications of the schema(s)")
    told = release.wait(said, what="to be refused", deadline=DEADLINE).met.since(begun)
    release.wait(_tried(release, 3), what="to be tried again", deadline=DEADLINE)
    assert release.outcome().failures[1:] == (0, 0)
    assert release.history() == ()
    begun = SYSTEM_CLOCK.now()
    release.change(behaviour="ready")
    took = cured(release, begun)
    assert not release.ever("Stalled")
    return Times(told, took)


def _tried(release: Release, times: int) -> Predicate:
    def judge(view: View) -> Verdict3:
        said = Outcome.of(view.get(release.ref) or {})
        if said.failures[0] >= times:
            return Verdict3.met(f"{release.name} was tried {said.failures[0]} times")
        return Verdict3.not_yet(f"{release.name} was tried {said.failures[0]} times", release.ref)

    return Predicate(judge, frozenset([release.ref]))


def a_version_that_is_not_there(lab: Lab, make: MakeRelease) -> Times:
    """S32. The HelmChart is stalled and the HelmRelease is not: only a look at the source wakes the chart."""
    version = f"9.0.{secrets.randbelow(100_000)}"
    release = make("absent")
    release.version = version
    begun = SYSTEM_CLOCK.now()
    release.install()
    said = failed(release.ref, "SourceNotReady", f"no '{NAME}' chart with version matching '{version}' found")
    told = release.wait(said, what="to miss its chart", deadline=DEADLINE).met.since(begun)
    release.wait(condition(release.chart, "Stalled", "True", "InvalidChartReference"), what="the chart to stall")
    lab.charts.publish(NAME, version, package(version))
    try:
        reconcile(lab.api, lab.store, release.ref, deadline=30)
        never(lab, deployed(release), seconds=QUIET, what="the chart to be found without a look at its source")
        assert not release.ever("Stalled")
        begun = SYSTEM_CLOCK.now()
        reconcile(lab.api, lab.store, release.repository, deadline=30)
        return Times(told, cured(release, begun))
    finally:
        lab.charts.withdraw(NAME, version)


def a_misspelt_chart(lab: Lab, make: MakeRelease) -> Times:
    """S32. The name: no version of it is found, and the right spelling cures it."""
    release = make("misspelt")
    release.chart_name = "standing"
    begun = SYSTEM_CLOCK.now()
    release.install()
    said = failed(release.ref, "SourceNotReady", "no chart name found")
    told = release.wait(said, what="to miss its chart", deadline=DEADLINE).met.since(begun)
    begun = SYSTEM_CLOCK.now()
    release.change_spec(chart={"spec": {"chart": NAME}})
    return Times(told, cured(release, begun))


def a_crd_that_is_missing(lab: Lab, make: MakeRelease) -> Times:
    """S33. The guide's cure: the CRD in a release of its own, `CreateReplace`, and `dependsOn`."""
    release, provider = make("widget"), make("crds", install={"crds": "CreateReplace"})
    provider.chart_name = WIDGETS
    begun = SYSTEM_CLOCK.now()
    release.install(widgets=GROUP)
    said = failed(release.ref, "InstallFailed", f'no matches for kind "Widget" in version "{GROUP}/v1"')
    told = release.wait(said, what="to miss the CRD", deadline=DEADLINE).met.since(begun)
    assert (release.outcome().failures[1:], release.history()) == ((0, 0), ())
    release.change_spec(dependsOn=[{"name": provider.name}])
    waits = failed(release.ref, "DependencyNotReady", provider.name)
    release.wait(waits, what="to wait for its provider", deadline=DEADLINE)
    begun = SYSTEM_CLOCK.now()
    provider.install()
    took = cured(release, begun)
    assert provider.ready_after(begun) < release.ready_after(begun)
    assert not release.ever("Stalled")
    return Times(told, took)


def a_dependency_that_is_not_ready(lab: Lab, make: MakeRelease) -> Times:
    """S34. Not even a dependency that is stalled for good stalls what depends on it."""
    before = make("before", install={"timeout": IMPATIENT})
    behind = make("behind", dependsOn=[{"name": before.name}])
    begun = SYSTEM_CLOCK.now()
    before.install(**NEVER_READY)
    behind.install()
    said = failed(behind.ref, "DependencyNotReady", f"dependency 'default/{before.name}' is not ready")
    told = behind.wait(said, what="to wait", deadline=DEADLINE).met.since(begun)
    before.wait_stalled(deadline=DEADLINE)
    never(lab, deployed(behind), seconds=2, what="an install behind a stalled dependency")
    before.change(behaviour="ready")
    begun = before.wait(recovered(before), what="to be fixed", deadline=DEADLINE).met
    took = cured(behind, begun)
    assert not behind.ever("Stalled")
    return Times(told, took)


def an_image_that_cannot_be_pulled(lab: Lab, make: MakeRelease) -> Times:
    """S35. Only the pod says so: the release speaks of a timeout."""
    release = make("image", upgrade={"timeout": IMPATIENT})
    release.install()
    release.wait(recovered(release), what="to be installed", deadline=DEADLINE)
    begun = SYSTEM_CLOCK.now()
    release.change(behaviour="image-pull-error")
    told = release.wait(_pod_waits(release, "ImagePullBackOff"), what="to miss its image", deadline=DEADLINE)
    release.wait_stalled(deadline=DEADLINE)
    _is_timeout(release)
    begun_to_cure = SYSTEM_CLOCK.now()
    release.change(behaviour="ready")
    return Times(told.met.since(begun), cured(release, begun_to_cure))


def _pod_waits(release: Release, reason: str) -> Predicate:
    def judge(view: View) -> Verdict3:
        if any(reason in _waits_for(pod) for pod in view.list(POD, release.namespace) if _is_of(pod, release)):
            return Verdict3.met(f"a pod of {release.name} waits: {reason}")
        return Verdict3.not_yet(f"no pod of {release.name} waits: {reason}", release.deployment)

    return Predicate(judge, kinds=frozenset([POD]))


def _is_of(pod: KubeObject, release: Release) -> bool:
    return bool((pod["metadata"].get("labels") or {}).get("app") == release.name)


def _waits_for(pod: KubeObject) -> list[str]:
    states = [one.get("state") or {} for one in (pod.get("status") or {}).get("containerStatuses") or []]
    return [str(state["waiting"].get("reason")) for state in states if "waiting" in state]


def too_large(lab: Lab, make: MakeRelease) -> Times:
    """Beyond the guide's six: Helm keeps a release in a Secret, and no Secret may be larger than 1 MiB."""
    release = make("large")
    begun = SYSTEM_CLOCK.now()
    release.install(padding=1700)
    said = failed(release.ref, "InstallFailed", "Too long: may not be more than 1048576 bytes")
    told = release.wait(said, what="to be refused", deadline=DEADLINE).met.since(begun)
    release.wait(_tried(release, 2), what="to be tried again", deadline=DEADLINE)
    assert (release.outcome().failures[1:], release.history()) == ((0, 0), ())
    begun = SYSTEM_CLOCK.now()
    release.change(padding=900)
    took = cured(release, begun)
    assert not release.ever("Stalled")
    return Times(told, took)


STORIES = (
    too_slow,
    values_that_the_schema_refuses,
    a_version_that_is_not_there,
    a_misspelt_chart,
    a_crd_that_is_missing,
    a_dependency_that_is_not_ready,
    an_image_that_cannot_be_pulled,
    too_large,
)


@pytest.fixture(scope="module")
def told(lab: Lab) -> Iterator[Told]:
    """Begin all failures at once; the chart with the CRD is there before anybody looks for charts."""
    lab.charts.publish(
        WIDGETS, VERSION, package(VERSION, name=WIDGETS, files={"crds/widgets.yaml": crd(GROUP, witness="")})
    )
    with all_at_once(lab, *STORIES) as told:
        yield told
    lab.charts.withdraw(WIDGETS, VERSION)
    gone(lab, ObjectRef("apiextensions.k8s.io", "CustomResourceDefinition", "", f"widgets.{GROUP}"))


def note(measured: Measured, times: Times) -> None:
    """Record how long it took to be told and to be cured."""
    measured("fault until told", times.told, kind="detection")
    measured("cure until Ready", times.cured)


@pytest.mark.proves(
    "recovery.md S30", "true: the symptom is UpgradeFailed (or InstallFailed) and `timeout waiting for`"
)
def test_s30_a_timeout_is_cured_by_a_longer_one_and_by_no_other_change(told: Told, measured: Measured) -> None:
    """S30: a rollout slower than `timeout` fails, fails again after another change, and succeeds with a longer one."""
    note(measured, told(too_slow))


@pytest.mark.proves("recovery.md S31", "the text is `values don't meet the specifications of the schema(s)`")
def test_s31_values_that_the_schema_refuses_are_told_tried_for_ever_and_cured_by_good_ones(
    told: Told, measured: Measured
) -> None:
    """S31: InstallFailed with what is wrong where; never stalled, and Helm has no revision of it."""
    note(measured, told(values_that_the_schema_refuses))


@pytest.mark.proves(
    "recovery.md S32", "true: a look at the source cures it, and a reconcile of the HelmRelease does not"
)
def test_s32_a_version_that_is_published_late_is_found_only_by_a_look_at_the_source(
    told: Told, measured: Measured
) -> None:
    """S32: SourceNotReady, and the HelmChart stalled for InvalidChartReference, until its repository is reconciled."""
    note(measured, told(a_version_that_is_not_there))


@pytest.mark.proves("recovery.md S32", "a misspelt name says `no chart name found`")
def test_s32_a_misspelt_chart_is_told_and_cured_by_the_right_spelling(told: Told, measured: Measured) -> None:
    """S32: the same reasons with another text."""
    note(measured, told(a_misspelt_chart))


@pytest.mark.proves("recovery.md S33", "true; the text is `no matches for kind`, and the failure is never counted")
def test_s33_a_missing_crd_is_cured_by_a_release_that_brings_it_and_by_depending_on_that(
    told: Told, measured: Measured
) -> None:
    """S33: no revision, no counter, never stalled; Ready after the release with the CRD."""
    note(measured, told(a_crd_that_is_missing))


@pytest.mark.proves(
    "recovery.md S34", "true: it starts alone, one look (--requeue-dependency) after its dependency is Ready"
)
def test_s34_a_dependent_starts_by_itself_once_its_dependency_was_fixed(told: Told, measured: Measured) -> None:
    """S34: DependencyNotReady and never stalled, although its dependency is."""
    note(measured, told(a_dependency_that_is_not_ready))


@pytest.mark.proves(
    "recovery.md S35", "true of the pod; the release says `timeout waiting for` and no word of an image"
)
def test_s35_an_image_that_cannot_be_pulled_is_told_by_the_pod_alone(told: Told, measured: Measured) -> None:
    """S35: ImagePullBackOff of the pod, UpgradeFailed and stalled of the release; an image that is there cures it."""
    note(measured, told(an_image_that_cannot_be_pulled))


def test_a_release_of_more_than_a_mebibyte_is_refused_by_the_api_server_and_never_counted(
    told: Told, measured: Measured
) -> None:
    """InstallFailed, tried for ever; one of half the size is installed."""
    note(measured, told(too_large))


@pytest.mark.ci
def test_control_a_release_that_works_shows_no_failure_type(make_release: MakeRelease) -> None:
    """Negative control of the symptoms: none of them is seen of a release that is well."""
    release = make_release("well")
    release.install()
    release.wait(recovered(release), what="to be installed")
    for said in (
        failed(release.ref, "InstallFailed", ""),
        failed(release.ref, "SourceNotReady", ""),
        _tried(release, 1),
        _pod_waits(release, "ImagePullBackOff"),
    ):
        with refused():
            release.wait(said, what="to show a failure", deadline=1)
    with refused():
        _is_timeout(release)


def test_control_a_ready_that_a_person_wrote_is_no_cure(lab: Lab, make_release: MakeRelease) -> None:
    """Negative control of the cures: a faked Ready of a release whose chart is not there deploys nothing."""
    release = make_release("faked")
    release.version = "9.9.9"
    release.install()
    release.wait(failed(release.ref, "SourceNotReady", "9.9.9"), what="to miss its chart")
    stop_and_fake_ready(lab, release.ref, revision="9.9.9")
    with refused():
        release.wait(recovered(release), what="to be cured", deadline=3)
