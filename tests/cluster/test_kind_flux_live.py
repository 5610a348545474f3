"""Flux in a kind cluster, made without a registry: it brings up a repository of ours on real pods, and recovers."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fluxdrill.cluster import leases
from fluxdrill.cluster.images.components import ensure_archives, find
from fluxdrill.cluster.kind import KindCluster
from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.bootstrap import GIT_REPOSITORY, ROOT, Sync, bootstrap
from fluxdrill.flux.controllers import Pace
from fluxdrill.flux.inside import DEPLOYMENTS, InsideOptions, install
from fluxdrill.flux.kinds import KUSTOMIZATION
from fluxdrill.flux.operations import request
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.api import Api
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.wait import DeviatedTimeoutError, absent, all_current, condition, wait_for
from fluxdrill.kube.watch import Store
from fluxdrill.lab.marker import MARKER
from fluxdrill.model.ordering import Edge, Proof, Write, prove
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Change
from fluxdrill.repository.served import Served, commit_files, files, tip
from fluxdrill.repository.source import open_source
from fluxdrill.sources.archive import pack
from fluxdrill.sources.charts import ChartServer
from fluxdrill.sources.git import GitServer
from fluxdrill.toolchain.build import Tools, ensure
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS
from tests.cluster.kinds import STANDIN, ask, leased, needs_kind

pytestmark = [pytest.mark.live, needs_kind]

FLEET = Path(__file__).parents[2] / "scenarios" / "repositories" / "fleet"
INFRA, CONFIGS, APPS, MONITORING = (
    ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", NAMESPACE, name)
    for name in ("infra", "configs", "apps", "monitoring")
)
CHAIN = (ROOT, INFRA, CONFIGS, APPS, MONITORING)
WEB = ObjectRef("apps", "Deployment", "shop", "web")
SETTINGS = ObjectRef("", "ConfigMap", "shop", "settings")
LEASE = ObjectRef("coordination.k8s.io", "Lease", NAMESPACE, "kustomize-controller-leader-election")
WATCHER = ObjectRef("apps", "Deployment", "monitoring", "watcher")
POD = GroupKind("", "Pod")
REAL = """
images:
  - name: simulated
    newName: {name}
    newTag: "{tag}"
patches:
  - target:
      kind: Deployment
    patch: |
      - op: add
        path: /spec/template/spec/terminationGracePeriodSeconds
        value: 1
      - op: add
        path: /spec/template/spec/containers/0/command
        value: [httpd, -f, -p, "8080", -h, /etc]
      - op: add
        path: /spec/template/spec/containers/0/readinessProbe
        value: {{httpGet: {{path: /passwd, port: 8080}}, periodSeconds: 1}}
"""


@dataclass(frozen=True, slots=True)
class World:
    """A cluster with Flux in it, and the repository that it follows; `times` are seconds from the start."""

    cluster: KindCluster
    api: Api
    store: Store
    tools: Tools
    options: InsideOptions
    served: Served
    git: GitServer
    times: dict[str, float] = field(default_factory=dict)

    def push(self, changes: dict[str, str], message: str) -> str:
        """Commit, have Flux look at once, and return the revision."""
        commit = commit_files(self.served, changes, message)
        request(self.api, GIT_REPOSITORY)
        return f"main@sha1:{commit}"

    def pods(self, name: str) -> list[ObjectRef]:
        """Return the pods of the Flux controller `name`."""
        found = self.store.list(POD, NAMESPACE)
        return [ObjectRef.of(one) for one in found if one["metadata"]["labels"]["app"] == name]


def real(folder: str, reference: str, served: Served) -> dict[str, str]:
    """Return the change by which the Deployments of `folder` run the image `reference`."""
    path, (name, _, tag) = f"{folder}/kustomization.yaml", reference.rpartition(":")
    before = files(served, folder)[path].decode().partition("\nimages:")[0]
    return {path: before + REAL.format(name=name, tag=tag)}


@pytest.fixture(scope="module")
def lease() -> Iterator[leases.Lease]:
    """A lab of this module's own; an engine that ran before stays."""
    with leased() as one:
        yield one


@pytest.fixture(scope="module")
def world(lease: leases.Lease) -> Iterator[World]:
    """A cluster, Flux in it, and the whole chain of the repository Ready."""
    tools, _ = ensure(["kustomize"])
    images = ensure_archives(map(find, (*FLUX_CONTROLLERS, "standin")))
    started, times = time.monotonic(), dict[str, float]()
    with ExitStack() as stack:
        cluster = KindCluster.create(lease)
        stack.callback(cluster.delete)
        times["cluster Ready"] = time.monotonic() - started
        for archive in images.values():
            cluster.load_image(archive)
        times["images loaded"] = time.monotonic() - started
        api = stack.enter_context(Api.connect(cluster.kubeconfig))
        store = stack.enter_context(Store(api))
        options = InsideOptions(labels={MARKER: lease.lab_id}, pace=Pace(), reachable=(cluster.gateway,))
        install(api, store, tools, options)
        for kind in (KUSTOMIZATION, GroupKind.of(WEB), GroupKind.of(SETTINGS)):
            store.follow(kind)
        times["Flux Available"] = time.monotonic() - started
        folder = Path(lease.folder, "git")
        served = open_source(str(FLEET), ref="", into=folder / "fleet.git", deadline=30)
        commit_files(
            served, real("apps", STANDIN, served) | real("monitoring", STANDIN, served), "the stand-in's image"
        )
        git = stack.enter_context(GitServer(folder, user="flux", password="known", host=cluster.gateway))
        made = World(cluster, api, store, tools, options, served, git, times)
        url = f"{git.url}/fleet.git"
        bootstrap(api, Sync(url, served.branch, "clusters/lab", "flux", "known", retry_interval="2s", timeout="60s"))
        wait_for(
            store, at_revision(CHAIN, f"{served.branch}@sha1:{tip(served)}"), deadline=120, what="the chain to be Ready"
        )
        times["chain Ready"] = time.monotonic() - started
        print({name: round(seconds, 1) for name, seconds in times.items()})  # noqa: T201 - what pytest -rA shows
        yield made


def test_every_controller_runs_from_our_image_in_a_marked_namespace(world: World, lease: leases.Lease) -> None:
    assert world.api.get(ObjectRef("", "Namespace", "", NAMESPACE))["metadata"]["labels"][MARKER] == lease.lab_id
    for name in FLUX_CONTROLLERS:
        (pod,) = world.pods(name)
        found = world.api.get(pod)
        (container,) = found["spec"]["containers"]
        assert (container["image"], container["imagePullPolicy"]) == (find(name).reference, "Never")
        assert (
            container["securityContext"]["runAsNonRoot"]
            is container["securityContext"]["readOnlyRootFilesystem"]
            is True
        )
        assert found["status"]["containerStatuses"][0]["ready"] is True


def test_the_chain_came_up_in_order_and_what_depends_on_nothing_did_not_wait(world: World) -> None:
    assert proof(world, Edge(INFRA, CONFIGS), SETTINGS) is Proof.PROVED
    assert proof(world, Edge(CONFIGS, APPS), WEB) is Proof.PROVED
    assert proof(world, Edge(APPS, MONITORING), WATCHER) in {Proof.UNPROVED, Proof.VIOLATED}


def proof(world: World, edge: Edge, written: ObjectRef) -> Proof:
    """Judge an edge by what the watch saw: the object that the dependent stands for is `written` when it appears."""
    seen = world.store.timeline.transitions
    writes = [Write(one.at.utc, "flux", "create", one.ref) for one in seen if one.kind is Change.ADDED]
    return prove(edge, seen, writes, written=[written], controllers=["flux"]).proof


def test_its_deployments_run_real_pods(world: World) -> None:
    for ref in (WEB, WATCHER):
        words = ("--namespace", ref.namespace, f"deployment/{ref.name}", "--", "wget", "-q", "-O", "-")
        said = ask(world.cluster, "exec", *words, "http://127.0.0.1:8080/passwd")
        assert said.startswith("root:x:0:0:")


def test_a_commit_is_applied(world: World) -> None:
    path = "apps/web.yaml"
    before = files(world.served, "apps")[path].decode()
    revision = world.push({path: before.replace("greeting: hello", "greeting: hi there")}, "greet")
    wait_for(world.store, at_revision([APPS], revision), deadline=60, what="the commit applied")
    assert world.api.get(ObjectRef("", "ConfigMap", "shop", "web"))["data"] == {"greeting": "hi there"}


@pytest.mark.parametrize("name", ["source-controller", "kustomize-controller"])
def test_a_controller_whose_pod_is_deleted_is_replaced_and_applies_what_came_meanwhile(world: World, name: str) -> None:
    """Artifacts are gone with source-controller's pod: they are made anew."""
    (lost,) = world.pods(name)
    started = time.monotonic()
    world.api.delete(lost)
    revision = world.push({"configs/settings.yaml": settings(name)}, f"without {name}")
    wait_for(world.store, absent(lost), deadline=60, what="the pod to end")
    wait_for(world.store, at_revision(CHAIN, revision), deadline=120, what="the commit applied")
    print(f"{name} replaced and the commit applied in {time.monotonic() - started:.1f} s")  # noqa: T201 - as above
    assert lost not in world.pods(name)
    assert world.api.get(SETTINGS)["data"] == {"currency": name}


def test_a_controller_that_is_killed_starts_again_once_its_lease_has_run_out(world: World) -> None:
    """Nobody gives the lease of a killed process back: its successor waits for it (35 s, as the distribution has it)."""
    (pod,) = world.pods("kustomize-controller")
    (before,) = world.api.get(pod)["status"]["containerStatuses"]
    holder = world.api.get(LEASE)["spec"]["holderIdentity"]
    ctr = ("ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL")
    identity = before["containerID"].removeprefix("containerd://")
    started = time.monotonic()
    done = world.cluster.node_exec(world.cluster.control_plane, *ctr, identity)
    assert done.returncode == 0, done.stderr
    revision = world.push({"configs/settings.yaml": settings("again")}, "killed")
    wait_for(world.store, at_revision(CHAIN, revision), deadline=120, what="the commit applied")
    print(f"kustomize-controller killed and the commit applied in {time.monotonic() - started:.1f} s")  # noqa: T201
    (after,) = world.api.get(pod)["status"]["containerStatuses"]
    assert after["restartCount"] == before["restartCount"] + 1
    assert after["lastState"]["terminated"]["exitCode"] == 128 + signal.SIGKILL
    assert world.api.get(LEASE)["spec"]["holderIdentity"] != holder


def settings(currency: str) -> str:
    """Return the ConfigMap of the repository with another value."""
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\n"
    return f"{head}data: {{currency: {currency}}}\n"


def test_without_its_image_a_deployment_is_never_ready_and_its_kustomization_says_so(world: World) -> None:
    world.push(real("apps", "fluxdrill.invalid/nobody:1", world.served), "an image that nobody has")
    failed = condition(APPS, "Ready", "False", "HealthCheckFailed")
    wait_for(world.store, failed, deadline=120, what="the Kustomization to fail", fail_fast=False)
    (why,) = (one for one in world.api.get(APPS)["status"]["conditions"] if one["type"] == "Ready")
    assert "Deployment/shop/web" in why["message"]
    assert world.api.get(WEB)["status"]["unavailableReplicas"] == 1
    reasons = {
        status["state"].get("waiting", {}).get("reason")
        for pod in world.store.list(POD, "shop")
        for status in pod["status"]["containerStatuses"]
        if status["image"] == "fluxdrill.invalid/nobody:1"
    }
    assert reasons & {"ErrImagePull", "ImagePullBackOff"}
    revision = world.push(real("apps", STANDIN, world.served), "the stand-in's image again")
    wait_for(world.store, at_revision(CHAIN, revision), deadline=120, what="the chain healed", fail_fast=False)


def test_nothing_leads_outside_the_cluster(world: World) -> None:
    ref = ObjectRef("source.toolkit.fluxcd.io", "GitRepository", NAMESPACE, "outside")
    spec = {"url": "http://198.51.100.1/fleet.git", "interval": "10m", "timeout": "5s"}
    head = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": ref.kind}
    world.api.apply({**head, "metadata": {"name": ref.name, "namespace": ref.namespace}, "spec": spec})
    refused = condition(ref, "Ready", "False", "GitOperationFailed")
    wait_for(world.store, refused, deadline=30, what="the refusal", fail_fast=False)
    (why,) = (one for one in world.api.get(ref)["status"]["conditions"] if one["type"] == "Ready")
    assert "127.0.0.1:1: connect: connection refused" in why["message"]
    world.api.delete(ref)


def test_a_chart_is_fetched_from_this_machine(world: World) -> None:
    archive = pack("one", {"Chart.yaml": b"apiVersion: v2\nname: one\nversion: 1.0.0\n"})
    with ChartServer(host=world.cluster.gateway) as charts:
        charts.publish("one", "1.0.0", archive)
        meta = {"name": "one", "namespace": NAMESPACE}
        head = {"apiVersion": "source.toolkit.fluxcd.io/v1", "metadata": meta}
        world.api.apply({**head, "kind": "HelmRepository", "spec": {"url": charts.url, "interval": "10m"}})
        source = {"kind": "HelmRepository", "name": "one"}
        spec = {"chart": "one", "version": "1.0.0", "interval": "10m", "sourceRef": source}
        world.api.apply({**head, "kind": "HelmChart", "spec": spec})
        refs = [
            ObjectRef("source.toolkit.fluxcd.io", kind, NAMESPACE, "one") for kind in ("HelmChart", "HelmRepository")
        ]
        wait_for(world.store, all_current(refs), deadline=60, what="the chart", fail_fast=False)
        for ref in refs:
            world.api.delete(ref)


def test_a_controller_whose_image_is_missing_is_named_and_another_install_mends_it(world: World) -> None:
    broken = next(ref for ref in DEPLOYMENTS if ref.name == "image-automation-controller")
    change = [
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "fluxdrill.invalid/nobody:1"}
    ]
    world.api.patch(broken, change, kind="json")
    with pytest.raises(DeviatedTimeoutError, match=broken.name):
        wait_for(world.store, all_current(DEPLOYMENTS), deadline=5, what="Flux controllers Available")
    install(world.api, world.store, world.tools, world.options)
    (pod,) = (world.api.get(one) for one in world.pods(broken.name) if not deleted(world, one))
    assert pod["spec"]["containers"][0]["image"] == find(broken.name).reference


def deleted(world: World, pod: ObjectRef) -> bool:
    """Whether a pod is about to end."""
    found = world.store.get(pod)
    return found is None or "deletionTimestamp" in found["metadata"]
