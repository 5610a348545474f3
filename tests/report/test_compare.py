"""Runs side by side: what ended otherwise is told, failures first, and what was left out is no pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fluxdrill.cli import app
from fluxdrill.errors import ExitCode, UsageError
from fluxdrill.report.compare import ABSENT, differences, exit_code, lines, named, read_run, run_of
from fluxdrill.report.journal import Entry, Journal


def entries(provider: str, **outcomes: str) -> list[Entry]:
    """Return a journal of a run in which each test took two seconds."""
    head: list[Entry] = [{"type": "run", "t": 0.0, "facts": {"provider": provider}}]
    lab: Entry = {"type": "lab", "t": 5.0, "lab": "lab-1", "seconds": 5.0}
    tests: list[Entry] = [
        {"type": "test", "t": 9.0, "id": name, "outcome": outcome, "seconds": 2.0, "message": f"{name} broke\nmore"}
        for name, outcome in outcomes.items()
    ]
    return [*head, lab, *tests, {"type": "end", "t": 10.0}]


def test_runs_that_ended_alike_have_no_difference_and_pass() -> None:
    runs = [run_of(entries("embedded", a="passed", b="skipped")), run_of(entries("kind", a="passed", b="skipped"))]
    assert differences(runs) == []
    assert exit_code(runs) is ExitCode.PASS


def test_a_test_that_failed_on_one_is_told_first_with_its_words_and_gates() -> None:
    runs = named(
        [
            run_of(entries("embedded", skipped="passed", bad="passed")),
            run_of(entries("kind", skipped="skipped", bad="failed")),
        ]
    )
    assert [one.test for one in differences(runs)] == ["bad", "skipped"]
    assert exit_code(runs) is ExitCode.FAILED
    told = list(lines(runs))
    assert "2 of 2 tests did not end alike." in told
    assert "  - kind: failed: bad broke" in told


def test_a_test_that_one_run_never_had_is_a_difference() -> None:
    runs = named([run_of(entries("embedded", a="passed", b="passed")), run_of(entries("kind", a="passed"))])
    (one,) = differences(runs)
    assert one.ends["kind"].outcome == ABSENT
    told = list(lines(runs))
    assert "1 of them were not run on kind." in told
    assert "- `b`" not in told


def test_the_table_has_times_of_what_passed_everywhere_only() -> None:
    runs = named([run_of(entries("kind", a="passed", b="passed")), run_of(entries("kind", a="passed", b="failed"))])
    told = "\n".join(lines(runs))
    assert "| | kind 1 | kind 2 |" in told
    assert "| the 1 that passed everywhere | 2 s | 2 s |" in told
    assert "| a lab ready after (median) | 5.0 s | 5.0 s |" in told


def test_one_run_and_a_run_without_tests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        list(lines([run_of(entries("kind", a="passed"))]))
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.tell("end")
    with pytest.raises(UsageError, match="holds no test"):
        read_run(tmp_path)


def test_the_command_prints_the_table_writes_a_page_and_its_exit_code_gates(tmp_path: Path) -> None:
    for provider, outcome in (("embedded", "passed"), ("kind", "failed")):
        with Journal(tmp_path / provider / "journal.jsonl") as journal:
            journal.tell("run", facts={"provider": provider})
            journal.tell("test", id="a", outcome=outcome, seconds=1.0, message="it broke")
    words = [
        "report",
        "compare",
        str(tmp_path / "embedded"),
        str(tmp_path / "kind"),
        "--reports",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == ExitCode.FAILED
    assert "| failed | 0 | 1 |" in done.stdout
    page = tmp_path / "out" / "latest" / "index.html"
    assert "embedded and kind compared" in page.read_text(encoding="utf-8")
