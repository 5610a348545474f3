"""docs/scenarios.md is carried out: its example is the file, and every command on it does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fluxdrill.cli import run as command
from fluxdrill.model.verdicts import Verdict
from fluxdrill.scenario.schema import Scenario

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
PROGRAM = ".nox/suites/bin/fluxdrill "
EXAMPLE = "docs/examples/scenarios/git-503.yaml"
COMMANDS = [
    line.removeprefix(PROGRAM).split()
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
NEEDS_A_LAB = [words for words in COMMANDS if words[0] == "campaign" or words[:2] == ["scenario", "run"]]
NEEDS_A_RUN = [words for words in COMMANDS if words[0] == "report"]
ALONE = [words for words in COMMANDS if words not in NEEDS_A_LAB + NEEDS_A_RUN]


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_example_on_the_page_is_the_file() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown == (ROOT / EXAMPLE).read_text(encoding="utf-8")


def test_the_page_has_commands_of_every_kind() -> None:
    assert (len(ALONE), len(NEEDS_A_LAB), len(NEEDS_A_RUN)) == (4, 2, 2)


@pytest.mark.parametrize("words", ALONE, ids=" ".join)
def test_what_needs_no_cluster_works_as_it_stands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(words) == 0
    assert capsys.readouterr().out


def test_control_a_command_that_does_not_exist_is_noticed() -> None:
    assert command(["scenario", "prove"]) == 4


def test_every_field_of_the_table_is_one_of_a_scenario() -> None:
    table = PAGE.partition("| field |")[2].partition("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named
    assert named <= set(Scenario.model_fields)


def test_the_verdicts_and_exit_codes_of_the_page_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| .* \| (\d) \|$", PAGE, re.MULTILINE)
    assert rows == [(str(one), str(int(one.exit_code))) for one in Verdict]


@pytest.mark.live
def test_the_example_passes_one_that_declares_too_little_deviates_and_both_reports_say_so_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ["scenario", "run", EXAMPLE] in NEEDS_A_LAB
    narrow = "docs/examples/scenarios/too-narrow.yaml"
    assert command(["scenario", "run", EXAMPLE, narrow, "--reports", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "pass          example-git-503: recovered, as declared" in said
    assert "beyond what was declared, GitRepository/flux-system/flux-system left Ready" in said
    run = tmp_path / "latest"
    assert "What waited for what when too-narrow began to fail" in (run / "journal.jsonl").read_text(encoding="utf-8")
    verify, rejudge = ([*words[:2], str(run)] for words in NEEDS_A_RUN)
    assert (command(verify), command(rejudge)) == (0, 1)
    assert "0 of 2 verdicts differ" in capsys.readouterr().out
