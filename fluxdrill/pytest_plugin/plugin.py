"""Fixtures for suites: `lab` is shared by a session, `own_lab` belongs to one test that breaks things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from fluxdrill.progress import TerminalProgress

if TYPE_CHECKING:
    from fluxdrill.lab.lab import Lab, LabSpec


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Hand out one running lab for the whole session (one per xdist worker); tests must leave it as they found it."""
    with _start(request.config, None) as running:
        yield running


@pytest.fixture
def own_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Hand out a fresh lab for this test alone: break it as you like."""
    with _start(request.config, None) as running:
        yield running


@pytest.fixture
def start_lab(request: pytest.FixtureRequest) -> Iterator[Callable[[LabSpec], Lab]]:
    """Start labs of a given make; they end with the test."""
    running: list[Lab] = []

    def start(spec: LabSpec) -> Lab:
        running.append(_start(request.config, spec))
        return running[-1]

    yield start
    for one in running:
        one.close()


def _start(config: pytest.Config, spec: LabSpec | None) -> Lab:
    # imported late: collecting tests must stay cheap and touch no cluster
    from fluxdrill.lab.lab import Lab  # noqa: PLC0415

    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        return Lab.start(spec)
    with capture.global_and_fixture_disabled(), TerminalProgress().running() as progress:
        return Lab.start(spec, progress=progress)
