"""Every wait on a store is told to whoever listens: that it began, and how it ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fluxdrill.errors import HarnessError
from fluxdrill.kube.wait import (
    DeviatedTimeoutError,
    Predicate,
    UndecidedTimeoutError,
    Verdict3,
    WaitFailedError,
    ready,
    wait_for,
)
from fluxdrill.kube.watch import Store
from fluxdrill.model.records import Record, Wait, WaitEnd
from tests.kube.objects import ks_ref, kustomization
from tests.kube.scripted import ScriptedServer

NewStore = Callable[..., Store]


def waits(records: list[Record]) -> list[tuple[str, WaitEnd, bool]]:
    return [(one.why, one.outcome, one.ended is None) for one in records if isinstance(one, Wait)]


def test_a_wait_that_is_met_is_told_twice_as_the_same_one(new_store: NewStore, server: ScriptedServer) -> None:
    told: list[Record] = []
    server.put(kustomization(ready="True"))
    result = wait_for(new_store(on_record=told.append), ready(ks_ref()), deadline=5, what="the link")
    assert waits(told) == [("", WaitEnd.WAITING, True), ("1 of 1 ready", WaitEnd.MET, False)]
    first, last = (one for one in told if isinstance(one, Wait))
    assert (first.what, first.refs, first.deadline, first.started) == ("the link", (ks_ref(),), 5, result.started)
    assert last.started == first.started


def test_a_wait_that_is_not_met_is_never_told_as_met(new_store: NewStore, server: ScriptedServer) -> None:
    told: list[Record] = []
    server.put(kustomization(ready="False"))
    with pytest.raises(DeviatedTimeoutError):
        wait_for(new_store(on_record=told.append), ready(ks_ref()), deadline=0.5, what="it")
    assert [outcome for _, outcome, _ in waits(told)] == [WaitEnd.WAITING, WaitEnd.DEVIATED]


def test_a_silent_server_is_undecided_and_a_terminal_state_is_giving_up(
    new_store: NewStore, server: ScriptedServer
) -> None:
    told: list[Record] = []
    store = new_store(on_record=told.append)
    server.put(kustomization(ready="False", stalled=True))
    with pytest.raises(WaitFailedError):
        wait_for(store, ready(ks_ref()), deadline=5, what="it")
    server.stop()
    with pytest.raises(UndecidedTimeoutError):
        wait_for(store, ready(ks_ref()), deadline=1, what="it", fail_fast=False)
    assert [outcome for _, outcome, _ in waits(told)][1::2] == [WaitEnd.GAVE_UP, WaitEnd.UNDECIDED]


def test_a_wait_that_breaks_is_told_to_have_broken(new_store: NewStore, server: ScriptedServer) -> None:
    told: list[Record] = []
    server.put(kustomization(ready="True"))
    store = new_store(on_record=told.append)

    def judge(_view: object) -> Verdict3:
        raise HarnessError("no")

    with pytest.raises(HarnessError):
        wait_for(store, Predicate(judge, frozenset([ks_ref()])), deadline=5, what="it")
    assert waits(told)[-1] == ("", WaitEnd.BROKEN, False)


def test_nobody_has_to_listen(store: Store, server: ScriptedServer) -> None:
    server.put(kustomization(ready="True"))
    assert wait_for(store, ready(ks_ref()), deadline=5, what="it").why == "1 of 1 ready"
