"""One world for the live tests of the faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fluxdrill.faults.world import World
from fluxdrill.pytest_plugin.plugin import start
from fluxdrill.scenario.schema import Scenario
from fluxdrill.scenario.worlds import Worlds
from tests.faults.standing import converge
from tests.scenario.conftest import REPOSITORIES
from tests.scenario.samples import sample


@pytest.fixture(scope="package")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Hand out a world with the fleet repository, converged; each test leaves it like that."""
    with Worlds(lambda spec, **how: start(request.config, spec, **how), REPOSITORIES) as worlds:
        one = worlds.get(Scenario.model_validate(sample()))
        converge(one)
        yield one
