"""Charts from an OCI registry: what HelmChart, OCIRepository and the releases on them say, well and not (Flux 2.9).

The registry is the real one; what is wrong with it is made in front of it. Where the two ways of getting a chart from it
differ, both are shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fluxdrill.kube.predicates import Predicate
from fluxdrill.kube.wait import all_of, condition, ready, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK, Instant
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.sources.faults import ServerFault
from fluxdrill.sources.registry import Registry
from fluxdrill.sources.standin import NAME, package
from suites.ordering.seen import failed, gone, holds, never
from suites.remediation.oci import (
    PASSWORD,
    USER,
    Oci,
    Referring,
    at_version,
    content_of,
    oci_on,
    referring,
    release_version,
    revision_of,
)
from suites.remediation.releases import VERSION, repository, repository_ref
from suites.sabotage import fake_ready, refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_a_chart_that_a_person_calls_ready_was_not_fetched",)

OFTEN = "2s"
"""Interval of what is to look by itself."""
QUIET = 6.0
"""Seconds in which a source could look by itself: several times the timeout that it was given."""


@pytest.fixture(scope="module")
def registry(lab: Lab) -> Iterator[Registry]:
    """A registry that lets nobody in without credentials."""
    with Registry(lab.registry_home("registry-closed"), user=USER, password=PASSWORD, host=lab.host) as server:
        target = {"registry-closed": server}
        with lab.interventions.of([server.process], target):
            yield server


@pytest.fixture
def oci(lab: Lab, registry: Registry) -> Iterator[Oci]:
    """A chart that HelmChart and OCIRepository have fetched at 1.0.0."""
    with oci_on(lab, registry) as one:
        yield one


def stays(oci: Oci, ref: ObjectRef, version: str) -> None:
    """Check that `ref` still has the artifact of `version`."""
    wait_for(oci.lab.store, at_version(ref, version), deadline=5, what=f"{ref} to keep {version}", fail_fast=False)


def at_work(lab: Lab, ref: ObjectRef) -> None:
    """Wait until source-controller has begun with `ref` and not come to an end."""
    begun = condition(ref, "Reconciling", "True")
    wait_for(lab.store, begun, deadline=20, what=f"{ref} to be at work", fail_fast=False)


def undisturbed(lab: Lab, releases: list[Referring]) -> None:
    """Watch for some looks that no release is anything but Ready."""
    begun = SYSTEM_CLOCK.now()
    never(lab, failed(releases[0].ref, "SourceNotReady", ""), seconds=QUIET, what="a release to be unwell")
    assert {one.name: unwell(one, begun) for one in releases} == {one.name: [] for one in releases}


def unwell(release: Referring, begun: Instant) -> list[str]:
    """Return what a release said since then while it was not Ready."""
    seen = [one for one in release.lab.store.timeline.of(release.ref) if one.at.since(begun) > 0]
    return [c.message for one in seen for c in one.conditions if c.type == "Ready" and c.status == "False"]


def upgraded(release: Referring, version: str, *, deadline: float = 60) -> float:
    """Wait until a release is Ready and its newest snapshot is of this version of the chart; return the seconds."""
    newest = holds(release.ref, lambda obj: release_version(obj) == version, f"is deployed at {version}")
    return release.wait(all_of(ready(release.ref), newest), what=f"to be at {version}", deadline=deadline).seconds


@pytest.mark.ci
def test_a_chart_is_fetched_from_a_registry_with_credentials_and_installed(oci: Oci) -> None:
    """By a HelmChart and by an OCIRepository, at 1.0.0 and at 1.1.0; a HelmRepository of type oci has no status at all."""
    with referring(oci, *oci.both) as releases:
        oci.publish("1.1.0")
        oci.ask_for("1.1.0")
        oci.fetched("1.1.0")
        for one in releases:
            upgraded(one, "1.1.0")
    assert oci.lab.api.get(oci.repository).get("status", {}) == {}


def test_without_credentials_each_says_that_it_was_not_let_in(oci: Oci) -> None:
    """The reason is no AuthenticationFailed: it is the text that names the cause."""
    for kind, name in (("HelmRepository", oci.repository), ("OCIRepository", oci.source)):
        assert name.kind == kind
        oci.lab.api.patch(name, {"spec": {"secretRef": None}})
    oci.publish("1.1.0")
    oci.ask_chart("1.1.0")
    oci.says(oci.chart, "ChartPullError", "basic credential not found")
    oci.says(oci.source, "OCIArtifactPullFailed", "401 Unauthorized")


@pytest.mark.parametrize(
    ("fault", "chart", "source"),
    [
        (ServerFault.down(), ("ChartPullError", "connection refused"), "connection refused"),
        (ServerFault.server_error(503), ("ChartPullError", "503: Service Unavailable"), "503 Service Unavailable"),
        (
            ServerFault.unauthorized(),
            ("Unknown", "failed to authenticate with the Helm repository"),
            "401 Unauthorized",
        ),
        (ServerFault.truncated(), ("ChartPullError", "read failed: expected content size"), "unexpected EOF"),
    ],
    ids=["down", "5xx", "401", "truncated"],
)
def test_a_registry_that_fails_is_told_of_at_a_new_version_the_old_one_stays_and_both_heal_alone(
    oci: Oci, measured: Measured, fault: ServerFault, chart: tuple[str, str], source: str
) -> None:
    """HelmChart and OCIRepository are Ready=False with the cause and keep the artifact they have."""
    oci.publish("1.1.0")
    oci.registry.fault = fault
    oci.ask_for("1.1.0")
    measured("failure of the HelmChart", oci.says(oci.chart, *chart), kind="detection")
    oci.says(oci.source, "OCIArtifactPullFailed", source)
    for ref in oci.both:
        stays(oci, ref, "1.0.0")
    oci.registry.heal()
    measured("heal until Ready", oci.fetched("1.1.0"))


def test_a_registry_that_hangs_is_waited_for_without_end_whatever_the_timeout(oci: Oci, measured: Measured) -> None:
    """`timeout: 1s` bounds neither pull: both stay Ready and Reconciling, say nothing, and go on when it answers."""
    oci.publish("1.1.0")
    oci.registry.fault = ServerFault.hang()
    oci.ask_for("1.1.0")
    for ref in oci.both:
        at_work(oci.lab, ref)
    never(oci.lab, failed(oci.source, "OCIArtifactPullFailed", ""), seconds=QUIET, what="the OCIRepository to give up")
    for ref in oci.both:
        said = oci.said(ref, "Ready")
        assert said is not None
        assert (said.status, oci.said(ref, "FetchFailed")) == ("True", None)
        stays(oci, ref, "1.0.0")
    oci.registry.heal()
    measured("heal until Ready", oci.fetched("1.1.0"))


def test_two_charts_of_a_registry_that_hangs_keep_every_other_chart_of_the_cluster_waiting(
    lab: Lab, oci: Oci, registry: Registry, measured: Measured
) -> None:
    """source-controller works at two HelmCharts at a time; those of a healthy repository have no turn until it answers."""
    with oci_on(lab, registry) as second, ExitStack() as stack:
        for one in (oci, second):
            one.publish("1.1.0")
        registry.fault = ServerFault.hang()
        stack.callback(registry.heal)
        for one in (oci, second):
            one.ask_chart("1.1.0")
            at_work(lab, one.chart)
        healthy = healthy_chart(lab, stack)
        never(lab, ready(healthy), seconds=QUIET, what="the chart of a healthy repository")
        registry.heal()
        measured("heal until Ready", wait_for(lab.store, ready(healthy), deadline=30, what="its turn").seconds)


def healthy_chart(lab: Lab, stack: ExitStack) -> ObjectRef:
    """Ask for a chart of the lab's own chart repository, which is in order; `stack` removes it."""
    name = "beside-a-hang"
    lab.charts.publish(NAME, VERSION, package(VERSION))
    lab.api.apply(repository(name, lab.charts.url))
    source = {"kind": "HelmRepository", "name": name}
    spec = {"interval": "10m", "chart": NAME, "version": VERSION, "sourceRef": source}
    repository_of_it = repository_ref(name)
    chart = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart", "spec": spec}
    ref = ObjectRef.of(lab.api.apply({**chart, "metadata": {"name": name, "namespace": repository_of_it.namespace}}))
    for one in (repository_of_it, ref):
        stack.callback(gone, lab, one)
    wait_for(lab.store, ready(repository_of_it), deadline=20, what="the healthy repository")
    return ref


@pytest.mark.parametrize(
    ("wanted", "chart", "reason", "source"),
    [
        ("2.0.0", "2.0.0: not found", "OCIArtifactPullFailed", "MANIFEST_UNKNOWN"),
        (">=2.0.0", "could not locate a version matching", "ReadOperationFailed", "no match found for semver"),
    ],
    ids=["exact", "range"],
)
def test_a_version_that_is_not_there_is_told_and_fetched_alone_once_it_is(
    oci: Oci, measured: Measured, wanted: str, chart: str, reason: str, source: str
) -> None:
    """Unlike over HTTP, a HelmChart does not stall on it: ChartPullError, no InvalidChartReference, and it is retried."""
    oci.ask_chart(wanted)
    oci.ask_source(**{"semver" if wanted.startswith(">") else "tag": wanted})
    oci.says(oci.chart, "ChartPullError", chart)
    oci.says(oci.source, reason, source)
    assert oci.said(oci.chart, "Stalled") is None
    oci.publish("2.0.0")
    measured("push until Ready", oci.fetched("2.0.0"))


def test_not_even_a_version_that_can_never_be_stalls_a_chart_of_a_registry(oci: Oci) -> None:
    """What an index makes a matter of InvalidChartReference is a failed pull here, retried until the spec is another one."""
    oci.ask_chart("no version at all")
    oci.says(oci.chart, "ChartPullError", "improper constraint")
    assert oci.said(oci.chart, "Stalled") is None
    oci.ask_chart("1.0.0")
    oci.fetched("1.0.0", oci.chart)


@pytest.mark.parametrize("tag_only", [True, False], ids=["tag", "manifest"])
def test_a_version_that_is_withdrawn_leaves_the_releases_on_it_as_they_are(oci: Oci, tag_only: bool) -> None:  # noqa: FBT001
    """At its scheduled look the HelmChart does not even notice, the OCIRepository says it; both releases stay Ready."""
    oci.ask_chart("1.0.0", interval=OFTEN)
    oci.ask_source(interval=OFTEN, tag="1.0.0")
    oci.fetched("1.0.0")
    with referring(oci, *oci.both) as releases:
        before = [one.history() for one in releases]
        oci.registry.withdraw(oci.app, "1.0.0", tag_only=tag_only)
        oci.says(oci.source, "OCIArtifactPullFailed", "MANIFEST_UNKNOWN")
        undisturbed(oci.lab, releases)
        assert [one.history() for one in releases] == before
        for ref in oci.both:
            stays(oci, ref, "1.0.0")


def test_a_tag_that_moves_is_followed_by_an_oci_repository_and_its_releases_and_not_by_a_helm_chart(
    oci: Oci, measured: Measured
) -> None:
    """The OCIRepository has another revision at its next look, and its release one more in Helm; the HelmChart neither.

    The HelmChart takes what the tag has become once its own spec changes. Its release is not upgraded even then: the
    version of the chart is the same, and only that of an OCIRepository carries the digest.
    """
    with referring(oci, *oci.both) as (on_chart, on_source):
        before = {ref: oci.content(ref) for ref in oci.both}
        digest = oci.registry.move(oci.app, "1.0.0", package("1.0.0", files={"README.md": "moved"}))
        moved = SYSTEM_CLOCK.now()
        for ref in oci.both:
            oci.look(ref)
        follows = holds(oci.source, lambda obj: revision_of(obj) == f"1.0.0@{digest}", f"is at {digest}")
        wait_for(oci.lab.store, follows, deadline=20, what="the OCIRepository to follow")
        on_source.wait(revisions(on_source, 2), what="to be upgraded")
        measured("move until upgraded", SYSTEM_CLOCK.now().since(moved), kind="other")
        assert oci.content(oci.source) != before[oci.source]
        never(oci.lab, revisions(on_chart, 2), seconds=3, what="the release on the HelmChart to be upgraded")
        assert oci.content(oci.chart) == before[oci.chart]
        oci.ask_chart("1.0.0", interval="9m")
        fresh = holds(oci.chart, lambda obj: content_of(obj) == oci.content(oci.source), "has what the tag points to")
        wait_for(oci.lab.store, fresh, deadline=20, what="the HelmChart to be fetched again")
        never(oci.lab, revisions(on_chart, 2), seconds=QUIET, what="the release on the HelmChart to be upgraded")


def test_a_pinned_digest_stays_where_it_is_when_its_tag_moves_and_when_it_is_gone(oci: Oci) -> None:
    """As long as the manifest itself is there: the tag plays no part any more."""
    pinned = oci.registry.digest(oci.app, "1.0.0")
    oci.ask_source(digest=pinned)
    oci.fetched(pinned, oci.source)
    before = oci.content(oci.source)
    oci.registry.move(oci.app, "1.0.0", package("1.0.0", files={"README.md": "moved"}))
    oci.registry.withdraw(oci.app, "1.0.0", tag_only=True)
    oci.look(oci.source)
    oci.fetched(pinned, oci.source)
    assert oci.content(oci.source) == before


@pytest.mark.proves(
    "flux.md C-11", "a release stays Ready while its registry is out of reach; an upgrade waits and is finished alone"
)
def test_an_outage_touches_no_release_until_an_upgrade_is_asked_for_which_is_finished_alone_when_it_ends(
    oci: Oci, measured: Measured
) -> None:
    """Through scheduled looks all stay Ready; then SourceNotReady with the cause; nobody touches anything but the server."""
    begun = SYSTEM_CLOCK.now()
    oci.ask_chart("1.0.0", interval=OFTEN)
    oci.ask_source(interval=OFTEN, tag="1.0.0")
    oci.fetched("1.0.0")
    with referring(oci, *oci.both) as releases:
        oci.publish("1.1.0")
        oci.registry.fault = ServerFault.server_error(503, only=f"v2/{oci.app}")
        oci.says(oci.source, "OCIArtifactPullFailed", "503")
        undisturbed(oci.lab, releases)
        oci.ask_for("1.1.0")
        for one in releases:
            one.wait(failed(one.ref, "SourceNotReady", "503"), what="to say what it waits for", deadline=40)
            assert unwell(one, begun), "the check of being undisturbed sees nothing"
        oci.registry.heal()
        for one in releases:
            measured(f"heal until {one.name.rpartition('-')[2]} is upgraded", upgraded(one, "1.1.0"))


def revisions(release: Referring, number: int) -> Predicate:
    """Met when the newest snapshot of a release is Helm's revision `number` and deployed."""

    def newest(obj: KubeObject) -> bool:
        history = (obj.get("status") or {}).get("history") or [{}]
        return (history[0].get("version"), history[0].get("status")) == (number, "deployed")

    return all_of(ready(release.ref), holds(release.ref, newest, f"is deployed as revision {number}"))


def test_control_a_chart_that_a_person_calls_ready_was_not_fetched(lab: Lab, oci: Oci) -> None:
    """Negative control: behind a registry that is down no faked Ready brings a version, or an upgrade of a release."""
    with referring(oci, oci.chart) as (release,):
        oci.publish("1.1.0")
        oci.registry.fault = ServerFault.down()
        oci.ask_chart("1.1.0")
        oci.says(oci.chart, "ChartPullError", "connection refused")
        fake_ready(lab, oci.chart, revision="1.1.0")
        with refused():
            oci.fetched("1.1.0", oci.chart, deadline=3)
        with refused():
            upgraded(release, "1.1.0", deadline=3)
