"""docs/remediation.md has a row for each setting of the suite, and says nothing that no run said."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import Stated
from docs.remediation import PAGE, Seen, as_it_stands, build, page, seen
from fluxdrill.report.journal import Journal
from suites.remediation.cells import CELLS

CELL = CELLS[0].name
TEST = f"suites/remediation/test_matrix.py::test_each_setting_ends_as_the_table_says[{CELL}]"


def test_the_page_is_up_to_date_with_the_suite() -> None:
    """Run `python -m docs.remediation` if this fails."""
    assert PAGE.read_text(encoding="utf-8") == build([])


def test_a_run_gives_a_row_its_verdict_and_its_times(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.tell("measured", name=f"{CELL} until stalled", seconds=8.5)
        journal.tell("test", id=TEST, outcome="passed")
    found = seen(tmp_path)[CELL]
    assert (found.stalled, found.healed) == ("8.5", "")
    assert found.verdict.startswith("passed 2")
    assert "| 8.5 |" in page({CELL: found}, [])


def test_what_the_page_says_is_kept_where_a_run_has_nothing_newer() -> None:
    known = {CELL: Seen("8.5", "2.2", "passed 2026-01-01")}
    assert as_it_stands(page(known, []))[CELL] == known[CELL]
    assert Seen(healed="3").over(known[CELL]) == Seen("8.5", "3", "passed 2026-01-01")


@pytest.mark.parametrize(
    ("test", "shown"),
    [
        (Stated("suites/remediation/test_a.py::test_x", "S36, corrected: it does not help.", ("S36",)), True),
        (Stated("suites/remediation/test_a.py::test_x", "Nothing new.", (), (("flux.md 4.2.9", "it is so"),)), True),
        (Stated("suites/remediation/test_a.py::test_x", "S37: as documented.", ("S37",)), False),
        (Stated("suites/ordering/test_a.py::test_x", "S12, corrected: elsewhere.", ("S12",)), False),
    ],
)
def test_what_turned_out_different_is_listed(test: Stated, shown: bool) -> None:
    """Corrections and settled marks of this suite, and nothing else."""
    assert (test.name in page({}, [test])) is shown
