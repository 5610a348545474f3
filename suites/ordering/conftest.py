"""Small repositories on the shared lab, removed again after each test."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator

import pytest

from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import KubeObject, ObjectRef
from suites.ordering.links import Fleet, Link
from suites.ordering.seen import gone

Make = Callable[..., Fleet]
Put = Callable[[KubeObject], ObjectRef]
Keep = Callable[[ObjectRef], ObjectRef]
Unique = Callable[[str], str]


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
def left(lab: Lab) -> Iterator[Keep]:
    """Return a function that names an object which the test leaves to itself; it is removed after the test."""
    named: list[ObjectRef] = []

    def keep(ref: ObjectRef) -> ObjectRef:
        named.append(ref)
        return ref

    yield keep
    for ref in named:
        gone(lab, ref)


@pytest.fixture
def put(lab: Lab, left: Keep) -> Put:
    """Return a function that applies an object beside Git, as a person would; it is removed after the test."""
    return lambda obj: left(ObjectRef.of(lab.api.apply(obj)))


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Return a function that makes a name unique to this test, so that tests never meet on the shared lab."""
    mark = secrets.token_hex(2)
    assert re.fullmatch(r"[0-9a-f]{4}", mark), request.node.name
    return lambda name: f"{name}-{mark}"
