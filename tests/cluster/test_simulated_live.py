"""Simulated pods and claims on a real control plane: each behaviour shows, and nothing shows by itself.

Where something must not happen, a second pod with a later moment is the clock: once it is ready, it did not happen.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from fluxdrill.cluster.simulated import BEHAVIOUR, NODE_NAME, Behaviour
from fluxdrill.kube.wait import (
    DeviatedTimeoutError,
    WaitFailedError,
    absent,
    all_of,
    condition,
    present,
    ready,
    wait_for,
)
from fluxdrill.lab.lab import Lab
from fluxdrill.model.kstatus import Status
from fluxdrill.model.refs import ObjectRef
from tests.cluster.workloads import EVENTS, VOLUMES, claim, container, deployment, holds, job, none, pod, some

pytestmark = pytest.mark.live

NODE = ObjectRef("", "Node", "", NODE_NAME)


class Place:
    """A namespace of the shared lab."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.name = f"sim-{secrets.token_hex(3)}"
        self.ref = ObjectRef("", "Namespace", "", self.name)
        lab.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}})
        wait_for(
            lab.store, present(ObjectRef("", "ServiceAccount", self.name, "default")), deadline=30, what="the namespace"
        )
        for kind in ("Pod", "PersistentVolumeClaim"):
            lab.store.follow(ObjectRef("", kind, "", ""))

    def create(self, obj: dict[str, Any]) -> ObjectRef:
        """Create an object in here and return its reference."""
        return ObjectRef.of(self.lab.api.create({**obj, "metadata": {**obj["metadata"], "namespace": self.name}}))

    def wait(self, predicate: Any, what: str, deadline: float = 20) -> None:
        """Wait for a predicate."""
        wait_for(self.lab.store, predicate, deadline=deadline, what=what)

    def seconds(self, ref: ObjectRef) -> float:
        """Return how long it took from the first sight of `ref` until it was current."""
        seen = self.lab.store.timeline.of(ref)
        return next(one.at for one in seen if one.status.status is Status.CURRENT).since(seen[0].at)


@pytest.fixture
def place(lab: Lab) -> Iterator[Place]:
    """A fresh namespace, deleted behind the test."""
    made = Place(lab)
    yield made
    lab.api.delete(made.ref)  # nobody waits for it: it takes Kubernetes 5 to 10 s


@pytest.mark.ci
def test_a_pod_is_ready_after_its_time_and_a_never_ready_one_is_not(place: Place) -> None:
    never = place.create(pod("never", Behaviour.NEVER_READY))
    later = place.create(pod("later", after="2s"))
    place.wait(ready(later), "the later pod")
    assert 2.0 <= place.seconds(later) < 4.0
    place.wait(holds(never, lambda it: "running" in container(it)["state"], "running"), "never to run")
    with pytest.raises(DeviatedTimeoutError, match="never is InProgress"):
        place.wait(ready(never), "never to be ready", deadline=1)


def test_a_change_of_the_pod_does_not_start_its_time_anew(place: Place) -> None:
    changed = place.create(pod("changed", after="3s"))
    clock = place.create(pod("clock", after="1s"))
    place.wait(ready(clock), "the clock")
    place.lab.api.patch(changed, {"metadata": {"labels": {"touched": "yes"}}})
    place.wait(ready(changed), "the changed pod")
    assert 3.0 <= place.seconds(changed) < 4.8, "1 s passed before the change, so 5 s and more would be a new start"


@pytest.mark.parametrize("asked", [{"behaviour": "redy"}, {"after": "20"}, {"after": "soon"}])
def test_what_is_misspelt_never_becomes_ready(place: Place, asked: dict[str, str]) -> None:
    wrong = place.create(pod("wrong", **asked))
    clock = place.create(pod("clock", after="1s"))
    place.wait(ready(clock), "the clock")
    with pytest.raises(DeviatedTimeoutError):
        place.wait(ready(wrong), "the misspelt pod", deadline=0.5)


def test_a_crash_loop_counts_its_restarts(place: Place) -> None:
    crashing = place.create(pod("crashing", Behaviour.CRASH_LOOP, after="1s"))
    place.wait(holds(crashing, lambda it: container(it).get("restartCount") == 1, "one restart"), "the first crash")
    status = container(place.lab.api.get(crashing))
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert (status["lastState"]["terminated"]["reason"], status["lastState"]["terminated"]["exitCode"]) == ("Error", 1)
    with pytest.raises(WaitFailedError, match="CrashLoopBackOff"):
        place.wait(ready(crashing), "the crashing pod")
    place.wait(holds(crashing, lambda it: container(it).get("restartCount") == 2, "two restarts"), "the second crash")


def test_an_oom_kill_is_told_from_a_crash(place: Place) -> None:
    killed = place.create(pod("killed", Behaviour.OOM_KILL))
    place.wait(holds(killed, lambda it: "waiting" in container(it).get("state", {}), "waiting"), "the kill")
    ended = container(place.lab.api.get(killed))["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_an_image_that_cannot_be_pulled_is_waited_for_and_told_in_an_event(place: Place) -> None:
    unpulled = place.create(pod("unpulled", Behaviour.IMAGE_PULL_ERROR))
    place.wait(holds(unpulled, lambda it: "waiting" in container(it).get("state", {}), "waiting"), "the pull")
    found = place.lab.api.get(unpulled)
    assert container(found)["state"]["waiting"]["reason"] == "ImagePullBackOff"
    assert found["status"]["phase"] == "Pending"

    def tells(event: Any) -> bool:
        about = event["involvedObject"]
        return bool(about.get("namespace") == place.name and event["reason"] == "Failed")

    place.wait(some(EVENTS, tells, "event"), "the event")
    place.lab.api.patch(unpulled, {"metadata": {"annotations": {BEHAVIOUR: str(Behaviour.READY)}}})
    place.wait(ready(unpulled), "the image, once it can be pulled")


def test_jobs_complete_and_fail_after_their_time(place: Place) -> None:
    by_default = place.create(job("default"))
    completing = place.create(job("completing", Behaviour.COMPLETE, after="2s"))
    failing = place.create(job("failing", Behaviour.FAIL, after="2s"))
    place.wait(condition(by_default, "Complete", "True"), "the job without a word")
    for ref in (completing, failing):
        assert not place.lab.api.get(ref)["status"].get("conditions"), f"{ref} before its time"
    place.wait(condition(completing, "Complete", "True"), "the completing job")
    place.wait(condition(failing, "Failed", "True", "BackoffLimitExceeded"), "the failing job")
    assert place.lab.api.get(failing)["status"]["failed"] == 1
    assert "succeeded" not in place.lab.api.get(failing)["status"]


def test_a_job_of_a_pod_that_only_serves_does_not_complete(place: Place) -> None:
    serving = place.create(job("serving", Behaviour.READY))
    place.wait(holds(serving, lambda it: it["status"].get("ready") == 1, "ready"), "its pod")
    with pytest.raises(DeviatedTimeoutError):
        place.wait(condition(serving, "Complete", "True"), "the serving job", deadline=0.5)


@pytest.mark.ci
def test_a_deployment_is_available_only_with_ready_pods(place: Place) -> None:
    good = place.create(deployment("good"))
    place.wait(all_of(ready(good), condition(good, "Available", "True")), "the good deployment")
    assert place.lab.api.get(good)["status"]["availableReplicas"] == 2
    place.lab.api.delete(good, propagation="Foreground")
    place.wait(absent(good), "the end of the good deployment and its pods")
    bad = place.create(deployment("bad", Behaviour.NEVER_READY))
    place.wait(condition(bad, "Available", "False", "MinimumReplicasUnavailable"), "the bad deployment")
    with pytest.raises(DeviatedTimeoutError):
        place.wait(ready(bad), "the bad deployment", deadline=0.5)


def test_a_deleted_pod_goes_unless_a_finalizer_holds_it(place: Place) -> None:
    free = place.create(pod("free"))
    held_pod = pod("held")
    held_pod["metadata"]["finalizers"] = ["fluxdrill.dev/test"]
    held = place.create(held_pod)
    place.wait(all_of(ready(free), ready(held)), "both pods")
    for ref in (held, free):
        place.lab.api.delete(ref)
    place.wait(absent(free), "the free pod's end")
    assert place.lab.api.get(held)["metadata"]["deletionTimestamp"]
    place.lab.api.patch(held, {"metadata": {"finalizers": None}})
    place.wait(absent(held), "the held pod's end")


def test_init_containers_are_done_and_sidecars_run(place: Place) -> None:
    inits = [{"name": "init", "image": "a"}, {"name": "sidecar", "image": "b", "restartPolicy": "Always"}]
    ref = place.create(pod("with-inits", initContainers=inits))
    place.wait(ready(ref), "the pod")
    states = {one["name"]: one["state"] for one in place.lab.api.get(ref)["status"]["initContainerStatuses"]}
    assert states["init"]["terminated"]["reason"] == "Completed"
    assert "running" in states["sidecar"]


@pytest.mark.ci
def test_a_claim_is_bound_by_kubernetes_and_its_volume_goes_with_it(place: Place) -> None:
    ref = place.create(claim("data"))
    place.wait(ready(ref), "the claim")
    found = place.lab.api.get(ref)
    assert found["metadata"]["annotations"]["pv.kubernetes.io/bound-by-controller"] == "yes"
    volume = ObjectRef("", "PersistentVolume", "", found["spec"]["volumeName"])
    place.wait(holds(volume, lambda it: it["status"]["phase"] == "Bound", "bound"), "the volume")
    place.lab.api.delete(ref)
    place.wait(all_of(absent(ref), absent(volume)), "the end of both")


def test_a_volume_is_only_a_name_so_that_two_labs_share_nothing(place: Place) -> None:
    ref = place.create(claim("data"))
    place.wait(ready(ref), "the claim")
    found = place.lab.api.get(ref)
    spec = place.lab.api.get(ObjectRef("", "PersistentVolume", "", found["spec"]["volumeName"]))["spec"]
    assert spec["csi"]["volumeHandle"] == found["metadata"]["uid"]
    assert not {"hostPath", "local", "nfs"} & set(spec)


def test_a_claim_told_so_stays_pending_and_keeps_its_pod_from_running(place: Place) -> None:
    pending = place.create(claim("pending", state="pending"))
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "pending"}}
    waiting = place.create(pod("waiting", volumes=[volume]))
    bound = place.create(claim("bound", after="1s"))
    place.wait(ready(bound), "the later claim")
    assert 1.0 <= place.seconds(bound) < 3.5
    assert place.lab.api.get(pending)["status"]["phase"] == "Pending"
    place.wait(condition(waiting, "PodScheduled", "False", "Unschedulable"), "the pod to wait")
    place.lab.api.patch(pending, {"metadata": {"annotations": {"fluxdrill.dev/claim": None}}})
    place.wait(all_of(ready(pending), ready(waiting)), "both, once the claim may bind", deadline=40)


def test_a_namespace_goes_with_its_pods_and_volumes(lab: Lab) -> None:
    place = Place(lab)
    pods = [place.create(pod(f"pod-{number}")) for number in range(3)]
    claims = [place.create(claim(f"data-{number}")) for number in range(3)]
    place.wait(all_of(*map(ready, pods + claims)), "pods and claims")
    volumes = {place.lab.api.get(ref)["spec"]["volumeName"] for ref in claims}
    assert len(volumes) == 3
    place.lab.api.delete(place.ref)
    place.wait(all_of(*map(absent, [place.ref, *pods, *claims])), "the end of the namespace", deadline=60)
    place.wait(none(VOLUMES, lambda it: it["metadata"]["name"] in volumes, "volume left"), "the end of its volumes")


def test_a_node_that_was_given_up_comes_back(place: Place) -> None:
    place.wait(condition(NODE, "Ready", "True"), "the node")
    lost = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": None}
    patched = place.lab.api.patch(NODE, {"status": {"conditions": [lost]}}, kind="strategic", subresource="status")
    lost_at = int(patched["metadata"]["resourceVersion"])
    seen = holds(NODE, lambda it: int(it["metadata"]["resourceVersion"]) > lost_at, "changed since")
    place.wait(all_of(seen, condition(NODE, "Ready", "True", "KubeletReady")), "the node to be back")
    states = [c.status for t in place.lab.store.timeline.of(NODE) for c in t.conditions if c.type == "Ready"]
    assert states[-2:] == ["Unknown", "True"], "it was gone, and it is back"
