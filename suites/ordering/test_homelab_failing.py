"""Each link of the reference homelab fails in turn, each in another way; what is behind it waits, the rest goes on.

S01 in full, and S02 with it. The lab is this module's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fluxdrill.cluster.simulated import Behaviour
from fluxdrill.flux.bootstrap import ROOT
from fluxdrill.flux.kinds import HELM_RELEASE
from fluxdrill.flux.operations import resume
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.wait import all_current, all_of, condition, wait_for
from fluxdrill.lab.lab import LabSpec
from fluxdrill.lab.serve import HOMELAB_PATH, Repository, homelab, serve
from fluxdrill.model.refs import ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.pytest_plugin.plugin import start
from fluxdrill.repository.profile import Profile
from fluxdrill.repository.source import files
from suites.ordering.links import kustomization
from suites.ordering.seen import failed
from suites.ordering.workloads import job
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_a_link_that_a_person_calls_ready_no_longer_blocks",)

CHILDREN = ("infra-controllers", "infra-configs", "apps", "monitoring-controllers", "monitoring-configs")


@dataclass(frozen=True, slots=True)
class Failure:
    """How one link is made to fail: in which file, which text becomes which; what it says; and what is behind it."""

    link: str
    path: str
    old: str
    new: str
    reason: str
    said: str
    behind: frozenset[str]


RESOURCES = "resources:\n"
FAILURES = {
    "bad-manifest": Failure(
        "infra-controllers",
        "infrastructure/controllers/kustomization.yaml",
        RESOURCES,
        f"{RESOURCES}  - nowhere.yaml\n",
        "BuildFailed",
        "nowhere.yaml",
        frozenset(CHILDREN[1:]),
    ),
    "failing-workload": Failure(
        "infra-configs",
        "infrastructure/configs/kustomization.yaml",
        RESOURCES,
        f"{RESOURCES}  - fails.yaml\n",
        "HealthCheckFailed",
        "Job/default/fails",
        frozenset(CHILDREN[2:]),
    ),
    "missing-path": Failure(
        "apps",
        "clusters/kyrion/apps.yaml",
        "path: ./apps/kyrion\n",
        "path: ./apps/nowhere\n",
        "ArtifactFailed",
        "kustomization path not found",
        frozenset(),
    ),
    "missing-secret": Failure(
        "monitoring-controllers",
        "clusters/kyrion/monitoring.yaml",
        "name: cluster-secret-vars\n---",
        "name: no-such\n---",
        "BuildFailed",
        "Secret/no-such",
        frozenset(CHILDREN[4:]),
    ),
    "unreadable-manifest": Failure(
        "monitoring-configs",
        "monitoring/configs/kustomization.yaml",
        RESOURCES,
        f"{RESOURCES}  - [\n",
        "BuildFailed",
        "",
        frozenset(),
    ),
}


@pytest.fixture(scope="module")
def home(request: pytest.FixtureRequest) -> Iterator[Repository]:
    """Bring the reference homelab up in a lab of its own, with a Job that fails lying ready, in no list."""
    with start(request.config, LabSpec(sealed_secrets=True)) as lab:
        repository = serve(lab, str(homelab()), path=HOMELAB_PATH, profile=Profile.FAST)
        repository.commit({"infrastructure/configs/fails.yaml": job("fails", Behaviour.FAIL)}, "lies ready")
        repository.wait_ready(deadline=120)
        yield repository


def broken(home: Repository, failure: Failure) -> tuple[str, dict[str, str | None]]:
    """Commit the failure; return the revision, and the change that heals it."""
    text = files(home.served)[failure.path].decode()
    assert text.count(failure.old) == 1
    changed = text.replace(failure.old, failure.new)
    return home.change({failure.path: changed}, f"break {failure.link}"), {failure.path: text}


def blocks_what_is_behind(home: Repository, failure: Failure, revision: str, *, deadline: float = 60) -> None:
    """Wait until exactly what is behind waits, while the rest is Ready at `revision` and no release has suffered."""
    store = home.lab.store
    waiting = [condition(kustomization(one), "Ready", "False", "DependencyNotReady") for one in failure.behind]
    rest = [kustomization(one) for one in CHILDREN if one != failure.link and one not in failure.behind]
    releases = [ObjectRef.of(one) for one in store.list(HELM_RELEASE)]
    state = all_of(*waiting, at_revision([ROOT, *rest], revision), all_current(releases))
    what = f"{', '.join(sorted(failure.behind)) or 'nothing'} to wait for {failure.link}, and the rest to go on"
    wait_for(store, state, deadline=deadline, dwell=2, what=what, fail_fast=False)


@pytest.mark.parametrize("how", FAILURES)
def test_s01_s02_each_link_that_fails_blocks_what_is_behind_it_and_heals_from_git_alone(
    home: Repository, measured: Measured, how: str
) -> None:
    """S01; S02, corrected: monitoring hangs on infra-configs and not on apps. After the repair all of it is Ready."""
    failure = FAILURES[how]
    revision, repair = broken(home, failure)
    try:
        said = failed(kustomization(failure.link), failure.reason, failure.said)
        told = wait_for(home.lab.store, said, deadline=60, what=f"{failure.link} to fail")
        measured("fault until told", told.seconds, kind="detection")
        blocks_what_is_behind(home, failure, revision)
    finally:
        home.change(repair, f"heal {failure.link}")
    measured("heal until Ready", home.wait_ready(deadline=90).seconds)


def test_every_link_is_among_those_that_fail() -> None:
    """The table is complete: five links, five ways."""
    assert [failure.link for failure in FAILURES.values()] == list(CHILDREN)


def test_control_a_link_that_a_person_calls_ready_no_longer_blocks(home: Repository) -> None:
    """Negative control: with the failing link's Ready faked, what is behind it goes on, and the check says so."""
    failure = FAILURES["missing-secret"]
    revision, repair = broken(home, failure)
    link = kustomization(failure.link)
    try:
        said = failed(link, failure.reason, failure.said)
        wait_for(home.lab.store, said, deadline=60, what=f"{failure.link} to fail")
        stop_and_fake_ready(home.lab, link, revision=revision)
        fooled = at_revision([kustomization("monitoring-configs")], revision)
        wait_for(home.lab.store, fooled, deadline=20, what="the controller to be fooled")
        with refused():
            blocks_what_is_behind(home, failure, revision, deadline=3)
    finally:
        resume(home.lab.api, link)
        home.change(repair, f"heal {failure.link}")
    home.wait_ready(deadline=90)
