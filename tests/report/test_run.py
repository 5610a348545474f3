"""What the page shows: verdicts that are never better than the run, rows, gaps and headlines."""

from __future__ import annotations

import pytest

from fluxdrill.report.graph import layout
from fluxdrill.report.run import page_data
from tests.report.entries import case, disturbance, run, transition, wait


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (["passed", "passed"], "pass"),
        (["passed", "skipped"], "pass"),
        (["passed", "failed"], "deviated"),
        (["passed", "xpassed"], "deviated"),
        (["failed", "error"], "harness-error"),
        (["skipped"], "nothing ran"),
        ([], "nothing ran"),
    ],
)
def test_the_verdict_is_the_worst_of_the_run_and_nothing_looked_at_is_no_pass(
    outcomes: list[str], verdict: str
) -> None:
    assert page_data(run(*(case(f"t{n}", outcome) for n, outcome in enumerate(outcomes))))["verdict"] == verdict


def test_a_run_that_did_not_end_in_order_is_interrupted_although_all_its_tests_passed() -> None:
    assert page_data(run(case("t"), ended=False))["verdict"] == "interrupted"


def test_an_internal_error_is_never_a_pass() -> None:
    assert page_data(run(case("t"), {"type": "internal-error", "t": 2.0, "text": "boom"}))["verdict"] == "harness-error"


def test_an_object_is_one_row_with_a_segment_per_change() -> None:
    data = page_data(
        run(
            transition(1, "K/a", "Unknown"),
            transition(2, "K/a", "True"),
            transition(3, "K/a", "True"),
            transition(4, "K/b", "False"),
        )
    )
    rows = {row["object"]: [(one[0], data["strings"][one[1]]) for one in row["segments"]] for row in data["objects"]}
    assert rows == {"K/a": [(1, "Unknown"), (2, "True")], "K/b": [(4, "False")]}


def test_a_deleted_object_is_gone_and_not_what_it_was() -> None:
    data = page_data(run(transition(1, "K/a", "True"), transition(2, "K/a", "True", change="deleted")))
    assert [data["strings"][one[1]] for one in data["objects"][0]["segments"]] == ["True", "gone"]


def test_a_gap_that_never_ended_lasts_to_the_end_of_the_run() -> None:
    open_gap = {"type": "gap", "t": 5.0, "lab": "lab-1", "why": "refused", "end": None}
    assert page_data(run(open_gap))["gaps"][0]["end"] == 20.0
    assert page_data(run(open_gap, {**open_gap, "end": 7.0}))["gaps"][0]["end"] == 7.0


def test_a_failure_is_a_headline_with_its_first_sentence() -> None:
    data = page_data(run(case("t", "failed", message="Not met after 3 s.\nBlocking:\n  K/a\n"), case("u")))
    assert data["headlines"] == [{"title": "Not met after 3 s.", "lines": ["Blocking:", "  K/a"], "where": "t"}]


def test_a_named_blocker_comes_before_failures() -> None:
    data = page_data(run({"type": "headline", "t": 1.0, "title": "First blocker: X"}, case("t", "failed", message="m")))
    assert [one["title"] for one in data["headlines"]] == ["First blocker: X", "m"]


def test_what_waits_stands_right_of_what_it_waits_for() -> None:
    columns = {
        one.name: one.column
        for one in layout(["infra", "configs", "apps", "alone"], [("infra", "configs"), ("configs", "apps")])
    }
    assert columns == {"infra": 0, "configs": 1, "apps": 2, "alone": 0}


def test_a_circle_is_placed_and_not_an_error() -> None:
    assert {one.column for one in layout(["a", "b"], [("a", "b"), ("b", "a")])} == {0}


def test_what_lasts_is_shown_once_with_its_last_word_and_what_never_ended_lasts_to_the_end() -> None:
    told = [
        wait(1.0, None, "a", outcome="waiting"),
        wait(1.0, 3.0, "a"),
        wait(4.0, None, "b", outcome="waiting"),
        disturbance(5.0, None, "etcd killed", "etcd"),
    ]
    data = page_data(run(*told))
    assert [(one["what"], one["end"], one["open"]) for one in data["waits"]] == [("a", 3.0, False), ("b", 20.0, True)]
    assert [(one["what"], one["end"], one["open"]) for one in data["disturbances"]] == [("etcd killed", 20.0, True)]


def test_a_calm_run_has_neither_waits_nor_disturbances() -> None:
    data = page_data(run(case("t")))
    assert (data["waits"], data["disturbances"]) == ([], [])
