"""Small repositories on the shared lab, removed again after each test."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator

import pytest

from fluxdrill.lab.lab import Lab
from suites.ordering.links import Fleet, Link

Make = Callable[..., Fleet]


@pytest.fixture
def make_fleet(lab: Lab) -> Iterator[Make]:
    """Return a function that syncs links into the shared lab under a name of its own; they are removed afterwards."""
    made: list[Fleet] = []

    def make(*links: Link) -> Fleet:
        fleet = Fleet(lab, *links, name=f"fleet-{secrets.token_hex(3)}")
        made.append(fleet)
        fleet.bootstrap()
        return fleet

    yield make
    for fleet in made:
        fleet.remove()


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Return a function that makes a name unique to this test, so that tests never meet on the shared lab."""
    mark = secrets.token_hex(2)
    assert re.fullmatch(r"[0-9a-f]{4}", mark), request.node.name
    return lambda name: f"{name}-{mark}"
