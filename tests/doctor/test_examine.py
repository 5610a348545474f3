"""The two answers follow from the lines, the data tells the same, and the page names every line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fluxdrill.doctor.examine import EVERY_LAB, as_data, conclude, examine
from fluxdrill.doctor.finding import Level, fail, ok, warn

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("runtime")
GOOD = ok("disk", "big")
NOTE = warn("FUSE", "None.", fix="Install.")
NO_ENGINE = warn("engine", "No container engine answers.", fix="Start one.", bars_nodes=True)
NO_CLIENT = warn("docker client", "No client.", fix="Install it.", bars_nodes=True)
FULL = fail("disk", "Full.", fix="Free some.")


def test_where_all_is_well_both_are_possible() -> None:
    assert [one.line for one in conclude([GOOD, NOTE])] == [
        "ok    embedded labs: possible here",
        "ok    kind/k3d: possible here",
    ]


def test_what_bars_nodes_alone_leaves_embedded_labs() -> None:
    embedded, nodes = conclude([GOOD, NO_ENGINE, NO_CLIENT])
    assert embedded.level is Level.OK
    assert nodes.line == (
        "warn  kind/k3d: not possible here because: No container engine answers; No client; embedded labs are. "
        "Mend: engine, docker client."
    )


def test_what_fails_leaves_neither() -> None:
    assert [one.line for one in conclude([FULL, NO_CLIENT])] == [
        "fail  embedded labs: not possible here: Full. Mend what is marked fail.",
        (
            "warn  kind/k3d: not possible here because: Full; No client; embedded labs are not, either. "
            "Mend: disk, docker client."
        ),
    ]


def test_the_data_tells_the_same_as_the_lines() -> None:
    found = [GOOD, NO_ENGINE]
    assert as_data([*found, *conclude(found)]) == {
        "possible": {"embedded labs": True, "kind/k3d": False},
        "findings": [one.data for one in [*found, *conclude(found)]],
    }


def test_only_what_every_lab_needs_can_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a machine that has nothing at all, whatever is about nodes or single tests is a warning."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FLUXDRILL_CACHE", str(tmp_path / "cache"))
    failed = {one.subject for one in examine() if one.level is Level.FAIL}
    assert {"git", "programs"} <= failed <= {*EVERY_LAB, "embedded labs"}


def test_a_look_that_is_ended_by_an_error_keeps_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [one.subject for one in examine()]
    monkeypatch.setenv("FLUXDRILL_CACHE", "/proc/none")
    found = examine()
    assert [one.subject for one in found] == before
    (disk,) = [one for one in found if one.subject == "disk"]
    assert disk.level is Level.FAIL


def test_the_page_names_every_line_and_no_other() -> None:
    page = (ROOT / "docs" / "labs.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"## Does it run here\n(.*?)\n## ", page, re.DOTALL)
    rows = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)[2:]
    named = [name for row in rows for name in row.split(", ")]
    assert sorted(named) == sorted({one.subject for one in examine()})
