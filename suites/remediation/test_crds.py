"""CRDs in a chart's crds/ folder: which policy writes what, and when (helm-controller 1.6 with Helm 4).

Each policy is tried in four places, all at the same time: on an install where the CRD is not there, on an install where
a person has put it there, on an upgrade to a chart with another version of it, and on an upgrade to a chart that has it
for the first time. Which one is there is told by the description in its schema.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml

from fluxdrill.kube.errors import ApiError, NotFoundError
from fluxdrill.kube.wait import absent, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef
from fluxdrill.sources.standin import crd, package
from suites.ordering.seen import failed, gone, never
from suites.remediation.conftest import MakeRelease, releases_on
from suites.remediation.releases import Release, recovered
from suites.remediation.traces import in_storage
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_one_policy_is_not_taken_for_another",)

DEADLINE = 120.0
"""Seconds for one of many releases: the controller works at four at a time."""
MARK = secrets.token_hex(3)
OLD, NEW, WITHOUT = "1.0.0", "1.1.0", "1.2.0"
PERSON, ONE, TWO, NONE = "a person's", "one", "two", ""
CLIENT_SIDE = {"install": {"serverSideApply": False}}


@dataclass(frozen=True, slots=True)
class Policy:
    """A setting, and which version of the CRD is there after an install, an install beside a person's, and upgrades."""

    fresh: str
    beside: str
    upgraded: str
    appears: str
    crds: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full_spec(self) -> dict[str, Any]:
        """The spec of the release: the same policy for install and upgrade."""
        policy = {"crds": self.crds} if self.crds else {}
        return {action: {**policy, **self.spec.get(action, {})} for action in ("install", "upgrade")}


POLICIES = {
    "unset": Policy(ONE, ONE, TWO, TWO),
    "skip": Policy(NONE, PERSON, NONE, NONE, "Skip"),
    "skip-upgrade": Policy(ONE, ONE, ONE, NONE, "", {"upgrade": {"crds": "Skip"}}),
    "create": Policy(ONE, ONE, TWO, TWO, "Create"),
    "replace": Policy(ONE, ONE, TWO, TWO, "CreateReplace"),
    "create-client-side": Policy(ONE, PERSON, ONE, TWO, "Create", CLIENT_SIDE),
    "replace-client-side": Policy(ONE, ONE, TWO, TWO, "CreateReplace", CLIENT_SIDE),
}
PLACES = [f"{name}-{place}" for name in POLICIES for place in ("fresh", "beside", "appears")]
OTHERS = ("dropped", "stuck")


@dataclass(frozen=True, slots=True)
class Found:
    """Which CRD was there after an install and after an upgrade, and its identity; "" for none."""

    installed: str
    upgraded: str = ""
    kept: bool = False
    """Whether it was the same object before and after the upgrade."""


def group(name: str) -> str:
    """Return the API group of the CRD that belongs to one release."""
    return f"{name}.g{MARK}.example"


def crd_ref(name: str) -> ObjectRef:
    """Return the CRD that belongs to one release."""
    return ObjectRef("apiextensions.k8s.io", "CustomResourceDefinition", "", f"widgets.{group(name)}")


def there(lab: Lab, name: str) -> tuple[str, str]:
    """Return which CRD is there and its identity; two empty texts for none."""
    try:
        obj = lab.api.get(crd_ref(name))
    except NotFoundError:
        return "", ""
    schema = obj["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return str(schema["description"]), str(obj["metadata"]["uid"])


def upgrade(release: Release, version: str) -> None:
    """Have a release upgraded to another version of its chart, and wait for it."""
    number = release.history()[-1].number + 1
    release.change_spec(chart={"spec": {"version": version}})
    release.wait(in_storage(release, number, "deployed"), what=f"to be upgraded to {version}", deadline=DEADLINE)
    release.wait(recovered(release), what="to be Ready", deadline=DEADLINE)


def install(release: Release, name: str, *, version: str = OLD, **values: object) -> None:
    """Install the chart with the CRD that belongs to `name`, and wait for it."""
    release.chart_name = name
    release.version = version
    release.install(replicas=0, **values)
    release.wait(recovered(release), what="to be installed", deadline=DEADLINE)


def tried(lab: Lab, release: Release, name: str) -> Found:
    """Install and, where the CRD was not there before, upgrade too; look what became of the CRD."""
    if name.endswith("-beside"):
        lab.api.apply(yaml.safe_load(crd(group(name), witness=PERSON)))
        install(release, name)
        return Found(there(lab, name)[0])
    install(release, name, version=WITHOUT if name.endswith("-appears") else OLD)
    (installed, before) = there(lab, name)
    upgrade(release, NEW)
    (upgraded, after) = there(lab, name)
    return Found(installed, upgraded, before == after)


def dropped(lab: Lab, release: Release) -> None:
    """Upgrade to a chart without the CRD, then uninstall: it stays what it was."""
    install(release, "dropped")
    before = there(lab, "dropped")
    assert before[0] == ONE
    upgrade(release, WITHOUT)
    assert there(lab, "dropped") == before
    release.remove()
    assert there(lab, "dropped") == before


def stuck(lab: Lab, release: Release) -> None:
    """Delete the CRD before the release that has an object of it, and bring it back."""
    install(release, "stuck", widgets=group("stuck"))
    lab.api.delete(crd_ref("stuck"))
    wait_for(lab.store, absent(crd_ref("stuck")), deadline=30, what="the CRD to be gone")
    lab.api.delete(release.ref)
    release.wait(failed(release.ref, "UninstallFailed", "failed to delete release"), what="to fail", deadline=60)
    never(lab, absent(release.ref), seconds=5, what="an uninstall without the CRD")
    lab.api.apply(yaml.safe_load(crd(group("stuck"), witness=PERSON)))
    wait_for(lab.store, absent(release.ref), deadline=60, what="the uninstall", fail_fast=False)


@contextmanager
def charts(lab: Lab, names: tuple[str, ...]) -> Iterator[None]:
    """Serve charts with the names, each with a CRD of its own, in three versions; the CRDs go in the end."""
    versions = {OLD: ONE, NEW: TWO, WITHOUT: NONE}
    for name in names:
        for version, text in versions.items():
            files = {"crds/widgets.yaml": crd(group(name), witness=text)} if text else {}
            lab.charts.publish(name, version, package(version, name=name, files=files))
    try:
        yield
    finally:
        for name in names:
            for version in versions:
                lab.charts.withdraw(name, version)
            gone(lab, crd_ref(name))


Trials = Mapping[str, Future[Any]]


@pytest.fixture(scope="module")
def trials(lab: Lab) -> Iterator[Trials]:
    """Begin all trials at once, from a repository that knows the charts with CRDs."""
    with charts(lab, (*PLACES, *OTHERS)), releases_on(lab) as make, ThreadPoolExecutor(len(PLACES)) as pool:
        specs = {name: POLICIES[name.rpartition("-")[0]].full_spec for name in PLACES}
        begun: dict[str, Future[Any]] = {
            "stuck": pool.submit(stuck, lab, make("stuck")),
            "dropped": pool.submit(dropped, lab, make("dropped", **POLICIES["replace"].full_spec)),
        }
        yield begun | {name: pool.submit(tried, lab, make(name, **specs[name]), name) for name in PLACES}


def follows(policy: Policy, name: str, trials: Trials) -> None:
    """Check what became of the CRDs of the releases with the policy `name` against a policy."""
    fresh, beside, appears = (trials[f"{name}-{place}"].result() for place in ("fresh", "beside", "appears"))
    assert (fresh.installed, beside.installed) == (policy.fresh, policy.beside)
    assert (fresh.upgraded, appears.upgraded) == (policy.upgraded, policy.appears)
    assert appears.installed == NONE
    assert fresh.kept


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.proves(
    "flux.md 4.2.19",
    "the default of an upgrade is Create, not Skip as documented; and Create overwrites a CRD that is there, with the"
    " default server-side apply, on install and on upgrade: only `serverSideApply: false` makes it leave one alone",
)
def test_each_policy_writes_what_the_table_says(trials: Trials, name: str) -> None:
    """Fresh, beside a person's, and on upgrades; an upgrade never makes another object of it."""
    follows(POLICIES[name], name, trials)


def test_control_one_policy_is_not_taken_for_another(trials: Trials) -> None:
    """Negative control: told wrong in one of the four places, a policy is refused."""
    true = POLICIES["create-client-side"]
    for lie in (
        replace(true, fresh=NONE),
        replace(true, beside=ONE),
        replace(true, upgraded=TWO),
        replace(true, appears=NONE),
    ):
        with refused():
            follows(lie, "create-client-side", trials)


@pytest.mark.proves("flux.md 4.2.19", "true: no policy ever deletes a CRD, nor does the uninstall")
def test_a_crd_that_the_chart_no_longer_has_stays_and_survives_the_uninstall(trials: Trials) -> None:
    """CreateReplace and a chart without the CRD; then the release is deleted."""
    trials["dropped"].result()


@pytest.mark.proves(
    "flux.md C-19", "without its CRD a custom resource's release cannot be uninstalled until it is back"
)
def test_a_release_whose_crd_was_deleted_first_is_not_uninstalled_until_the_crd_is_back(trials: Trials) -> None:
    """UninstallFailed, tried again and again, held by its finalizer; the CRD alone, without the object, frees it."""
    trials["stuck"].result()


@pytest.mark.ci
def test_a_policy_that_is_none_is_refused_by_the_api_server(make_release: MakeRelease) -> None:
    """The schema of HelmRelease knows three."""
    with pytest.raises(ApiError, match="Unsupported value"):
        make_release("illegal", upgrade={"crds": "Replace"}).install()
