"""The guide's first promise: infra-controllers -> infra-configs -> apps, and monitoring behind its own controllers.

Each edge is proved from the audit log's first writes and the watch's Ready; see `fluxdrill.model.ordering`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest

from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.flux.bootstrap import ROOT
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.wait import condition, wait_for
from fluxdrill.lab.audit import read_writes
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.model.conditions import ConditionStatus
from fluxdrill.model.ordering import Edge, Proof, Write, overlap, prove
from fluxdrill.model.timeline import Transition
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.pytest_plugin.plugin import start
from suites.ordering.breaking import BREAKAGES
from suites.ordering.conftest import Make, Unique
from suites.ordering.links import CHAIN, Fleet, Link, config, kustomization
from suites.ordering.seen import failed
from suites.ordering.waiting import made_to_wait
from suites.ordering.workloads import deployment
from suites.sabotage import earlier, refused, stop_and_fake_ready, without_ready, without_writes

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_the_reversed_edge_is_not_proved",
    "test_control_a_failing_link_that_a_person_calls_ready_fools_the_controller_and_neither_check",
    "test_control_hidden_and_reordered_evidence_proves_no_edge",
    "test_s09_independent_branches_overlap_in_time",
)

CONTROLLER = "system:serviceaccount:flux-system:kustomize-controller"
SLOW = "5s"
"""Until a pod is ready: more than twice the pace at which dependencies are asked for, which is no order."""
EDGES = [Edge(kustomization(before), kustomization(name)) for name, dependencies in CHAIN for before in dependencies]
LINKS = {name: Link(name, dependencies) for name, dependencies in CHAIN}


@dataclass(frozen=True, slots=True)
class Brought:
    """A chain that came up at its first revision, and everything the API server wrote meanwhile."""

    lab: Lab
    fleet: Fleet
    revision: str
    writes: list[Write]


@pytest.fixture(scope="module")
def chain(request: pytest.FixtureRequest) -> Iterator[Brought]:
    """Bring the chain up in a lab of its own that keeps an audit log."""
    with start(request.config, LabSpec(cluster=ClusterOptions(audit=True))) as lab:
        fleet = Fleet(lab, *LINKS.values())
        fleet.bootstrap()
        fleet.wait_ready()
        yield Brought(lab, fleet, fleet.revision, read_writes(lab.cluster.audit_log, lab.api.discovery.all()))


@pytest.mark.core
@pytest.mark.ci
@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_s01_a_dependent_writes_only_after_its_dependency_was_ready(chain: Brought, edge: Edge) -> None:
    """S01: the dependent's first write comes after the dependency's Ready at that revision, and it was seen waiting."""
    found = prove(
        edge,
        chain.lab.store.timeline.transitions,
        chain.writes,
        written=LINKS[edge.dependent.name].objects,
        controllers={CONTROLLER},
        revision=chain.revision,
    )
    assert found.proof is Proof.PROVED, found.why


@pytest.mark.core
@pytest.mark.ci
def test_control_the_reversed_edge_is_not_proved(chain: Brought) -> None:
    """Negative control of S01: turned round, the same evidence must speak against the edge."""
    edge = Edge(kustomization("apps"), kustomization("infra-controllers"))
    found = prove(
        edge,
        chain.lab.store.timeline.transitions,
        chain.writes,
        written=LINKS["infra-controllers"].objects,
        controllers={CONTROLLER},
        revision=chain.revision,
    )
    assert found.proof is Proof.VIOLATED


def test_s09_independent_branches_overlap_in_time(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """S09: two links hang on one and on nothing else; while one waits for its slow workload, so does the other."""
    base, one, other = unique("base"), unique("one"), unique("other")
    make_fleet(
        Link(base, text=deployment(base, after="1s")),
        *(Link(name, (base,), text=deployment(name, after=SLOW)) for name in (one, other)),
    ).wait_ready()
    worked = {name: at_work(lab, name) for name in (base, one, other)}
    assert overlap(worked[one], worked[other])
    with refused():
        assert overlap(worked[base], worked[one])


def at_work(lab: Lab, name: str) -> list[datetime]:
    """Return when a link was first seen being applied, and when it was Ready."""
    seen = [(one.at.utc, c) for one in lab.store.timeline.of(kustomization(name)) for c in one.conditions]
    begun = next(at for at, c in seen if c.type == "Ready" and c.reason == "Progressing")
    return [begun, next(at for at, c in seen if c.type == "Ready" and c.status is ConditionStatus.TRUE)]


def test_an_edge_that_never_had_to_wait_is_unproved_until_it_is_made_to(chain: Brought, unique: Unique) -> None:
    """Right times by chance prove nothing: the dependent came long after; held back once, it waits, and that does."""
    up, down = Link(unique("up")), unique("down")
    fleet = Fleet(chain.lab, up, name=unique("late"))
    fleet.bootstrap()
    fleet.wait_ready()
    late = Link(down, (up.name,))
    fleet.change(fleet.files(late), "the dependent comes later")
    fleet.links = (up, late)
    fleet.wait_ready()
    edge = Edge(up.ref, late.ref)
    writes = read_writes(chain.lab.cluster.audit_log, chain.lab.api.discovery.all())
    seen = chain.lab.store.timeline.transitions
    found = prove(edge, seen, writes, written=late.objects, controllers={CONTROLLER})
    assert found.proof is Proof.UNPROVED, found.why
    waited = made_to_wait(fleet, edge)
    assert waited.proof is Proof.PROVED, waited.why
    with refused():
        made_to_wait(fleet, Edge(late.ref, up.ref), deadline=4)
    fleet.remove()


BROKEN = {
    "infra-controllers": {"infra-configs", "apps", "monitoring-controllers", "monitoring-configs"},
    "infra-configs": {"apps", "monitoring-controllers", "monitoring-configs"},
    "apps": set[str](),
    "monitoring-controllers": {"monitoring-configs"},
    "monitoring-configs": set[str](),
}
"""What stands behind each link."""


CASES = [
    *((name, "bad-manifest") for name in BROKEN if name != "infra-configs"),
    *(("infra-configs", how) for how in BREAKAGES),
]
"""Each link once, and one of them in every way."""


def blocks_what_is_behind(chain: Brought, name: str, broken: str, *, deadline: float = 60) -> None:
    """Wait until exactly what is behind the link `name` waits, and all others are Ready at the revision `broken`."""
    for behind in BROKEN[name]:
        waits = condition(kustomization(behind), "Ready", "False", "DependencyNotReady")
        wait_for(chain.lab.store, waits, deadline=deadline, what=f"{behind} to wait")
    others = [kustomization(one) for one in LINKS if one != name and one not in BROKEN[name]]
    what = "the rest to go on"
    wait_for(chain.lab.store, at_revision([ROOT, *others], broken), deadline=deadline, dwell=1, what=what)


@pytest.mark.parametrize(
    ("name", "how"),
    [pytest.param(*one, marks=pytest.mark.ci if one == ("infra-configs", "bad-manifest") else ()) for one in CASES],
)
def test_s01_a_failing_link_blocks_what_is_behind_it_and_nothing_else_and_heals_from_git(
    chain: Brought, measured: Measured, name: str, how: str
) -> None:
    """S01: break one link in Git; exactly what is behind it waits and says for whom; heal in Git; all are Ready."""
    fleet, link, breakage = chain.fleet, LINKS[name], BREAKAGES[how]
    broken = fleet.change(fleet.files(breakage.of(link)), f"break {name}")
    try:
        said = failed(link.ref, breakage.reason, breakage.said)
        told = wait_for(chain.lab.store, said, deadline=60, what=f"{name} to fail")
        measured("fault until told", told.seconds, kind="detection")
        blocks_what_is_behind(chain, name, broken)
    finally:
        fleet.change(fleet.files(link), f"heal {name}")
    measured("heal until Ready", fleet.wait_ready().seconds)


def test_control_a_failing_link_that_a_person_calls_ready_fools_the_controller_and_neither_check(
    chain: Brought, unique: Unique
) -> None:
    """Negative control of S01: behind a faked Ready the real controller writes; order and blocking are not believed."""
    lab, up, down = chain.lab, unique("up"), unique("down")
    links = (Link(up, text=config(up, namespace="nowhere")), Link(down, (up,)))
    fleet = Fleet(lab, *links, name=unique("fooled"))
    fleet.bootstrap()
    waits = condition(kustomization(down), "Ready", "False", "DependencyNotReady")
    wait_for(lab.store, waits, deadline=30, what=f"{down} to wait")
    stop_and_fake_ready(lab, kustomization(up), revision=fleet.revision)
    wait_for(lab.store, at_revision([kustomization(down)], fleet.revision), deadline=20, what=f"{down} to be fooled")
    with refused():
        wait_for(lab.store, waits, deadline=2, what=f"{down} to wait")
    found = prove(
        Edge(kustomization(up), kustomization(down)),
        lab.store.timeline.transitions,
        read_writes(lab.cluster.audit_log, lab.api.discovery.all()),
        written=links[1].objects,
        controllers={CONTROLLER},
        revision=fleet.revision,
    )
    assert found.proof is Proof.INVALID
    assert "not by its controller" in found.why
    fleet.remove()


@pytest.mark.parametrize("edge", EDGES, ids=str)
def test_control_hidden_and_reordered_evidence_proves_no_edge(chain: Brought, edge: Edge) -> None:
    """Negative control of S01: without the writes, without Ready, or with the writes first, the verdict is another."""
    objects, transitions = LINKS[edge.dependent.name].objects, chain.lab.store.timeline.transitions

    def verdict(seen: Sequence[Transition], writes: Sequence[Write]) -> Proof:
        about = chain.revision
        return prove(edge, seen, writes, written=objects, controllers={CONTROLLER}, revision=about).proof

    assert verdict(transitions, chain.writes) is Proof.PROVED
    assert verdict(transitions, without_writes(chain.writes, objects)) is Proof.INVALID
    assert verdict(without_ready(transitions, edge.dependency), chain.writes) is Proof.VIOLATED
    assert verdict(transitions, earlier(chain.writes, objects)) is Proof.VIOLATED
