"""Charts over HTTP: what HelmRepository and HelmChart say while the repository is well and while it is not (Flux 2.9)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.operations import reconcile
from fluxdrill.kube.wait import absent, all_current, all_of, ready, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.conditions import ConditionStatus
from fluxdrill.model.conditions import condition as condition_of
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.sources.charts import ChartServer, IndexFault
from fluxdrill.sources.faults import ServerFault
from fluxdrill.sources.standin import NAME, package
from suites.ordering.seen import failed, gone, holds, never
from suites.remediation.oci import Referring, content_of, release_version, revision_of
from suites.remediation.releases import repository, repository_ref
from suites.sabotage import fake_ready, refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_a_repository_that_a_person_calls_ready_fetches_nothing",)

USER, PASSWORD = "flux", secrets.token_urlsafe(12)


@dataclass(frozen=True, slots=True)
class Supply:
    """A chart server of its own with the stand-in 1.0.0, a HelmRepository that knows its credentials, and a HelmChart."""

    lab: Lab
    server: ChartServer
    name: str

    @property
    def repository(self) -> ObjectRef:
        """The HelmRepository."""
        return repository_ref(self.name)

    @property
    def chart(self) -> ObjectRef:
        """The HelmChart."""
        return ObjectRef("source.toolkit.fluxcd.io", "HelmChart", NAMESPACE, self.name)

    @property
    def secret(self) -> ObjectRef:
        """The credentials."""
        return ObjectRef("", "Secret", NAMESPACE, self.name)

    def ask_for(self, version: str, *, interval: str = "10m") -> None:
        """Have the HelmChart want this version."""
        source = {"kind": "HelmRepository", "name": self.name}
        spec = {"interval": interval, "chart": NAME, "version": version, "sourceRef": source}
        meta = {"name": self.name, "namespace": NAMESPACE}
        self.lab.api.apply(
            {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart", "metadata": meta, "spec": spec}
        )

    def publish(self, version: str) -> None:
        """Serve another version of the stand-in."""
        self.server.publish(NAME, version, package(version))

    def look(self) -> None:
        """Have the HelmRepository look at the index now."""
        reconcile(self.lab.api, self.lab.store, self.repository, deadline=30)

    def fetched(self, version: str, *, deadline: float = 30) -> float:
        """Wait until repository and chart are Ready, the chart at `version`, and return the seconds it took."""
        newest = holds(self.chart, lambda obj: revision_of(obj) == version, f"at {version}")
        wanted = all_of(all_current([self.repository, self.chart]), newest)
        met = wait_for(self.lab.store, wanted, deadline=deadline, what=f"{self.name} to be fetched", fail_fast=False)
        return met.seconds

    def says(self, ref: ObjectRef, reason: str, text: str = "") -> float:
        """Wait until `ref` is Ready=False for `reason`, and return the seconds it took."""
        told = wait_for(self.lab.store, failed(ref, reason, text), deadline=30, what=f"{reason} of {ref}")
        return told.seconds


def _not_found(chart: KubeObject) -> bool:
    said = condition_of(chart, "Ready")
    return said is not None and said.status is ConditionStatus.FALSE and "404 Not Found" in said.message


@pytest.fixture
def supply(lab: Lab) -> Iterator[Supply]:
    """A supply whose chart is Ready at 1.0.0."""
    with ChartServer(user=USER, password=PASSWORD, host=lab.host) as server:
        one = Supply(lab, server, f"supply-{secrets.token_hex(2)}")
        one.publish("1.0.0")
        meta = {"name": one.name, "namespace": NAMESPACE}
        lab.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"username": USER, "password": PASSWORD}})  # fmt: skip
        lab.api.apply(repository(one.name, server.url, secret=one.name))
        one.ask_for("1.0.0")
        one.fetched("1.0.0")
        yield one
        for ref in (one.chart, one.repository):
            lab.api.delete(ref)
            wait_for(lab.store, absent(ref), deadline=30, what=f"{ref} to be gone")
        gone(lab, one.secret)


@pytest.mark.core
@pytest.mark.ci
def test_a_chart_is_fetched_over_http_with_credentials_and_a_new_version_once_it_is_looked_for(supply: Supply) -> None:
    """HelmRepository and HelmChart are Ready, at 1.0.0 and at 1.1.0."""
    supply.publish("1.1.0")
    supply.look()
    supply.ask_for("1.1.0")
    supply.fetched("1.1.0")


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (ServerFault.down(), "connection refused"),
        (ServerFault.server_error(503), "503"),
        (ServerFault.unauthorized(), "401"),
        (ServerFault.truncated(), "unexpected EOF"),
        (ServerFault.hang(), "deadline exceeded"),
    ],
    ids=["down", "5xx", "401", "truncated", "hang"],
)
def test_a_repository_that_fails_says_so_keeps_its_chart_and_heals_alone(
    supply: Supply, measured: Measured, fault: ServerFault, text: str
) -> None:
    """The HelmRepository is Ready=False (Failed) with the cause; the HelmChart that was fetched stays Ready meanwhile."""
    supply.server.fault = fault
    supply.look()
    supply.says(supply.repository, "Failed", text)
    wait_for(supply.lab.store, ready(supply.chart), deadline=5, what="the chart to stay Ready")
    supply.server.heal()
    measured("heal until Ready", supply.fetched("1.0.0"))


def test_a_malformed_index_fails_the_repository_and_is_healed_by_a_good_one(supply: Supply, measured: Measured) -> None:
    """An answer of 200 that is no index: IndexationFailed, which is not what a repository out of reach says."""
    supply.server.index_fault = IndexFault.MALFORMED
    supply.look()
    supply.says(supply.repository, "IndexationFailed")
    supply.server.index_fault = None
    measured("heal until Ready", supply.fetched("1.0.0"))


def test_a_version_that_a_stale_index_hides_stalls_the_chart_until_the_index_tells_of_it(
    supply: Supply, measured: Measured
) -> None:
    """InvalidChartReference and Stalled: the chart does not look again by itself, and a new index wakes it."""
    supply.server.index_fault = IndexFault.STALE
    supply.publish("2.0.0")
    supply.ask_for("2.0.0")
    supply.says(supply.chart, "InvalidChartReference")
    supply.server.index_fault = None
    never(supply.lab, ready(supply.chart), seconds=5, what="the chart to look again by itself")
    supply.look()
    measured("new index until Ready", supply.fetched("2.0.0"))


def test_an_archive_that_vanished_is_told_and_fetched_once_it_is_back(supply: Supply, measured: Measured) -> None:
    """Retried without a request of ours. The reason is ChartPullError or Unknown (then the text blames authentication)."""
    supply.publish("2.0.0")
    supply.look()
    supply.server.withdraw(NAME, "2.0.0", archive_only=True)
    supply.ask_for("2.0.0")
    told = holds(supply.chart, _not_found, "says that the archive is not there")
    wait_for(supply.lab.store, told, deadline=30, what="the failure to be told", fail_fast=False)
    supply.publish("2.0.0")
    measured("heal until Ready", supply.fetched("2.0.0"))


@pytest.mark.parametrize("left", ["", "0.9.0"], ids=["name", "version"])
def test_what_vanished_from_the_index_stalls_also_a_chart_that_has_it_and_the_release_on_it(
    supply: Supply, measured: Measured, left: str
) -> None:
    """The archive is still in storage, and the pods serve: Stalled and SourceNotReady until the index tells of it again."""
    release = Referring(supply.lab, supply.name, supply.chart)
    try:
        release.install()
        release.wait_ready()
        if left:
            supply.publish(left)
        supply.server.withdraw(NAME, "1.0.0")
        supply.look()
        supply.says(supply.chart, "InvalidChartReference", "no chart name found" if not left else "matching '1.0.0'")
        release.wait(failed(release.ref, "SourceNotReady", "invalid chart reference"), what="to say it", deadline=40)
        release.wait_serving()
        supply.publish("1.0.0")
        supply.look()
        measured("new index until Ready", supply.fetched("1.0.0") + release.wait_ready().seconds)
        assert release.statuses() == ("deployed",)
    finally:
        release.remove()


def test_a_digest_that_moved_is_not_noticed_by_a_chart_until_its_own_spec_changes(supply: Supply) -> None:
    """The index has a new revision and another digest for 1.0.0; a HelmChart that has 1.0.0 does not fetch it again."""
    before = content_of(supply.lab.api.get(supply.chart))
    revision = revision_of(supply.lab.api.get(supply.repository))
    supply.server.publish(NAME, "1.0.0", package("1.0.0", files={"README.md": "moved"}))
    supply.look()
    newer = holds(supply.repository, lambda obj: revision_of(obj) not in {"", revision}, "has another index")
    wait_for(supply.lab.store, newer, deadline=20, what="the new index")
    moved = holds(supply.chart, lambda obj: content_of(obj) != before, "has other content")
    never(supply.lab, moved, seconds=3, what="the chart to be fetched again")
    supply.ask_for("1.0.0", interval="9m")
    wait_for(supply.lab.store, moved, deadline=20, what="the chart to be fetched again")


@pytest.mark.proves(
    "flux.md C-11",
    "over HTTP a release stays Ready while its repository is out of reach; an upgrade waits, and is finished",
)
def test_an_outage_touches_no_release_until_an_upgrade_is_asked_for_which_is_finished_alone_when_it_ends(
    supply: Supply, measured: Measured
) -> None:
    """Through scheduled looks it stays Ready; then SourceNotReady, since the new version is in no index that is known."""
    release = Referring(supply.lab, supply.name, supply.chart)
    try:
        supply.lab.api.patch(supply.repository, {"spec": {"interval": "2s"}})
        release.install()
        release.wait_ready()
        supply.server.fault = ServerFault.server_error(503)
        supply.says(supply.repository, "Failed", "503")
        never(supply.lab, failed(release.ref, "SourceNotReady", ""), seconds=6, what="the release to be unwell")
        supply.publish("1.1.0")
        supply.ask_for("1.1.0")
        release.wait(failed(release.ref, "SourceNotReady", "1.1.0"), what="to say what it waits for", deadline=40)
        supply.server.heal()
        upgraded = holds(release.ref, lambda obj: release_version(obj) == "1.1.0", "is deployed at 1.1.0")
        measured(
            "heal until upgraded", release.wait(all_of(ready(release.ref), upgraded), what="to be upgraded").seconds
        )
    finally:
        release.remove()


def test_control_a_repository_that_a_person_calls_ready_fetches_nothing(lab: Lab, supply: Supply) -> None:
    """Negative control: behind a server that is down, no faked Ready makes a version appear."""
    supply.publish("2.0.0")
    supply.server.fault = ServerFault.down()
    supply.ask_for("2.0.0")
    supply.says(supply.chart, "InvalidChartReference")
    fake_ready(lab, supply.chart, revision="2.0.0")
    wait_for(lab.store, ready(supply.chart), deadline=10, what="the chart to be called Ready")
    with refused():
        supply.fetched("2.0.0", deadline=10)
