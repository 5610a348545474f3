"""What a cold start came to: who fails, who waits for whom, what was never created, and what is first."""

from __future__ import annotations

from typing import Any

import pytest

from fluxdrill.model.refs import ObjectRef
from fluxdrill.rehearsal.outcome import Outcome, State, judge
from fluxdrill.rehearsal.waits import named_objects
from tests.rehearsal.objects import blocked, failing, flux, kustomization, refs

ROOT = kustomization("flux-system")
DRY_RUN = 'SealedSecret/flux-system/vars dry-run failed: no matches for kind "SealedSecret" in version "bitnami.com/v1"'


def outcome(*objects: dict[str, Any], parents: dict[ObjectRef, ObjectRef | None] | None = None, **rest: Any) -> Outcome:
    return judge(
        refs(*objects),
        parents=parents or {},
        depends_on=rest.pop("depends_on", {}),
        since=rest.pop("since", {}),
        **rest,
    )


def test_nothing_seen_is_not_convergence() -> None:
    assert not outcome().converged


def test_everything_ready_is_convergence_without_blockers() -> None:
    found = outcome(flux("Kustomization", "flux-system"), flux("GitRepository", "flux-system"))
    assert found.converged
    assert found.blockers == ()


def test_one_object_that_was_never_created_is_no_convergence() -> None:
    found = outcome(flux("Kustomization", "flux-system"), parents={ROOT: None, kustomization("apps"): ROOT})
    assert not found.converged
    assert found.findings[kustomization("apps")].state is State.NEVER_CREATED


def test_a_failing_root_is_the_first_blocker_named_by_the_object_in_its_message() -> None:
    children = {kustomization(name): ROOT for name in ("apps", "infra")}
    found = outcome(failing("flux-system", DRY_RUN), parents={ROOT: None, **children})
    (first,) = found.blockers
    assert first.subject == "SealedSecret/flux-system/vars"
    assert first.finding.ref == ROOT
    assert set(first.behind) == set(children)


def test_the_chain_behind_follows_dependencies_of_what_exists_and_of_what_was_never_created() -> None:
    infra, apps, nested = kustomization("infra"), kustomization("apps"), kustomization("nested")
    found = outcome(
        flux("Kustomization", "flux-system"),
        failing("infra", "x"),
        blocked("apps", "infra"),
        parents={ROOT: None, infra: ROOT, apps: ROOT, nested: apps},
    )
    assert found.blockers[0].behind == (apps, nested)


def test_the_longest_failing_object_is_first() -> None:
    a, b = kustomization("a"), kustomization("b")
    found = outcome(failing("a", "late"), failing("b", "early"), since={a: 9.0, b: 2.0})
    assert [one.finding.ref for one in found.blockers] == [b, a]


def test_who_waits_is_blocked_and_never_a_blocker() -> None:
    found = outcome(failing("infra", "x"), blocked("apps", "infra"))
    assert found.findings[kustomization("apps")].state is State.BLOCKED
    assert [one.finding.ref for one in found.blockers] == [kustomization("infra")]


def test_a_failed_health_check_blames_the_object_it_names() -> None:
    release = flux("HelmRelease", "web", ready="False", reason="InstallFailed", message="boom")
    message = "timeout waiting for: [HelmRelease/flux-system/web status: 'Failed']"
    found = outcome(failing("apps", message, reason="HealthCheckFailed"), release)
    assert found.findings[kustomization("apps")].waits_for == (ObjectRef.of(release),)
    assert [one.finding.ref for one in found.blockers] == [ObjectRef.of(release)]


def test_a_failed_health_check_of_an_unknown_object_is_its_own_failure() -> None:
    message = "timeout waiting for: [Deployment/web/web status: 'InProgress']"
    found = outcome(failing("apps", message, reason="HealthCheckFailed"))
    assert found.blockers[0].subject == "Deployment/web/web"


def test_a_refused_host_is_an_outside_blocker_and_not_the_repositorys() -> None:
    repository = flux(
        "HelmRepository", "charts", ready="False", reason="Failed", message='Get "https://charts.test/": Forbidden'
    )
    found = outcome(repository, failing("apps", "own fault"), refused={"charts.test"})
    assert [one.finding.ref.name for one in found.blockers] == ["apps"]
    assert [one.finding.outside for one in found.outside] == ["charts.test"]


def test_a_host_that_was_not_refused_is_the_repositorys_own_blocker() -> None:
    repository = flux(
        "HelmRepository", "charts", ready="False", reason="Failed", message='Get "https://charts.test/": EOF'
    )
    assert outcome(repository, refused={"elsewhere.test"}).outside == ()


def test_a_suspended_object_blocks_only_when_something_waits_for_it() -> None:
    idle = failing("idle", "x", suspend=True)
    held = failing("held", "x", suspend=True)
    found = outcome(idle, held, blocked("apps", "held"))
    assert [one.finding.ref.name for one in found.blockers] == ["held"]


def test_what_still_moves_is_neither_failing_nor_a_blocker() -> None:
    found = outcome(failing("apps", "x"), moving=frozenset({kustomization("apps")}))
    assert found.findings[kustomization("apps")].state is State.MOVING
    assert found.blockers == ()


@pytest.mark.parametrize(
    ("message", "names"),
    [
        (DRY_RUN, ("SealedSecret/flux-system/vars",)),
        ("Namespace/tailscale dry-run failed", ("Namespace/tailscale",)),
        ("timeout waiting for: [Deployment/a/b status: 'InProgress', HelmRelease/c/d status: 'Failed']", ("Deployment/a/b", "HelmRelease/c/d")),
        ('Get "https://charts.test/Index/x": Forbidden', ()),
        ("nothing named", ()),
    ],
)  # fmt: skip
def test_objects_are_read_from_a_controllers_message(message: str, names: tuple[str, ...]) -> None:
    assert named_objects(message) == names
