"""A worker whose disk is filled by a pod: the kubelet evicts it and refuses others, and Git heals it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import all_current, all_of, condition, wait_for
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.lab.providers.nodes import nodes_of
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.pytest_plugin.plugin import start
from suites.nodes.conftest import POD, deployment
from suites.ordering.links import Fleet, Link
from suites.sabotage import refused

pytestmark = [pytest.mark.live, pytest.mark.needs("pods", "node-exec", "node-disk"), pytest.mark.timeout(600)]

CONTROLS = ("test_control_a_disk_with_room_evicts_nobody",)

DISK = 256
"""MiB that the worker's kubelet has; it keeps a fifth of it free."""
FULL, LITTLE = 230, 20
HOG, MODEST = (ObjectRef("apps", "Deployment", "default", name) for name in ("hog", "modest"))


def filling(mebibytes: int) -> KubeObject:
    """Return the Deployment of a pod that writes so much into a scratch volume on its node.

    It hears no SIGTERM: a pod whose program ends well when it is evicted is "Succeeded", and nobody sees the eviction.
    """
    write = f"dd if=/dev/zero of=/cache/fill bs=1M count={mebibytes} && exec sleep 3600"
    mount = {"volumeMounts": [{"name": "cache", "mountPath": "/cache"}]}
    return deployment(HOG, "sh", "-c", write, container=mount, volumes=[{"name": "cache", "emptyDir": {}}])


@dataclass(frozen=True, slots=True)
class Small:
    """A lab with a worker of a small disk, and a repository with the pod that may fill it and one that does not."""

    lab: Lab
    fleet: Fleet
    hog: Link
    node: ObjectRef

    def commit(self, mebibytes: int) -> None:
        """Have the pod write so much from now on."""
        self.fleet.commit({f"{self.hog.name}/objects.yaml": json.dumps(filling(mebibytes))}, f"{mebibytes} MiB")

    def settled(self, *, deadline: float = 180) -> None:
        """Wait until the node has room and everything is Ready."""
        roomy = condition(self.node, "DiskPressure", "False")
        wanted = all_of(roomy, self.fleet.ready(), all_current([HOG, MODEST]))
        wait_for(self.lab.store, wanted, deadline=deadline, what="room on the disk and all Ready", fail_fast=False)


@pytest.fixture(scope="module")
def small(request: pytest.FixtureRequest) -> Iterator[Small]:
    """A lab of this module's own."""
    with start(request.config, LabSpec(cluster=ClusterOptions(workers=1, disk=DISK))) as lab:
        hog = Link("hog", text=json.dumps(filling(LITTLE)), spec={"timeout": "20s"})
        modest = Link(
            "modest", text=json.dumps(deployment(MODEST, "sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait $!"))
        )
        fleet = Fleet(lab, hog, modest, name="disk")
        for kind in (POD, GroupKind("", "Node")):
            lab.store.follow(kind)
        fleet.bootstrap()
        cluster = nodes_of(lab)
        (worker,) = set(cluster.nodes()) - {cluster.control_plane}
        made = Small(lab, fleet, hog, ObjectRef("", "Node", "", worker))
        made.settled()
        yield made


def evicted(owner: ObjectRef) -> Predicate:
    """Met when a pod of a Deployment was evicted for the node's disk."""

    def judge(view: View) -> Verdict3:
        for pod in view.list(POD, owner.namespace):
            status = pod.get("status", {})
            ours = pod["metadata"]["name"].startswith(f"{owner.name}-")
            if ours and status.get("reason") == "Evicted" and "ephemeral-storage" in status.get("message", ""):
                return Verdict3.met(str(status["message"]))
        return Verdict3.not_yet(f"no pod of {owner} was evicted", owner)

    return Predicate(judge, kinds=frozenset([POD]))


def test_control_a_disk_with_room_evicts_nobody(small: Small) -> None:
    """The check for an eviction fails as long as there is room."""
    with refused():
        wait_for(small.lab.store, evicted(HOG), deadline=12, what="an eviction", fail_fast=False)


def test_the_pod_that_fills_a_disk_is_evicted_again_and_again_until_git_heals_it_and_its_neighbour_stays(
    small: Small, measured: Measured
) -> None:
    """The kubelet evicts who takes most, and refuses new pods meanwhile, Flux's own among them; less in Git heals it.

    Flux itself need not say a word: a pod without a probe counts as ready before it is evicted, and nobody looks again
    before the interval is over.
    """
    neighbour = small.lab.api.list(small.lab.api.resource("", "Pod"), namespace="default", label_selector="app=modest")
    begun = SYSTEM_CLOCK.now()
    small.commit(FULL)
    pressed = condition(small.node, "DiskPressure", "True")
    wait_for(small.lab.store, pressed, deadline=120, what="pressure on the disk", fail_fast=False)
    measured("disk filled until the node says so", SYSTEM_CLOCK.now().since(begun), kind="detection")
    wait_for(small.lab.store, evicted(HOG), deadline=60, what="an eviction", fail_fast=False)
    measured("disk filled until its pod is evicted", SYSTEM_CLOCK.now().since(begun), kind="detection")
    begun = SYSTEM_CLOCK.now()
    small.commit(LITTLE)
    small.settled()
    measured("healed in Git until recovered", SYSTEM_CLOCK.now().since(begun))
    after = small.lab.api.list(small.lab.api.resource("", "Pod"), namespace="default", label_selector="app=modest")
    assert [one["metadata"]["uid"] for one in after.items] == [one["metadata"]["uid"] for one in neighbour.items]
