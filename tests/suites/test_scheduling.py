"""Who runs what with `-n`: a module's lab is started once, and tests that share none are spread."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).parents[2] / "suites" / "conftest.py"
SHARED = """
import os, pathlib, pytest

@pytest.fixture(scope="module")
def lab():
    with pathlib.Path({started!r}).open("a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")

@pytest.mark.parametrize("number", range(8))
def test_shares(lab, number): pass
"""
ALONE = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(8))
def test_is_alone(number):
    with pathlib.Path({ran!r}).open("a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def workers(pytester: pytest.Pytester, source: str, conftest: str) -> list[str]:
    """Run a module on two workers; return which of them told their names, in order."""
    told = pytester.path / "told"
    pytester.makeconftest(conftest)
    pytester.makepyfile(source.format(started=str(told), ran=str(told)))
    pytester.runpytest_subprocess("-n2", "-p", "no:cacheprovider").assert_outcomes(passed=8)
    return told.read_text(encoding="utf-8").split()


def test_the_lab_of_a_module_is_started_once(pytester: pytest.Pytester) -> None:
    assert len(workers(pytester, SHARED, CONFTEST.read_text(encoding="utf-8"))) == 1


def test_control_without_the_scheduler_it_is_started_by_each_worker(pytester: pytest.Pytester) -> None:
    assert len(workers(pytester, SHARED, "")) == 2


def test_tests_without_a_lab_of_their_module_are_spread(pytester: pytest.Pytester) -> None:
    assert set(workers(pytester, ALONE, CONFTEST.read_text(encoding="utf-8"))) == {"gw0", "gw1"}
