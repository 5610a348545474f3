"""A kind cluster made without a registry: real pods on two nodes, and nodes that are broken and come back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fluxdrill.cluster import containers, leases
from fluxdrill.cluster.images.components import LOADED_IMAGES, ensure_archives, find
from fluxdrill.cluster.kind import KindCluster, KindOptions
from fluxdrill.errors import HarnessError, UsageError
from tests.cluster.kinds import STANDIN, answers, apply, ask, claim, deployment, leased, needs_kind, pods, service
from tests.processes import wait_until

pytestmark = [pytest.mark.live, needs_kind]


@pytest.fixture(scope="module")
def lease() -> Iterator[leases.Lease]:
    """A lab of this module's own; an engine that ran before stays."""
    with leased() as one:
        yield one


@pytest.fixture(scope="module")
def cluster(lease: leases.Lease) -> Iterator[KindCluster]:
    """A control plane and a worker, with the stand-in image loaded and two web servers behind a Service."""
    made = KindCluster.create(lease, KindOptions(workers=1))
    try:
        made.load_image(ensure_archives([find("standin")])["standin"])
        apply(
            made,
            claim("data"),
            deployment("web", volume="data"),
            service("web", app="web"),
            service("none", app="none"),
        )
        ask(made, "wait", "--for=condition=Available", "deployment/web", "--timeout=90s")
        yield made
    finally:
        made.delete()


@pytest.fixture
def pod(cluster: KindCluster) -> str:
    """One of the web servers' pods, on the worker."""
    return next(name for name, node in pods(cluster, "web").items() if node == f"{cluster.name}-worker")


def await_api(cluster: KindCluster) -> None:
    """Return once the API server answers and every node is Ready."""
    wait_until(lambda: cluster.kubectl("get", "--raw", "/readyz").returncode == 0, within=90)
    ask(cluster, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=90s")


@pytest.mark.ci
def test_a_service_is_answered_by_pods_on_both_nodes(cluster: KindCluster, pod: str) -> None:
    """kube-proxy spreads over two endpoints, and routes lead from node to node; a Service of nobody answers nobody."""
    servers = pods(cluster, "web")
    assert set(servers.values()) == set(cluster.nodes()) == {cluster.control_plane, f"{cluster.name}-worker"}
    for asking in servers:
        wait_until(partial(served, cluster, asking), within=30)  # a node's rules follow the endpoints a moment later
        assert answers(cluster, asking, "web") == set(servers)
    assert answers(cluster, pod, "none", times=1) == {"none"}


def test_every_pod_runs_from_an_image_of_ours(cluster: KindCluster) -> None:
    words = ("get", "pods", "--all-namespaces", "--output", "jsonpath={.items[*].spec.containers[*].image}")
    images = set(ask(cluster, *words).split())
    assert {one.partition("/")[0] for one in images} == {"fluxdrill.invalid"}
    assert {find(name).reference for name in ("etcd", "coredns", "kube-proxy")} | {STANDIN} <= images


def test_the_controllers_images_start_in_pods_and_not_as_root(cluster: KindCluster) -> None:
    images = [one for one in LOADED_IMAGES if one.program]
    for archive in ensure_archives(images).values():
        cluster.load_image(archive)
    security = {"runAsNonRoot": True, "readOnlyRootFilesystem": True}
    for one in images:
        container = {"name": "one", "image": one.reference, "args": ["--help"], "securityContext": security}
        spec = {"restartPolicy": "Never", "containers": [container]}
        apply(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": one.name}, "spec": spec})
    names = [f"pod/{one.name}" for one in images]
    ask(
        cluster,
        "wait",
        "--for=jsonpath={.status.containerStatuses[0].state.terminated.reason}",
        *names,
        "--timeout=60s",
    )
    said = {one.name: ask(cluster, "logs", one.name) for one in images}
    ask(cluster, "delete", *names, "--now")
    assert {name for name, text in said.items() if "Usage" not in text} == set()
    assert {"source-controller", "sealed-secrets-controller"} <= set(said)


def test_an_image_that_was_never_loaded_is_not_found_anywhere(cluster: KindCluster) -> None:
    container = {"name": "one", "image": "fluxdrill.invalid/nobody:1"}
    spec = {"restartPolicy": "Never", "containers": [container]}
    apply(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lost"}, "spec": spec})
    reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    ask(cluster, "wait", f"--for={reason}=ErrImagePull", "pod/lost", "--timeout=60s")
    ask(cluster, "delete", "pod", "lost", "--now")


def test_logs_and_exec_reach_a_pod_on_a_worker(cluster: KindCluster, pod: str) -> None:
    assert ask(cluster, "logs", pod) == f"serving as {pod}\n"
    assert ask(cluster, "exec", pod, "--", "hostname") == f"{pod}\n"
    assert cluster.kubectl("exec", pod, "--", "false").returncode == 1


def test_a_volume_keeps_its_data_when_its_pod_goes(cluster: KindCluster, pod: str) -> None:
    ask(cluster, "exec", pod, "--", "sh", "-c", "echo kept > /data/it")
    ask(cluster, "delete", "pod", pod)
    ask(cluster, "wait", "--for=condition=Available", "deployment/web", "--timeout=60s")
    ask(cluster, "rollout", "status", "deployment/web", "--timeout=60s")
    (successor,) = (name for name, node in pods(cluster, "web").items() if node == f"{cluster.name}-worker")
    assert successor != pod
    assert ask(cluster, "exec", successor, "--", "cat", "/data/it") == "kept\n"


def test_names_inside_are_answered_and_names_outside_do_not_exist(cluster: KindCluster, pod: str) -> None:
    known = ask(cluster, "exec", pod, "--", "nslookup", "web.default.svc.cluster.local")
    assert ask(cluster, "get", "service", "web", "--output", "jsonpath={.spec.clusterIP}") in known
    container = ask(cluster, "exec", pod, "--", "nslookup", f"{cluster.control_plane}.")
    assert f"Name:\t{cluster.control_plane}\n" in container
    outside = cluster.kubectl("exec", pod, "--", "nslookup", "example.org")
    assert (outside.returncode, "server can't find example.org: NXDOMAIN" in outside.text) == (1, True)


def test_no_packet_leaves_for_an_address_outside(cluster: KindCluster, pod: str) -> None:
    done = cluster.kubectl("exec", pod, "--", "timeout", "10", "wget", "-q", "-O", "-", "http://198.51.100.1/")
    assert "No route to host" in done.stderr
    for node in cluster.nodes():
        routes = cluster.node_exec(node, "ip", "route").text.splitlines()
        assert [one.strip() for one in routes if "default" in one] == ["unreachable default"]


def test_a_node_s_services_stop_and_start_by_systemctl(cluster: KindCluster) -> None:
    worker = f"{cluster.name}-worker"

    def state(unit: str) -> str:
        return cluster.node_exec(worker, "systemctl", "is-active", unit).text.strip()

    assert (state("kubelet"), state("containerd"), state("nothing")) == ("active", "active", "inactive")
    assert cluster.node_exec(worker, "systemctl", "stop", "kubelet").returncode == 0
    assert (state("kubelet"), cluster.node_exec(worker, "pgrep", "-x", "kubelet").text) == ("inactive", "")
    cluster.node_exec(worker, "systemctl", "start", "kubelet")
    wait_until(lambda: state("kubelet") == "active", within=20)


def test_a_paused_node_is_frozen_until_it_goes_on(cluster: KindCluster) -> None:
    node = cluster.control_plane
    cluster.pause_node(node)
    try:
        assert cluster.nodes()[node] == "paused"
        frozen = cluster.node_exec(node, "true")
        assert (frozen.returncode != 0, "is paused" in frozen.stderr) == (True, True)
    finally:
        cluster.unpause_node(node)
    assert cluster.nodes()[node] == "running"
    await_api(cluster)


def test_logs_of_every_node_are_exported(cluster: KindCluster, tmp_path: Path) -> None:
    cluster.export_logs(tmp_path)
    for node in cluster.nodes():
        assert "Starting kubelet" in (tmp_path / node / "kubelet.log").read_text(encoding="utf-8")
        assert (tmp_path / node / "containerd.log").stat().st_size > 0


def test_nodes_that_come_back_with_swapped_addresses_serve_and_keep_their_data(cluster: KindCluster, pod: str) -> None:
    ask(cluster, "exec", pod, "--", "sh", "-c", "echo survived > /data/it")
    before = addresses(cluster)
    for node in before:
        cluster.stop_node(node)
    assert set(cluster.nodes().values()) == {"exited"}
    # addresses are given out in order: whoever had the second one starts first
    for node in sorted(before, key=before.__getitem__, reverse=True):
        cluster.start_node(node)
    assert addresses(cluster) == dict(zip(before, reversed(before.values()), strict=True))
    await_api(cluster)
    for name, node in pods(cluster, "web").items():
        wait_until(partial(served, cluster, name), within=60)
        if node == f"{cluster.name}-worker":
            assert ask(cluster, "exec", name, "--", "cat", "/data/it") == "survived\n"


def served(cluster: KindCluster, pod: str) -> bool:
    """Whether both servers answer `pod`."""
    return answers(cluster, pod, "web") == set(pods(cluster, "web"))


def addresses(cluster: KindCluster) -> dict[str, str]:
    """Return the nodes' addresses as the engine gave them."""
    found = json.loads(cluster.docker.run("network", "inspect", cluster.name).text)[0]["Containers"].values()
    return {one["Name"]: one["IPv4Address"].partition("/")[0] for one in found}


def test_a_cluster_says_whose_it_is_and_until_when(cluster: KindCluster, lease: leases.Lease) -> None:
    (mine,) = (one for _, one in leases.clusters() if one.cluster == cluster.name)
    assert (mine.folder, mine.owner, mine.owner_started) == (lease.folder, lease.owner, lease.owner_started)
    assert 0 < mine.expires - time.time() <= 8 * 3600
    assert cluster.exists()
    assert oct(cluster.kubeconfig.stat().st_mode & 0o777) == "0o600"


def test_a_living_owner_keeps_its_cluster(cluster: KindCluster) -> None:
    assert cluster.name not in [one.lab_id for one in leases.reap()]
    assert cluster.exists()


def test_a_taken_name_is_refused_and_whoever_has_it_keeps_it(cluster: KindCluster, lease: leases.Lease) -> None:
    with pytest.raises(UsageError, match=rf"A kind cluster {cluster.name} exists already\. Delete it"):
        KindCluster.create(lease)
    assert cluster.exists()


def test_what_is_left_of_a_half_deleted_cluster_is_named_and_deleted(cluster: KindCluster, lease: leases.Lease) -> None:
    half = KindCluster(f"{lease.lab_id}-half", cluster.docker, cluster.program, cluster.folder)
    containers.mark(cluster.docker, half.name, folder=half.folder, owner=lease.owner, owner_started=0.0, hours=1)
    with pytest.raises(UsageError, match=r"Something is left of a kind cluster .*-half: its network"):
        KindCluster.create(lease, KindOptions(suffix="half"))
    assert not half.exists()
    half.delete()
    assert half.name not in [one.cluster for _, one in leases.clusters()]
    half.delete()  # once more: there is nothing, and that is fine


def test_an_archive_that_is_none_is_not_loaded(cluster: KindCluster, tmp_path: Path) -> None:
    (tmp_path / "none.tar").write_bytes(b"no archive")
    with pytest.raises(HarnessError, match=r"kind load failed"):
        cluster.load_image(tmp_path / "none.tar")
