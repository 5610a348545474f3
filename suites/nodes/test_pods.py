"""Pods that are evicted, an image that cannot be pulled, names that nobody answers: what Flux says, and that it recovers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from fluxdrill.cluster.standins import ABSENT
from fluxdrill.flux import NAMESPACE as FLUX
from fluxdrill.flux.inside import DEPLOYMENTS
from fluxdrill.flux.operations import request
from fluxdrill.kube.predicates import Predicate
from fluxdrill.kube.wait import absent, all_current, wait_for
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS
from suites.nodes.conftest import NOTE, POD, WEB, Nodes, deployment
from suites.ordering.links import Link, config, kustomization
from suites.ordering.seen import failed, holds
from suites.sabotage import refused

pytestmark = [pytest.mark.live, pytest.mark.needs("pods", "node-exec"), pytest.mark.timeout(600)]

CONTROLS = ("test_control_while_no_name_is_answered_nothing_new_is_applied",)

DNS = ObjectRef("apps", "Deployment", "kube-system", "coredns")
BAD = ObjectRef("apps", "Deployment", "default", "bad-image")


def evict(nodes: Nodes, pod: ObjectRef) -> None:
    """Ask for an eviction as `kubectl drain` does, and wait until the pod is gone."""
    path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction"
    meta = {"name": pod.name, "namespace": pod.namespace}
    nodes.lab.api.request("POST", path, body={"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta})
    wait_for(nodes.lab.store, absent(pod), deadline=60, what="the pod to end")


@pytest.mark.core
def test_a_web_server_that_is_evicted_comes_back_on_the_same_volume(nodes: Nodes, measured: Measured) -> None:
    """Another pod, the same claim: what the first one wrote is there."""
    before, pod = nodes.identity(), nodes.pod(WEB)
    begun = SYSTEM_CLOCK.now()
    evict(nodes, pod)
    nodes.recovered()
    measured("eviction until recovered", SYSTEM_CLOCK.now().since(begun))
    assert nodes.pod(WEB) != pod
    assert nodes.identity() == before


@pytest.mark.parametrize("name", ["source-controller", "kustomize-controller", "helm-controller"])
def test_a_flux_controller_that_is_evicted_is_replaced_and_applies_what_came_meanwhile(
    nodes: Nodes, measured: Measured, name: str
) -> None:
    """source-controller's artifacts go with its pod and are fetched anew."""
    ref = next(one for one in DEPLOYMENTS if one.name == name)
    pod = nodes.pod(ref)
    begun = SYSTEM_CLOCK.now()
    evict(nodes, pod)
    nodes.push(f"{name} was evicted")
    wait_for(nodes.lab.store, all_current([ref]), deadline=120, what=f"{name} Available", fail_fast=False)
    nodes.recovered()
    measured(f"{name} evicted until recovered", SYSTEM_CLOCK.now().since(begun))
    assert nodes.lab.api.get(NOTE)["data"] == {"says": f"{name} was evicted"}
    assert nodes.pod(ref) != pod


def test_a_frozen_controller_is_killed_by_its_kubelet_and_started_anew(nodes: Nodes, measured: Measured) -> None:
    """A process that hangs is somebody's to kill in a pod: its liveness probe fails three times."""
    part, ref = nodes.lab.flux["kustomize-controller"], DEPLOYMENTS[FLUX_CONTROLLERS.index("kustomize-controller")]
    pod, run = nodes.pod(ref), part.identity
    (status,) = nodes.lab.api.get(pod)["status"]["containerStatuses"]
    begun = SYSTEM_CLOCK.now()
    part.pause()
    nodes.push("while it was frozen")
    wait_for(
        nodes.lab.store,
        started_anew(pod, after=status["restartCount"]),
        deadline=150,
        what="its kubelet to start it anew",
        fail_fast=False,
    )
    measured("frozen until its kubelet started it anew", SYSTEM_CLOCK.now().since(begun), kind="detection")
    nodes.recovered()
    assert part.identity != run
    assert nodes.pod(ref) == pod, "it was replaced, not started anew"


def started_anew(pod: ObjectRef, *, after: int) -> Predicate:
    """Met when the container of a pod was started anew more often than that, and is ready."""

    def test(found: KubeObject) -> bool:
        statuses = found.get("status", {}).get("containerStatuses") or []
        return any(one["restartCount"] > after and one["ready"] for one in statuses)

    return holds(pod, test, "was started anew")


def test_an_image_that_cannot_be_pulled_fails_its_health_check_by_name_and_heals_from_git(
    nodes: Nodes, measured: Measured
) -> None:
    """The kubelet really tries, and its reason stands at the pod; the Kustomization names the Deployment."""
    container = {"imagePullPolicy": "IfNotPresent"}
    bad = deployment(BAD, "sleep", "3600", container={**container, "image": "fluxdrill.invalid/standin:absent"})
    bad["spec"]["template"]["metadata"]["annotations"] = {"fluxdrill.dev/behaviour": "image-pull-error"}
    link = Link("bad-image", text=json.dumps(bad), spec={"timeout": "10s"})
    nodes.fleet.commit(nodes.fleet.files(link), "an image that nobody has")
    begun = SYSTEM_CLOCK.now()
    reason = failed(link.ref, "HealthCheckFailed", "Deployment/default/bad-image")
    wait_for(nodes.lab.store, reason, deadline=120, what="the health check to fail", fail_fast=False)
    measured("image missing until the health check failed", SYSTEM_CLOCK.now().since(begun), kind="detection")
    (status,) = nodes.lab.api.get(nodes.pod(BAD))["status"]["containerStatuses"]
    assert status["image"] == ABSENT
    assert status["state"]["waiting"]["reason"] in {"ErrImagePull", "ImagePullBackOff"}
    begun = SYSTEM_CLOCK.now()
    healed = json.dumps(deployment(BAD, "sleep", "3600"))
    nodes.fleet.commit({f"{link.name}/objects.yaml": healed}, "an image that is there")
    wait_for(nodes.lab.store, all_current([link.ref, BAD]), deadline=120, what="to heal from Git", fail_fast=False)
    measured("image healed in Git until Ready", SYSTEM_CLOCK.now().since(begun))
    nodes.fleet.commit(dict.fromkeys(nodes.fleet.files(link)), "without it")
    wait_for(nodes.lab.store, absent(BAD), deadline=60, what="it to be pruned")


@pytest.fixture
def no_names(nodes: Nodes) -> Iterator[None]:
    """No pod answers for names while the test runs; afterwards they do, and Flux has caught up."""
    (replicas,) = {nodes.lab.api.get(DNS)["spec"]["replicas"]}
    nodes.lab.store.follow(POD)
    nodes.lab.api.patch(DNS, {"spec": {"replicas": 0}})
    pods = [one for one in nodes.lab.store.list(POD, DNS.namespace) if one["metadata"]["name"].startswith(DNS.name)]
    for pod in map(ObjectRef.of, pods):
        wait_for(nodes.lab.store, absent(pod), deadline=60, what="CoreDNS to be gone")
    yield
    nodes.lab.api.patch(DNS, {"spec": {"replicas": replicas}})
    wait_for(nodes.lab.store, all_current([DNS]), deadline=120, what="CoreDNS Available", fail_fast=False)
    nodes.recovered()


@pytest.mark.usefixtures("no_names")
def test_without_names_a_source_is_still_fetched_and_its_artifact_is_not(nodes: Nodes, measured: Measured) -> None:
    """Git is asked for by address here; kustomize-controller asks source-controller by name and says that it cannot."""
    begun = SYSTEM_CLOCK.now()
    revision = nodes.push("without names")
    note = kustomization("note")
    reason = failed(nodes.fleet.root, "ArtifactFailed", f"source-controller.{FLUX}")
    wait_for(nodes.lab.store, reason, deadline=120, what="the artifact to be missed", fail_fast=False)
    measured("no names until Flux says so", SYSTEM_CLOCK.now().since(begun), kind="detection")
    artifact = nodes.lab.api.get(nodes.fleet.source)["status"]["artifact"]
    assert artifact["revision"] == revision
    assert nodes.lab.api.get(note)["status"]["lastAppliedRevision"] != revision


@pytest.mark.usefixtures("no_names")
def test_control_while_no_name_is_answered_nothing_new_is_applied(nodes: Nodes) -> None:
    """The check that every test here ends with fails as long as the cause is there."""
    nodes.fleet.commit({"note/objects.yaml": config(NOTE.name, says="never")}, "for nobody")
    request(nodes.lab.api, nodes.fleet.source)
    with refused():
        nodes.recovered(deadline=8)
