"""The guide's first promise: infra-controllers -> infra-configs -> apps, and monitoring behind its own controllers.

Each edge is proved from the audit log's first writes and the watch's Ready; see `fluxdrill.model.ordering`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fluxdrill.cluster.embedded import EmbeddedOptions
from fluxdrill.flux.bootstrap import ROOT
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.wait import condition, wait_for
from fluxdrill.lab.audit import read_writes
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.model.ordering import Edge, Proof, Write, overlap, prove
from fluxdrill.pytest_plugin.plugin import start
from suites.ordering.links import CHAIN, Fleet, Link, config, kustomization

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_the_reversed_edge_is_not_proved",)

CONTROLLER = "system:serviceaccount:flux-system:kustomize-controller"
EDGES = [Edge(kustomization(before), kustomization(name)) for name, dependencies in CHAIN for before in dependencies]
LINKS = {name: Link(name, dependencies) for name, dependencies in CHAIN}
EVERY = [ROOT, *(link.ref for link in LINKS.values())]


@dataclass(frozen=True, slots=True)
class Brought:
    """A chain that came up, and everything the API server wrote meanwhile."""

    lab: Lab
    fleet: Fleet
    writes: list[Write]


@pytest.fixture(scope="module")
def chain(request: pytest.FixtureRequest) -> Iterator[Brought]:
    """Bring the chain up in a lab of its own that keeps an audit log."""
    with start(request.config, LabSpec(cluster=EmbeddedOptions(audit=True))) as lab:
        fleet = Fleet(lab, *LINKS.values())
        fleet.bootstrap()
        fleet.wait_ready()
        yield Brought(lab, fleet, read_writes(lab.cluster.audit_log, lab.api.discovery.all()))


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
        revision=chain.fleet.revision,
    )
    assert found.proof is Proof.PROVED, found.why


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
        revision=chain.fleet.revision,
    )
    assert found.proof is Proof.VIOLATED


def test_s09_independent_branches_overlap_in_time(chain: Brought) -> None:
    """S09: apps and monitoring both hang on infra-configs and on nothing else; neither waits for the other."""
    moments = {
        name: [
            one.at.utc
            for one in chain.lab.store.timeline.of(kustomization(name))
            if any(c.type == "Reconciling" and c.status == "True" for c in one.conditions)
        ]
        for name in ("apps", "monitoring-controllers", "infra-controllers")
    }
    assert overlap(moments["apps"], moments["monitoring-controllers"])
    assert not overlap(moments["apps"], moments["infra-controllers"]), "control: a chain's ends must not overlap"


BROKEN = {
    "infra-controllers": {"infra-configs", "apps", "monitoring-controllers", "monitoring-configs"},
    "infra-configs": {"apps", "monitoring-controllers", "monitoring-configs"},
    "apps": set[str](),
    "monitoring-controllers": {"monitoring-configs"},
    "monitoring-configs": set[str](),
}
"""What stands behind each link."""


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.ci if one == "infra-configs" else ()) for one in BROKEN]
)
def test_s01_a_failing_link_blocks_what_is_behind_it_and_nothing_else_and_heals_from_git(
    chain: Brought, name: str
) -> None:
    """S01: break one link in Git; exactly what is behind it waits and says for whom; heal in Git; all are Ready."""
    fleet, store = chain.fleet, chain.lab.store
    broken = fleet.change({f"{name}/objects.yaml": config(name, namespace="nowhere")}, f"break {name}")
    try:
        failed = condition(kustomization(name), "Ready", "False", "ReconciliationFailed")
        wait_for(store, failed, deadline=60, what=f"{name} to fail")
        for behind in BROKEN[name]:
            waits = condition(kustomization(behind), "Ready", "False", "DependencyNotReady")
            wait_for(store, waits, deadline=60, what=f"{behind} to wait")
        others = [kustomization(one) for one in LINKS if one != name and one not in BROKEN[name]]
        wait_for(store, at_revision([ROOT, *others], broken), deadline=60, what="the rest to go on")
    finally:
        healed = fleet.change({f"{name}/objects.yaml": config(name)}, f"heal {name}")
    wait_for(store, at_revision(EVERY, healed), deadline=90, what="the whole chain to be Ready again", fail_fast=False)
