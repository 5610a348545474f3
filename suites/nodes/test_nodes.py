"""A node that stops, freezes, or loses its kubelet or containerd: Flux recovers, and workloads keep what they are."""

from __future__ import annotations

import pytest

from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import condition, wait_for
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from suites.nodes.conftest import WEB, Nodes
from suites.nodes.probes import PATIENCE, longest_gap, now
from suites.sabotage import refused

pytestmark = [pytest.mark.live, pytest.mark.needs("pods", "node-exec"), pytest.mark.timeout(600)]

CONTROLS = ("test_control_a_node_that_stays_down_is_no_recovery",)

NOTICED = 120.0
"""Seconds in which the controller-manager must have noticed a silent node: its grace period is 50 s in Kubernetes 1.36."""


def lost(nodes: Nodes) -> ObjectRef:
    """Wait until the cluster has given the worker up, and return it."""
    node = ObjectRef("", "Node", "", nodes.worker)
    wait_for(nodes.lab.store, condition(node, "Ready", "Unknown"), deadline=NOTICED, what="the node to be given up")
    return node


def cut_off(nodes: Nodes) -> None:
    """Wait until the web server's Service has nobody who answers, and a moment in which both probes notice."""
    kind = GroupKind("discovery.k8s.io", "EndpointSlice")
    nodes.lab.store.follow(kind)

    def judge(view: View) -> Verdict3:
        slices = [one for one in view.list(kind, WEB.namespace) if one["metadata"]["name"].startswith(f"{WEB.name}-")]
        answering = [end for one in slices for end in one.get("endpoints") or () if end["conditions"].get("ready")]
        return Verdict3.met("nobody answers") if slices and not answering else Verdict3.not_yet("somebody answers")

    wait_for(
        nodes.lab.store, Predicate(judge, kinds=frozenset([kind])), deadline=30, dwell=3, what="the Service to be empty"
    )


def back(nodes: Nodes) -> None:
    """Wait until the worker is Ready and Flux has applied what came meanwhile."""
    wait_for(nodes.lab.store, nodes.node_ready(nodes.worker), deadline=180, what="the node to be back", fail_fast=False)
    nodes.recovered()


def container(pod: KubeObject) -> tuple[str, int]:
    """Return the id of a pod's container and how often it was started anew."""
    (one,) = pod["status"]["containerStatuses"]
    return one["containerID"], one["restartCount"]


@pytest.mark.core
def test_a_node_that_is_stopped_and_started_brings_its_pods_back_and_flux_applies_what_came_meanwhile(
    nodes: Nodes, measured: Measured
) -> None:
    """Flux and the web server run on it: both are gone until it is back, and then nothing was lost."""
    before, pod = nodes.identity(), nodes.lab.api.get(nodes.pod(WEB))
    with nodes.probed() as probed:
        nodes.cluster.stop_node(nodes.worker)
        revision = nodes.push("while the node was down")
        begun = SYSTEM_CLOCK.now()
        nodes.cluster.start_node(nodes.worker)
        back(nodes)
    measured("node start until Flux applied", SYSTEM_CLOCK.now().since(begun))
    assert nodes.fleet.revision == revision
    assert nodes.identity() == before
    after = nodes.lab.api.get(nodes.pod(WEB))
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    assert container(after)[1] > container(pod)[1], "it was never stopped"
    measured("no answer outside", longest_gap(probed.outside), kind="other")
    measured("no answer inside", longest_gap(probed.inside), kind="other")


def test_a_node_without_kubelet_serves_on_until_it_is_given_up_and_only_then_is_cut_off(
    nodes: Nodes, measured: Measured
) -> None:
    """Processes outlive their kubelet, and Flux in its pods works on; a Service drops the pods of a node once it is lost."""
    before, pod = nodes.identity(), nodes.lab.api.get(nodes.pod(WEB))
    with nodes.probed() as probed:
        begun = SYSTEM_CLOCK.now()
        control(nodes, "stop", "kubelet")
        try:
            revision = nodes.push("without a kubelet")
            wait_for(nodes.lab.store, nodes.fleet.ready(), deadline=40, what=f"Flux to apply {revision}")
            lost(nodes)
            measured("kubelet stopped until the node is given up", SYSTEM_CLOCK.now().since(begun), kind="detection")
            given_up = now()
            cut_off(nodes)
        finally:
            begun = SYSTEM_CLOCK.now()
            control(nodes, "start", "kubelet")
        nodes.push("after the kubelet")
        back(nodes)
    measured("kubelet start until recovered", SYSTEM_CLOCK.now().since(begun))
    assert nodes.identity() == before
    assert container(nodes.lab.api.get(nodes.pod(WEB))) == container(pod), "its container was started anew"
    for answers in (probed.outside, probed.inside):
        assert all(one.good for one in answers if one.at < given_up - PATIENCE), "it was cut off before"
        assert longest_gap(answers) > 0, "it was never cut off"
    measured("no answer outside", longest_gap(probed.outside), kind="other")


def test_containerd_is_restarted_and_no_container_with_it(nodes: Nodes, measured: Measured) -> None:
    """Containers belong to their shims; a commit is applied all the same."""
    before, pod = nodes.identity(), nodes.lab.api.get(nodes.pod(WEB))
    pid = daemon(nodes)
    begun = SYSTEM_CLOCK.now()
    control(nodes, "restart", "containerd")
    nodes.push("after containerd")
    back(nodes)
    measured("containerd restart until recovered", SYSTEM_CLOCK.now().since(begun))
    assert daemon(nodes) != pid, "containerd was not restarted"
    assert nodes.identity() == before
    assert container(nodes.lab.api.get(nodes.pod(WEB))) == container(pod)


def test_a_node_that_is_frozen_is_given_up_and_goes_on_where_it_was(nodes: Nodes, measured: Measured) -> None:
    """Frozen, it answers nobody; let go on, its pods are the same runs of the same containers."""
    before, pod = nodes.identity(), nodes.lab.api.get(nodes.pod(WEB))
    with nodes.probed() as probed:
        begun = SYSTEM_CLOCK.now()
        nodes.cluster.pause_node(nodes.worker)
        try:
            lost(nodes)
            measured("node frozen until it is given up", SYSTEM_CLOCK.now().since(begun), kind="detection")
        finally:
            begun = SYSTEM_CLOCK.now()
            nodes.cluster.unpause_node(nodes.worker)
        nodes.push("after the frost")
        back(nodes)
    measured("node let go on until recovered", SYSTEM_CLOCK.now().since(begun))
    assert nodes.identity() == before
    assert nodes.lab.api.get(nodes.pod(WEB))["metadata"]["uid"] == pod["metadata"]["uid"]
    assert longest_gap(probed.outside) > 20, "somebody answered for a frozen node"


def test_control_a_node_that_stays_down_is_no_recovery(nodes: Nodes) -> None:
    """The check that every test here ends with fails while the node is down, whatever the cluster still says of it."""
    nodes.cluster.stop_node(nodes.worker)
    try:
        nodes.push("nobody applies this yet")
        with refused():
            nodes.recovered(deadline=8)
    finally:
        nodes.cluster.start_node(nodes.worker)
    back(nodes)


def control(nodes: Nodes, verb: str, unit: str) -> None:
    """Have the worker's service manager do something with a unit."""
    done = nodes.cluster.node_exec(nodes.worker, "systemctl", verb, unit)
    assert done.returncode == 0, done.stderr


def daemon(nodes: Nodes) -> str:
    """Return the process id of the worker's containerd."""
    done = nodes.cluster.node_exec(nodes.worker, "pgrep", "--exact", "containerd")
    assert done.returncode == 0, done.stderr
    return done.text.strip()
