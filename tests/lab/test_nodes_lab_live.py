"""A lab of real nodes: it ends whole, also where it fails between its cluster and what the lab has beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fluxdrill.cluster import containers, engine, leases
from fluxdrill.cluster.containers import Docker
from fluxdrill.errors import HarnessError
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.lab.providers import nodes
from tests.cluster.kinds import needs_kind

pytestmark = [pytest.mark.live, needs_kind]

SPEC = LabSpec(provider="kind", flux=False)


@pytest.fixture(autouse=True)
def _engine() -> Iterator[None]:
    """An engine that did not run before ends with the test."""
    ran = engine.find() is not None
    yield
    if not ran:
        engine.down()


def left() -> tuple[list[str], set[str], list[str]]:
    """Return the threads of refusing proxies, the labs' folders and the clusters that there are."""
    place = engine.find()
    assert place is not None
    threads = [one.name for one in threading.enumerate() if one.name == "outside"]
    clusters = [one.cluster for one in containers.owned(Docker(place.address))]
    return threads, {one.name for one in leases.labs_folder().glob("lab-*")}, clusters


def test_a_lab_that_ends_leaves_no_proxy_no_folder_and_no_cluster() -> None:
    engine.find() or engine.up()
    before = left()
    with Lab.start(SPEC) as lab:
        threads, folders, clusters = left()
        assert len(threads) == len(before[0]) + 1
        assert lab.lab_id in folders
        assert lab.lab_id in clusters
    assert left() == before


def test_what_cannot_be_made_beside_the_cluster_is_told_and_the_cluster_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise HarnessError("no more of these")

    engine.find() or engine.up()
    before = left()
    monkeypatch.setattr(nodes, "Outside", fail)
    with pytest.raises(HarnessError, match="no more of these"):
        Lab.start(SPEC)
    assert left() == before
