from __future__ import annotations

from pathlib import Path

import pytest

from fluxdrill.errors import UsageError
from fluxdrill.scenario.soak import Ended, differences, left, note, read, summary


def ended(number: int, scenario: str, verdict: str = "pass") -> Ended:
    return Ended(number, scenario, verdict, "why", 1.0)


def test_a_soak_that_was_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "soak.jsonl"
    note(path, ended(1, "a"))
    note(path, ended(1, "b"))
    note(path, ended(2, "a"))
    assert list(left(read(path), ["a", "b"], 2)) == [(2, "b")]


def test_a_scenario_that_ended_differently_is_told_and_one_that_did_not_is_not() -> None:
    runs = [ended(1, "a"), ended(2, "a", "deviated"), ended(1, "b"), ended(2, "b")]
    assert [line.partition(":")[0] for line in differences(runs)] == ["a"]
    assert "1 deviated, 3 pass" in summary(runs)


def test_the_same_bad_end_every_time_is_no_difference_but_is_counted() -> None:
    runs = [ended(1, "a", "deviated"), ended(2, "a", "deviated")]
    assert differences(runs) == []
    assert "2 deviated" in summary(runs)


def test_nothing_run_is_said() -> None:
    assert summary([]) == "Nothing ran."


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_text("not json\n", encoding="utf-8")
    with pytest.raises(UsageError, match="not a note of a soak"):
        read(path)
