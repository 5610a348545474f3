"""Waits that are under way while the control plane fails: they survive, are right, and the silence is on record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from fluxdrill.cluster.simulated import AFTER
from fluxdrill.kube.wait import (
    DeviatedTimeoutError,
    Predicate,
    UndecidedTimeoutError,
    WaitResult,
    absent,
    present,
    ready,
    wait_for,
)
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.model.kstatus import Status
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Gap
from tests.cluster.workloads import holds, pod
from tests.processes import wait_until

pytestmark = pytest.mark.live

ANCHOR = ObjectRef("", "ConfigMap", "default", "anchor")
NOWHERE = ObjectRef("", "ConfigMap", "default", "nowhere")


@pytest.fixture(scope="module")
def quiet() -> Iterator[Lab]:
    """A lab without Flux for this module: only its control plane is looked at."""
    with Lab.start(LabSpec(flux=False)) as lab:
        metadata = {"name": ANCHOR.name, "namespace": ANCHOR.namespace}
        lab.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"turn": "0"}})
        wait_for(lab.store, present(ANCHOR), deadline=20, what="the anchor")
        yield lab


@dataclass
class Waiting:
    """A wait in a thread of its own, and every answer it gave on the way."""

    future: Future[WaitResult]
    answers: list[str] = field(default_factory=list)

    def result(self) -> WaitResult:
        """Return what the wait came to; raises what it raised."""
        return self.future.result(120)


@contextmanager
def waits(lab: Lab) -> Iterator[Callable[..., Waiting]]:
    """Yield a way to start waits that are certainly under way when it returns."""
    with ThreadPoolExecutor() as pool:

        def start(predicate: Predicate, *, deadline: float) -> Waiting:
            begun = threading.Event()
            answers: list[str] = []

            def hear(text: str) -> None:
                answers.append(text.partition(": ")[2])
                begun.set()

            def run() -> WaitResult:
                return wait_for(lab.store, predicate, deadline=deadline, what="it", on_event=hear)

            waiting = Waiting(pool.submit(run), answers)
            assert begun.wait(10)
            return waiting

        yield start


def turned(turn: str) -> Predicate:
    return holds(ANCHOR, lambda it: it["data"]["turn"] == turn, f"turn {turn}")


def turn_to(lab: Lab, turn: str) -> None:
    lab.api.patch(ANCHOR, {"data": {"turn": turn}})


def silent(lab: Lab) -> bool:
    return lab.store.view().gap is not None


def new_gaps(lab: Lab, before: int) -> tuple[Gap, ...]:
    return lab.store.gaps[before:]


def kill_api(lab: Lab) -> None:
    lab.processes["kube-apiserver"].kill()
    wait_until(lambda: silent(lab), within=10)
    lab.processes["kube-apiserver"].start()
    lab.processes["kube-apiserver"].wait_ready(60)


def pause_api(lab: Lab) -> None:
    lab.processes["kube-apiserver"].pause()
    wait_until(lambda: silent(lab), within=10)
    began = lab.store.gaps[-1].start
    wait_until(lambda: lab.store.clock.now().since(began) >= 20, within=30)  # the fault itself: 20 s of silence
    lab.processes["kube-apiserver"].resume()


def kill_etcd(lab: Lab) -> None:
    lab.processes["etcd"].kill()
    wait_until(lambda: silent(lab), within=30)
    lab.processes["etcd"].start()
    lab.processes["etcd"].wait_ready(60)
    lab.processes["kube-apiserver"].wait_ready(60)


DISTURBANCES = [
    pytest.param(kill_api, 0.0, id="api-server-killed", marks=pytest.mark.ci),
    pytest.param(pause_api, 19.0, id="api-server-paused-20s"),
    pytest.param(kill_etcd, 0.0, id="etcd-restarted"),
]


@pytest.mark.parametrize(("disturb", "at_least"), DISTURBANCES)
def test_a_wait_survives_and_sees_the_change_behind_the_silence_once(
    quiet: Lab, disturb: Callable[[Lab], None], at_least: float
) -> None:
    before, turn = len(quiet.store.gaps), disturb.__name__
    with waits(quiet) as start:
        met, never, gone = (start(one, deadline=90) for one in (turned(turn), turned("never"), absent(ANCHOR)))
        disturb(quiet)
        assert not met.future.done()
        turn_to(quiet, turn)
        result = met.result()
        turn_to(quiet, f"{turn} is over")
        assert not never.future.done()
        assert not gone.future.done(), "a silent server is not an object that is gone"
        turn_to(quiet, "never")
        never.result()
        quiet.api.delete(ANCHOR)
        gone.result()
    quiet.api.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "anchor", "namespace": "default"},
            "data": {"turn": "0"},
        }
    )
    assert met.answers.count(f"turn {turn}") == 1
    assert result.flaps == 0
    assert any("the API server is silent since" in one for one in met.answers)
    (gap,) = new_gaps(quiet, before)
    assert gap.seconds is not None
    assert gap.seconds >= at_least
    assert gap.end is not None
    assert result.gaps == (gap,)
    assert result.met.since(gap.end) >= 0, "nothing is decided in silence"


def test_a_wait_that_is_not_met_says_so_after_the_disturbance(quiet: Lab) -> None:
    with waits(quiet) as start:
        wrong = [start(one, deadline=12) for one in (present(NOWHERE), absent(ANCHOR), turned("never"))]
        kill_api(quiet)
        for one in wrong:
            with pytest.raises(DeviatedTimeoutError, match=r"The API server was silent for \d"):
                one.result()


def test_a_deadline_that_passes_in_the_silence_is_undecided(quiet: Lab) -> None:
    with waits(quiet) as start:
        blind = [start(one, deadline=6) for one in (present(NOWHERE), absent(ANCHOR))]
        quiet.processes["kube-apiserver"].pause()
        for one in blind:
            with pytest.raises(UndecidedTimeoutError, match="the API server is silent since"):
                one.result()
        quiet.processes["kube-apiserver"].resume()
    wait_for(quiet.store, present(ANCHOR), deadline=30, what="sight again")


def test_a_change_made_in_the_silence_is_seen_by_the_list_afterwards(quiet: Lab) -> None:
    document: dict[str, Any] = pod("becomes-ready", after="4s")
    document["metadata"]["namespace"] = "default"
    ref = ObjectRef.of(quiet.api.create(document))
    assert document["metadata"]["annotations"][AFTER]
    with waits(quiet) as start:
        waiting = start(ready(ref), deadline=60)
        kill_api(quiet)
        result = waiting.result()
    current = [one for one in quiet.store.timeline.of(ref) if one.status.status is Status.CURRENT]
    assert len(current) == 1
    assert result.gaps


def test_an_undisturbed_lab_has_no_gap(lab: Lab) -> None:
    before = len(lab.store.gaps)
    with waits(lab) as start, pytest.raises(DeviatedTimeoutError) as caught:
        start(present(NOWHERE), deadline=5).result()
    assert "silent" not in str(caught.value)
    assert len(lab.store.gaps) == before
