"""A chain that is disturbed while it comes up: it still becomes Ready, still in order, and without a hand.

Each disturbance comes at the same point: the first link is Ready, the last one is not. The lab is this module's own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.cluster.part import Part, State
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.predicates import Answer
from fluxdrill.kube.wait import condition, wait_for
from fluxdrill.lab.audit import read_writes
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.model.ordering import Edge, Proof, Write, prove
from fluxdrill.model.timeline import Seen
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.pytest_plugin.plugin import start
from suites.ordering.links import CHAIN, Fleet, Link, kustomization
from suites.ordering.seen import never
from suites.sabotage import fake_ready, refused

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_while_the_controller_is_paused_nothing_goes_on",
    "test_control_a_ready_that_a_person_writes_midway_spoils_the_proof_of_order",
)

CONTROLLER = "system:serviceaccount:flux-system:kustomize-controller"
PAUSE = 10.0


@pytest.fixture(scope="module")
def disturbed(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Hand out a lab that keeps an audit log and may be disturbed."""
    with start(request.config, LabSpec(cluster=ClusterOptions(audit=True))) as lab:
        yield lab


@pytest.fixture
def midway(disturbed: Lab) -> Iterator[Fleet]:
    """Hand out a chain of five of which the first is Ready and the last is not; everything runs again afterwards."""
    mark = secrets.token_hex(2)
    links = [Link(f"{name}-{mark}", tuple(f"{one}-{mark}" for one in before)) for name, before in CHAIN]
    fleet = Fleet(disturbed, *links, name=f"fleet-{mark}")
    fleet.bootstrap()
    at_first = at_revision([links[0].ref], fleet.revision)
    wait_for(disturbed.store, at_first, deadline=60, what="the first link to be Ready")
    yield fleet
    for process in disturbed.processes.values():
        if process.state is State.PAUSED:
            process.resume()
        if process.state is State.EXITED:
            process.start()
            process.wait_ready(60)
    fleet.remove()


def is_midway(fleet: Fleet) -> bool:
    """Tell whether the chain is still under way: a disturbance that comes too late would prove nothing."""
    last = fleet.lab.store.get(fleet.links[-1].ref) or {}
    return "lastAppliedRevision" not in (last.get("status") or {})


def killed(process: Part) -> None:
    """Kill it and start it again."""
    process.kill()
    assert process.state is State.EXITED
    process.start()
    process.wait_ready(60)


def restarted(process: Part) -> None:
    """Stop it in good order and start it again."""
    before = process.identity
    process.restart()
    assert process.identity != before


def writes_of(fleet: Fleet) -> list[Write]:
    """Return what the API server wrote so far."""
    return read_writes(fleet.lab.cluster.audit_log, fleet.lab.api.discovery.all())


def verdicts(fleet: Fleet) -> dict[Edge, tuple[Proof, str]]:
    """Judge every edge of the chain."""
    transitions, writes = fleet.lab.store.timeline.transitions, writes_of(fleet)
    objects = {link.name: link.objects for link in fleet.links}
    edges = [Edge(kustomization(one), link.ref) for link in fleet.links for one in link.depends_on]
    found = [
        prove(
            edge,
            transitions,
            writes,
            written=objects[edge.dependent.name],
            controllers={CONTROLLER},
            revision=fleet.revision,
        )
        for edge in edges
    ]
    return {one.edge: (one.proof, one.why) for one in found}


def comes_up_in_order(fleet: Fleet, measured: Measured) -> None:
    """Wait until the whole chain is Ready and check the order of its first writes."""
    up = fleet.wait_ready(deadline=120)
    measured("heal until Ready", up.seconds)
    found = verdicts(fleet)
    assert len(found) == 4
    assert {edge: one for edge, one in found.items() if one[0] is not Proof.PROVED} == {}


@pytest.mark.parametrize(
    ("name", "disturb"),
    [
        pytest.param(
            "kustomize-controller", killed, id="kustomize-controller-killed", marks=(pytest.mark.ci, pytest.mark.core)
        ),
        pytest.param("kustomize-controller", restarted, id="kustomize-controller-restarted"),
        pytest.param("source-controller", killed, id="source-controller-killed"),
        pytest.param("source-controller", restarted, id="source-controller-restarted"),
    ],
)
def test_a_controller_that_comes_back_in_the_middle_of_a_chain_goes_on_in_order(
    midway: Fleet, measured: Measured, name: str, disturb: Callable[[Part], None]
) -> None:
    """Neither a crash nor a restart lets a dependent write early or leaves the chain behind."""
    assert is_midway(midway)
    disturb(midway.lab.flux[name])
    comes_up_in_order(midway, measured)


@pytest.mark.parametrize("name", ["kustomize-controller", "source-controller"])
def test_control_while_the_controller_is_paused_nothing_goes_on(midway: Fleet, measured: Measured, name: str) -> None:
    """Negative control: with the controller stopped for 10 s the chain stands still; resumed, it goes on in order."""
    assert is_midway(midway)
    process = midway.lab.flux[name]
    process.pause()
    last = midway.links[-1].ref
    never(midway.lab, condition(last, "Ready", "True"), seconds=PAUSE, what="the last link without a controller")
    process.resume()
    comes_up_in_order(midway, measured)


def test_control_a_ready_that_a_person_writes_midway_spoils_the_proof_of_order(
    midway: Fleet, measured: Measured
) -> None:
    """Negative control of the order: the chain comes up all the same, but of one link nobody knows when it was Ready."""
    fake_ready(midway.lab, midway.links[1].ref, revision=midway.revision)
    with refused():
        comes_up_in_order(midway, measured)
    assert midway.ready().judge(midway.lab.store.view()).answer is Answer.MET
    found = {edge.dependency: proof for edge, (proof, _) in verdicts(midway).items()}
    assert found[midway.links[1].ref] is Proof.INVALID


def test_an_api_server_restarted_in_the_middle_of_a_chain_leaves_a_gap_and_no_disorder(
    midway: Fleet, measured: Measured
) -> None:
    """The silence is on record, and every edge holds; one whose Ready fell into the gap cannot be dated, but no more."""
    assert is_midway(midway)
    store = midway.lab.store
    known = len(store.gaps)
    midway.lab.cluster.processes["kube-apiserver"].restart()
    up = midway.wait_ready(deadline=120)
    measured("heal until Ready", up.seconds)
    gaps = store.gaps[known:]
    assert [gap.seconds for gap in gaps if gap.seconds], "the silence of the API server is not on record"
    measured("silence of the API server", sum(gap.seconds or 0 for gap in gaps), kind="other")
    undated = {one.ref for one in store.timeline.transitions if one.seen is Seen.LIST}
    for edge, (proof, why) in verdicts(midway).items():
        wanted = {Proof.PROVED, Proof.UNPROVED} if edge.dependency in undated else {Proof.PROVED}
        assert proof in wanted, f"{edge}: {why}"
