"""`dependsOn` between HelmReleases: what it waits for, and what it does not care about (helm-controller 1.6)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from fluxdrill.flux.operations import suspend
from fluxdrill.kube.predicates import Predicate
from fluxdrill.kube.wait import absent, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.refs import ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.sources.standin import NAME, package
from suites.ordering.seen import failed, holds, never
from suites.remediation.conftest import MakeRelease, Told, all_at_once
from suites.remediation.releases import NEVER_READY, Release, deployed, recovered
from suites.remediation.traces import identity, witness
from suites.sabotage import fake_ready, refused

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_release_without_dependencies_does_not_wait",
    "test_control_a_dependency_that_a_person_calls_ready_opens_the_way_too_early",
)

DEADLINE = 120.0
"""Seconds for one of several releases: the controller works at four at a time."""
QUIET = 6.0
"""Seconds in which a release that waits could begin: it looks every second (`--requeue-dependency`)."""
NEWER = f"1.1.{secrets.randbelow(100_000)}"
PLACE = f"place-{secrets.token_hex(3)}"


def installs(release: Release, **values: object) -> None:
    """Install a release and wait until it is Ready."""
    release.install(**values)
    release.wait(recovered(release), what="to be installed", deadline=DEADLINE)


def waits_for(release: Release, text: str) -> Predicate:
    """Met when a release says that it waits for a dependency, with this text."""
    return failed(release.ref, "DependencyNotReady", text)


def carries(release: Release, text: str) -> Predicate:
    """Met when the witness of a release in the cluster carries `text`."""
    return holds(witness(release), lambda obj: obj["data"]["witness"] == text, f"carries {text}")


def in_another_namespace(lab: Lab, make: MakeRelease) -> None:
    """Of two dependents, the one that names the namespace starts, and the other looks beside itself for ever."""
    before = make("before")
    before.namespace = PLACE
    named = make("named", dependsOn=[{"name": before.name, "namespace": PLACE}])
    beside = make("beside", dependsOn=[{"name": before.name}])
    named.install()
    beside.install()
    named.wait(waits_for(named, f"unable to get '{PLACE}/{before.name}' dependency"), what="to wait")
    installs(before)
    named.wait(recovered(named), what="to be installed", deadline=DEADLINE)
    beside.wait(waits_for(beside, f"unable to get 'default/{before.name}' dependency"), what="to wait")
    assert not beside.ever("Stalled")
    assert beside.history() == ()


def on_one_that_is_suspended(lab: Lab, make: MakeRelease) -> None:
    """It was Ready when it was suspended, and goes on counting as Ready, also after a change that nobody applies."""
    before = make("suspended")
    behind = make("behind-suspended", dependsOn=[{"name": before.name}])
    installs(before, witness="one")
    suspend(lab.api, before.ref)
    before.change(witness="unapplied")
    before.wait(_observed(before), what="to observe its change, suspended as it is")
    installs(behind)
    assert before.statuses() == ("deployed",)
    before.wait(carries(before, "one"), what="to be as it was", deadline=5)


def _observed(release: Release) -> Predicate:
    return holds(
        release.ref,
        lambda obj: (obj.get("status") or {}).get("observedGeneration") == obj["metadata"]["generation"],
        "is observed",
    )


def on_one_that_was_suspended_before_it_was_ready(lab: Lab, make: MakeRelease) -> None:
    """A dependency that never got to be Ready holds back for ever."""
    before = make("never-begun", suspend=True)
    behind = make("behind-never-begun", dependsOn=[{"name": before.name}])
    before.install()
    behind.install()
    behind.wait(waits_for(behind, f"dependency 'default/{before.name}' is not ready"), what="to wait")
    never(lab, deployed(behind), seconds=QUIET, what="an install behind what was never installed")


def on_one_that_is_deleted(lab: Lab, make: MakeRelease) -> None:
    """The deletion asks nobody; the dependent serves on, is no longer Ready, and is not changed any more."""
    before = make("deleted")
    behind = make("behind-deleted", dependsOn=[{"name": before.name}])
    installs(before)
    installs(behind, witness="one")
    kept = identity(behind, behind.deployment)
    lab.api.delete(before.ref)
    wait_for(lab.store, absent(before.ref), deadline=30, what="the dependency to be uninstalled before its dependent")
    behind.wait(waits_for(behind, f"unable to get 'default/{before.name}' dependency"), what="to miss it")
    behind.change(witness="two")
    never(lab, carries(behind, "two"), seconds=QUIET, what="an upgrade without the dependency")
    assert (identity(behind, behind.deployment), behind.available(), behind.statuses()) == (kept, 1, ("deployed",))
    assert not behind.ever("Stalled")
    lab.api.delete(behind.ref)
    wait_for(lab.store, absent(behind.ref), deadline=30, what="the dependent to be uninstalled without its dependency")


def on_one_of_another_version(lab: Lab, make: MakeRelease) -> None:
    """Kustomizations wait until their dependency is at the same revision of their source; HelmReleases do not."""
    before = make("older")
    behind = make("newer", dependsOn=[{"name": before.name}])
    installs(before)
    behind.version = NEWER
    installs(behind)
    at = holds(witness(behind), lambda obj: obj["data"]["version"] == NEWER, f"is of {NEWER}")
    behind.wait(at, what="to be newer than its dependency", deadline=5)
    assert before.statuses() == ("deployed",)


def in_a_cycle(lab: Lab, make: MakeRelease) -> None:
    """Each waits for the other, nobody says that it is a cycle, and neither is stalled; undone, both start."""
    one, other = make("one"), make("other")
    one.depends_on(other)
    other.depends_on(one)
    for this in (one, other):
        this.install()
    for this, that in ((one, other), (other, one)):
        this.wait(waits_for(this, f"dependency 'default/{that.name}' is not ready"), what="to wait")
    never(lab, deployed(one), seconds=QUIET, what="a way out of a cycle")
    one.change_spec(dependsOn=None)
    for this in (one, other):
        this.wait(recovered(this), what="to be installed", deadline=DEADLINE)
        assert not this.ever("Stalled")


def by_an_expression(lab: Lab, make: MakeRelease) -> None:
    """`readyExpr` alone decides; one that cannot be parsed is final."""
    before = make("judged")
    before.install(**NEVER_READY)
    lenient = make("lenient", dependsOn=[{"name": before.name, "readyExpr": "has(dep.status)"}])
    strict = make("strict", dependsOn=[{"name": before.name, "readyExpr": "dep.metadata.name == 'another'"}])
    broken = make("broken", dependsOn=[{"name": before.name, "readyExpr": "dep.metadata.name =="}])
    for one in (lenient, strict, broken):
        one.install()
    lenient.wait(recovered(lenient), what="to be installed behind what is not Ready", deadline=DEADLINE)
    strict.wait(waits_for(strict, "is not ready according to readyExpr eval"), what="to wait")
    broken.wait_stalled("InvalidCELExpression")
    assert broken.outcome().ready == "False InvalidCELExpression"


STORIES = (
    in_another_namespace,
    on_one_that_is_suspended,
    on_one_that_was_suspended_before_it_was_ready,
    on_one_that_is_deleted,
    on_one_of_another_version,
    in_a_cycle,
    by_an_expression,
)


@pytest.fixture(scope="module")
def told(lab: Lab) -> Iterator[Told]:
    """Begin all stories at once; the newer version is there before anybody looks for charts."""
    place = ObjectRef("", "Namespace", "", PLACE)
    lab.charts.publish(NAME, NEWER, package(NEWER))
    lab.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLACE}})
    with all_at_once(lab, *STORIES) as told:
        yield told
    lab.charts.withdraw(NAME, NEWER)
    lab.api.delete(place)  # nobody waits for it: it takes Kubernetes 5 to 10 s


def test_a_dependency_in_another_namespace_is_found_only_where_it_is_named(told: Told) -> None:
    """Without `namespace` it is looked for beside the dependent: DependencyNotReady, for ever."""
    told(in_another_namespace)


@pytest.mark.proves("flux.md 4.2.12", "true: a suspended release observes its generation and satisfies its dependents")
def test_a_dependency_that_is_suspended_and_was_ready_satisfies_its_dependent(told: Told) -> None:
    """Even with a change in its spec that nobody applies."""
    told(on_one_that_is_suspended)


def test_a_dependency_that_was_suspended_before_it_was_ready_holds_back_for_ever(told: Told) -> None:
    """No Ready, no start."""
    told(on_one_that_was_suspended_before_it_was_ready)


@pytest.mark.proves("flux.md 4.2.12", "true: uninstall ignores dependsOn, in both directions")
@pytest.mark.proves("flux.md C-15", "a deleted dependency: DependencyNotReady, never stalled, the dependent serves on")
def test_a_dependency_is_uninstalled_before_its_dependent_which_serves_on_and_is_frozen(told: Told) -> None:
    """The dependent is no longer Ready, keeps its pods, and takes no change until it is deleted itself."""
    told(on_one_that_is_deleted)


@pytest.mark.proves("flux.md 4.2.12", "true: there is no check of revisions or versions")
def test_a_dependent_does_not_wait_for_its_dependency_to_be_of_the_same_version(told: Told) -> None:
    """The dependent is upgraded and installed at a newer version of the same chart."""
    told(on_one_of_another_version)


@pytest.mark.proves("flux.md C-15", "a cycle: both are DependencyNotReady, and neither is ever stalled")
def test_a_cycle_is_never_called_one_and_is_over_once_it_is_broken(told: Told) -> None:
    """It ends when one of the two no longer depends."""
    told(in_a_cycle)


def test_an_expression_replaces_the_check_of_ready_and_a_broken_one_is_final(told: Told) -> None:
    """`readyExpr`: true behind what is not Ready, false behind what is, or Stalled for InvalidCELExpression."""
    told(by_an_expression)


@pytest.mark.ci
def test_control_a_release_without_dependencies_does_not_wait(make_release: MakeRelease, measured: Measured) -> None:
    """Negative control of waiting: beside a dependency that is not there, one that needs nobody is installed."""
    free, bound = make_release("free"), make_release("bound", dependsOn=[{"name": "nobody"}])
    begun = SYSTEM_CLOCK.now()
    bound.install()
    installs(free)
    measured("install without waiting", free.ready_after(begun), kind="other")
    bound.wait(waits_for(bound, "nobody"), what="to wait", deadline=10)
    with refused():
        free.wait(waits_for(free, ""), what="to wait", deadline=1)


def test_control_a_dependency_that_a_person_calls_ready_opens_the_way_too_early(
    lab: Lab, make_release: MakeRelease
) -> None:
    """Negative control of holding back: with a faked Ready the dependent is installed beside nothing, and it is seen."""
    before = make_release("before", suspend=True)
    behind = make_release("behind", dependsOn=[{"name": before.name}])
    before.install()
    behind.install()
    behind.wait(waits_for(behind, before.name), what="to wait")
    fake_ready(lab, before.ref, revision="1.0.0")
    with refused():
        never(lab, deployed(behind), seconds=30, what="an install behind what was never installed")
