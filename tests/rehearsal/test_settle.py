"""When a cold start counts as settled: the rule of two equal attempts, and what it must not be fooled by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fluxdrill.flux.kinds import EVENT, RECONCILED
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import Answer
from fluxdrill.kube.view import Following, Part, PartKey, View
from fluxdrill.model.clock import Instant
from fluxdrill.model.refs import ObjectRef
from fluxdrill.rehearsal.settle import Settling
from tests.rehearsal.objects import blocked, failing, flux, kustomization, retrying

DRY_RUN = 'SealedSecret/flux-system/vars dry-run failed: no matches for kind "SealedSecret" in version "bitnami.com/v1"'


def view(*objects: dict[str, Any]) -> View:
    now = Instant(1.0, datetime(2026, 1, 1, tzinfo=UTC))
    parts: dict[PartKey, Part] = {
        (kind, None): Part(kind, None, Following.LIVE, objects={}) for kind in (*RECONCILED, EVENT)
    }
    for one in objects:
        ref = ObjectRef.of(one)
        kind = GroupKind.of(ref)
        known = parts[(kind, None)]
        parts[(kind, None)] = Part(kind, None, Following.LIVE, objects={**known.objects, ref: one})
    return View(now, heard=now, parts=parts)


def event(name: str, reason: str, count: int) -> dict[str, Any]:
    about = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "namespace": "flux-system",
        "name": name,
    }
    meta = {"name": f"{name}.{reason}", "namespace": "flux-system"}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": meta,
        "involvedObject": about,
        "reason": reason,
        "count": count,
    }


def answers(*views: View) -> list[Answer]:
    settling = Settling()
    return [settling.judge(one).answer for one in views]


def test_nothing_seen_is_not_settled() -> None:
    assert answers(view()) == [Answer.NOT_YET]


def test_other_objects_without_the_root_are_not_settled() -> None:
    assert answers(view(flux("GitRepository", "flux-system"))) == [Answer.NOT_YET]


def test_a_ready_root_is_settled_at_once() -> None:
    assert answers(view(flux("Kustomization", "flux-system"))) == [Answer.MET]


def test_a_root_without_status_is_not_settled() -> None:
    root = flux("Kustomization", "flux-system")
    root["status"] = {"observedGeneration": -1}
    assert answers(view(root)) == [Answer.NOT_YET]


def test_one_failed_attempt_is_not_settled_but_two_equal_ones_are() -> None:
    assert answers(
        view(failing("flux-system", DRY_RUN)),
        view(retrying("flux-system")),
        view(failing("flux-system", DRY_RUN)),
    ) == [Answer.NOT_YET, Answer.NOT_YET, Answer.MET]


def test_seeing_the_same_failure_twice_without_a_new_attempt_is_not_settled() -> None:
    assert answers(*[view(failing("flux-system", DRY_RUN))] * 5) == [Answer.NOT_YET] * 5


def test_a_settled_failure_stays_settled_while_it_is_retried() -> None:
    once = [view(failing("flux-system", DRY_RUN)), view(retrying("flux-system"))]
    assert answers(*once, *once, *once)[-1] is Answer.MET


@pytest.mark.parametrize(
    "second",
    [
        failing("flux-system", "another message"),
        failing("flux-system", DRY_RUN, reason="BuildFailed"),
        failing("flux-system", DRY_RUN, generation=2),
        failing("flux-system", DRY_RUN, revision="main@sha1:2"),
    ],
    ids=["message", "reason", "generation", "revision"],
)
def test_an_attempt_that_ends_differently_starts_the_count_again(second: dict[str, Any]) -> None:
    assert (
        answers(view(failing("flux-system", DRY_RUN)), view(retrying("flux-system")), view(second))[-1]
        is Answer.NOT_YET
    )


def test_messages_that_differ_only_in_a_duration_are_the_same_outcome() -> None:
    assert (
        answers(
            view(failing("flux-system", "timeout waiting after 30.1s", reason="HealthCheckFailed")),
            view(retrying("flux-system")),
            view(failing("flux-system", "timeout waiting after 29.8s", reason="HealthCheckFailed")),
        )[-1]
        is Answer.MET
    )


def test_a_stalled_object_is_settled_at_once() -> None:
    stalled = flux("HelmRelease", "web", ready="False", reason="InstallFailed")
    stalled["status"]["observedGeneration"] = 1
    stalled["status"]["conditions"].append(
        {"type": "Stalled", "status": "True", "reason": "RetriesExceeded", "message": ""}
    )
    assert answers(view(flux("Kustomization", "flux-system"), stalled)) == [Answer.MET]


def test_a_suspended_object_is_settled() -> None:
    assert answers(view(flux("Kustomization", "flux-system"), retrying("apps", suspend=True))) == [Answer.MET]


def test_who_waits_for_a_settled_failure_is_settled_too() -> None:
    root = flux("Kustomization", "flux-system")
    infra, apps = failing("infra", DRY_RUN), blocked("apps", "infra")
    seen = answers(view(root, infra, apps), view(root, retrying("infra"), apps), view(root, infra, apps))
    assert seen == [Answer.NOT_YET, Answer.NOT_YET, Answer.MET]


def test_who_waits_for_a_moving_object_is_not_settled_however_often_it_says_so() -> None:
    root = flux("Kustomization", "flux-system")
    told = [
        view(root, retrying("infra"), blocked("apps", "infra"), event("apps", "DependencyNotReady", n))
        for n in range(1, 9)
    ]
    assert set(answers(*told)) == {Answer.NOT_YET}


def test_a_circle_of_dependencies_is_settled() -> None:
    root = flux("Kustomization", "flux-system")
    assert answers(view(root, blocked("a", "b"), blocked("b", "a"))) == [Answer.MET]


def test_a_circle_that_also_waits_for_a_moving_object_is_not_settled() -> None:
    root = flux("Kustomization", "flux-system")
    objects = (root, blocked("a", "b", "c"), blocked("b", "a"), retrying("c"))
    settling = Settling()
    assert settling.judge(view(*objects)).answer is Answer.NOT_YET
    assert set(settling.judge(view(*objects)).blocking) == {kustomization("a"), kustomization("b"), kustomization("c")}


def test_attempts_that_change_no_status_are_counted_by_their_events() -> None:
    failed = failing("flux-system", "kustomization path not found", reason="ArtifactFailed")
    told = [view(failed, event("flux-system", "ArtifactFailed", count)) for count in (1, 2, 3)]
    assert answers(*told) == [Answer.NOT_YET, Answer.NOT_YET, Answer.MET]


def test_events_of_another_reason_do_not_count() -> None:
    failed = failing("flux-system", "x", reason="ArtifactFailed")
    told = [view(failed, event("flux-system", "BuildFailed", count)) for count in range(1, 9)]
    assert set(answers(*told)) == {Answer.NOT_YET}


def test_the_last_completed_attempt_is_what_is_reported_during_a_retry() -> None:
    settling = Settling()
    settling.judge(view(failing("flux-system", DRY_RUN)))
    settling.judge(view(retrying("flux-system")))
    root = kustomization("flux-system")
    shown = settling.completed({root: retrying("flux-system")})[root]
    assert shown["status"]["conditions"][0]["reason"] == "ReconciliationFailed"


def test_an_old_outcome_is_not_reported_for_a_new_generation() -> None:
    settling = Settling()
    settling.judge(view(failing("flux-system", DRY_RUN)))
    changed = retrying("flux-system", generation=2)
    settling.judge(view(changed))
    root = kustomization("flux-system")
    assert settling.completed({root: changed})[root] is changed


def waiting(count: int) -> list[dict[str, Any]]:
    """Return apps waiting for infra, as told `count` times."""
    return [blocked("apps", "infra"), event("apps", "DependencyNotReady", count)]


def test_who_waited_for_what_is_ready_by_now_is_not_settled_however_often_it_said_so_before() -> None:
    root, infra = flux("Kustomization", "flux-system"), flux("Kustomization", "infra")
    before = [view(root, retrying("infra"), *waiting(count)) for count in (1, 2, 3)]
    assert answers(*before, view(root, infra, *waiting(3)))[-1] is Answer.NOT_YET


def test_an_attempt_that_got_past_its_dependency_is_under_way_and_not_settled() -> None:
    root, infra = flux("Kustomization", "flux-system"), flux("Kustomization", "infra")
    before = [view(root, retrying("infra"), *waiting(count)) for count in (1, 2, 3)]
    under_way = view(
        root, infra, retrying("apps", dependsOn=[{"name": "infra"}]), event("apps", "DependencyNotReady", 3)
    )
    assert answers(*before, under_way)[-1] is Answer.NOT_YET
    assert answers(*before, view(root, infra, *waiting(3)), under_way)[-1] is Answer.NOT_YET


def test_who_is_still_not_let_pass_by_a_ready_dependency_is_settled_after_two_more_answers() -> None:
    root, infra = flux("Kustomization", "flux-system"), flux("Kustomization", "infra")
    told = [view(root, infra, *waiting(count)) for count in (3, 4, 5)]
    assert answers(view(root, retrying("infra"), *waiting(3)), *told) == [Answer.NOT_YET] * 3 + [Answer.MET]
