"""One world for the live tests of the scenario engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.faults.world import World
from fluxdrill.pytest_plugin.plugin import start
from fluxdrill.report.journal import Journal
from fluxdrill.scenario.plan import plan
from fluxdrill.scenario.schema import Scenario
from fluxdrill.scenario.session import Ended, run_scenario
from fluxdrill.scenario.worlds import Worlds
from tests.scenario.samples import sample

REPOSITORIES = Path(__file__).resolve().parents[2] / "scenarios" / "repositories"
Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Hand out a world with the fleet repository, converged or on its way."""
    with Worlds(lambda spec, **how: start(request.config, spec, **how), REPOSITORIES) as worlds:
        yield worlds.get(Scenario.model_validate(sample()))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Hand out a journal of this test."""
    with Journal(tmp_path / "journal.jsonl") as own:
        yield own


@pytest.fixture
def run(world: World, journal: Journal) -> Run:
    """Return a function that runs the sample scenario with some fields changed."""

    def run_it(**changes: Any) -> Ended:
        return run_scenario(world, plan(Scenario.model_validate(sample(**changes)), 1), journal)

    return run_it
