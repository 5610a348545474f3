"""A cluster upgraded in place from one minor version to the next: what ran goes on, what was kept is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from fluxdrill.cluster import upgrade as upgrading
from fluxdrill.cluster.images.components import Archive, ensure_archives, find, make
from fluxdrill.cluster.kind import KindCluster, KindOptions
from fluxdrill.cluster.upgrade import Parts, Upgraded, next_parts, next_version, server_version, upgrade
from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.process import run
from fluxdrill.toolchain.build import path_of
from fluxdrill.toolchain.catalog import NEXT, NEXT_KUBERNETES, PINNED
from fluxdrill.toolchain.store import Origin, locate
from tests.cluster.kinds import answers, apply, ask, claim, deployment, leased, needs_kind, pods, service, why_not
from tests.processes import wait_until

UNBUILT = [one.name for one in NEXT_KUBERNETES if not why_not() and locate(one).origin is Origin.MISSING]
HOW = f"run `fluxdrill toolchain build {' '.join(one.name for one in NEXT_KUBERNETES)}`, once"
needs_next = pytest.mark.skipif(bool(UNBUILT), reason=f"{' '.join(UNBUILT[:1])} is not built: {HOW}")
pytestmark = [pytest.mark.live, pytest.mark.nightly, pytest.mark.timeout(900), needs_kind, needs_next]

OLD = PINNED.find("kubelet").version
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"colour": "blue"}}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kept"}, "stringData": {"word": "swordfish"}}


@dataclass(frozen=True, slots=True)
class Pod:
    """What tells whether a pod is still the same one, and whether its container ever ended."""

    uid: str
    restarts: int
    started: str
    image: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An upgrade that failed: what it said, and what the cluster was after it."""

    said: HarnessError
    server: str
    kubelets: set[str]
    pods: dict[str, Pod]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KindCluster]:
    """Two nodes of the older version, a web server with a volume on each, a ConfigMap and a Secret."""
    with leased() as lease:
        made = KindCluster.create(lease, KindOptions(workers=1))
        try:
            made.load_image(ensure_archives([find("standin")])["standin"])
            apply(made, claim("data"), deployment("web", volume="data"), service("web", app="web"), CONFIG, SECRET)
            ask(made, "wait", "--for=condition=Available", "deployment/web", "--timeout=90s")
            for pod in pods(made, "web"):
                ask(made, "exec", pod, "--", "sh", "-c", "echo written before by $(hostname) > /data/it")
            yield made
        finally:
            made.delete()


@pytest.fixture(scope="module")
def parts() -> Parts:
    """What the upgrade brings in; its programs are built already."""
    return next_parts()


@pytest.fixture(scope="module")
def before(cluster: KindCluster) -> dict[str, Pod]:
    """Every pod before anything is upgraded."""
    return look(cluster)


@pytest.fixture(scope="module")
def without_images(cluster: KindCluster, before: dict[str, Pod], parts: Parts) -> Failed:
    """An upgrade that brings no images in."""
    assert before
    return fail(cluster, replace(parts, images=()))


@pytest.fixture(scope="module")
def with_a_broken_image(
    cluster: KindCluster, without_images: Failed, parts: Parts, tmp_path_factory: pytest.TempPathFactory
) -> Failed:
    """An upgrade to an API server that never starts: there is no program in its image."""
    assert without_images
    image = replace(find("kube-apiserver"), program=f"kube-apiserver{NEXT}")
    path = tmp_path_factory.mktemp("broken") / "kube-apiserver.tar"
    make(path, image, [], None)
    images = [Archive(image.reference, path) if one.reference == image.reference else one for one in parts.images]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upgrading, "COMPONENT_SECONDS", 45)
        return fail(cluster, replace(parts, images=tuple(images)))


@pytest.fixture(scope="module")
def upgraded(cluster: KindCluster, with_a_broken_image: Failed, parts: Parts) -> Upgraded:
    """The upgrade, made after two that failed."""
    assert with_a_broken_image
    return upgrade(cluster, parts)


def test_an_upgrade_whose_images_are_missing_fails_and_nothing_was_touched(
    cluster: KindCluster, before: dict[str, Pod], without_images: Failed, parts: Parts
) -> None:
    said = without_images.said.problem
    assert f"{cluster.control_plane} was not upgraded to {parts.version}: failed to pull image" in said
    assert all(one.reference in said for one in parts.images)
    assert (without_images.server, without_images.kubelets) == (OLD, {OLD})
    assert without_images.pods == before


def test_a_control_plane_that_does_not_come_up_is_put_back(
    cluster: KindCluster, before: dict[str, Pod], with_a_broken_image: Failed
) -> None:
    assert f"{cluster.control_plane} was not upgraded" in with_a_broken_image.said.problem
    assert "kubeadm has tried to recover everything into the earlier state" in with_a_broken_image.said.problem
    assert (with_a_broken_image.server, with_a_broken_image.kubelets) == (OLD, {OLD})
    assert workloads(with_a_broken_image.pods) == workloads(before)


def test_api_server_and_kubelets_are_of_the_next_version(cluster: KindCluster, upgraded: Upgraded) -> None:
    assert (upgraded.before, upgraded.after) == (OLD, next_version())
    assert (server_version(cluster), kubelets(cluster)) == (next_version(), {next_version()})
    asked = run([path_of("kubectl"), "--kubeconfig", cluster.kubeconfig, "version", "--output=json"], deadline=30)
    assert json.loads(asked.text)["serverVersion"]["gitVersion"] == next_version()


def test_the_control_plane_s_pods_run_the_next_version_and_the_others_their_own(
    cluster: KindCluster, before: dict[str, Pod], upgraded: Upgraded
) -> None:
    assert upgraded
    old, new = ({one.image for one in found.values()} for found in (before, look(cluster)))
    gone, come = sorted(old - new), sorted(new - old)
    components = ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler")
    assert gone == [find(one).reference for one in components]
    assert come == [find(one).reference.replace(OLD, next_version()) for one in components]


def test_the_pods_of_deployments_are_the_same_and_never_ended(
    cluster: KindCluster, before: dict[str, Pod], upgraded: Upgraded
) -> None:
    assert upgraded
    assert len(workloads(before)) == 4
    assert workloads(look(cluster)) == workloads(before)


def test_what_was_kept_in_the_cluster_is_there(cluster: KindCluster, upgraded: Upgraded) -> None:
    assert upgraded
    assert all(kept(cluster, pod) for pod in pods(cluster, "web"))
    assert ask(cluster, "get", "configmap", "kept", "--output=jsonpath={.data.colour}") == "blue"
    assert ask(cluster, "get", "secret", "kept", "--output=jsonpath={.data.word}") == "c3dvcmRmaXNo"


def test_names_are_answered_and_new_pods_are_made(cluster: KindCluster, upgraded: Upgraded) -> None:
    assert upgraded
    apply(cluster, deployment("second"), service("second", app="second"))
    ask(cluster, "wait", "--for=condition=Available", "deployment/second", "--timeout=90s")
    for asking, host in (("web", "second"), ("second", "web")):
        for pod in pods(cluster, asking):
            wait_until(partial(served, cluster, pod, host), within=30)
            outside = cluster.kubectl("exec", pod, "--", "nslookup", "example.org")
            assert (outside.returncode, "server can't find example.org: NXDOMAIN" in outside.text) == (1, True)


def test_an_upgraded_node_comes_back_as_it_is_with_its_data(cluster: KindCluster, upgraded: Upgraded) -> None:
    assert upgraded
    cluster.restart_node(cluster.control_plane)
    wait_until(partial(serves, cluster), within=120)
    assert cluster.node_exec(cluster.control_plane, "kubelet", "--version").text.split()[-1] == next_version()
    assert server_version(cluster) == next_version()
    for pod in pods(cluster, "web"):
        wait_until(partial(served, cluster, pod, "web"), within=90)
        assert kept(cluster, pod)


def test_a_cluster_that_has_the_version_is_not_upgraded_again(
    cluster: KindCluster, upgraded: Upgraded, parts: Parts
) -> None:
    with pytest.raises(UsageError, match=rf"{cluster.name} runs {upgraded.after} already\."):
        upgrade(cluster, parts)


def test_a_kubelet_that_stays_old_is_no_success_and_the_next_call_goes_on_from_there(
    cluster: KindCluster, upgraded: Upgraded, parts: Parts
) -> None:
    put_kubelet_back(cluster, f"{cluster.name}-worker")
    stale = replace(parts, programs={**parts.programs, "kubelet": path_of("kubelet")})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upgrading, "READY_SECONDS", 10)
        with pytest.raises(HarnessError, match=r"was upgraded, but its kubelet has not taken over within 10 s\."):
            upgrade(cluster, stale)
    assert upgrade(cluster, parts).after == upgraded.after
    assert kubelets(cluster) == {next_version()}


def put_kubelet_back(cluster: KindCluster, node: str) -> None:
    """Let a node run the older kubelet."""
    cluster.docker.must("cp", path_of("kubelet"), f"{node}:/kubelet", what="The kubelet cannot be copied", deadline=60)
    assert cluster.node_exec(node, "mv", "/kubelet", "/usr/local/bin/kubelet").returncode == 0
    assert cluster.node_exec(node, "systemctl", "restart", "kubelet").returncode == 0
    version = f"jsonpath={{.status.nodeInfo.kubeletVersion}}={OLD}"
    ask(cluster, "wait", f"--for={version}", f"node/{node}", "--timeout=60s")


def fail(cluster: KindCluster, parts: Parts) -> Failed:
    """Upgrade to parts that cannot work, and return how it went, once the API server answers."""
    with pytest.raises(HarnessError) as caught:
        upgrade(cluster, parts)
    wait_until(partial(serves, cluster), within=120)
    return Failed(caught.value, server_version(cluster), kubelets(cluster), look(cluster))


def look(cluster: KindCluster) -> dict[str, Pod]:
    """Return every pod by name."""
    items = json.loads(ask(cluster, "get", "pods", "--all-namespaces", "--output=json"))["items"]
    return {one["metadata"]["name"]: _pod(one) for one in items if one["status"]["phase"] == "Running"}


def _pod(item: dict[str, Any]) -> Pod:
    (container,) = item["status"]["containerStatuses"]
    running = container["state"].get("running", {})
    return Pod(
        item["metadata"]["uid"],
        container["restartCount"],
        running.get("startedAt", "not running"),
        item["spec"]["containers"][0]["image"],
    )


def workloads(found: dict[str, Pod]) -> dict[str, Pod]:
    """Return those of Deployments."""
    return {name: one for name, one in found.items() if name.startswith(("web-", "coredns-"))}


def kubelets(cluster: KindCluster) -> set[str]:
    """Return the versions of the kubelets as the API server knows them."""
    return set(ask(cluster, "get", "nodes", "--output=jsonpath={.items[*].status.nodeInfo.kubeletVersion}").split())


def serves(cluster: KindCluster) -> bool:
    """Whether the API server answers that it is ready."""
    return cluster.kubectl("get", "--raw", "/readyz").returncode == 0


def kept(cluster: KindCluster, pod: str) -> bool:
    """Whether a web server's volume holds what it wrote before the upgrade."""
    return ask(cluster, "exec", pod, "--", "cat", "/data/it") == f"written before by {pod}\n"


def served(cluster: KindCluster, pod: str, host: str) -> bool:
    """Whether `pod` gets an answer from both servers of `host`, asked by name."""
    runs = cluster.kubectl("exec", pod, "--", "true").returncode == 0
    return runs and answers(cluster, pod, host) == set(pods(cluster, host))
