"""What is done to the parts of a lab is recorded by the parts themselves: real processes and a real Git server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxdrill.cluster.supervised import Supervised
from fluxdrill.lab.interventions import Interventions
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.records import Intervention
from fluxdrill.sources.charts import ChartServer, IndexFault
from fluxdrill.sources.faults import ServerFault
from fluxdrill.sources.git import GitServer
from tests.processes import python


@pytest.fixture
def told() -> list[Intervention]:
    return []


@pytest.fixture
def git(tmp_path: Path) -> Iterator[GitServer]:
    (tmp_path / "git").mkdir()
    with GitServer(tmp_path / "git") as server:
        yield server


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Supervised]:
    code = "import time; time.sleep(60)"
    made = Supervised("etcd", python(code), lab_id="lab-test", log=tmp_path / "log", ready=lambda: True)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def recorded(told: list[Intervention], process: Supervised, git: GitServer) -> Iterator[Interventions]:
    made = Interventions(told.append, clock=SYSTEM_CLOCK)
    with made.of([process], {"git": git}):
        yield made


def lasting(told: list[Intervention]) -> dict[str, bool]:
    """Return what was done, each once with its last word: whether it has ended."""
    return {one.what: one.ended is not None for one in told}


@pytest.mark.usefixtures("recorded")
def test_a_process_that_is_killed_is_disturbed_until_it_is_ready_again(
    told: list[Intervention], process: Supervised
) -> None:
    process.kill()
    assert lasting(told) == {"etcd killed": False}
    process.start()
    started = told[-1].ended
    process.wait_ready(5)
    assert lasting(told) == {"etcd killed": True}
    assert started is not None
    assert told[-1].ended is not None
    assert told[-1].ended.monotonic > started.monotonic
    assert {one.started for one in told} == {told[0].started}
    assert {one.target for one in told} == {"etcd"}


@pytest.mark.usefixtures("recorded")
def test_a_pause_lasts_until_resumed_and_a_restart_until_ready(told: list[Intervention], process: Supervised) -> None:
    process.pause()
    assert lasting(told) == {"etcd paused": False}
    process.resume()
    assert lasting(told) == {"etcd paused": True}
    process.restart(ready_within=5)
    assert lasting(told) == {"etcd paused": True, "etcd stopped": True}


@pytest.mark.usefixtures("recorded")
def test_readiness_asked_for_later_moves_no_end(told: list[Intervention], process: Supervised) -> None:
    process.pause()
    process.resume()
    before = list(told)
    process.wait_ready(5)
    assert told == before


@pytest.mark.usefixtures("recorded")
def test_a_fault_of_the_git_server_lasts_until_it_is_healed_or_replaced(
    told: list[Intervention], git: GitServer
) -> None:
    git.fault = ServerFault.server_error(503, only="fleet.git")
    git.fault = ServerFault.down()
    assert lasting(told) == {"Git server answers 503 for fleet.git": True, "Git server is down": False}
    git.heal()
    assert lasting(told)["Git server is down"]


def test_a_chart_repository_and_its_index_may_be_wrong_at_the_same_time(told: list[Intervention]) -> None:
    with ChartServer() as charts, Interventions(told.append, clock=SYSTEM_CLOCK).of([], {"charts": charts}):
        charts.fault = ServerFault.server_error(503)
        charts.index_fault = IndexFault.HUGE
        charts.heal()
        assert lasting(told) == {"chart repository answers 503": True, "chart repository index is huge": False}
        charts.index_fault = None
        assert lasting(told)["chart repository index is huge"]
        assert {one.target for one in told} == {"charts", "charts index"}


def test_what_no_part_tells_itself_is_recorded_by_hand_and_ends_also_after_an_error(
    told: list[Intervention], recorded: Interventions
) -> None:
    with pytest.raises(ZeroDivisionError), recorded.during("the root CA was replaced", target="kube-apiserver"):
        raise ZeroDivisionError
    assert lasting(told) == {"the root CA was replaced": True}


def test_a_calm_lab_and_its_own_start_and_end_are_no_disturbance(
    told: list[Intervention], process: Supervised, git: GitServer
) -> None:
    with Interventions(told.append, clock=SYSTEM_CLOCK).of([process], {"git": git}):
        process.wait_ready(5)
    process.kill()
    git.fault = ServerFault.down()
    assert told == []
