"""The API server of a cluster that has one: frozen and killed under real kubelets, real pods, and Flux inside."""

from __future__ import annotations

import pytest

from fluxdrill.cluster.part import Part, State
from fluxdrill.flux.operations import resume
from fluxdrill.kube.wait import UndecidedTimeoutError
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.pytest_plugin.measured import Measured
from suites.nodes.conftest import NOTE, WEB, Nodes
from suites.nodes.probes import longest_gap
from suites.sabotage import refused, stop

pytestmark = [pytest.mark.live, pytest.mark.needs("pods", "stop-apiserver"), pytest.mark.timeout(600)]

CONTROLS = ("test_control_while_flux_is_suspended_nothing_recovers",)

SILENCE = 8.0
"""Seconds for which the API server says nothing: its own kubelet gives it ten times as long."""


@pytest.fixture
def server(nodes: Nodes) -> Part:
    """The API server."""
    return nodes.lab.cluster.processes["kube-apiserver"]


@pytest.mark.core
def test_a_frozen_api_server_stops_no_workload_and_flux_applies_what_came_meanwhile(
    nodes: Nodes, server: Part, measured: Measured
) -> None:
    """Pods are served by their nodes; nobody who asks the web server notices anything."""
    before, restarts = nodes.identity(), nodes.lab.api.get(nodes.pod(WEB))["status"]["containerStatuses"]
    with nodes.probed() as probed:
        server.pause()
        try:
            assert server.frozen
            nodes.push("while it was frozen")
            with pytest.raises(UndecidedTimeoutError, match="silent since"):
                nodes.recovered(deadline=SILENCE)
        finally:
            begun = SYSTEM_CLOCK.now()
            server.resume()
        nodes.recovered()
    measured("API server let go on until recovered", SYSTEM_CLOCK.now().since(begun))
    assert nodes.lab.api.get(NOTE)["data"] == {"says": "while it was frozen"}
    assert nodes.identity() == before
    assert nodes.lab.api.get(nodes.pod(WEB))["status"]["containerStatuses"] == restarts
    measured("no answer outside", longest_gap(probed.outside), kind="other")
    assert all(one.good for one in probed.outside), "a frozen API server cut off the web server"
    assert all(one.good for one in probed.inside), "a frozen API server cut off the web server from inside"


@pytest.mark.parametrize("name", ["kube-apiserver", "etcd"])
def test_a_part_of_the_control_plane_that_is_killed_is_started_again_and_nothing_is_lost(
    nodes: Nodes, measured: Measured, name: str
) -> None:
    """Killed outright and brought back: the kubelets, the pods and Flux find it again."""
    part, before = nodes.lab.cluster.processes[name], nodes.identity()
    run = part.identity
    part.kill()
    assert part.state is State.EXITED
    nodes.push(f"{name} was killed")
    begun = SYSTEM_CLOCK.now()
    part.start()
    part.wait_ready(120)
    nodes.recovered()
    measured(f"{name} started until recovered", SYSTEM_CLOCK.now().since(begun))
    assert part.identity != run
    assert nodes.identity() == before


def test_an_api_server_that_is_away_makes_a_wait_undecided_and_never_met(nodes: Nodes, server: Part) -> None:
    """Nobody can say whether the workloads are well: that is told as such."""
    server.stop()
    try:
        with pytest.raises(UndecidedTimeoutError, match="silent since"):
            nodes.recovered(deadline=5)
    finally:
        server.start()
        server.wait_ready(120)
    nodes.recovered()


def test_control_while_flux_is_suspended_nothing_recovers(nodes: Nodes) -> None:
    """The check that every test here ends with fails as long as Flux does nothing."""
    stop(nodes.lab, nodes.fleet.source)
    try:
        nodes.push("for nobody")
        with refused():
            nodes.recovered(deadline=8)
    finally:
        resume(nodes.lab.api, nodes.fleet.source)
    nodes.recovered()
