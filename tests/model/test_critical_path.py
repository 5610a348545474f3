"""The critical path: the chain of dependencies that decided when the whole was Ready."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxdrill.model.critical_path import Link, Span, critical_path

CHAIN = {"configs": ["controllers"], "apps": ["configs", "monitoring"]}


def told(path: tuple[Link[str], ...]) -> list[tuple[str, str | None, float]]:
    return [(one.name, one.waited_for, one.own) for one in path]


def test_the_chain_names_each_link_what_it_waited_for_and_its_own_seconds() -> None:
    spans = {
        "controllers": Span(1.0, 21.0),
        "configs": Span(1.0, 23.5),
        "monitoring": Span(1.0, 9.0),
        "apps": Span(1.0, 30.0),
        "alone": Span(1.0, 5.0),
    }
    assert told(critical_path(spans, CHAIN, end=40.0)) == [
        ("controllers", None, 20.0),
        ("configs", "controllers", 2.5),
        ("apps", "configs", 6.5),
    ]


def test_the_dependency_that_was_ready_last_decides_and_not_the_first_declared() -> None:
    spans = {"controllers": Span(0, 3), "configs": Span(0, 4), "monitoring": Span(0, 20), "apps": Span(0, 22)}
    assert told(critical_path(spans, CHAIN, end=30)) == [("monitoring", None, 20), ("apps", "monitoring", 2)]


def test_what_is_not_ready_bears_all_the_time_and_what_waits_for_it_none() -> None:
    spans = {"controllers": Span(1, 4), "configs": Span(1, None), "apps": Span(1, None)}
    assert told(critical_path(spans, CHAIN, end=34)) == [
        ("controllers", None, 3),
        ("configs", "controllers", 30),
        ("apps", "configs", 0),
    ]


def test_an_object_that_came_after_its_dependency_was_ready_waited_for_nothing() -> None:
    spans = {"controllers": Span(0, 3), "configs": Span(5, 9)}
    assert told(critical_path(spans, CHAIN, end=10)) == [("configs", None, 4)]


def test_a_target_asks_for_its_own_chain() -> None:
    spans = {"controllers": Span(0, 3), "configs": Span(0, 4), "apps": Span(0, 9)}
    assert [one.name for one in critical_path(spans, CHAIN, end=9, target="configs")] == ["controllers", "configs"]
    with pytest.raises(KeyError):
        critical_path(spans, CHAIN, end=9, target="unknown")


def test_a_circle_ends_and_nothing_at_all_is_an_empty_path() -> None:
    spans = {"a": Span(0, None), "b": Span(0, None)}
    assert [one.name for one in critical_path(spans, {"a": ["b"], "b": ["a"]}, end=5)] == ["b", "a"]
    assert critical_path({}, CHAIN, end=5) == ()


@given(st.lists(st.floats(0, 50), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_without_idle_time_the_own_seconds_add_up_to_the_whole(durations: list[float], chance: Random) -> None:
    """Each object starts to work when its last dependency is Ready: then the links' own seconds are the whole time."""
    ready: list[float] = []
    depends_on: dict[int, list[int]] = {}
    for number, own in enumerate(durations):
        depends_on[number] = [one for one in range(number) if chance.random() < 0.5]
        ready.append(max((ready[one] for one in depends_on[number]), default=0.0) + own)
    path = critical_path({n: Span(0.0, at) for n, at in enumerate(ready)}, depends_on, end=1000.0)
    assert sum(one.own for one in path) == pytest.approx(max(ready), abs=0.01)
