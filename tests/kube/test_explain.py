"""The text of a wait that failed: what blocks, since when, why, and what waits for it."""

from __future__ import annotations

from typing import Any

from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.explain import LAST_TRANSITIONS, MOST_BLOCKING, Scene, explain, since, waiting_for
from fluxdrill.kube.view import Following, Part
from fluxdrill.model.timeline import Change, Seen, Timeline, Transition
from tests.kube.objects import NOW, ago, cm_ref, ks_ref, kustomization, view_of

INFRA = kustomization("infra", ready="False", reason="HealthCheckFailed", message="Deployment/db is not ready")
APPS = kustomization("apps", ready="False", reason="DependencyNotReady", needs=("infra",), source="repo")
SITE = kustomization("site", ready="False", reason="DependencyNotReady", needs=("apps",))


def seen(obj: dict[str, Any], seconds_ago: float) -> Transition:
    return Transition.of(obj, at=ago(seconds_ago), kind=Change.MODIFIED, seen=Seen.WATCH)


def scene(*objs: dict[str, Any], timeline: Timeline | None = None) -> Scene:
    return Scene(view_of(*objs), timeline or Timeline(), NOW)


def test_the_chain_goes_down_to_the_cause_and_names_who_waits() -> None:
    timeline = Timeline([seen(INFRA, 28.1), seen(APPS, 27)])
    lines = explain(scene(INFRA, APPS, SITE, timeline=timeline), [ks_ref("apps")])
    cause = "InProgress (HealthCheckFailed) for 28.1 s: Deployment/db is not ready"
    unwatched = "GitRepository.source.toolkit.fluxcd.io is not followed"
    assert lines[:6] == [
        "Blocking:",
        "  Kustomization/flux-system/apps: InProgress (DependencyNotReady) for 27.0 s",
        "    waited for by Kustomization/flux-system/site",
        f"    dependsOn -> Kustomization/flux-system/infra: {cause}",
        "      waited for by Kustomization/flux-system/apps",
        f"    sourceRef -> GitRepository/flux-system/repo: unknown, {unwatched}",
    ]


def test_a_dependency_that_is_ready_is_no_part_of_the_chain() -> None:
    lines = explain(scene(kustomization("infra", ready="True"), APPS), [ks_ref("apps")])
    assert not any("dependsOn" in line for line in lines)


def test_a_circle_of_dependencies_is_told_once() -> None:
    one = kustomization("one", ready="False", needs=("two",))
    two = kustomization("two", ready="False", needs=("one",))
    lines = explain(scene(one, two), [ks_ref("one")])
    assert sum("see above" in line for line in lines) == 1


def test_a_missing_object_is_told_apart_from_a_kind_that_is_missing() -> None:
    assert "  Kustomization/flux-system/apps: NotFound (NotFound), never seen: the object does not exist" in explain(
        scene(), [ks_ref()]
    )
    kind = GroupKind.of(ks_ref())
    gone = Scene(view_of(absent=(kind,)), Timeline(), NOW)
    assert "  Kustomization/flux-system/apps: its kind is not served" in explain(gone, [ks_ref()])


def test_what_is_not_known_is_not_called_missing() -> None:
    part = Part(GroupKind.of(cm_ref()), None, Following.STALE, "connection lost")
    lines = explain(Scene(view_of().with_part(part, NOW), Timeline(), NOW), [cm_ref()])
    assert "  ConfigMap/default/settings: unknown, ConfigMap is no longer watched (connection lost)" in lines


def test_suspension_and_finalizers_are_named() -> None:
    obj = kustomization(ready="False")
    obj["spec"]["suspend"] = True
    obj["metadata"] |= {"deletionTimestamp": "2026-11-24T11:59:00Z", "finalizers": ["finalizers.fluxcd.io"]}
    assert any(", suspended, held by finalizers.fluxcd.io" in line for line in explain(scene(obj), [ks_ref()]))


def test_conditions_and_the_last_transitions_are_shown() -> None:
    timeline = Timeline(seen(kustomization(ready="False", reason=f"R{number}"), 10 - number) for number in range(8))
    lines = explain(scene(INFRA, timeline=timeline), [ks_ref("infra"), ks_ref("apps")])
    assert "  Kustomization/flux-system/infra Ready=False HealthCheckFailed" in lines
    shown = lines[lines.index("Last transitions:") + 1 :]
    assert len(shown) == LAST_TRANSITIONS
    assert shown[-1].startswith("  3.0 s ago: ")
    assert "Ready=False R7" in shown[-1]


def test_since_is_when_the_present_status_and_reason_began() -> None:
    first, other = kustomization(ready="False", reason="A"), kustomization(ready="False", reason="B")
    again = kustomization(ready="False", reason="B", message="once more")
    timeline = Timeline([seen(first, 30), seen(other, 20), seen(again, 10)])
    found = since(timeline, ks_ref())
    assert found is not None
    assert found.at == ago(20)
    assert since(timeline, ks_ref("none")) is None


def test_a_crowd_is_cut_short_and_counted() -> None:
    refs = [ks_ref(f"n{number:02}") for number in range(MOST_BLOCKING + 3)]
    lines = explain(scene(), refs)
    assert "  and 3 more" in lines
    assert sum("never seen" in line for line in lines) == MOST_BLOCKING


def test_only_those_who_name_it_wait_for_an_object() -> None:
    assert waiting_for(view_of(INFRA, APPS, SITE), ks_ref("apps")) == [ks_ref("site")]
    assert waiting_for(view_of(INFRA, APPS, SITE), ks_ref("site")) == []
