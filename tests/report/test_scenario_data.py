"""Scenarios as the reports show them: faults once, blast radius expected against observed, numbers, what is uncertain."""

from __future__ import annotations

from typing import Any

import pytest

from fluxdrill.report.run import page_data
from fluxdrill.report.scenario_data import numbers, scenarios
from fluxdrill.scenario.record import read_runs
from tests.report.entries import APPS, SOURCE, WEB, disturbance, run, scenario, transition


def only(*entries: Any) -> Any:
    (found,) = scenarios(run(*entries))
    return found


def test_a_scenario_has_its_verdict_each_objective_and_why() -> None:
    found = only(*scenario(see="missed"))
    assert (found["verdict"], found["seed"], found["outcome"]) == ("deviated", 7, "recovered")
    assert [(one["name"], one["verdict"]) for one in found["objectives"]] == [
        ("it was seen", "deviated"),
        ("blast radius", "pass"),
    ]


def test_the_blast_radius_stands_as_expected_beside_what_was_observed() -> None:
    found = only(*scenario(), transition(5, APPS, "False"), transition(5.5, APPS, "True"))
    assert {row["object"]: (row["declared"], row["falls"]) for row in found["blast"]} == {
        APPS: (False, [[5, 5.5]]),
        SOURCE: (True, [[4, 7]]),
        WEB: (True, []),
    }
    assert found["blast"][0]["object"] == APPS  # what was not declared is read first


def test_an_object_of_nobody_is_in_no_blast_radius() -> None:
    found = only(*scenario(), transition(5, "ConfigMap/other/x", "False"))
    assert "ConfigMap/other/x" not in [row["object"] for row in found["blast"]]


def test_a_fault_is_a_band_from_inject_to_heal_and_the_labs_own_note_of_it_is_not_shown_again() -> None:
    notes = [disturbance(3.05, None, "Git server is down", "git"), disturbance(3.05, 6.0, "Git server is down", "git")]
    (band,) = page_data(run(*scenario(), *notes))["disturbances"]
    assert (band["t"], band["end"], band["what"], band["target"], band["open"]) == (3, 6.1, "inject it", "git-down", False)  # fmt: skip


@pytest.mark.parametrize("other", [{"t": 5.0}, {"lab": "lab-2"}, {"t": 1.0}], ids=str)
def test_control_what_a_lab_notes_beside_the_fault_is_shown_as_well(other: dict[str, Any]) -> None:
    note = {**disturbance(3.05, 6.0, "etcd killed", "etcd"), **other}
    assert [one["what"] for one in page_data(run(*scenario(), note))["disturbances"]] == ["inject it", "etcd killed"]


def test_a_fault_that_was_never_healed_stays_open_to_the_end() -> None:
    (band,) = page_data(run(*scenario(heal="broke", clean="broke")))["disturbances"]
    assert (band["open"], band["end"]) == (True, 20.0)


def test_a_fault_that_was_not_injected_is_no_band() -> None:
    assert only(*scenario(inject="void"))["bands"] == []


def test_numbers_have_their_budget_and_a_percentile_only_from_20_samples_on() -> None:
    facts = read_runs(scenario())[0].facts
    assert facts is not None
    few = [{"what": "recovery", "object": "", "seconds": float(n)} for n in range(5, 24)]
    (one,) = numbers(facts, few)
    assert (one["n"], one["low"], one["p50"], one["high"], one["p95"]) == (19, 5, 14, 23, None)
    assert (one["budget"], one["over"]) == (20.0, True)
    (many,) = numbers(facts, [*few, few[0]])
    assert many["p95"] is not None
    (fast,) = numbers(facts, few[:3])
    assert fast["over"] is False


def test_the_critical_path_of_the_recovery_follows_the_source() -> None:
    (path,) = only(*scenario())["paths"]
    assert [(link["name"], link["own"]) for link in path["links"]] == [(SOURCE, 0.9), (APPS, 4)]


def test_a_run_that_was_killed_is_unknown_and_shows_the_steps_it_came_to() -> None:
    found = only(*scenario(ended=False))
    assert (found["verdict"], len(found["steps"]), found["title"]) == ("unknown", 4, "Git is down")
    assert "never ended" in found["why"]


def test_what_could_not_run_is_told_with_the_reason_and_is_no_verdict() -> None:
    entry = {"type": "not-run", "t": 1.0, "scenario": "x", "title": "X", "seed": 1, "why": "it needs node-exec"}
    data = page_data(run(entry))
    assert [(one["verdict"], one["why"]) for one in data["scenarios"]] == [("not run", "it needs node-exec")]
    assert data["verdict"] == "nothing ran"


def test_the_worst_scenario_stands_first_and_decides() -> None:
    told = [*scenario("a"), *scenario("b", told="invalid", see="void"), *scenario("c", see="missed")]
    data = page_data(run(*told))
    assert [one["id"] for one in data["scenarios"]] == ["b", "c", "a"]
    assert data["verdict"] == "invalid"


def test_what_is_not_certified_is_said_even_of_a_pass() -> None:
    gap = {"type": "gap", "t": 5.0, "end": 6.0, "lab": "lab-1", "why": "refused"}
    calm, blind = (" ".join(only(*scenario(), *more)["uncertain"]) for more in ([], [gap]))
    assert "simulated" in calm
    assert "harness's own watch" in calm
    assert "silent" not in calm
    assert "silent from 5.0 s" in blind


def test_the_matrix_counts_in_how_many_runs_a_kind_left_ready_under_a_fault() -> None:
    told = page_data(run(*scenario(), *scenario(inject="void")))["matrix"]
    assert told["kinds"] == ["ConfigMap", "GitRepository"]
    assert told["rows"] == [{"fault": "git.down", "runs": 1, "cells": [[0, 1], [1, 1]]}]


def test_evidence_stands_with_the_scenario_that_it_is_of() -> None:
    entry = {"type": "evidence", "t": 4.0, "scenario": "git-down", "why": "see", "sections": [["Not Ready", "x"]]}
    told = scenario(see="missed")
    found = only(*told[:5], entry, *told[5:])
    assert found["evidence"] == [{"why": "see", "t": 4.0, "sections": [["Not Ready", "x"]]}]
