"""The plugin's manners: cheap collection, checked options, and a record of the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluxdrill.report.journal import read_journal

pytest_plugins = ["pytester"]

SUITE = """
def test_passes():
    \"\"\"What it proves.\"\"\"

def test_fails():
    from fluxdrill.errors import ProductDeviatedError
    raise ProductDeviatedError("The cluster did something else.", hint="Look at it.")

def test_is_skipped():
    import pytest
    pytest.skip("needs pods: use kind")

def test_needs_a_lab(lab):
    raise AssertionError("a lab was started")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.Pytester:
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path / "runtime"))
    pytester.makepyfile(SUITE)
    return pytester


def test_collecting_starts_no_lab_and_writes_no_report(suite: pytest.Pytester, tmp_path: Path) -> None:
    result = suite.runpytest("--collect-only", "-q", f"--lab-reports={tmp_path / 'reports'}")
    assert result.ret == 0
    assert not (tmp_path / "runtime").exists()
    assert not (tmp_path / "reports").exists()


def test_without_the_option_nothing_is_written_and_nothing_said(suite: pytest.Pytester, tmp_path: Path) -> None:
    result = suite.runpytest("-k", "passes")
    assert "fluxdrill" not in result.stdout.str().replace("plugins: ", "").split("collected")[1]
    assert list(tmp_path.rglob("journal.jsonl")) == []


def test_a_run_leaves_journal_page_and_junit_and_latest_points_to_them(suite: pytest.Pytester, tmp_path: Path) -> None:
    suite.runpytest("-k", "not lab", f"--lab-reports={tmp_path / 'reports'}")
    latest = tmp_path / "reports" / "latest"
    assert {one.name for one in latest.iterdir()} >= {"journal.jsonl", "index.html", "junit.xml", "allure-results"}
    tests = {
        one["id"].rpartition("::")[2]: one for one in read_journal(latest / "journal.jsonl") if one["type"] == "test"
    }
    assert {name: one["outcome"] for name, one in tests.items()} == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_is_skipped": "skipped",
    }
    assert tests["test_passes"]["statement"] == "What it proves."
    assert tests["test_fails"]["message"] == "The cluster did something else. Look at it."
    assert "use kind" in tests["test_is_skipped"]["message"]


def test_our_own_error_is_shown_in_its_words_and_not_as_a_traceback_of_our_code(suite: pytest.Pytester) -> None:
    shown = suite.runpytest("-k", "fails").stdout.str()
    assert "The cluster did something else. Look at it." in shown
    assert "raise ProductDeviatedError" in shown
    assert "fluxdrill/errors.py" not in shown


def test_under_xdist_every_worker_writes_into_the_same_run(suite: pytest.Pytester, tmp_path: Path) -> None:
    suite.runpytest("-n2", "-k", "not lab", f"--lab-reports={tmp_path / 'reports'}")
    (run,) = [one for one in (tmp_path / "reports").iterdir() if not one.is_symlink()]
    assert sum(one["type"] == "test" for one in read_journal(run / "journal.jsonl")) == 3
    assert [one.name for one in run.glob("journal-*")] == []


@pytest.mark.parametrize("how", ["command line", "environment", "ini file"])
def test_a_value_that_is_no_choice_is_refused_before_anything_starts(
    how: str, suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--lab-profile=slow"] if how == "command line" else []
    if how == "environment":
        monkeypatch.setenv("FLUXDRILL_LAB_PROFILE", "slow")
    if how == "ini file":
        suite.makeini("[pytest]\nlab_profile = slow\n")
    result = suite.runpytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "slow" in result.stderr.str()


def test_the_command_line_wins_over_environment_and_ini_and_the_header_says_so(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXDRILL_LAB_PROFILE", "fast")
    suite.makeini("[pytest]\nlab_profile = fast\n")
    shown = suite.runpytest("-k", "passes", "--lab-profile=as-written").stdout.str()
    assert "profile as-written (command line)" in shown


def test_the_journal_is_plain_json_lines(suite: pytest.Pytester, tmp_path: Path) -> None:
    suite.runpytest("-k", "passes", f"--lab-reports={tmp_path / 'reports'}")
    lines = (tmp_path / "reports" / "latest" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)


def test_holding_a_lab_without_a_terminal_is_refused_before_anything_starts(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess("--lab-keep=failed")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "there is no terminal" in result.stderr.str()


def test_holding_a_lab_of_a_worker_is_refused_before_anything_starts(suite: pytest.Pytester) -> None:
    result = suite.runpytest("-n2", "--lab-keep=failed")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "the workers of -n cannot hear it" in result.stderr.str()


def test_a_provider_that_does_not_exist_is_refused_before_anything_starts(suite: pytest.Pytester) -> None:
    result = suite.runpytest("--lab-provider=cloud")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (
        "--lab-provider is 'cloud' (from command line). Choose one of: embedded, kind, k3d, existing."
        in result.stderr.str()
    )
