"""A run of scenarios in the terminal, and what decides about a campaign as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fluxdrill.errors import UsageError
from fluxdrill.lab.bench import chosen as lab_figures
from fluxdrill.model.verdicts import Verdict
from fluxdrill.progress import Silent
from fluxdrill.report.bench import chosen, measure
from fluxdrill.report.journal import Journal, read_journal
from fluxdrill.report.scenarios import recorded, tell_campaign, text, with_campaign
from fluxdrill.scenario.command import Line
from fluxdrill.scenario.judge import Judgement, Objective, judge
from fluxdrill.scenario.plan import plan
from fluxdrill.scenario.schema import Scenario
from fluxdrill.scenario.session import Ended
from tests.scenario.samples import sample
from tests.scenario.test_judge import ENTRIES, FACTS, course, in_cycle

TERMINAL = """\
pass          good: recovered, as declared
deviated      bad: it was seen: see: why; outcome: recover: why
    deviated      it was seen: see: why
    deviated      outcome: recover: why
harness-error broken: cleaned up: clean: why
    harness-error cleaned up: clean: why
not run       elsewhere: it needs node-exec, which an embedded lab does not have"""


def line(name: str, judgement: Judgement | None = None, why: str = "") -> Line:
    planned = plan(Scenario.model_validate(sample(id=name)), 1)
    ended = Ended(planned, judgement, dirty=False) if judgement is not None else None
    return Line(planned, ended, judgement.why if judgement is not None else why)


def judged(**results: Any) -> Judgement:
    return judge(FACTS, in_cycle(course(**results)), ENTRIES)


def test_the_terminal_shows_each_scenario_and_what_did_not_go_as_declared() -> None:
    lines = [
        line("good", judged()),
        line("bad", judged(see="missed", recover="missed")),
        line("broken", judged(clean="broke")),
        line("elsewhere", why="it needs node-exec, which an embedded lab does not have"),
    ]
    assert text(lines) == TERMINAL


def test_a_campaign_is_never_better_than_its_scenarios_and_its_own_objective() -> None:
    passed, numb = Objective("o", Verdict.PASS, ""), Objective("o", Verdict.INVALID, "")
    assert with_campaign("pass", passed) is Verdict.PASS
    assert with_campaign("pass", numb) is Verdict.INVALID
    assert with_campaign("deviated", passed) is Verdict.DEVIATED
    assert with_campaign("harness-error", numb) is Verdict.HARNESS_ERROR
    assert with_campaign("nothing ran", numb) is Verdict.INVALID


def test_a_campaign_is_written_down_with_what_was_drawn_and_left_out(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        objective = tell_campaign(journal, [line("good", judged()), line("other", why="w")], seed=3, left_out=["y"])
    (entry,) = [one for one in read_journal(tmp_path / "j") if one["type"] == "campaign"]
    assert (entry["seed"], entry["drawn"], entry["left_out"], entry["verdict"]) == (3, ["good", "other"], ["y"], "pass")
    assert "in 1 of 1 scenarios" in objective.why


def test_each_lab_that_starts_is_written_down(tmp_path: Path) -> None:
    class Made:
        lab_id, seconds = "lab-7", 1.234

    with Journal(tmp_path / "j") as journal:
        recorded(lambda *_a, **_k: Made(), journal)(None)  # type: ignore[arg-type]
    assert [(one["lab"], one["seconds"]) for one in read_journal(tmp_path / "j") if one["type"] == "lab"] == [("lab-7", 1.23)]  # fmt: skip


def test_figures_of_all_layers_are_chosen_by_name_and_an_unknown_one_is_refused_before_anything_starts() -> None:
    assert chosen(None) == (lab_figures(None), ["plans_1000", "validate_folder", "page_load"])
    assert chosen(["page_load", "lab_start"]) == (["lab_start"], ["page_load"])
    with pytest.raises(UsageError, match="no figure 'lab_stop'"):
        chosen(["plans_1000", "lab_stop"])


def test_a_thousand_plans_of_this_projects_scenarios_take_less_than_ten_seconds() -> None:
    found = measure(only=["plans_1000", "validate_folder"], rounds=1, progress=Silent())
    assert found["plans_1000"]["median"] < 10
    assert found["validate_folder"]["n"] == 1
