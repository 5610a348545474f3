"""Input that nobody should publish or write: each is refused by name, and nothing else suffers (Flux 2.9, Helm 4).

While the bad thing is there, another release from the same chart repository is installed, and every process of the lab
is still the one that it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fluxdrill.cluster.part import State
from fluxdrill.flux.operations import reconcile
from fluxdrill.kube.errors import ApiError
from fluxdrill.kube.wait import ready, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.sources.charts import IndexFault
from fluxdrill.sources.standin import package
from suites.ordering.seen import failed, holds
from suites.remediation.conftest import MakeRelease
from suites.remediation.oci import Referring, oci_on
from suites.remediation.releases import VERSION, Outcome, Release, recovered
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_process_that_was_restarted_is_not_taken_for_one_that_stayed_up",
    "test_control_a_release_of_a_bad_chart_that_a_person_calls_ready_is_not_installed",
)

GOOD = package(VERSION)
ARCHIVES = {
    "truncated": (GOOD[: len(GOOD) // 2], "unexpected EOF"),
    "no-gzip": (b"this is no archive at all", "gzip: invalid header"),
    "empty": (b"", "EOF"),
}
"""Archives by the name of the chart that is served as one, and what is said of them."""
HELM_NAME_LIMIT = 53
"""Characters that Helm gives the name of a release."""


def running(lab: Lab) -> dict[str, str]:
    """Return the id of each process of the lab that runs."""
    return {name: one.identity for name, one in lab.processes.items() if one.state is State.RUNNING}


@contextmanager
def nothing_else_suffers(lab: Lab, make_release: MakeRelease) -> Iterator[None]:
    """Check at the end of the block that the lab is what it was and another release from the same repository installs."""
    before = running(lab)
    yield
    other = make_release("other")
    other.install()
    other.wait(recovered(other), what="to be installed beside the bad one")
    assert running(lab) == before


@pytest.fixture(scope="module")
def served(lab: Lab) -> Iterator[None]:
    """Bad archives in the lab's chart repository, and an index that tells of them."""
    for name, (archive, _) in ARCHIVES.items():
        lab.charts.publish(name, VERSION, archive)
    yield
    for name in ARCHIVES:
        lab.charts.withdraw(name, VERSION)


def of_chart(make_release: MakeRelease, chart: str) -> Release:
    """Return a release of another chart than the stand-in, from the same repository."""
    repository = make_release("never-installed").repository
    source = {"kind": repository.kind, "name": repository.name, "namespace": repository.namespace}
    wanted = {"chart": chart, "version": VERSION, "interval": "10m", "sourceRef": source}
    return make_release(chart, chart={"spec": wanted})


@pytest.mark.ci
@pytest.mark.usefixtures("served")
def test_an_archive_that_is_none_is_named_by_its_chart_and_its_release(lab: Lab, make_release: MakeRelease) -> None:
    """Truncated, no gzip, and empty: ChartPullError with the cause, which the release repeats as SourceNotReady."""
    with nothing_else_suffers(lab, make_release):
        releases = {name: of_chart(make_release, name) for name in ARCHIVES}
        for one in releases.values():
            one.install()
        for name, one in releases.items():
            cause = ARCHIVES[name][1]
            pulled = failed(one.chart, "ChartPullError", cause)
            wait_for(lab.store, pulled, deadline=40, what=f"{name} to be named", fail_fast=False)
            one.wait(failed(one.ref, "SourceNotReady", cause), what="to say what it waits for", deadline=40)


@pytest.mark.usefixtures("served")
def test_a_good_archive_in_place_of_a_bad_one_is_fetched_alone(
    lab: Lab, make_release: MakeRelease, measured: Measured
) -> None:
    """A pull that failed is retried, and what is served under the same version by then is taken."""
    release = of_chart(make_release, "truncated")
    release.install()
    release.wait(failed(release.ref, "SourceNotReady", "unexpected EOF"), what="to name the archive", deadline=40)
    lab.charts.publish("truncated", VERSION, package(VERSION, name="truncated"))
    try:
        measured("good archive until Ready", release.wait(recovered(release), what="to be installed").seconds)
    finally:
        lab.charts.publish("truncated", VERSION, ARCHIVES["truncated"][0])


def test_an_oci_repository_takes_any_archive_and_it_is_the_release_that_names_it(
    lab: Lab, make_release: MakeRelease
) -> None:
    """It is Ready, having looked at no byte of it; ArtifactFailed comes from helm-controller, and a good tag heals it."""
    with oci_on(lab, lab.registry) as oci, nothing_else_suffers(lab, make_release):
        oci.registry.push_chart(oci.app, "2.0.0", ARCHIVES["truncated"][0])
        oci.ask_source(tag="2.0.0")
        oci.fetched("2.0.0", oci.source)
        release = Referring(lab, oci.name, oci.source)
        try:
            release.install()
            release.wait(failed(release.ref, "ArtifactFailed", "Could not load chart"), what="to name it", deadline=40)
            oci.ask_source(tag="1.0.0")
            release.wait(recovered(release), what="to be installed")
        finally:
            release.remove()


def test_an_index_of_100_mib_is_refused_by_its_size_and_the_one_before_it_goes_on_serving(
    lab: Lab, make_release: MakeRelease, measured: Measured
) -> None:
    """source-controller reads no more than 50 MiB of it; new releases are installed from the index that it has."""
    repository = make_release("never-installed").repository
    wait_for(lab.store, ready(repository), deadline=20, what="the index")
    with nothing_else_suffers(lab, make_release):
        lab.charts.index_fault = IndexFault.HUGE
        try:
            reconcile(lab.api, lab.store, repository, deadline=60)
            too_large = failed(repository, "Failed", "index exceeds the maximum index file size of 52428800 bytes")
            wait_for(lab.store, too_large, deadline=60, what="the size to be named", fail_fast=False)
            other = make_release("meanwhile")
            other.install()
            other.wait(recovered(other), what="to be installed from the index of before")
        finally:
            lab.charts.index_fault = None
        healed = wait_for(lab.store, ready(repository), deadline=60, what="the index of before", fail_fast=False)
        measured("heal until Ready", healed.seconds)


def test_values_of_the_wrong_type_are_named_not_counted_and_retried_until_they_are_right(
    lab: Lab, make_release: MakeRelease, measured: Measured
) -> None:
    """The chart's schema refuses them before Helm writes anything: `failures` grows, no other counter, and no stall."""
    with nothing_else_suffers(lab, make_release):
        fresh, grown = make_release("fresh"), make_release("grown")
        grown.install()
        grown.wait(recovered(grown), what="to be installed")
        fresh.install(replicas="many")
        grown.change(replicas="many")
        for one, reason in ((fresh, "InstallFailed"), (grown, "UpgradeFailed")):
            one.wait(failed(one.ref, reason, "replicas"), what="to name the value", deadline=40)
            twice = holds(one.ref, lambda obj: Outcome.of(obj).failures[0] >= 2, "failed twice")
            one.wait(twice, what="to be retried")
            assert Outcome.of(lab.api.get(one.ref)).failures[1:] == (0, 0)
            assert not one.ever("Stalled")
        assert (fresh.statuses(), grown.statuses()) == ((), ("deployed",))
        for one in (fresh, grown):
            one.change(replicas=1)
            measured(f"right values until Ready ({one.name.partition('-')[0]})", one.wait(recovered(one), what="to be well").seconds)  # fmt: skip


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a release name beyond Helm's limit": ({"releaseName": "r" * (HELM_NAME_LIMIT + 1)}, "releaseName"),
    "an empty release name": ({"releaseName": ""}, "releaseName"),
    "a target namespace beyond a label's limit": ({"targetNamespace": "n" * 64}, "targetNamespace"),
    "a storage namespace beyond a label's limit": ({"storageNamespace": "n" * 64}, "storageNamespace"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_name_that_is_too_long_never_reaches_a_controller(make_release: MakeRelease, why: str) -> None:
    """The API server refuses it, and says which field it is."""
    spec, blamed = REFUSED[why]
    with pytest.raises(ApiError, match=blamed):
        make_release("refused", **spec).install()


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 254])
def test_an_object_whose_name_is_no_dns_name_is_refused_by_the_api_server(lab: Lab, name: str) -> None:
    """No controller ever sees it."""
    release = Release(lab, name, repository="none", spec={})
    with pytest.raises(ApiError, match=r"metadata.name|RFC 1123"):
        release.install()


def test_a_long_name_of_a_helm_release_is_shortened_to_what_helm_takes(lab: Lab, make_release: MakeRelease) -> None:
    """The object may be called what Kubernetes takes; the release in Helm gets a name of 53 characters at most."""
    release = make_release("l" * 58)
    release.install()
    release.wait(recovered(release), what="to be installed")
    (snapshot,) = lab.api.get(release.ref)["status"]["history"]
    assert len(release.name) > HELM_NAME_LIMIT >= len(snapshot["name"])


def test_a_target_namespace_that_is_no_dns_label_is_named_by_the_release_and_not_counted(
    lab: Lab, make_release: MakeRelease
) -> None:
    """The schema of HelmRelease asks for its length only. It is part of the name in Helm, which is refused, and retried."""
    with nothing_else_suffers(lab, make_release):
        release = make_release("nowhere", targetNamespace="Not_A_Label")
        release.install()
        release.wait(failed(release.ref, "InstallFailed", "invalid release name"), what="to name it", deadline=40)
        twice = holds(release.ref, lambda obj: Outcome.of(obj).failures[0] >= 2, "failed twice")
        release.wait(twice, what="to be retried")
        assert Outcome.of(lab.api.get(release.ref)).failures[1:] == (0, 0)
        assert not release.ever("Stalled")


def test_with_a_good_release_name_the_same_target_namespace_is_a_failed_install_and_stalls(
    lab: Lab, make_release: MakeRelease
) -> None:
    """Helm has written a revision by the time that the API server refuses the namespace: that counts."""
    with nothing_else_suffers(lab, make_release):
        release = make_release("nowhere", targetNamespace="Not_A_Label", releaseName="fine")
        release.install()
        release.wait_stalled()
        release.wait(failed(release.ref, "InstallFailed", "Not_A_Label"), what="to name it", deadline=10)
        assert Outcome.of(lab.api.get(release.ref)).failures == (1, 1, 0)


def test_control_a_process_that_was_restarted_is_not_taken_for_one_that_stayed_up(
    lab: Lab, make_release: MakeRelease
) -> None:
    """Negative control: one controller of the lab that ended and came back in between is told."""
    with refused(), nothing_else_suffers(lab, make_release):
        lab.flux["notification-controller"].restart()


@pytest.mark.usefixtures("served")
def test_control_a_release_of_a_bad_chart_that_a_person_calls_ready_is_not_installed(
    lab: Lab, make_release: MakeRelease
) -> None:
    """Negative control: behind a faked Ready nothing was deployed."""
    release = of_chart(make_release, "no-gzip")
    release.install()
    release.wait(failed(release.ref, "SourceNotReady", "invalid header"), what="to name the archive", deadline=40)
    stop_and_fake_ready(lab, release.ref, revision=VERSION)
    release.wait(ready(release.ref), what="to be called Ready", deadline=10)
    with refused():
        release.wait(recovered(release), what="to be installed", deadline=3)
