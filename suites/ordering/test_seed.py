"""The guide's own sentences about structure and recovery, each proved or corrected on the reference homelab."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.cluster.part import State
from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.bootstrap import GIT_REPOSITORY, ROOT
from fluxdrill.flux.operations import reconcile, resume
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.errors import UnknownKindError
from fluxdrill.kube.wait import all_current, condition, present, wait_for
from fluxdrill.lab.audit import read_writes
from fluxdrill.lab.lab import CRDS, Lab, LabSpec
from fluxdrill.lab.serve import HOMELAB_PATH, Repository, homelab, serve
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.conditions import source_ref
from fluxdrill.model.kstatus import Status
from fluxdrill.model.ordering import Write
from fluxdrill.model.refs import ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.pytest_plugin.plugin import start
from fluxdrill.repository.profile import Profile
from fluxdrill.repository.source import files, tip
from fluxdrill.repository.tree import Build
from suites.ordering.links import kustomization
from suites.ordering.seen import gone
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_the_reversed_rules_are_broken_by_the_same_evidence",
    "test_control_a_child_that_a_person_calls_ready_at_another_revision_is_refused",
    "test_control_a_chart_source_that_is_in_no_table_is_found",
    "test_control_a_kind_nobody_serves",
)

CHILDREN = ("infra-controllers", "infra-configs", "apps", "monitoring-controllers", "monitoring-configs")
CONTROLLERS = (
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "image-reflector-controller",
    "image-automation-controller",
    "notification-controller",
)
KINDS = {
    "source.toolkit.fluxcd.io": ("GitRepository", "OCIRepository", "HelmRepository", "HelmChart", "Bucket"),
    "kustomize.toolkit.fluxcd.io": ("Kustomization",),
    "helm.toolkit.fluxcd.io": ("HelmRelease",),
    "image.toolkit.fluxcd.io": ("ImageRepository", "ImagePolicy", "ImageUpdateAutomation"),
    "notification.toolkit.fluxcd.io": ("Provider", "Alert", "Receiver"),
}
"""The guide's table of Flux's own kinds."""
SOURCES = ("GitRepository", "OCIRepository", "HelmRepository")
"""What a release can take its chart from; a HelmChart is helm-controller's own."""


@dataclass(frozen=True, slots=True)
class Home:
    """The reference homelab after its cold start, and every write until then."""

    lab: Lab
    repository: Repository
    writes: list[Write]

    def first_write(self, *refs: ObjectRef) -> datetime:
        """Return when the first of `refs` was written; they must have been."""
        found = [one.at for one in self.writes if one.ref in refs and not one.subresource]
        assert found, f"no write of {[str(ref) for ref in refs]} was seen"
        return min(found)

    def ready_at(self, ref: ObjectRef) -> datetime:
        """Return when `ref` was seen Current for the first time."""
        seen = [one.at.utc for one in self.lab.store.timeline.of(ref) if one.status.status is Status.CURRENT]
        assert seen, f"{ref} was never seen ready"
        return seen[0]

    def said(self, text: str) -> set[str]:
        """Return the names of the Kustomizations that ever told `text` in a condition."""
        return {
            one.ref.name
            for one in self.lab.store.timeline.transitions
            if one.ref.kind == ROOT.kind and any(text in c.message for c in one.conditions)
        }

    def objects(self, name: str) -> tuple[ObjectRef, ...]:
        """Return what one Kustomization renders."""
        return self.repository.tree.nodes[kustomization(name)].objects


@pytest.fixture(scope="module")
def home(request: pytest.FixtureRequest) -> Iterator[Home]:
    """Cold-start the reference homelab in a lab of its own."""
    spec = LabSpec(sealed_secrets=True, cluster=ClusterOptions(audit=True))
    with start(request.config, spec) as lab:
        lab.store.follow(CRDS)
        repository = serve(lab, str(homelab()), path=HOMELAB_PATH, profile=Profile.FAST)
        repository.wait_ready(deadline=120)
        yield Home(lab, repository, read_writes(lab.cluster.audit_log, lab.api.discovery.all()))


def custom_objects(home: Home) -> dict[ObjectRef, list[ObjectRef]]:
    """Return the CRDs that the homelab itself brings, each with the objects of its kind that Flux writes."""
    rendered = {ref for name in CHILDREN for ref in home.objects(name)} | set(home.repository.tree.nodes[ROOT].objects)
    found: dict[ObjectRef, list[ObjectRef]] = {}
    for crd in home.lab.store.list(GroupKind.of(CRDS)):
        kind = (crd["spec"]["group"], crd["spec"]["names"]["kind"])
        objects = [ref for ref in rendered if (ref.group, ref.kind) == kind]
        if objects and not kind[0].endswith(".toolkit.fluxcd.io"):
            found[ObjectRef.of(crd)] = objects
    return found


def declared_sources(home: Home) -> set[ObjectRef]:
    """Return the sources that Git declares, and the one it is read through."""
    nodes = home.repository.tree.nodes.values()
    return {GIT_REPOSITORY, *(ref for node in nodes for ref in node.objects if ref.kind in SOURCES)}


def living_sources(home: Home) -> set[ObjectRef]:
    """Return the sources in the cluster."""
    kinds = [GroupKind("source.toolkit.fluxcd.io", kind) for kind in SOURCES]
    return {ObjectRef.of(one) for kind in kinds for one in home.lab.store.list(kind)}


def children() -> list[ObjectRef]:
    """Return the five children."""
    return [kustomization(name) for name in CHILDREN]


def follows_one_source(home: Home, *, deadline: float = 10) -> None:
    """Check that the source is at the branch's tip, and that all children have applied exactly that from it."""
    store = home.lab.store
    wait_for(store, condition(GIT_REPOSITORY, "Ready", "True"), deadline=deadline, what="the source")
    source = store.get(GIT_REPOSITORY) or {}
    assert source["status"]["artifact"]["revision"] == f"main@sha1:{tip(home.repository.served)}"
    found = [store.get(ref) or {} for ref in children()]
    assert {one["spec"]["sourceRef"]["name"] for one in found} == {GIT_REPOSITORY.name}
    wait_for(store, at_revision(children(), home.repository.revision), deadline=deadline, what="the children")


def test_s03_the_five_children_reconcile_from_one_git_repository_at_its_newest_commit(home: Home) -> None:
    """S03: one source, Ready, its artifact is the branch's tip, and every child has applied exactly that."""
    follows_one_source(home)


def test_control_a_child_that_a_person_calls_ready_at_another_revision_is_refused(home: Home) -> None:
    """Negative control of S03: Ready=True is not enough; the revision beside it is looked at."""
    child = kustomization("monitoring-configs")
    stop_and_fake_ready(home.lab, child, revision="main@sha1:0000000")
    wait_for(home.lab.store, condition(child, "Ready", "True"), deadline=5, what="the lie to be seen")
    with refused():
        follows_one_source(home, deadline=2)
    resume(home.lab.api, child)
    follows_one_source(home, deadline=30)


def test_s06_no_object_is_tried_before_its_kind_is_there(home: Home) -> None:
    """S06: CRDs from releases, nested Kustomizations and the root itself come before the first try of their kind."""
    kinds = custom_objects(home)
    assert len(kinds) >= 4
    early = {
        str(crd): str(ref)
        for crd, objects in kinds.items()
        for ref in objects
        if home.first_write(ref) < home.first_write(crd)
    }
    assert early == {}
    assert home.said("no matches for kind") == set(), "it was tried too early, and only a retry healed it"


def test_s07_no_application_is_written_before_the_infrastructure_is_ready(home: Home) -> None:
    """S07: the first write of apps comes after both infrastructure links were Ready."""
    first = home.first_write(*home.objects("apps"))
    for name in ("infra-controllers", "infra-configs"):
        assert first > home.ready_at(kustomization(name)), name


def test_control_the_reversed_rules_are_broken_by_the_same_evidence(home: Home) -> None:
    """Negative control of S06 and S07: read the other way round, the same times speak against the rule."""
    first = home.first_write(*home.objects("infra-controllers"))
    assert not first > home.ready_at(kustomization("apps"))
    assert home.said("dependency 'flux-system/infra-configs' is not ready") == {"apps", "monitoring-controllers"}
    for crd, objects in custom_objects(home).items():
        assert not all(home.first_write(crd) > home.first_write(ref) for ref in objects)


def test_s18_every_overlay_builds_and_its_patch_is_what_runs(home: Home) -> None:
    """S18: base and overlay render, and the value that only the overlay has is in the cluster, substituted."""
    built = {node.ref.name: node.build for node in home.repository.tree.nodes.values()}
    assert {name: built[name] for name in CHILDREN} == dict.fromkeys(CHILDREN, Build.BUILT)
    jellyfin = home.lab.api.get(ObjectRef("helm.toolkit.fluxcd.io", "HelmRelease", "arkham", "jellyfin"))
    url = jellyfin["spec"]["values"]["env"]["JELLYFIN_PublishedServerUrl"]
    assert url.startswith("https://jellyfin.")
    assert "${" not in url
    base = files(home.repository.served)["apps/base/arkham/jellyfin.yaml"].decode()
    assert "JELLYFIN_PublishedServerUrl" not in base


def test_s20_the_namespaces_of_the_guide_exist(home: Home) -> None:
    """S20: every namespace that a surface declares is there and active; the guide counts more than 25."""
    declared = {ref for name in CHILDREN for ref in home.objects(name) if ref.kind == "Namespace"}
    assert len(declared) >= 25
    wait_for(home.lab.store, all_current(declared), deadline=20, what="the namespaces")


def test_s21_the_inventory_of_chart_sources_is_what_git_declares_and_every_release_uses_one_of_it(home: Home) -> None:
    """S21, corrected: the guide's table of 18 HelmRepositories never matched its tree; here Git and cluster agree with it."""
    assert living_sources(home) == declared_sources(home)
    assert len([ref for ref in living_sources(home) if ref.kind == "HelmRepository"]) == 18
    wait_for(home.lab.store, all_current(declared_sources(home)), deadline=20, what="the sources")
    releases = home.lab.store.list(GroupKind("helm.toolkit.fluxcd.io", "HelmRelease"))
    assert len(releases) >= 9
    assert {source_ref(one) for one in releases} <= declared_sources(home)


def test_control_a_chart_source_that_is_in_no_table_is_found(home: Home) -> None:
    """Negative control of S21: one HelmRepository made by hand, and the inventory no longer matches."""
    meta = {"name": "by-hand", "namespace": NAMESPACE}
    spec = {"url": "https://charts.invalid", "suspend": True, "interval": "1h"}
    made = {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository", "metadata": meta, "spec": spec}
    ref = ObjectRef.of(home.lab.api.apply(made))
    try:
        wait_for(home.lab.store, present(ref), deadline=10, what="the source")
        with refused():
            assert living_sources(home) == declared_sources(home)
    finally:
        gone(home.lab, ref)


def test_s22_the_guides_helm_repositories_are_refused_as_written_and_accepted_as_v1(home: Home) -> None:
    """S22, corrected: `source.toolkit.fluxcd.io/v1beta2` is no longer served; the three snippets are right with v1."""
    snippets: dict[str, dict[str, object]] = {
        "my-charts": {"url": "https://charts.invalid", "interval": "1h", "timeout": "1m"},
        "my-oci-charts": {"type": "oci", "url": "oci://registry.invalid/charts", "interval": "1h"},
        "private-charts": {"url": "https://p.invalid", "interval": "1h", "secretRef": {"name": "helm-repo-secret"}},
    }
    for name, spec in snippets.items():
        meta: dict[str, object] = {"name": name, "namespace": NAMESPACE}
        written = {"apiVersion": "source.toolkit.fluxcd.io/v1beta2", "kind": "HelmRepository", "metadata": meta, "spec": spec}  # fmt: skip
        with pytest.raises(UnknownKindError):
            home.lab.api.apply(written, dry_run=True)
        accepted = home.lab.api.apply({**written, "apiVersion": "source.toolkit.fluxcd.io/v1"}, dry_run=True)
        assert accepted["spec"]["url"] == spec["url"]


@pytest.mark.parametrize("group", KINDS)
def test_s23_every_kind_of_a_controller_is_served(home: Home, group: str) -> None:
    """S23: the guide's list of kinds per controller, asked of the API server itself."""
    served = {one.kind for one in home.lab.api.discovery.all() if one.group == group}
    assert set(KINDS[group]) <= served


def test_control_a_kind_nobody_serves(home: Home) -> None:
    """Negative control of S23: what is not served is told apart."""
    with pytest.raises(UnknownKindError):
        home.lab.api.resource("source.toolkit.fluxcd.io", "SvnRepository")


def test_s24_no_flux_instance_does_not_mean_no_flux(home: Home) -> None:
    """S24: without the operator's FluxInstance the truth is controllers, Kustomizations and source, and all are well."""
    with pytest.raises(UnknownKindError):
        home.lab.api.resource("fluxcd.controlplane.io", "FluxInstance")
    every = [ROOT, GIT_REPOSITORY, *children()]
    wait_for(home.lab.store, all_current(every), deadline=20, what="Flux to be well all the same")
    assert {process.state for process in home.lab.flux.values()} == {State.RUNNING}


def test_s25_six_controllers_run_each_with_an_account_of_its_own(home: Home) -> None:
    """S25: the six of the guide, no more and no fewer, each as its ServiceAccount in flux-system."""
    assert set(home.lab.flux) == set(CONTROLLERS)
    assert {process.state for process in home.lab.flux.values()} == {State.RUNNING}
    for name in CONTROLLERS:
        assert home.lab.api.get(ObjectRef("", "ServiceAccount", NAMESPACE, name))


def test_s42_a_cascade_of_reconciles_brings_a_commit_from_git_to_apps(home: Home, measured: Measured) -> None:
    """S42: source, infra-controllers, infra-configs, apps, each asked when the one before has applied the commit."""
    store, repository = home.lab.store, home.repository
    path = "clusters/kyrion/config-map.yaml"
    text = files(repository.served)[path].decode()
    begun = SYSTEM_CLOCK.now()
    revision = repository.commit({path: text.replace("Europe/Rome", "Europe/Paris")}, "move")
    for ref in (GIT_REPOSITORY, ROOT, *map(kustomization, CHILDREN[:3])):
        reconcile(home.lab.api, store, ref, deadline=40)
        if ref != GIT_REPOSITORY:
            wait_for(store, at_revision([ref], revision), deadline=60, what=f"{ref.name} at the commit")
    measured("commit until apps, by a cascade", SYSTEM_CLOCK.now().since(begun), kind="other")
    jellyfin = home.lab.api.get(ObjectRef("helm.toolkit.fluxcd.io", "HelmRelease", "arkham", "jellyfin"))
    assert jellyfin["spec"]["values"]["env"]["TZ"] == "Europe/Paris"
    repository.wait_ready(deadline=90)
