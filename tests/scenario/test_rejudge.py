"""An old journal under today's rules: the same verdict where nothing changed, every difference named, never a pass unseen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.cli import run as command
from fluxdrill.errors import UsageError
from fluxdrill.model.verdicts import Verdict
from fluxdrill.report.files import write_files
from fluxdrill.report.rejudge import rejudge, verdict
from tests.report.entries import run, scenario

CAMPAIGN = {"type": "campaign", "t": 19, "seed": 1, "objective": "o", "verdict": "pass", "why": "w", "left_out": []}


def told(*entries: Any) -> Any:
    return rejudge(run(*entries))


def test_a_run_that_went_well_passes_again() -> None:
    (found,) = told(*scenario())
    assert (found.verdict, found.recorded) == (Verdict.PASS, "pass")


def test_a_verdict_that_was_better_than_the_steps_is_corrected_and_the_difference_named() -> None:
    (found,) = told(*scenario(see="missed", told="pass"))
    assert found.verdict is Verdict.DEVIATED
    assert "verdict: pass then, deviated now" in found.differences
    assert "it was seen: pass then, deviated now" in found.differences
    assert "budgets: not judged then, pass now" in found.differences


def test_the_watch_is_judged_again_as_well() -> None:
    entries = scenario()
    narrow = [{**one, "affected": []} if one["type"] == "scenario" else one for one in entries]
    assert verdict(told(*narrow)) is Verdict.DEVIATED


def test_a_run_that_was_killed_is_unknown() -> None:
    (found,) = told(*scenario(ended=False))
    assert (found.verdict, found.recorded) == (Verdict.UNKNOWN, "none")


def test_two_runs_of_one_scenario_are_judged_each_by_its_own_steps() -> None:
    found = told(*scenario(), *scenario(see="missed", told="deviated"))
    assert [one.verdict for one in found] == [Verdict.PASS, Verdict.DEVIATED]


def test_a_campaigns_own_objective_is_judged_again() -> None:
    felt = told(*scenario(), CAMPAIGN)
    calm = [one for one in scenario() if one.get("status") != "False"]
    numb = told(*calm, CAMPAIGN)
    assert (felt[-1].scenario, felt[-1].verdict, numb[-1].verdict) == ("campaign", Verdict.PASS, Verdict.INVALID)


def test_a_journal_without_a_scenario_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="no scenario"):
        told()


@pytest.mark.parametrize(("results", "code"), [({}, 0), ({"see": "missed"}, 1), ({"clean": "broke"}, 3)], ids=str)
def test_the_exit_code_is_that_of_todays_verdict(
    results: dict[str, Any], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, scenario(told="pass", **results))
    assert command(["report", "rejudge", str(tmp_path)]) == code
    assert "1 of 1 verdicts differ" in capsys.readouterr().out


def test_a_journal_that_was_changed_never_ends_with_a_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, scenario(see="missed", told="deviated"))
    journal = tmp_path / "journal.jsonl"
    journal.write_text(journal.read_text(encoding="utf-8").replace('"missed"', '"done"'), encoding="utf-8")
    assert command(["report", "rejudge", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "pass " in said
    assert "journal.jsonl was changed" in said


def write(folder: Path, entries: Any) -> None:
    lines = [json.dumps(one) for one in run(*entries)]
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_files(folder)
