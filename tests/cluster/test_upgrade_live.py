"""A cluster upgraded in place from one minor version to the next: what ran goes on, what was kept is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from fluxdrill.cluster.images.components import ensure_archives, find
from fluxdrill.cluster.kind import KindCluster
from fluxdrill.cluster.upgrade import Parts, Upgraded, next_parts, next_version, server_version, upgrade
from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.process import run
from fluxdrill.toolchain.build import path_of
from fluxdrill.toolchain.catalog import NEXT_KUBERNETES, PINNED
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
class Refused:
    """An upgrade that failed: what it said, and what the cluster was right after it."""

    said: HarnessError
    server: str
    kubelet: str
    answered: set[str]


@pytest.fixture(scope="module")
def cluster() -> Iterator[KindCluster]:
    """A control plane of the older version with a web server on a volume, a ConfigMap and a Secret."""
    with leased() as lease:
        made = KindCluster.create(lease)
        try:
            made.load_image(ensure_archives([find("standin")])["standin"])
            web = deployment("web", replicas=1, volume="data")
            apply(made, claim("data"), web, service("web", app="web"), CONFIG, SECRET)
            ask(made, "wait", "--for=condition=Available", "deployment/web", "--timeout=90s")
            ask(made, "exec", "deployment/web", "--", "sh", "-c", "echo written before > /data/it")
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
def refused(cluster: KindCluster, before: dict[str, Pod], parts: Parts) -> Refused:
    """The negative control: an upgrade that brings no images in."""
    assert before
    with pytest.raises(HarnessError) as caught:
        upgrade(cluster, replace(parts, images=()))
    (web,) = pods(cluster, "web")
    return Refused(caught.value, server_version(cluster), kubelet(cluster), answers(cluster, web, "web", times=1))


@pytest.fixture(scope="module")
def upgraded(cluster: KindCluster, refused: Refused, parts: Parts) -> Upgraded:
    """The upgrade, made after one that failed."""
    assert refused
    return upgrade(cluster, parts)


def test_an_upgrade_whose_images_are_missing_fails_and_the_old_version_serves_on(
    cluster: KindCluster, before: dict[str, Pod], refused: Refused, parts: Parts
) -> None:
    assert f"{cluster.control_plane} was not upgraded to {parts.version}: failed to pull image" in refused.said.problem
    assert {one for one in refused.said.problem.split() if "kube-apiserver" in one} == {
        f"fluxdrill.invalid/kube-apiserver:{parts.version};"
    }
    assert (refused.server, refused.kubelet) == (OLD, OLD)
    assert refused.answered == {one for one in before if one.startswith("web-")}


def test_api_server_and_kubelet_are_of_the_next_version(cluster: KindCluster, upgraded: Upgraded) -> None:
    assert (upgraded.before, upgraded.after) == (OLD, next_version())
    assert (server_version(cluster), kubelet(cluster)) == (next_version(), next_version())
    asked = run([path_of("kubectl"), "--kubeconfig", cluster.kubeconfig, "version", "--output=json"], deadline=30)
    assert json.loads(asked.text)["serverVersion"]["gitVersion"] == next_version()


def test_the_control_plane_s_pods_run_the_next_version_and_the_others_their_own(
    cluster: KindCluster, before: dict[str, Pod], upgraded: Upgraded
) -> None:
    assert upgraded
    tags = {name.partition("-lab-")[0]: one.image.rpartition(":")[2] for name, one in look(cluster).items()}
    old = {name.partition("-lab-")[0]: one.image.rpartition(":")[2] for name, one in before.items()}
    planes = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    assert ({old[one] for one in planes}, {tags[one] for one in planes}) == ({OLD}, {next_version()})
    assert {tag for name, tag in tags.items() if name.startswith("kube-proxy-")} == {next_version()}
    assert tags["etcd"] == old["etcd"] == find("etcd").tag


def test_a_deployment_s_pod_is_the_same_and_never_ended(
    cluster: KindCluster, before: dict[str, Pod], upgraded: Upgraded
) -> None:
    assert upgraded
    after = look(cluster)
    mine = {name: one for name, one in before.items() if name.startswith(("web-", "coredns-"))}
    assert len(mine) == 3
    assert {name: after.get(name) for name in mine} == mine


def test_what_was_kept_in_the_cluster_is_there(cluster: KindCluster, upgraded: Upgraded) -> None:
    assert upgraded
    assert ask(cluster, "exec", "deployment/web", "--", "cat", "/data/it") == "written before\n"
    assert ask(cluster, "get", "configmap", "kept", "--output=jsonpath={.data.colour}") == "blue"
    assert ask(cluster, "get", "secret", "kept", "--output=jsonpath={.data.word}") == "c3dvcmRmaXNo"


def test_names_are_answered_and_new_pods_are_made(cluster: KindCluster, upgraded: Upgraded) -> None:
    assert upgraded
    apply(cluster, deployment("second", replicas=1), service("second", app="second"))
    ask(cluster, "wait", "--for=condition=Available", "deployment/second", "--timeout=90s")
    (web,), (second,) = pods(cluster, "web"), pods(cluster, "second")
    wait_until(partial(served, cluster, web, "second"), within=30)
    wait_until(partial(served, cluster, second, "web"), within=30)
    outside = cluster.kubectl("exec", second, "--", "nslookup", "example.org")
    assert (outside.returncode, "server can't find example.org: NXDOMAIN" in outside.text) == (1, True)


def test_an_upgraded_node_comes_back_as_it_is_with_its_data(cluster: KindCluster, upgraded: Upgraded) -> None:
    assert upgraded
    cluster.restart_node(cluster.control_plane)
    wait_until(lambda: cluster.kubectl("get", "--raw", "/readyz").returncode == 0, within=90)
    assert (server_version(cluster), kubelet(cluster)) == (next_version(), next_version())
    wait_until(partial(served, cluster, next(iter(pods(cluster, "web"))), "web"), within=90)
    assert ask(cluster, "exec", "deployment/web", "--", "cat", "/data/it") == "written before\n"


def test_a_cluster_that_has_the_version_is_not_upgraded_again(
    cluster: KindCluster, upgraded: Upgraded, parts: Parts
) -> None:
    with pytest.raises(UsageError, match=rf"{cluster.name} runs {upgraded.after} already\."):
        upgrade(cluster, parts)


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


def kubelet(cluster: KindCluster) -> str:
    """Return the version of the control plane node's kubelet as the API server knows it."""
    words = ("get", "node", cluster.control_plane, "--output=jsonpath={.status.nodeInfo.kubeletVersion}")
    return ask(cluster, *words)


def served(cluster: KindCluster, pod: str, host: str) -> bool:
    """Whether `pod` gets an answer from the one server of `host`, asked by its name."""
    return cluster.kubectl("exec", pod, "--", "true").returncode == 0 and answers(cluster, pod, host, times=1) == set(
        pods(cluster, host)
    )
