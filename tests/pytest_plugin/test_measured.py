"""Measured times: carried by the test's properties into JUnit, journal and summary, and judged by their budget."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # of our own making
from pathlib import Path

import pytest

from fluxdrill.pytest_plugin.measured import Kind, Measurement, measurements
from fluxdrill.report.journal import read_journal

pytest_plugins = ["pytester"]

SUITE = """
def test_quick(measured):
    measured("the source says so", 1.5, kind="detection")
    measured("all catch up", 4.0, budget=60)

def test_slow(measured):
    measured("all catch up", 31.2, budget=30)

def test_other(measured):
    measured("asked again", 29.8, kind="other")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(SUITE)
    return pytester


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "workers"])
def test_times_are_summed_up_by_kind_and_one_over_its_budget_fails_its_test(
    suite: pytest.Pytester, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    result = suite.runpytest(*workers, f"--lab-reports={tmp_path}")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*all catch up took 31.2 s, and its budget is 30 s. See the timeline*",
            "detection times: 1 measured, median 1.5 s, longest 1.5 s",
            "*1.5 s  the source says so (*::test_quick)",
            "recovery times: 2 measured, median 17.6 s, longest 31.2 s",
            "*31.2 s of 30 s  all catch up (*::test_slow) OVER BUDGET",
            "*4.0 s of 60 s  all catch up (*::test_quick)",
            "other times: 1 measured, median 29.8 s, longest 29.8 s",
            "report: *index.html",
        ]
    )


def test_times_stand_in_junit_and_in_the_journal(suite: pytest.Pytester, tmp_path: Path) -> None:
    suite.runpytest(f"--lab-reports={tmp_path}")
    latest = tmp_path / "latest"
    told = [entry for entry in read_journal(latest / "journal.jsonl") if entry["type"] == "measured"]
    assert [(one["test"].partition("::")[2], one["name"], one["seconds"], one["budget"]) for one in told] == [
        ("test_quick", "the source says so", 1.5, None),
        ("test_quick", "all catch up", 4.0, 60),
        ("test_slow", "all catch up", 31.2, 30),
        ("test_other", "asked again", 29.8, None),
    ]
    cases = ET.parse(latest / "junit.xml").iter("testcase")  # noqa: S314 - written by this very test
    properties = {case.get("name"): [(p.get("name"), p.get("value")) for p in case.iter("property")] for case in cases}
    assert measurements([(str(n), v) for n, v in properties["test_slow"]]) == [
        Measurement("all catch up", 31.2, Kind.RECOVERY, 30)
    ]


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_what_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="which is no time"):
        Measurement("all catch up", seconds, Kind.RECOVERY)


def test_a_kind_that_does_not_exist_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(measured): measured('x', 1.0, kind='recovered')")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    assert "'recovered' is not a valid Kind" in result.stdout.str()


def test_a_time_within_its_budget_to_the_second_is_not_over() -> None:
    assert not Measurement("x", 30.0, Kind.RECOVERY, 30).over
    assert Measurement("x", 30.01, Kind.RECOVERY, 30).over
    assert not Measurement("x", 3000, Kind.RECOVERY).over
