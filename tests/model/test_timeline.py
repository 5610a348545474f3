"""The timeline: what becomes a transition, what does not, and what a record says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from fluxdrill.model.clock import Instant
from fluxdrill.model.kstatus import Status
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Change, Gap, Seen, Timeline, Transition, WatchLoss

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
GROUP = "kustomize.toolkit.fluxcd.io"


def at(seconds: float) -> Instant:
    return Instant(1000 + seconds, START + timedelta(seconds=seconds))


def kustomization(name: str = "apps", *, ready: str = "True", version: int = 1, **more: Any) -> dict[str, Any]:
    found = {"type": "Ready", "status": ready, "reason": "R", "message": "m", "observedGeneration": 1}
    found["lastTransitionTime"] = f"2026-11-24T12:00:{version:02}Z"
    meta = {"name": name, "namespace": "flux-system", "generation": 1, "resourceVersion": str(version), "uid": "u"}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Kustomization",
        "metadata": meta,
        "status": {"observedGeneration": 1, "conditions": [found], **more},
    }


def seen(obj: dict[str, Any], seconds: float, kind: Change = Change.MODIFIED) -> Transition:
    return Transition.of(obj, at=at(seconds), kind=kind, seen=Seen.WATCH)


def ref(name: str = "apps") -> ObjectRef:
    return ObjectRef(GROUP, "Kustomization", "flux-system", name)


def test_a_transition_holds_conditions_status_token_and_revision() -> None:
    obj = kustomization(lastHandledReconcileAt="t1", lastAppliedRevision="main@sha1:abc")
    made = seen(obj, 1)
    assert (made.ref, made.generation, made.resource_version) == (ref(), 1, "1")
    assert made.status.status is Status.CURRENT
    assert (made.handled, made.revision) == ("t1", "main@sha1:abc")
    assert [(one.type, one.status) for one in made.conditions] == [("Ready", "True")]


def test_the_revision_of_a_source_is_its_artifacts() -> None:
    assert seen(kustomization(artifact={"revision": "v1@sha256:1"}), 1).revision == "v1@sha256:1"


def test_a_malformed_status_is_a_transition_without_a_verdict_and_no_crash() -> None:
    obj = kustomization()
    obj["status"] = "nonsense"
    made = seen(obj, 1)
    assert (made.status.status, made.conditions, made.revision) == (Status.UNKNOWN, (), None)


def test_a_change_of_nothing_but_times_and_versions_is_no_transition() -> None:
    timeline = Timeline()
    assert timeline.record(seen(kustomization(version=1), 1, Change.ADDED))
    assert not timeline.record(seen(kustomization(version=2), 2))
    assert len(timeline) == 1


def test_a_changed_condition_generation_token_or_uid_is_a_transition() -> None:
    for change in ("ready", "generation", "token", "uid"):
        timeline = Timeline([seen(kustomization(), 1, Change.ADDED)])
        obj = kustomization(ready="False") if change == "ready" else kustomization(version=2)
        obj["metadata"] |= {"generation": 2} if change == "generation" else {}
        obj["metadata"] |= {"uid": "other"} if change == "uid" else {}
        obj["status"] |= {"lastHandledReconcileAt": "t"} if change == "token" else {}
        assert timeline.record(seen(obj, 2)), change


def test_a_deletion_and_what_comes_after_it_are_always_transitions() -> None:
    timeline = Timeline()
    for seconds, kind in enumerate((Change.ADDED, Change.DELETED, Change.ADDED)):
        assert timeline.record(seen(kustomization(), seconds, kind))
    assert timeline.of(ref())[1].status.status is Status.NOT_FOUND


def test_transitions_are_found_by_object_by_time_and_from_the_end() -> None:
    one, two = seen(kustomization("a"), 1), seen(kustomization("b"), 2)
    three = seen(kustomization("a", ready="False"), 3)
    timeline = Timeline([one, two, three])
    assert timeline.of(ref("a")) == (one, three)
    assert timeline.of(ref("none")) == ()
    assert timeline.since(at(2)) == (two, three)
    assert timeline.last(2) == (two, three)
    assert timeline.last(2, refs=[ref("a"), ref("a")]) == (one, three)
    assert timeline.last(0) == ()


def test_a_gap_is_open_until_it_is_ended() -> None:
    timeline = Timeline()
    timeline.disturb(Gap(at(1), "connection refused", last_heard=at(0.5)))
    assert timeline.gaps[0].seconds is None
    assert timeline.end_gap(at(4)).seconds == 3
    assert timeline.gaps == (Gap(at(1), "connection refused", at(0.5), at(4)),)


def test_disturbances_are_in_order_of_time() -> None:
    timeline = Timeline()
    timeline.disturb(Gap(at(2), "silent"))
    timeline.disturb(WatchLoss("ConfigMap", at(1), "connection lost"))
    assert [type(one) for one in timeline.disturbances] == [WatchLoss, Gap]


def test_records_are_json_in_order_of_time_with_both_clocks() -> None:
    timeline = Timeline([seen(kustomization(), 1, Change.ADDED), seen(kustomization(ready="False"), 3)])
    timeline.disturb(Gap(at(2), "silent", end=at(2.5)))
    timeline.disturb(WatchLoss("ConfigMap", at(2.2), "connection lost"))
    records = json.loads(json.dumps(timeline.to_records()))
    assert [record["type"] for record in records] == ["transition", "gap", "watch-loss", "transition"]
    assert records[0]["at"] == {"monotonic": 1001.0, "utc": "2026-11-24T12:00:01+00:00"}
    assert records[0]["ref"]["name"] == "apps"
    assert records[3]["status"]["status"] == "InProgress"
    assert records[1]["end"]["monotonic"] == 1002.5


def test_a_copy_does_not_grow() -> None:
    timeline = Timeline()
    copy = timeline.copy()
    timeline.record(seen(kustomization(), 1))
    timeline.disturb(Gap(at(2), "silent"))
    assert (len(copy), copy.gaps, len(timeline)) == (0, (), 1)
