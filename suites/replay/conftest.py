"""The corpus as a condition, and a section of the report in which every object stands by name."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from suites.replay.incident import CORPUS

_SECTIONS: pytest.StashKey[list[tuple[str, str]]] = pytest.StashKey()
Tell = Callable[[str, str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the corpus where it is not."""
    if CORPUS.is_file():
        return
    for item in items:
        if "corpus" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="the corpus is not beside this checkout"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what a test told into its report, also when it passed."""
    report = yield
    if call.when == "call":
        told = item.stash.get(_SECTIONS, None)
        report.sections.extend(told or ())
    return report


@pytest.fixture(scope="session")
def corpus() -> None:
    """Ask for the corpus: tests that do are skipped where it is absent."""


@pytest.fixture
def tell_report(request: pytest.FixtureRequest) -> Tell:
    """Return a function that puts a titled text into the test's report."""
    sections = request.node.stash.setdefault(_SECTIONS, [])
    return lambda title, text: sections.append((title, text))
