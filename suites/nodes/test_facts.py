"""What nodes and pods are, looked at from inside: no way out, a real kubelet, volumes on the node's own disk."""

from __future__ import annotations

import pytest
from testinfra.host import Host

from fluxdrill.cluster.hosts import node_host, pod_host
from fluxdrill.process import DeadlineExceededError
from suites.nodes.conftest import NAMESPACE, WEB, Nodes
from suites.sabotage import refused

pytestmark = [pytest.mark.live, pytest.mark.needs("pods", "node-exec"), pytest.mark.timeout(600)]

CONTROLS = ("test_control_a_node_with_a_way_out_is_found",)

OUTSIDE = "198.51.100.1"
"""An address of documentation: nobody has it."""


def leads_nowhere(host: Host) -> None:
    """Check that a node sends nothing to an address outside: its own routes refuse it."""
    route = host.run("ip route get %s", OUTSIDE)
    assert route.rc != 0, f"a packet to {OUTSIDE} would leave by: {route.stdout.strip()}"
    assert "no route to host" in route.stderr.lower()


@pytest.mark.core
@pytest.mark.parametrize("role", ["control-plane", "worker"])
def test_no_packet_leaves_a_node(nodes: Nodes, role: str) -> None:
    """The default route is one that refuses: also what no rule catches stays on this machine."""
    leads_nowhere(node_host(nodes.cluster, nodes.worker if role == "worker" else nodes.cluster.control_plane))


def test_no_packet_leaves_a_pod(nodes: Nodes) -> None:
    """A pod's way out is its node's, which refuses at once: a packet that left would be waited for in vain."""
    host = pod_host(nodes.cluster, NAMESPACE, nodes.pod(WEB).name)
    asked = host.run("timeout 5 wget -q -O - http://%s/", OUTSIDE)
    assert asked.rc != 0
    assert any(word in asked.stderr.lower() for word in ("unreachable", "no route")), f"{asked.rc}: {asked.stderr}"


def test_control_a_node_with_a_way_out_is_found(nodes: Nodes) -> None:
    """The check fails where an address outside has a route; here one to the node's own loopback, so that nothing leaves."""
    host = node_host(nodes.cluster, nodes.worker)
    assert host.run("ip route add %s/32 dev lo", OUTSIDE).rc == 0
    try:
        with refused():
            leads_nowhere(host)
    finally:
        assert host.run("ip route del %s/32 dev lo", OUTSIDE).rc == 0


def test_a_worker_runs_the_real_thing(nodes: Nodes) -> None:
    """A kubelet and a containerd, each once, and the kubelet's own port."""
    host = node_host(nodes.cluster, nodes.worker)
    assert len(host.process.filter(comm="kubelet")) == 1
    assert len(host.process.filter(comm="containerd")) == 1
    assert host.file("/var/lib/kubelet/config.yaml").exists


def test_a_volume_is_a_mount_of_the_nodes_own_disk_in_the_pod(nodes: Nodes) -> None:
    """What the pod sees at /data is a mount, and the same file lies on the worker."""
    pod = pod_host(nodes.cluster, NAMESPACE, nodes.pod(WEB).name)
    assert pod.run("grep -c ' /data ' /proc/mounts").stdout.strip() == "1"
    found = node_host(nodes.cluster, nodes.worker).run("find /var/local/hostpath_pv -name born -type f")
    (path,) = found.stdout.split()
    assert node_host(nodes.cluster, nodes.worker).file(path).content_string.strip() == nodes.born()


def test_a_command_that_hangs_ends_at_its_deadline(nodes: Nodes) -> None:
    """Nothing that is asked of a node can hold a suite for ever."""
    with pytest.raises(DeadlineExceededError):
        node_host(nodes.cluster, nodes.worker, deadline=2).run("sleep 60")
