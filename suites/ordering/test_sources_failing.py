"""Git fails or changes its history: who depends on it stays as it is, the source says why, and all catch up.

Times are recorded as properties of the tests: `detected_seconds` from the fault until the source is not Ready,
`recovered_seconds` from the heal until every link is Ready at the commit that was made meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fluxdrill.flux.operations import request, resume, suspend
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.wait import WaitResult, absent, all_of, condition, present, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.repository.source import commit_files, tip
from fluxdrill.sources.faults import FaultKind, ServerFault
from fluxdrill.sources.git_command import Git
from suites.ordering.conftest import Make, Unique
from suites.ordering.links import Fleet, Link, config
from suites.ordering.seen import failed, has_data
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_source_that_a_person_calls_ready_and_a_link_that_does_not_repair_are_found_out",
    "test_control_a_fault_of_another_repository_is_no_failure",
    "test_control_a_slow_git_within_the_timeout_is_no_failure",
)

TIMEOUT = "2s"
"""Of the GitRepository, or a hang would take its default of 60 s to be noticed."""


def out(link: Link) -> ObjectRef:
    """Return the ConfigMap that a link writes."""
    return link.objects[0]


def two_links(make_fleet: Make, unique: Unique) -> tuple[Fleet, Link]:
    """Bring up a fleet of two dependent links, its source with a short timeout; return it and its last link."""
    first, last = unique("first"), unique("last")
    fleet = make_fleet(Link(first), Link(last, (first,)))
    fleet.lab.api.patch(fleet.source, {"spec": {"timeout": TIMEOUT}})
    fleet.wait_ready()
    return fleet, fleet.links[-1]


def tells(fleet: Fleet, said: str, *, deadline: float = 30) -> WaitResult:
    """Wait until the source says that it cannot fetch, and why."""
    told = failed(fleet.source, "GitOperationFailed", said)
    return wait_for(fleet.lab.store, told, deadline=deadline, what="the source to say so")


def stays(fleet: Fleet, revision: str, *, deadline: float = 20) -> None:
    """Check that every link keeps being Ready at `revision`, and that drift is still repaired, from the stored artifact."""
    last = fleet.links[-1]
    fleet.lab.api.delete(out(last))
    request(fleet.lab.api, last.ref)
    every = fleet.every
    both = all_of(at_revision(every, revision), present(out(last)))
    what = f"all links to stay Ready at {revision} and repair what was deleted"
    wait_for(fleet.lab.store, both, deadline=deadline, dwell=3, what=what)


FAULTS: dict[str, tuple[Callable[[str], ServerFault], str]] = {
    FaultKind.DOWN: (lambda _only: ServerFault.down(), "connection refused"),
    "401": (lambda only: ServerFault.unauthorized(only=only), "authentication required"),
    "503": (lambda only: ServerFault.server_error(503, only=only), "503"),
    FaultKind.SLOW: (lambda only: ServerFault.slow(30, only=only), "context deadline exceeded"),
    FaultKind.TRUNCATED: (lambda only: ServerFault.truncated(only=only), ""),
    FaultKind.HANG: (lambda only: ServerFault.hang(only=only), "context deadline exceeded"),
}
"""How Git fails (all but `down` for the fleet's repository alone), and what the source must say of it."""


@pytest.mark.parametrize(
    "kind",
    [pytest.param(one, marks=(pytest.mark.ci, pytest.mark.core) if one == "503" else ()) for one in FAULTS],
    ids=str,
)
def test_dependents_stay_at_their_revision_while_git_fails_and_catch_up_when_it_heals(
    lab: Lab, make_fleet: Make, unique: Unique, measured: Measured, kind: str
) -> None:
    """A failing source does not make its Kustomizations not-Ready, nor drift stay: only the source's own Ready tells."""
    make, said = FAULTS[kind]
    fleet, last = two_links(make_fleet, unique)
    known = fleet.revision
    try:
        lab.git.fault = make(fleet.repository)
        missed = fleet.commit({f"{last.name}/objects.yaml": config(last.name, x="meanwhile")}, "meanwhile")
        measured("fault until told", tells(fleet, said).seconds, kind="detection")
        assert kind == FaultKind.DOWN or lab.git.bitten > 0
        stays(fleet, known)
    finally:
        lab.git.heal()
    every = fleet.every
    caught_up = wait_for(lab.store, at_revision(every, missed), deadline=60, what="all to catch up", fail_fast=False)
    measured("heal until Ready", caught_up.seconds)
    wait_for(lab.store, has_data(out(last), x="meanwhile"), deadline=5, what="the commit that was missed")
    wait_for(lab.store, condition(fleet.source, "Ready", "True"), deadline=10, what="the source to be Ready")


def test_control_a_source_that_a_person_calls_ready_and_a_link_that_does_not_repair_are_found_out(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Negative control of both checks: the source hides that it fails, and a suspended link lets the drift be."""
    fleet, last = two_links(make_fleet, unique)
    known = fleet.revision
    stop_and_fake_ready(lab, fleet.source, revision=known)
    try:
        lab.git.fault = ServerFault.server_error(503, only=fleet.repository)
        fleet.commit({f"{last.name}/objects.yaml": config(last.name, x="meanwhile")}, "meanwhile")
        with refused():
            tells(fleet, "503", deadline=4)
        suspend(lab.api, last.ref)
        with refused():
            stays(fleet, known, deadline=5)
    finally:
        lab.git.heal()
        for ref in (last.ref, fleet.source):
            resume(lab.api, ref)
    fleet.wait_ready(deadline=60)


def test_control_a_fault_of_another_repository_is_no_failure(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """Negative control: a fault bites only where it is meant to; the same commit passes beside it."""
    fleet, last = two_links(make_fleet, unique)
    try:
        lab.git.fault = ServerFault.server_error(503, only="another.git")
        fleet.change({f"{last.name}/objects.yaml": config(last.name, x="passes")}, "pass")
        fleet.wait_ready(deadline=30)
        assert lab.git.bitten == 0
    finally:
        lab.git.heal()


def test_control_a_slow_git_within_the_timeout_is_no_failure(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """Negative control: half a second per request delays a commit and fails nothing."""
    fleet, last = two_links(make_fleet, unique)
    try:
        lab.git.fault = ServerFault.slow(0.5, only=fleet.repository)
        fleet.commit({f"{last.name}/objects.yaml": config(last.name, x="late")}, "be late")
        fleet.wait_ready(deadline=30)
        assert lab.git.bitten > 0
        ready = {c.status for one in lab.store.timeline.of(fleet.source) for c in one.conditions if c.type == "Ready"}
        assert "False" not in ready
    finally:
        lab.git.heal()


def test_a_force_push_is_followed_and_what_it_drops_is_pruned(
    lab: Lab, make_fleet: Make, unique: Unique, measured: Measured
) -> None:
    """Flux follows the branch wherever it points: a rewritten history is a revision like any other."""
    fleet, last = two_links(make_fleet, unique)
    base = tip(fleet.served)
    dropped = unique("dropped")
    fleet.change({f"{last.name}/dropped.yaml": config(dropped)}, "to be dropped")
    fleet.wait_ready()
    assert lab.api.get(ObjectRef("", "ConfigMap", "default", dropped))
    git = Git.within(fleet.served.path, 30)
    git.run("update-ref", "refs/heads/rewritten", base)
    changes = {f"{last.name}/objects.yaml": config(last.name, x="rewritten")}
    rewritten = commit_files(replace(fleet.served, branch="rewritten"), changes, "another history")
    git.run("update-ref", f"refs/heads/{fleet.served.branch}", rewritten)
    git.run("update-ref", "-d", "refs/heads/rewritten")
    every = fleet.every
    followed = wait_for(lab.store, at_revision(every, fleet.revision), deadline=30, what="the rewritten branch")
    measured("heal until Ready", followed.seconds)
    gone = all_of(absent(ObjectRef("", "ConfigMap", "default", dropped)), has_data(out(last), x="rewritten"))
    wait_for(lab.store, gone, deadline=5, what="what was dropped to be gone")


def test_a_deleted_branch_is_told_and_changes_nothing_until_it_is_back(
    lab: Lab, make_fleet: Make, unique: Unique, measured: Measured
) -> None:
    """A branch that is gone is a failed fetch, not an empty tree: nothing is pruned."""
    fleet, last = two_links(make_fleet, unique)
    known, branch, commit = fleet.revision, f"refs/heads/{fleet.served.branch}", tip(fleet.served)
    git = Git.within(fleet.served.path, 60)
    git.run("update-ref", "-d", branch)
    measured("fault until told", tells(fleet, "").seconds, kind="detection")
    stays(fleet, known)
    git.run("update-ref", branch, commit)
    back = wait_for(lab.store, condition(fleet.source, "Ready", "True"), deadline=60, what="the branch to be back")
    measured("heal until Ready", back.seconds)
    fleet.change({f"{last.name}/objects.yaml": config(last.name, x="again")}, "go on")
    fleet.wait_ready()


def test_a_moved_tag_is_followed_and_a_commit_beside_it_is_not(
    lab: Lab, make_fleet: Make, unique: Unique, measured: Measured
) -> None:
    """A tag is a name like a branch: moving it deploys, and commits that it does not point to do not exist for Flux."""
    fleet, last = two_links(make_fleet, unique)
    git = Git.within(fleet.served.path, 60)
    git.run("update-ref", "refs/tags/v1", tip(fleet.served))
    lab.api.patch(fleet.source, {"spec": {"ref": {"branch": None, "tag": "v1"}}})
    every = fleet.every
    tagged = f"v1@sha1:{tip(fleet.served)}"
    wait_for(lab.store, at_revision(every, tagged), deadline=30, what="all links at the tag")
    fleet.commit({f"{last.name}/objects.yaml": config(last.name, x="moved")}, "beside the tag")
    stays(fleet, tagged)
    git.run("update-ref", "refs/tags/v1", tip(fleet.served))
    moved = wait_for(
        lab.store, at_revision(every, f"v1@sha1:{tip(fleet.served)}"), deadline=30, what="all links at the moved tag"
    )
    measured("heal until Ready", moved.seconds)
    wait_for(lab.store, has_data(out(last), x="moved"), deadline=5, what="what the tag moved to")
