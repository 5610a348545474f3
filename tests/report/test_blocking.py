"""What blocks, since when, why, what waits for it; the critical path of a graph."""

from __future__ import annotations

from typing import Any

from fluxdrill.model.critical_path import Span
from fluxdrill.report.blocking import span
from fluxdrill.report.run import page_data
from tests.report.entries import Entry, disturbance, graph, run, transition

TEXTS = ["True", "False", "Unknown", "gone"]
CHAIN = ["K/n/controllers", "K/n/configs", "K/n/apps"]
EDGES = [(CHAIN[0], CHAIN[1]), (CHAIN[1], CHAIN[2])]


def shown(states: tuple[str, ...], *entries: Entry, t: float = 10.0, edges: list[tuple[str, str]] = EDGES) -> Any:
    entry = graph(t, CHAIN, edges, {name: state for name, state in zip(CHAIN, states, strict=True) if state})
    return page_data(run(*entries, entry))["graphs"][0]


def test_the_one_that_fails_blocks_and_everything_behind_it_waits() -> None:
    moves = [transition(1, CHAIN[0], "True"), transition(2, CHAIN[1], "False", reason="BuildFailed", message="no path")]
    (found,) = shown(("ready", "failing", "blocked"), *moves)["blockers"]
    assert found == {
        "what": CHAIN[1], "state": "failing", "since": 2, "utc": "03:04:07", "lasting": 8.0,
        "why": "BuildFailed: no path", "waits": [CHAIN[2]],
    }  # fmt: skip


def test_nothing_blocks_where_everything_is_ready() -> None:
    assert shown(("ready", "ready", "ready"), transition(1, CHAIN[0], "True"))["blockers"] == []


def test_what_does_not_exist_blocks_and_nobody_knows_since_when() -> None:
    (found,) = shown(("", "blocked", "blocked"), transition(1, CHAIN[1], "False"))["blockers"]
    assert (found["what"], found["state"], found["since"], found["why"]) == (
        CHAIN[0],
        "never created",
        None,
        "it does not exist",
    )
    assert found["waits"] == sorted(CHAIN[1:])


def test_a_suspended_object_blocks_only_where_something_waits_for_it() -> None:
    assert [one["what"] for one in shown(("suspended", "blocked", "blocked"))["blockers"]] == [CHAIN[0]]
    assert shown(("ready", "ready", "suspended"))["blockers"] == []


def test_a_circle_blocks_itself() -> None:
    circle = [*EDGES, (CHAIN[2], CHAIN[0])]
    (found,) = shown(("blocked", "blocked", "blocked"), edges=circle)["blockers"]
    assert (found["what"], found["waits"]) == (CHAIN[2], sorted(CHAIN[:2]))


def test_what_happened_after_the_failure_is_not_taken_for_its_cause() -> None:
    moves = [transition(1, CHAIN[0], "False", message="early"), transition(11, CHAIN[0], "False", message="late")]
    assert shown(("failing", "blocked", "blocked"), *moves)["blockers"][0]["why"] == "R: early"


def test_a_new_try_does_not_hide_the_complaint_but_one_from_before_it_was_ready_is_over() -> None:
    tries = [transition(2, CHAIN[0], "False", message="no path"), transition(9, CHAIN[0], "Unknown", message="trying")]
    assert shown(("failing", "blocked", "blocked"), *tries)["blockers"][0]["why"] == "R: no path"
    healed = transition(5, CHAIN[0], "True")
    assert shown(("failing", "blocked", "blocked"), tries[0], healed, tries[1])["blockers"][0]["why"] == "R: trying"


def test_equal_graphs_are_shown_once_and_counted() -> None:
    once = graph(5, CHAIN, EDGES, {CHAIN[0]: "failing"})
    data = page_data(run(once, {**once, "t": 6.0}, graph(7, CHAIN, EDGES, {CHAIN[0]: "ready"})))
    assert [(one["t"], one["same"]) for one in data["graphs"]] == [(5, 2), (7, 1)]


def test_a_disturbance_meanwhile_is_told_and_one_long_before_is_not() -> None:
    moves = [transition(6, CHAIN[0], "False")]
    told = [
        disturbance(1, 2, "etcd killed", "etcd"),
        disturbance(5, None, "Git server is down", "git"),
        disturbance(5, 7, "Git server is down", "git"),
    ]
    graphed = shown(("failing", "blocked", "blocked"), *moves, *told)
    assert [(one["what"], one["end"]) for one in graphed["during"]] == [("Git server is down", 7)]


def test_the_path_of_a_graph_leads_to_what_is_not_ready() -> None:
    moves = [
        transition(1, CHAIN[0], "Unknown"), transition(1, CHAIN[1], "Unknown"), transition(1, CHAIN[2], "Unknown"),
        transition(3, CHAIN[0], "True"), transition(4, CHAIN[1], "False"),
    ]  # fmt: skip
    path = shown(("ready", "failing", "blocked"), *moves)["path"]
    assert [(one["name"], one["own"], one["ready"]) for one in path] == [
        (CHAIN[0], 2, 3),
        (CHAIN[1], 7, None),
        (CHAIN[2], 0, None),
    ]


def test_a_span_is_the_first_way_to_ready_or_the_time_since_it_was_lost() -> None:
    came_up = [[1, 2], [4, 0], [6, 2], [7, 0]]
    assert span(came_up, TEXTS, at=10) == Span(1, 4)
    assert span([*came_up, [8, 1], [9, 2]], TEXTS, at=10) == Span(8, None)
    assert span([*came_up, [8, 1], [9, 2]], TEXTS, at=7.5) == Span(1, 4)
    assert span([[1, 2]], TEXTS, at=10) == Span(1, None)


def test_what_is_gone_has_no_span_and_what_came_back_a_new_one() -> None:
    assert span([[1, 0], [5, 3]], TEXTS, at=10) is None
    assert span([[1, 0], [5, 3], [7, 2], [9, 0]], TEXTS, at=10) == Span(7, 9)
    assert span([[1, 0]], TEXTS, at=0.5) is None
