"""A k3d cluster on upstream Kubernetes: k3d's driver is proved here, k3s itself is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxdrill.cluster import audit, containers, k3d, leases
from fluxdrill.cluster.containers import K3D_LABEL
from fluxdrill.cluster.images.components import ensure_archives, find
from fluxdrill.cluster.k3d import K3dCluster, K3dOptions
from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.process import run
from fluxdrill.toolchain.build import path_of
from tests.cluster.kinds import STANDIN, answers, apply, ask, deployment, leased, needs_k3d, pods, service
from tests.processes import wait_until

pytestmark = [pytest.mark.live, needs_k3d]


@pytest.fixture(scope="module")
def lease() -> Iterator[leases.Lease]:
    """A lab of this module's own; an engine that ran before stays."""
    with leased() as one:
        yield one


@pytest.fixture(scope="module")
def cluster(lease: leases.Lease) -> Iterator[K3dCluster]:
    """A server and an agent, with the stand-in image loaded and two web servers behind a Service."""
    folder = Path(lease.folder) / "audit"
    folder.mkdir()
    made = K3dCluster.create(lease, K3dOptions(workers=1, audit=folder))
    try:
        made.load_image(ensure_archives([find("standin")])["standin"])
        apply(made, deployment("web"), service("web", app="web"), service("none", app="none"))
        ask(made, "wait", "--for=condition=Available", "deployment/web", "--timeout=90s")
        yield made
    finally:
        made.delete()


def agent(cluster: K3dCluster) -> str:
    """Return the agent that the cluster was made with."""
    return f"k3d-{cluster.name}-agent-0"


def await_service(cluster: K3dCluster) -> None:
    """Return once every node is Ready and every web server is answered by all of them."""
    wait_until(lambda: cluster.kubectl("get", "--raw", "/readyz").returncode == 0, within=90)
    ask(cluster, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=90s")
    ask(cluster, "rollout", "status", "deployment/web", "--timeout=90s")
    for one in pods(cluster, "web"):
        wait_until(partial(served, cluster, one), within=60)


def served(cluster: K3dCluster, pod: str) -> bool:
    """Whether every server answers `pod`."""
    return answers(cluster, pod, "web") == set(pods(cluster, "web"))


def left(cluster: K3dCluster) -> list[str]:
    """Return what the engine has of a cluster: containers, volumes, networks."""
    listings = (
        ("ps", "--all", "--filter", f"label={K3D_LABEL}={cluster.name}", "--format", "{{.Names}}"),
        ("volume", "ls", "--filter", f"label={K3D_LABEL}={cluster.name}", "--format", "{{.Name}}"),
        ("network", "ls", "--filter", f"name={cluster.name}", "--format", "{{.Name}}"),
    )
    return [line for one in listings for line in cluster.docker.must(*one, what="listing").split()]


def volumes(cluster: K3dCluster) -> set[str]:
    """Return the volumes of a cluster's nodes."""
    line = "{{range .Mounts}}{{.Name}} {{end}}"
    return set(cluster.docker.must("inspect", "--format", line, *cluster.nodes(), what="looking").split())


def test_the_server_and_the_agent_are_ready_and_names_are_answered(cluster: K3dCluster) -> None:
    assert cluster.nodes() == dict.fromkeys((agent(cluster), cluster.control_plane), "running")
    items = json.loads(ask(cluster, "get", "nodes", "--output", "json"))["items"]
    ready = {one["metadata"]["name"]: condition(one, "Ready") for one in items}
    assert ready == dict.fromkeys(cluster.nodes(), "True")
    dns = ("get", "pods", "--namespace", "kube-system", "--selector", "k8s-app=kube-dns", "--output", "json")
    assert [condition(one, "Ready") for one in json.loads(ask(cluster, *dns))["items"]] == ["True"]


def condition(obj: dict[str, Any], name: str) -> str:
    """Return the status of a condition of an object."""
    return next(str(one["status"]) for one in obj["status"]["conditions"] if one["type"] == name)


def test_a_service_is_answered_by_pods_on_both_nodes(cluster: K3dCluster) -> None:
    await_service(cluster)
    servers = pods(cluster, "web")
    assert set(servers.values()) == set(cluster.nodes())
    assert answers(cluster, next(iter(servers)), "none", times=1) == {"none"}


def test_every_pod_runs_from_an_image_of_ours(cluster: K3dCluster) -> None:
    words = ("get", "pods", "--all-namespaces", "--output", "jsonpath={.items[*].spec.containers[*].image}")
    images = set(ask(cluster, *words).split())
    assert {one.partition("/")[0] for one in images} == {"fluxdrill.invalid"}
    assert {find("coredns").reference, STANDIN} <= images


def test_k3d_s_kubeconfig_reaches_the_cluster_from_this_machine(cluster: K3dCluster) -> None:
    words = ("--kubeconfig", cluster.kubeconfig, "get", "nodes", "--output", "name")
    done = run([path_of("kubectl"), *words], deadline=30)
    assert set(done.text.split()) == {f"node/{one}" for one in cluster.nodes()}
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    assert config["current-context"] == f"k3d-{cluster.name}"
    assert config["clusters"][0]["cluster"]["server"].startswith("https://127.0.0.1:")
    assert oct(cluster.kubeconfig.stat().st_mode & 0o777) == "0o600"


def test_the_certificate_is_for_the_gateway_too(cluster: K3dCluster, tmp_path: Path) -> None:
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    for host, code in ((cluster.gateway, 0), ("198.51.100.1", 1)):
        config["clusters"][0]["cluster"]["tls-server-name"] = host
        (tmp_path / "config").write_text(yaml.safe_dump(config), encoding="utf-8")
        done = run([path_of("kubectl"), "--kubeconfig", tmp_path / "config", "get", "--raw", "/readyz"], deadline=30)
        assert (done.returncode, "x509: certificate is valid for" in done.stderr) == (code, bool(code))


def test_the_names_that_k3d_gives_coredns_are_answered_and_names_outside_do_not_exist(cluster: K3dCluster) -> None:
    pod = next(iter(pods(cluster, "web")))
    wait_until(lambda: cluster.gateway in looked_up(cluster, pod, "host.k3d.internal"), within=120)
    web = ask(cluster, "get", "service", "web", "--output", "jsonpath={.spec.clusterIP}")
    assert web in looked_up(cluster, pod, "web.default.svc.cluster.local")
    assert "server can't find example.org: NXDOMAIN" in looked_up(cluster, pod, "example.org")


def looked_up(cluster: K3dCluster, pod: str, name: str) -> str:
    """Return what a pod is told about a name."""
    return cluster.kubectl("exec", pod, "--", "nslookup", name).text


def test_no_packet_leaves_for_an_address_outside(cluster: K3dCluster) -> None:
    pod = next(iter(pods(cluster, "web")))
    done = cluster.kubectl("exec", pod, "--", "timeout", "10", "wget", "-q", "-O", "-", "http://198.51.100.1/")
    assert "No route to host" in done.stderr
    for node in cluster.nodes():
        routes = cluster.node_exec(node, "ip", "route").text.splitlines()
        assert [one.strip() for one in routes if "default" in one] == ["unreachable default"]


def test_an_image_that_was_never_loaded_is_not_found_anywhere(cluster: K3dCluster) -> None:
    container = {"name": "one", "image": "fluxdrill.invalid/nobody:1"}
    spec = {"restartPolicy": "Never", "containers": [container]}
    apply(cluster, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lost"}, "spec": spec})
    reason = "jsonpath={.status.containerStatuses[0].state.waiting.reason}"
    ask(cluster, "wait", f"--for={reason}=ErrImagePull", "pod/lost", "--timeout=60s")
    ask(cluster, "delete", "pod", "lost", "--now")


def test_an_archive_that_is_none_is_not_loaded_and_nothing_of_it_stays(cluster: K3dCluster, tmp_path: Path) -> None:
    whole = ensure_archives([find("standin")])["standin"].path.read_bytes()
    for name, data in (("none.tar", b"no archive"), ("half.tar", whole[: len(whole) // 2])):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(HarnessError, match=rf"{name} cannot be loaded into "):
            cluster.load_image(tmp_path / name)
    with pytest.raises(HarnessError, match=r"absent\.tar cannot be loaded into "):
        cluster.load_image(tmp_path / "absent.tar")
    for node in cluster.nodes():
        assert "arriving" not in cluster.node_exec(node, "ls", "/kind").text


def test_an_image_is_in_every_node_each_time_it_is_loaded(cluster: K3dCluster) -> None:
    """k3d 5.9.0's own import failed in one of six."""
    archive = ensure_archives([find("source-controller")])["source-controller"]
    for _ in range(3):
        cluster.load_image(archive)
        for node in cluster.nodes():
            listed = cluster.node_exec(node, "ctr", "images", "list", "--quiet").text.split()
            assert archive.reference in listed
            assert cluster.node_exec(node, "ctr", "images", "remove", "--sync", archive.reference).returncode == 0


def test_an_image_is_not_loaded_into_a_paused_node(cluster: K3dCluster) -> None:
    cluster.pause_node(agent(cluster))
    try:
        with pytest.raises(HarnessError, match=rf"cannot be loaded into {agent(cluster)}: .*paused"):
            cluster.load_image(ensure_archives([find("standin")])["standin"])
    finally:
        cluster.unpause_node(agent(cluster))


def test_what_is_written_to_the_api_server_is_in_its_audit_log(cluster: K3dCluster, lease: leases.Lease) -> None:
    log = Path(lease.folder) / "audit" / audit.LOG
    assert "audited-once" not in log.read_text(encoding="utf-8")
    ask(cluster, "create", "configmap", "audited-once")
    wait_until(lambda: "audited-once" in log.read_text(encoding="utf-8"), within=20)


def test_a_paused_node_is_frozen_until_it_goes_on(cluster: K3dCluster) -> None:
    node = cluster.control_plane
    cluster.pause_node(node)
    try:
        assert cluster.nodes()[node] == "paused"
        assert "is paused" in cluster.node_exec(node, "true").stderr
    finally:
        cluster.unpause_node(node)
    assert cluster.nodes()[node] == "running"
    await_service(cluster)


def test_a_worker_whose_power_was_cut_comes_back_with_its_pods(cluster: K3dCluster) -> None:
    before = pods(cluster, "web")
    cluster.kill_node(agent(cluster))
    assert cluster.nodes()[agent(cluster)] == "exited"
    cluster.start_node(agent(cluster))
    ask(cluster, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=90s")
    await_service(cluster)
    assert pods(cluster, "web") == before


def test_a_server_that_is_stopped_drains_itself_and_takes_pods_again_when_it_is_started(cluster: K3dCluster) -> None:
    (before,) = (name for name, node in pods(cluster, "web").items() if node == cluster.control_plane)
    cluster.stop_node(cluster.control_plane)
    assert cluster.nodes()[cluster.control_plane] == "exited"
    cluster.start_node(cluster.control_plane)
    await_service(cluster)
    (after,) = (name for name, node in pods(cluster, "web").items() if node == cluster.control_plane)
    assert after != before, "k3d's own script deletes the pods of a server that is stopped"


def test_k3d_stops_and_starts_a_whole_cluster(cluster: K3dCluster) -> None:
    cluster.stop()
    assert set(cluster.nodes().values()) == {"exited"}
    cluster.start()
    assert set(cluster.nodes().values()) == {"running"}
    await_service(cluster)
    words = ("get", "configmap", "coredns", "--namespace", "kube-system", "--output", "jsonpath={.data.NodeHosts}")
    wait_until(lambda: f"{cluster.gateway} host.k3d.internal" in ask(cluster, *words), within=20)


def test_a_node_is_added_runs_pods_and_is_removed(cluster: K3dCluster) -> None:
    added = cluster.add_node()
    try:
        assert cluster.nodes()[added] == "running"
        cluster.load_image(ensure_archives([find("standin")])["standin"])
        ask(cluster, "scale", "deployment", "web", "--replicas=3")
        await_service(cluster)
        assert added in pods(cluster, "web").values()
        with pytest.raises(UsageError, match=rf"There is a node {added} already\. Remove it"):
            cluster.add_node()
    finally:
        ask(cluster, "scale", "deployment", "web", "--replicas=2")
        cluster.remove_node(added)
    assert added not in cluster.nodes()
    assert f"node/{added}" not in ask(cluster, "get", "nodes", "--output", "name").split()
    for none in (added, cluster.control_plane):
        with pytest.raises(UsageError, match=rf"has no worker {none}\. Its workers: {agent(cluster)}"):
            cluster.remove_node(none)


def test_a_node_that_does_not_become_ready_in_time_is_told_and_gone(
    cluster: K3dCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cluster.nodes()
    monkeypatch.setattr(k3d, "ADD_SECONDS", 1)
    with pytest.raises(HarnessError, match=r"k3d node create failed for "):
        cluster.add_node("late")
    assert cluster.nodes() == before
    assert "late" not in ask(cluster, "get", "nodes", "--output", "name")


def test_no_log_that_is_exported_holds_the_cluster_s_token(cluster: K3dCluster, tmp_path: Path) -> None:
    token = cluster.node_exec(cluster.control_plane, "printenv", "K3S_TOKEN").stdout.strip()
    settings = yaml.safe_load_all(cluster.node_exec(cluster.control_plane, "cat", "/kind/kubeadm.conf").text)
    joining = next(one["bootstrapTokens"][0]["token"] for one in settings if "bootstrapTokens" in one)
    assert (len(token), len(joining)) == (20, 23)
    cluster.export_logs(tmp_path)
    files = [one for one in tmp_path.rglob("*") if one.is_file() and not one.is_symlink()]
    assert len(files) >= 8
    assert [one.name for one in files if token in (held := one.read_bytes()) or joining.encode() in held] == []


def test_logs_of_every_node_are_exported(cluster: K3dCluster, tmp_path: Path) -> None:
    cluster.export_logs(tmp_path)
    for node in cluster.nodes():
        assert "Starting kubelet" in (tmp_path / node / "kubelet.log").read_text(encoding="utf-8")
        assert (tmp_path / node / "containerd.log").stat().st_size > 0
    said = (tmp_path / cluster.control_plane / "k3s.log").read_text(encoding="utf-8")
    assert "it is upstream Kubernetes" in said
    assert "target is busy" not in said, "the node's own control groups are where the kubelet looks for them"


def test_a_cluster_says_whose_it_is_and_a_living_owner_keeps_it(cluster: K3dCluster, lease: leases.Lease) -> None:
    (mine,) = (one for _, one in leases.clusters() if one.cluster == cluster.name)
    assert (mine.folder, mine.owner, mine.owner_started) == (lease.folder, lease.owner, lease.owner_started)
    assert cluster.name not in [one.lab_id for one in leases.reap()]
    assert cluster.exists()


def test_a_taken_name_is_refused_and_whoever_has_it_keeps_it(cluster: K3dCluster, lease: leases.Lease) -> None:
    with pytest.raises(UsageError, match=rf"A k3d cluster {cluster.name} exists already\. Delete it"):
        K3dCluster.create(lease)
    assert cluster.exists()


def test_what_is_left_of_a_half_deleted_cluster_is_named_and_deleted(cluster: K3dCluster, lease: leases.Lease) -> None:
    half = K3dCluster(f"{lease.lab_id}-half", cluster.docker, cluster.program, cluster.folder)
    containers.mark(cluster.docker, half.name, folder=half.folder, owner=lease.owner, owner_started=0.0, hours=1)
    with pytest.raises(
        UsageError, match=r"Something is left of a k3d cluster .*-half: its network.*K3dCluster\.delete"
    ):
        K3dCluster.create(lease, K3dOptions(suffix="half"))
    assert not half.exists()
    half.delete()
    assert half.name not in [one.cluster for _, one in leases.clusters()]


def test_a_deleted_cluster_leaves_no_container_volume_network_or_kubeconfig(cluster: K3dCluster) -> None:
    assert {cluster.control_plane, f"k3d-{cluster.name}-images", cluster.name} <= set(left(cluster))
    before = volumes(cluster)
    assert len(before) == 3, "one of k3d's, and what a node keeps below /var twice"
    cluster.delete()
    assert left(cluster) == []
    assert before.isdisjoint(cluster.docker.must("volume", "ls", "--quiet", what="listing").split())
    assert (cluster.exists(), cluster.kubeconfig.exists()) == (False, False)
