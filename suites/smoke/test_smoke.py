"""First smoke suite: a lab is what it says it is, and a two-link repository comes up on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.operations import reconcile, resume
from fluxdrill.kube.wait import condition, present, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.lab.marker import MARKER
from fluxdrill.model.refs import ObjectRef
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS
from suites.ordering.links import Fleet, Link, config
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live, pytest.mark.ci, pytest.mark.core]

CONTROLS = ("test_control_a_suspended_kustomization_does_not_heal_and_a_resumed_one_does",)

APP = Link("smoke-app", text=config("greeting", hello="world"))
GREETING = ObjectRef("", "ConfigMap", "default", "greeting")


@pytest.fixture(scope="module")
def fleet(lab: Lab) -> Iterator[Fleet]:
    """A repository of two links (root -> app), bootstrapped into the lab."""
    fleet = Fleet(lab, APP, name="smoke")
    fleet.bootstrap()
    yield fleet
    fleet.remove()


def greeting(text: str) -> dict[str, str]:
    """Return a change of the greeting."""
    return {f"{APP.name}/objects.yaml": config("greeting", hello=text)}


def comes_back(lab: Lab, *, deadline: float = 30) -> None:
    """Wait until the deleted greeting is there again."""
    wait_for(lab.store, present(GREETING), deadline=deadline, what="the deleted object to come back")


def test_the_lab_runs_a_real_api_server_with_every_flux_controller(lab: Lab) -> None:
    """The server's own version, and six processes that say they are ready."""
    assert lab.api.version()["gitVersion"].startswith("v1.")
    assert set(lab.flux) == set(FLUX_CONTROLLERS)
    assert {process.state for process in lab.processes.values()} == {"running"}


def test_the_lab_carries_the_marker_that_destructive_work_asks_for(lab: Lab) -> None:
    """Without this label nothing destructive may run."""
    namespace = lab.api.get(ObjectRef("", "Namespace", "", NAMESPACE))
    assert namespace["metadata"]["labels"][MARKER] == lab.lab_id


def test_a_bootstrapped_repository_becomes_ready_link_by_link(lab: Lab, fleet: Fleet) -> None:
    """Root and child are Ready, and what the child stands for exists."""
    fleet.wait_ready(deadline=60)
    assert lab.api.get(GREETING)["data"] == {"hello": "world"}


def test_a_commit_reaches_the_cluster_once_a_reconcile_is_asked_for(lab: Lab, fleet: Fleet) -> None:
    """Git over HTTP, source-controller and kustomize-controller, end to end."""
    fleet.change(greeting("again"), "change the greeting")
    reconcile(lab.api, lab.store, APP.ref, deadline=30)
    assert lab.api.get(GREETING)["data"] == {"hello": "again"}


def test_control_a_suspended_kustomization_does_not_heal_and_a_resumed_one_does(lab: Lab, fleet: Fleet) -> None:
    """The negative control of every healing test: with Flux off, nothing comes back, even if it calls itself Ready."""
    fleet.wait_ready(deadline=60)
    stop_and_fake_ready(lab, APP.ref, revision=fleet.revision)
    lab.api.delete(GREETING)
    fleet.wait_ready(deadline=10)
    with refused():
        comes_back(lab, deadline=4)
    resume(lab.api, APP.ref)
    comes_back(lab)


def test_a_commit_that_cannot_be_built_makes_its_kustomization_say_so(lab: Lab, fleet: Fleet) -> None:
    """BuildFailed with its reason, and healed by the next commit."""
    fleet.change({f"{APP.name}/objects.yaml": "a: [b"}, "break the greeting")
    wait_for(lab.store, condition(APP.ref, "Ready", "False", reason="BuildFailed"), deadline=60, what="BuildFailed")
    fleet.change(greeting("healed"), "heal the greeting")
    fleet.wait_ready(deadline=60)
