"""How long things take at the intervals that the guide's repository is written with: minutes, so for the night.

The controllers run as `flux install` sets them up: dependencies are asked again every 30 s, intervals jitter by 5 %.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import pytest

from fluxdrill.flux.operations import request
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.wait import condition, wait_for
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.lab.profiles import pace_of
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.repository.profile import Profile
from suites.ordering.links import Fleet, Link, config
from suites.ordering.seen import has_data, never
from suites.sabotage import refused

pytestmark = [pytest.mark.live, pytest.mark.nightly, pytest.mark.timeout(900)]

CONTROLS = ("test_control_a_commit_is_not_applied_before_the_source_polls",)

StartLab = Callable[[LabSpec], Lab]
POLL = 60.0
"""Seconds between two polls of the source; the 1h and 5m of the guide are the Kustomizations' own."""
SLACK = 10.0
REQUEUE = 30.0


def as_written(start_lab: StartLab, *links: Link) -> Fleet:
    """Bring links up in a lab at the pace of a plain installation."""
    fleet = Fleet(start_lab(LabSpec(pace=pace_of(Profile.AS_WRITTEN))), *links, profile=Profile.AS_WRITTEN)
    fleet.bootstrap()
    return fleet


def test_s04_s05_a_commit_is_applied_after_the_next_poll_and_so_within_five_minutes(
    start_lab: StartLab, measured: Measured
) -> None:
    """S04 and S05, corrected: a minute at most, not 5 minutes and not 1 h; each commit comes just after a poll."""
    fleet = as_written(start_lab, Link("app"))
    fleet.wait_ready(deadline=120)
    taken: list[float] = []
    for number in range(4):
        revision = fleet.commit({"app/objects.yaml": config("app", number=str(number))}, f"commit {number}")
        applied = at_revision([fleet.links[0].ref], revision)
        taken.append(wait_for(fleet.lab.store, applied, deadline=150, what=f"commit {number}").seconds)
        wait_for(
            fleet.lab.store, has_data(fleet.links[0].objects[0], number=str(number)), deadline=5, what="its object"
        )
    measured("commit until applied, median", median(taken), kind="other")
    measured("commit until applied, longest", max(taken), kind="other")
    assert max(taken) < POLL * 1.05 + SLACK
    assert max(taken) < 300


def test_control_a_commit_is_not_applied_before_the_source_polls(start_lab: StartLab) -> None:
    """Negative control: for most of a minute after a poll nothing moves; asked for by a person it does, and is seen."""
    fleet = as_written(start_lab, Link("app"))
    fleet.wait_ready(deadline=120)
    revision = fleet.commit({"app/objects.yaml": config("app", x="1")}, "unheard of")
    applied = at_revision([fleet.links[0].ref], revision)
    never(fleet.lab, applied, seconds=POLL / 2, what="the commit so soon")
    request(fleet.lab.api, fleet.source)
    with refused():
        never(fleet.lab, applied, seconds=10, what="the commit so soon")


def test_s34_a_waiting_dependent_is_asked_again_every_30_seconds(start_lab: StartLab, measured: Measured) -> None:
    """S34: nobody watches the dependency; that it became Ready is noticed at the next of the 30 s rounds."""
    fleet = as_written(start_lab, Link("first"), Link("second", ("first",)))
    store = fleet.lab.store
    first, second = (link.ref for link in fleet.links)
    waits = condition(second, "Ready", "False", "DependencyNotReady")
    waited = wait_for(store, waits, deadline=60, what="the dependent to wait")
    wait_for(store, at_revision([first], fleet.revision), deadline=60, what="the dependency")
    begun = wait_for(store, at_revision([second], fleet.revision), deadline=90, what="the dependent")
    seconds = begun.met.since(waited.met)
    measured("waiting until asked again", seconds, kind="other")
    assert REQUEUE - 3 < seconds < REQUEUE + SLACK
