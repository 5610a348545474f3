"""The critical path of a recovery: from the watch's transitions along what waits for what."""

from __future__ import annotations

from typing import Any

from fluxdrill.scenario.measure import cycles, recovery_path
from tests.scenario.test_judge import FACTS, course, in_cycle

SOURCE, INFRA, APPS = "GitRepository/f/flux", "Kustomization/f/infra", "Kustomization/f/apps"
LINKS = {SOURCE: [], INFRA: [SOURCE], APPS: [INFRA, SOURCE]}


def move(t: float, name: str, status: str, *, revision: str = "1", lab: str = "lab-1") -> Any:
    return {"type": "transition", "lab": lab, "object": name, "status": status, "revision": revision, "t": t}


BEFORE = [move(1, name, "True") for name in LINKS]
# the sample heals its fault at 6.0 s and is recovered at 13.0 s


def path(*moves: Any, links: Any = LINKS) -> Any:
    own = [one for one in in_cycle(course()) if one.cycle == 1]
    return [(link.name, link.own) for link in recovery_path(FACTS, own, [*BEFORE, *moves], links)]


def test_each_link_takes_what_is_left_after_the_one_it_waits_for() -> None:
    moves = [
        move(4, SOURCE, "False"), move(7, SOURCE, "True", revision="2"), move(7.1, INFRA, "Unknown"),
        move(9, INFRA, "True", revision="2"), move(9.1, APPS, "Unknown"), move(12, APPS, "True", revision="2"),
    ]  # fmt: skip
    assert path(*moves) == [(SOURCE, 1), (INFRA, 2), (APPS, 3)]


def test_an_object_that_is_ready_at_another_revision_without_a_break_counts_from_then() -> None:
    assert path(move(8, SOURCE, "True", revision="2")) == [(SOURCE, 2)]


def test_what_happened_before_the_healing_or_after_the_recovery_is_no_link() -> None:
    assert path(move(5, SOURCE, "False"), move(5.5, SOURCE, "True"), move(14, APPS, "Unknown")) == []


def test_a_repetition_of_the_same_state_is_no_link() -> None:
    assert path(move(8, SOURCE, "True")) == []


def test_another_lab_and_an_unknown_object_are_not_looked_at() -> None:
    assert path(move(8, SOURCE, "False", lab="lab-2"), move(8, "Pod/x/y", "True")) == []


def test_without_a_recovery_there_is_no_path() -> None:
    own = [one for one in in_cycle(course()) if one.cycle == 1 and one.verb != "recover"]
    assert recovery_path(FACTS, own, [*BEFORE, move(8, SOURCE, "True", revision="2")], LINKS) == ()


def test_cycles_are_those_of_faults() -> None:
    assert cycles(course()) == []
    assert cycles(in_cycle(course())) == [1]
