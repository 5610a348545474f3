"""The repository under test comes up in its declared order: homelab/ by default, another one with --lab-repo.

It is cold-started in a lab of its own; every dependsOn it declares becomes a test, proved from the audit log's first
writes and the watch's Ready. What does not come up fails with the first blocker's own words.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.errors import FluxdrillError
from fluxdrill.flux.kinds import HELM_RELEASE, RECONCILED
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.wait import DeviatedTimeoutError, wait_for
from fluxdrill.lab.audit import read_writes
from fluxdrill.lab.lab import LabSpec
from fluxdrill.lab.serve import HOMELAB_PATH, REPOSITORY, Copy, Repository, homelab, prepare, sync
from fluxdrill.model.conditions import dependencies
from fluxdrill.model.ordering import Edge, EdgeProof, Proof, Write, prove
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.model.timeline import Transition
from fluxdrill.pytest_plugin import options
from fluxdrill.pytest_plugin.plugin import start
from fluxdrill.rehearsal.outcome import Outcome, judge
from fluxdrill.rehearsal.settle import Settling
from fluxdrill.repository.edges import declared_edges, unreadable
from fluxdrill.repository.profile import Profile
from fluxdrill.repository.source import files, open_source
from suites.ordering.waiting import made_to_wait
from suites.sabotage import earlier, refused, without_ready, without_writes

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_each_declared_edge_turned_round_is_not_proved",
    "test_control_hidden_and_reordered_evidence_proves_no_edge",
)
ACCOUNTS = {
    "Kustomization": "system:serviceaccount:flux-system:kustomize-controller",
    "HelmRelease": "system:serviceaccount:flux-system:helm-controller",
}
SETTLED_WITHIN = 240.0
SETTLED_FOR = 3.0
"""Seconds that everything must stay settled."""


def under_test(config: pytest.Config) -> tuple[str, str]:
    """Return source and entry path of the repository under test."""
    source = options.read(config, options.REPO) or str(homelab())
    return source, options.read(config, options.PATH) or HOMELAB_PATH


@cache
def texts_of(source: str) -> dict[str, bytes]:
    """Return the files of a repository; reading them touches no cluster and runs nothing of what they hold."""
    with tempfile.TemporaryDirectory(prefix="fluxdrill-collect-") as scratch:
        return files(open_source(source, ref=None, into=Path(scratch) / "copy.git", deadline=60))


@pytest.fixture
def texts(request: pytest.FixtureRequest) -> dict[str, bytes]:
    """Return the files of the repository under test."""
    return texts_of(under_test(request.config)[0])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per declared edge."""
    if "edge" in metafunc.fixturenames:
        try:
            edges = declared_edges(texts_of(under_test(metafunc.config)[0]))
        except FluxdrillError as error:
            raise pytest.Collector.CollectError(str(error)) from None
        metafunc.parametrize("edge", edges, ids=str)


def test_the_repository_declares_an_order(texts: dict[str, bytes]) -> None:
    """Without a single dependsOn there is no order to prove: that is invalid, and no pass."""
    assert declared_edges(texts), (
        f"invalid: none of its {len(texts)} files declares a dependsOn, so no order can be proved. "
        "Give its Kustomizations a dependsOn, or name another repository with --lab-repo."
    )


def test_every_file_that_may_declare_an_order_can_be_read(texts: dict[str, bytes]) -> None:
    """What cannot be read may declare anything: each file that is no YAML is named, with the line."""
    told = "; ".join(f"{path}: {why}" for path, why in unreadable(texts).items())
    assert not told, f"invalid: what these files declare is not known: {told}. Repair them, or rename what is no YAML."


@dataclass(frozen=True, slots=True)
class Started:
    """A cold start that has settled: what came up, what it came to, and every write the API server took meanwhile."""

    repository: Repository
    objects: dict[ObjectRef, KubeObject]
    outcome: Outcome
    writes: list[Write]

    @property
    def transitions(self) -> Sequence[Transition]:
        """What the watch saw."""
        return self.repository.lab.store.timeline.transitions

    def prove(
        self, edge: Edge, *, writes: Sequence[Write] | None = None, transitions: Sequence[Transition] | None = None
    ) -> EdgeProof:
        """Judge one edge from what was seen, or from other evidence in its place."""
        return prove(
            edge,
            self.transitions if transitions is None else transitions,
            self.writes if writes is None else writes,
            written=self.written(edge.dependent),
            controllers=set(ACCOUNTS.values()),
        )

    def declared(self) -> set[Edge]:
        """Return every dependsOn of the living objects, wherever its file got its namespace from."""
        return {Edge(one, ref) for ref, obj in self.objects.items() for one in dependencies(obj)}

    def blockers(self) -> str:
        """Return the first blocker's own words, for what did not come up."""
        every = (*self.outcome.blockers, *self.outcome.outside)
        return f"first blocker: {every[0].subject}: {every[0].finding.message}" if every else "nothing says why"

    def written(self, dependent: ObjectRef) -> set[ObjectRef]:
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

    spec = LabSpec(sealed_secrets=True, cluster=ClusterOptions(audit=True))
    with start(request.config, spec, prepare=before) as lab:
        settling = Settling()
        repository = sync(lab, copies[0])
        try:
            what = "the cold start to settle"
            wait_for(lab.store, settling.predicate, deadline=SETTLED_WITHIN, dwell=SETTLED_FOR, what=what)
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
    """S01, S06 to S08: the dependent wrote nothing before its dependency was Ready, and was seen waiting for it.

    One that never had to wait is made to.
    """
    found = started.prove(edge)
    if found.proof is Proof.UNPROVED:
        found = made_to_wait(started.repository, edge)
    if found.proof is Proof.INVALID and edge.dependent not in started.objects:
        pytest.fail(f"{edge.dependent} never came up; {started.blockers()}")
    assert found.proof is Proof.PROVED, f"{found.proof}: {found.why}; {started.blockers()}"


def test_no_dependency_escapes_because_its_file_does_not_say_its_namespace(
    started: Started, texts: dict[str, bytes]
) -> None:
    """An overlay may give the namespace: such an edge has no test of its own name, and is proved here."""
    hidden = started.declared() - set(declared_edges(texts))
    found = {str(edge): started.prove(edge) for edge in hidden}
    assert {name: one.why for name, one in found.items() if one.proof is not Proof.PROVED} == {}


def test_control_each_declared_edge_turned_round_is_not_proved(started: Started, edge: Edge) -> None:
    """Negative control: the same evidence must not prove the opposite order."""
    assert started.prove(Edge(edge.dependent, edge.dependency)).proof is not Proof.PROVED


def test_control_hidden_and_reordered_evidence_proves_no_edge(started: Started, edge: Edge) -> None:
    """Negative control: the same edge without its writes, without its Ready, or with its writes first."""
    written = started.written(edge.dependent)
    lies: list[dict[str, Any]] = [
        {"writes": without_writes(started.writes, written)},
        {"transitions": without_ready(started.transitions, edge.dependency)},
        {"writes": earlier(started.writes, written)},
    ]
    for lie in lies:
        with refused():
            assert started.prove(edge, **lie).proof is Proof.PROVED


def test_the_declared_dependencies_are_no_circle(started: Started) -> None:
    """S14: a circle would wait for ever without an error; it is named here."""
    cycles = [" -> ".join(ref.name for ref in cycle) for cycle in started.repository.tree.cycles()]
    assert cycles == []
