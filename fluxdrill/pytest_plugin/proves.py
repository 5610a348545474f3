"""The marker of a test that settles what was only inferred: docs/facts.md lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

MARK = "proves"
HELP = (
    f"{MARK}(fact, found): the test settles a fact that was only inferred, such as 'flux.md 4.1.10'; "
    "`found` says in one sentence what it found"
)
FACT = re.compile(r"[a-z]+\.md ([0-9]+(\.[0-9]+)*|[A-Z]-?[0-9]+)")


def check(items: Iterable[pytest.Item]) -> None:
    """Raise pytest.UsageError for a marker that names no fact or no finding."""
    for item in items:
        for mark in item.iter_markers(MARK):
            if not complete(mark.args) or mark.kwargs:
                raise pytest.UsageError(
                    f"{item.nodeid} has {MARK}{mark.args!r}. Give it a fact and what was found: "
                    f"{MARK}('flux.md 4.1.10', 'the orphan stays')."
                )


def complete(args: tuple[object, ...]) -> bool:
    """Tell whether the marker's arguments name a fact and what was found."""
    match args:
        case (str(fact), str(found)):
            return bool(FACT.fullmatch(fact)) and bool(found.strip())
        case _:
            return False
