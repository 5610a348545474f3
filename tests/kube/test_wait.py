"""Waiting on a real store: by events, with a dwell that counts only while the server is there, and honest ends."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from fluxdrill.errors import ExitCode, HarnessError, ProductDeviatedError, UsageError
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.errors import ForbiddenError
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import (
    DeviatedTimeoutError,
    Predicate,
    UndecidedTimeoutError,
    Verdict3,
    WaitFailedError,
    WaitResult,
    WaitTimeout,
    absent,
    condition,
    present,
    ready,
    wait_for,
)
from fluxdrill.kube.watch import Store
from fluxdrill.model.refs import Resource
from tests.kube.conftest import PACE, eventually
from tests.kube.objects import cm_ref, config_map, crd_of, ks_ref, kustomization
from tests.kube.scripted import CONFIG_MAPS, KUSTOMIZATIONS, ScriptedServer

MAPS = GroupKind("", "ConfigMap")
NewStore = Callable[..., Store]


class Waiting:
    """A wait in another thread that has looked at the store at least once."""

    def __init__(self, store: Store, predicate: Predicate, **options: Any) -> None:
        self.lines: list[str] = []
        self._looked = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        arguments = {"deadline": 5.0, "what": "it", "on_event": self._told, **options}
        self._future = self._pool.submit(wait_for, store, predicate, **arguments)

    def _told(self, line: str) -> None:
        self.lines.append(line)
        self._looked.set()

    def started(self) -> Waiting:
        assert self._looked.wait(5)
        return self

    @property
    def over(self) -> bool:
        return self._future.done()

    def result(self) -> WaitResult:
        try:
            return self._future.result(10)
        finally:
            self._pool.shutdown()


def settled(store: Store, server: ScriptedServer, resource: Resource = KUSTOMIZATIONS) -> Store:
    """Return the store with the watch of a kind open."""
    kind = GroupKind.of(resource)
    store.follow(kind)
    server.await_watch(resource)
    eventually(store, lambda: store.view().decidable([kind]))
    return store


def test_a_change_at_the_server_ends_the_wait(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="False"))
    waiting = Waiting(settled(store, server), ready(ks_ref())).started()
    server.put(kustomization(ready="True"))
    result = waiting.result()
    assert (result.what, result.why, result.flaps, result.gaps) == ("it", "1 of 1 ready", 0, ())
    assert result.started.monotonic < result.met.monotonic <= result.ended.monotonic


def test_what_is_met_already_is_confirmed_and_returned(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="True"))
    settled(store, server)
    beats = len(server.asked("/livez"))
    assert wait_for(store, ready(ks_ref()), deadline=5, what="it").seconds == 0
    assert len(server.asked("/livez")) > beats


def test_a_kind_that_nobody_follows_is_followed(store: Store, server: ScriptedServer) -> None:
    server.put(config_map())
    assert wait_for(store, present(cm_ref()), deadline=5, what="it").why == "ConfigMap/default/settings exists"


def test_the_latency_with_twenty_watches_is_that_of_the_event(new_store: NewStore, server: ScriptedServer) -> None:
    kinds = [Resource("example.org", "v1", f"Kind{number}", f"kind{number}s", True) for number in range(18)]
    server.served += kinds
    store = settled(new_store(), server)
    for kind in (*kinds, CONFIG_MAPS):
        settled(store, server, kind)
    latencies = []
    for number in range(40):
        waiting = Waiting(store, present(cm_ref(f"n{number}"))).started()
        for kind in kinds:
            meta = {"name": "noise", "namespace": "default", "generation": number + 1}
            server.put({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta})
        changed = time.monotonic()
        server.put(config_map(f"n{number}"))
        waiting.result()
        latencies.append(time.monotonic() - changed)
    assert statistics.quantiles(latencies, n=20)[-1] <= 0.1


def counting(answers: Callable[[View], Verdict3], calls: list[View], **about: Any) -> Predicate:
    def judge(view: View) -> Verdict3:
        calls.append(view)
        return answers(view)

    return Predicate(judge, **about)


def test_a_predicate_is_asked_once_per_change_that_concerns_it(store: Store, server: ScriptedServer) -> None:
    settled(store, server)
    settled(store, server, CONFIG_MAPS)
    calls: list[View] = []

    def judge(view: View) -> Verdict3:
        found = view.get(ks_ref("last"))
        return Verdict3.met("last") if found else Verdict3.not_yet("no last")

    waiting = Waiting(store, counting(judge, calls, refs=frozenset([ks_ref("a"), ks_ref("last")]))).started()
    beats = len(server.asked("/livez"))
    server.until(lambda: len(server.asked("/livez")) >= beats + 3)  # time passes
    server.put(config_map())  # another kind
    server.put(kustomization("other"))  # another object
    server.put(kustomization("a"))
    server.put(kustomization("last"))
    waiting.result()
    assert len(calls) == 3


def test_a_list_is_one_change_whatever_its_length(store: Store, server: ScriptedServer) -> None:
    for number in range(300):
        server.put(config_map(f"n{number}"))
    calls: list[View] = []
    everything = counting(
        lambda view: Verdict3.met("all") if len(view.list(MAPS)) == 300 else Verdict3.not_yet("few"),
        calls,
        kinds=frozenset([MAPS]),
    )
    wait_for(store, everything, deadline=5, what="everything")
    assert len(calls) == 1


def test_a_state_that_passes_by_in_a_moment_is_seen(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="True"))
    settled(store, server)
    waiting = Waiting(store, condition(ks_ref(), "Ready", "False")).started()
    with server.changed:  # both events leave in one piece
        server.put(kustomization(ready="False"))
        server.put(kustomization(ready="True"))
    assert "Ready=False" in waiting.result().why


def test_a_dwell_is_waited_for(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="True"))
    result = wait_for(settled(store, server), ready(ks_ref()), deadline=5, dwell=0.2, what="it")
    assert result.ended.since(result.met) >= 0.2


def test_a_flap_starts_the_dwell_again_even_when_it_is_over_in_a_moment(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="True"))
    waiting = Waiting(settled(store, server), ready(ks_ref()), dwell=0.2).started()
    with server.changed:
        server.put(kustomization(ready="False"))
        server.put(kustomization(ready="True"))
    flapped = store.clock.now()
    result = waiting.result()
    assert result.flaps == 1
    assert result.met.monotonic > result.started.monotonic
    assert result.ended.since(flapped) >= 0.19


def test_what_comes_too_late_for_its_dwell_is_not_met(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="False"))
    waiting = Waiting(settled(store, server), ready(ks_ref()), deadline=0.8, dwell=0.75).started()
    beats = len(server.asked("/livez"))
    server.until(lambda: len(server.asked("/livez")) >= beats + 4)  # time passes
    server.put(kustomization(ready="True"))
    with pytest.raises(DeviatedTimeoutError, match=r"it was met for 0\.\d s only, of 0\.75 s"):
        waiting.result()


@pytest.mark.parametrize("fault", ["silent", "refusing"])
def test_a_gap_starts_the_dwell_again(store: Store, server: ScriptedServer, fault: str) -> None:
    server.put(kustomization(ready="True"))
    waiting = Waiting(settled(store, server), ready(ks_ref()), dwell=0.4).started()
    server.freeze() if fault == "silent" else server.stop()
    eventually(store, lambda: store.view().gap)
    server.thaw() if fault == "silent" else server.start()
    result = waiting.result()
    (gap,) = result.gaps
    assert gap.end is not None
    assert result.met.monotonic >= gap.end.monotonic
    assert result.flaps == 1


def test_a_dwell_does_not_end_while_nobody_could_tell(new_store: NewStore, server: ScriptedServer) -> None:
    # The heartbeat is due long after the dwell: it is the end of the dwell itself that asks for a sign of life.
    store = new_store(pace=replace(PACE, interval=60, deadline=60))
    server.put(kustomization(ready="True"))
    settled(store, server)
    waiting = Waiting(store, ready(ks_ref()), dwell=0.1).started()
    server.freeze()
    server.until(lambda: len(server.asked("/livez")) >= 2)
    assert not waiting.over
    thawed = store.clock.now()
    server.thaw()
    assert waiting.result().ended.monotonic > thawed.monotonic


def test_an_old_state_of_a_silent_server_decides_nothing(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="True"))
    settled(store, server)
    server.freeze()
    with pytest.raises(UndecidedTimeoutError, match=r"Undecided after 0\.5 s of waiting for it: the API server"):
        wait_for(store, ready(ks_ref()), deadline=0.5, what="it")


def test_a_timeout_while_the_server_is_away_is_the_harness_and_says_since_when(
    store: Store, server: ScriptedServer
) -> None:
    server.put(kustomization(ready="False"))
    settled(store, server)
    waiting = Waiting(store, ready(ks_ref()), deadline=0.5).started()
    server.stop()
    with pytest.raises(UndecidedTimeoutError) as caught:
        waiting.result()
    assert caught.value.exit_code is ExitCode.HARNESS_ERROR
    assert isinstance(caught.value, HarnessError | WaitTimeout)
    assert not isinstance(caught.value, ProductDeviatedError)
    lines = str(caught.value).splitlines()
    assert "the API server is silent since" in lines[0]
    assert "connection" in lines[0]
    assert lines[1].startswith("Before that: 0 of 1 ready")
    assert any("silent since" in line for line in waiting.lines)


def test_a_wait_outlasts_a_gap_that_ends_within_its_deadline(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="False"))
    waiting = Waiting(settled(store, server), ready(ks_ref())).started()
    server.stop()
    eventually(store, lambda: store.view().gap)
    server.put(kustomization(ready="True"))
    server.start()
    result = waiting.result()
    assert len(result.gaps) == 1


def test_a_timeout_with_the_server_there_is_the_product_and_explains(store: Store, server: ScriptedServer) -> None:
    infra = kustomization("infra", ready="False", reason="HealthCheckFailed", message="Deployment/db is not ready")
    server.put(infra)
    server.put(kustomization("apps", ready="False", reason="DependencyNotReady", needs=("infra",)))
    settled(store, server)
    with pytest.raises(DeviatedTimeoutError) as caught:
        wait_for(store, ready(ks_ref("apps")), deadline=0.1, what="the apps")
    assert isinstance(caught.value, ProductDeviatedError)
    assert isinstance(caught.value, WaitTimeout)
    assert caught.value.exit_code is ExitCode.FAILED
    lines = str(caught.value).splitlines()
    assert lines[0] == (
        "Not met after 0.1 s of waiting for the apps: 0 of 1 ready; "
        "Kustomization/flux-system/apps is InProgress (DependencyNotReady)."
    )
    assert "dependsOn -> Kustomization/flux-system/infra: InProgress (HealthCheckFailed)" in lines[3]
    assert "Deployment/db is not ready" in lines[3]
    assert "Last transitions:" in lines
    assert [one.ref.name for one in caught.value.transitions] == ["apps"]


def test_a_gap_during_the_wait_is_in_the_text_of_its_timeout(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="False"))
    waiting = Waiting(settled(store, server), ready(ks_ref()), deadline=0.6).started()
    server.stop()
    eventually(store, lambda: store.view().gap)
    server.start()
    with pytest.raises(DeviatedTimeoutError, match=r"\nThe API server was silent for \d\.\d s from"):
        waiting.result()


def test_a_terminal_state_ends_the_wait_at_once(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="False"))
    waiting = Waiting(settled(store, server), ready(ks_ref()), deadline=60).started()
    server.put(kustomization(ready="False", stalled=True, reason="BuildFailed", message="no such path"))
    with pytest.raises(WaitFailedError, match=r"Gave up after .* Failed \(BuildFailed\): no such path"):
        waiting.result()


def test_a_terminal_state_is_waited_out_on_request(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="False", stalled=True))
    waiting = Waiting(settled(store, server), ready(ks_ref()), fail_fast=False).started()
    server.put(kustomization(ready="True"))
    assert waiting.result().why == "1 of 1 ready"


def test_a_kind_that_may_not_be_read_ends_the_wait(store: Store, server: ScriptedServer) -> None:
    server.script(403, path="/kustomizations", message="kustomizations is forbidden")
    with pytest.raises(ForbiddenError, match=r"waiting for it needs Kustomization.*kustomizations is forbidden"):
        wait_for(store, ready(ks_ref()), deadline=5, what="it")
    with pytest.raises(UndecidedTimeoutError, match="not allowed"):
        wait_for(store, ready(ks_ref()), deadline=0.1, what="it", fail_fast=False)


def test_absence_is_not_concluded_from_a_list_that_never_came(store: Store, server: ScriptedServer) -> None:
    server.script(503, path="/kustomizations", message="try later")
    with pytest.raises(UndecidedTimeoutError, match=r"not listed yet \(try later \(503\)\)"):
        wait_for(store, absent(ks_ref()), deadline=0.2, what="it")


def test_absence_is_concluded_from_a_kind_that_is_not_served(store: Store, server: ScriptedServer) -> None:
    server.served.remove(KUSTOMIZATIONS)
    assert "not served" in wait_for(store, absent(ks_ref()), deadline=5, what="it").why


def test_a_wait_may_begin_before_the_kind_exists(store: Store, server: ScriptedServer) -> None:
    server.served.remove(KUSTOMIZATIONS)
    waiting = Waiting(store, ready(ks_ref()))
    eventually(store, lambda: store.view().decidable([GroupKind.of(ks_ref())]))
    server.served.append(KUSTOMIZATIONS)
    server.put(kustomization(ready="True"))
    server.put(crd_of(KUSTOMIZATIONS))
    assert waiting.result().why == "1 of 1 ready"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_watch_ends_the_wait_as_a_harness_error(store: Store, server: ScriptedServer) -> None:
    settled(store, server)
    waiting = Waiting(store, ready(ks_ref())).started()
    broken = {"kind": "Kustomization", "metadata": {"resourceVersion": "1"}}
    server.emit(KUSTOMIZATIONS, {"type": "ADDED", "object": broken})
    with pytest.raises(HarnessError, match=r"The watch of Kustomization.* is dead"):
        waiting.result()


def test_an_error_in_a_predicate_reaches_the_caller(store: Store, server: ScriptedServer) -> None:
    settled(store, server)

    def judge(view: View) -> Verdict3:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wait_for(store, Predicate(judge, frozenset([ks_ref()])), deadline=5, what="it")
    assert not store._memory.subscriptions


def test_closing_the_store_ends_the_wait(store: Store, server: ScriptedServer) -> None:
    waiting = Waiting(settled(store, server), ready(ks_ref())).started()
    store.close()
    with pytest.raises(HarnessError, match="closed while waiting for it"):
        waiting.result()


def test_a_dwell_that_cannot_fit_is_a_usage_error(store: Store) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        wait_for(store, ready(ks_ref()), deadline=5, dwell=5, what="it")


def test_progress_is_told_once_per_news(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="False", reason="BuildFailed"))
    waiting = Waiting(settled(store, server), ready(ks_ref())).started()
    server.put(kustomization(ready="False", reason="BuildFailed", handled="nothing new about it"))
    server.put(kustomization(ready="True"))
    waiting.result()
    assert [line.partition(": ")[2] for line in waiting.lines] == [
        "0 of 1 ready; Kustomization/flux-system/apps is InProgress (BuildFailed)",
        "1 of 1 ready",
    ]
