"""A finding cannot be without the fix it owes, and an error of a look becomes a line."""

from __future__ import annotations

import pytest

from fluxdrill.doctor.finding import Finding, Level, fail, guarded, ok, warn
from fluxdrill.errors import HarnessError


@pytest.mark.parametrize(("level", "fix"), [(Level.OK, "Do it."), (Level.WARN, ""), (Level.FAIL, "")], ids=str)
def test_what_is_not_well_has_a_fix_and_what_is_well_has_none(level: Level, fix: str) -> None:
    with pytest.raises(ValueError, match=f"it is {level}, and its fix is"):
        Finding("it", level, "So.", fix)


def test_a_finding_is_a_line_and_data() -> None:
    assert ok("disk", "big").line == "ok    disk: big"
    assert warn("disk", "Small.", fix="Buy.").line == "warn  disk: Small. Buy."
    assert fail("disk", "None.", fix="Buy.").data == {
        "subject": "disk",
        "level": "fail",
        "text": "None.",
        "fix": "Buy.",
    }


@pytest.mark.parametrize(("nodes", "level"), [(False, Level.FAIL), (True, Level.WARN)])
def test_an_error_of_a_look_is_a_line_with_its_hint(nodes: bool, level: Level) -> None:
    def look() -> Finding:
        raise HarnessError("It broke.", hint="Mend it.")

    assert guarded("it", look, nodes=nodes) == Finding("it", level, "It broke.", "Mend it.", bars_nodes=nodes)


def test_an_error_without_a_hint_still_has_a_fix() -> None:
    def look() -> Finding:
        raise HarnessError("It broke.")

    assert guarded("it", look).fix == "Run `fluxdrill --debug doctor` and report what it prints."
