"""The repository under test comes up in its declared order: homelab/ by default, another one with --lab-repo.

It is cold-started in a lab of its own; every dependsOn it declares becomes a test, proved from the audit log's first
writes and the watch's Ready. What does not come up fails with the first blocker's own words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxdrill.cluster.embedded import EmbeddedOptions
from fluxdrill.flux.kinds import HELM_RELEASE, RECONCILED
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.wait import DeviatedTimeoutError, wait_for
from fluxdrill.lab.audit import read_writes
from fluxdrill.lab.lab import LabSpec
from fluxdrill.lab.serve import HOMELAB_PATH, REPOSITORY, Copy, Repository, homelab, prepare, sync
from fluxdrill.model.ordering import Edge, EdgeProof, Proof, Write, prove
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin import options
from fluxdrill.pytest_plugin.plugin import start
from fluxdrill.rehearsal.outcome import Outcome, judge
from fluxdrill.rehearsal.settle import Settling
from fluxdrill.repository.edges import declared_edges
from fluxdrill.repository.profile import Profile
from fluxdrill.repository.source import files, open_source

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_each_declared_edge_turned_round_is_not_proved",)
ACCOUNTS = {
    "Kustomization": "system:serviceaccount:flux-system:kustomize-controller",
    "HelmRelease": "system:serviceaccount:flux-system:helm-controller",
}
SETTLED_WITHIN = 240.0


def under_test(config: pytest.Config) -> tuple[str, str]:
    """Return source and entry path of the repository under test."""
    source = options.read(config, options.REPO) or str(homelab())
    return source, options.read(config, options.PATH) or HOMELAB_PATH


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per declared edge; collecting reads files and touches no cluster."""
    if "edge" in metafunc.fixturenames:
        source, _ = under_test(metafunc.config)
        with tempfile.TemporaryDirectory(prefix="fluxdrill-collect-") as scratch:
            served = open_source(source, ref=None, into=Path(scratch) / "copy.git", deadline=60)
            edges = declared_edges(files(served))
        metafunc.parametrize("edge", edges, ids=str)


@dataclass(frozen=True, slots=True)
class Started:
    """A cold start that has settled: what came up, what it came to, and every write the API server took meanwhile."""

    repository: Repository
    objects: dict[ObjectRef, KubeObject]
    outcome: Outcome
    writes: list[Write]

    def prove(self, edge: Edge) -> EdgeProof:
        """Judge one edge from what was seen."""
        return prove(
            edge,
            self.repository.lab.store.timeline.transitions,
            self.writes,
            written=self._written(edge.dependent),
            controllers=set(ACCOUNTS.values()),
        )

    def blockers(self) -> str:
        """Return the first blocker's own words, for what did not come up."""
        every = (*self.outcome.blockers, *self.outcome.outside)
        return f"first blocker: {every[0].subject}: {every[0].finding.message}" if every else "nothing says why"

    def _written(self, dependent: ObjectRef) -> set[ObjectRef]:
        """Return what the dependent writes: its inventory, or the storage of a release's first revision."""
        if GroupKind.of(dependent) == HELM_RELEASE:
            status = self.objects.get(dependent, {}).get("status") or {}
            return {
                ObjectRef("", "Secret", str(one["namespace"]), f"sh.helm.release.v1.{one['name']}.v1")
                for one in status.get("history") or ()
            }
        entries = ((self.objects.get(dependent, {}).get("status") or {}).get("inventory") or {}).get("entries") or ()
        return {_inventory(one["id"]) for one in entries}


def _inventory(entry: str) -> ObjectRef:
    """Return the object of an inventory id: namespace_name_group_kind (a colon in a name is written as two underscores)."""
    namespace, name, group, kind = entry.rsplit("_", 3) if entry.count("_") == 3 else _with_underscores(entry)
    return ObjectRef(group, kind, namespace, name)


def _with_underscores(entry: str) -> tuple[str, str, str, str]:
    namespace, _, rest = entry.partition("_")
    name, group, kind = rest.rsplit("_", 2)
    return namespace, name.replace("__", ":"), group, kind


@pytest.fixture(scope="module")
def started(request: pytest.FixtureRequest) -> Iterator[Started]:
    """Cold-start the repository under test in a lab of its own and wait until it has settled."""
    source, path = under_test(request.config)
    profile = Profile(options.read(request.config, options.PROFILE))
    copies: list[Copy] = []

    def before(root: Path) -> None:
        copies.append(prepare(source, into=root / REPOSITORY, path=path, profile=profile))

    spec = LabSpec(sealed_secrets=True, cluster=EmbeddedOptions(audit=True))
    with start(request.config, spec, prepare=before) as lab:
        settling = Settling()
        repository = sync(lab, copies[0])
        try:
            wait_for(lab.store, settling.predicate, deadline=SETTLED_WITHIN, dwell=3, what="the cold start to settle")
        except DeviatedTimeoutError as error:
            pytest.fail(f"the cold start did not settle: {error}")
        view = lab.store.view()
        objects = settling.completed({ObjectRef.of(one): one for kind in RECONCILED for one in view.list(kind)})
        parents = {ref: node.parent for ref, node in repository.tree.nodes.items()}
        wanted = {ref: node.depends_on for ref, node in repository.tree.nodes.items()}
        refused = {host.rpartition(":")[0] for host in lab.outside.hosts()}
        outcome = judge(objects, parents=parents, depends_on=wanted, since={}, refused=refused)
        yield Started(repository, objects, outcome, read_writes(lab.cluster.audit_log, lab.api.discovery.all()))


def test_the_repository_comes_up_from_nothing(started: Started) -> None:
    """Every Flux object is Ready, and nothing that the repository wants is missing."""
    open_ones = [one for one in started.outcome.findings.values() if one.state != "ready"]
    told = "; ".join(f"{one.ref} is {one.state}" for one in open_ones[:5])
    assert started.outcome.converged, f"{len(open_ones)} objects are not Ready ({told}); {started.blockers()}"


def test_every_edge_is_proved_by_first_writes(started: Started, edge: Edge) -> None:
    """S01, S06 to S08: the dependent wrote nothing before its dependency was Ready, and was seen waiting for it."""
    found = started.prove(edge)
    if found.proof is Proof.INVALID and edge.dependent not in started.objects:
        pytest.fail(f"{edge.dependent} never came up; {started.blockers()}")
    assert found.proof is Proof.PROVED, f"{found.proof}: {found.why}; {started.blockers()}"


def test_control_each_declared_edge_turned_round_is_not_proved(started: Started, edge: Edge) -> None:
    """Negative control: the same evidence must not prove the opposite order."""
    assert started.prove(Edge(edge.dependent, edge.dependency)).proof is not Proof.PROVED


def test_the_declared_dependencies_are_no_circle(started: Started) -> None:
    """S14: a circle would wait for ever without an error; it is named here."""
    cycles = [" -> ".join(ref.name for ref in cycle) for cycle in started.repository.tree.cycles()]
    assert cycles == []
