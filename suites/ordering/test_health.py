"""What "Ready" of a Kustomization waits for, how soon it gives up, and when it tries again (Flux 2.9)."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from fluxdrill.cluster.simulated import Behaviour
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.wait import absent, all_of, condition, present, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from suites.ordering.conftest import Make, Put, Unique
from suites.ordering.links import Fleet, Link, config, kustomization, secret
from suites.ordering.seen import failed, has_data, never
from suites.ordering.workloads import deployment, deployment_ref, job, job_ref
from suites.sabotage import fake_ready, refused

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_workload_that_becomes_ready_within_the_timeout_is_waited_for",
    "test_control_a_link_that_a_person_calls_ready_opens_the_way_too_early",
    "test_s15_health_checks_are_ignored_beside_wait_and_count_without_it",
)

FLOOR = 30.0
"""Seconds below which no timeout of a Kustomization goes, whatever is written (kustomize-controller 1.9)."""
POD = GroupKind("", "Pod")


def health_check(ref: ObjectRef) -> dict[str, Any]:
    """Return an entry of `healthChecks`."""
    version = f"{ref.group}/v1" if ref.group else "v1"
    return {"apiVersion": version, "kind": ref.kind, "name": ref.name, "namespace": ref.namespace}


def becomes_ready(lab: Lab, name: str) -> None:
    """Have the one pod of the Deployment `name` become ready."""
    (pod,) = [one for one in lab.store.list(POD, "default") if one["metadata"]["labels"].get("app") == name]
    lab.heal_pod(ObjectRef.of(pod))


def is_held_back(lab: Lab, name: str, *, seconds: float = 5) -> None:
    """Watch that the link `name` writes nothing."""
    never(lab, present(ObjectRef("", "ConfigMap", "default", name)), seconds=seconds, what=f"a write of {name}")


def test_s13_a_workload_that_never_becomes_ready_fails_at_the_timeout_and_never_below_30_seconds(
    lab: Lab, make_fleet: Make, unique: Unique, measured: Measured
) -> None:
    """S13: Progressing, then HealthCheckFailed with the object's name; its dependent waits and writes nothing."""
    never_, behind = unique("never"), unique("behind")
    timed = Link(never_, text=deployment(never_, Behaviour.NEVER_READY), spec={"timeout": "5s"})
    make_fleet(timed, Link(behind, (never_,)))
    checking = condition(timed.ref, "Reconciling", "True", "Progressing")
    begun = wait_for(lab.store, all_of(checking, present(deployment_ref(never_))), deadline=30, what="the checks")
    said = failed(timed.ref, "HealthCheckFailed", f"Deployment/default/{never_}")
    gave_up = wait_for(lab.store, said, deadline=60, what="the timeout")
    measured("fault until told", gave_up.met.since(begun.met), kind="detection")
    assert gave_up.met.since(begun.met) > FLOOR - 2
    waits = condition(kustomization(behind), "Ready", "False", "DependencyNotReady")
    unwritten = absent(ObjectRef("", "ConfigMap", "default", behind))
    wait_for(lab.store, all_of(waits, unwritten), deadline=5, what="the dependent to wait and to have written nothing")


@pytest.mark.parametrize("kind", ["job", "deployment"])
def test_a_failed_workload_fails_its_link_at_once_and_its_repair_in_git_heals_the_dependent(
    lab: Lab, make_fleet: Make, unique: Unique, measured: Measured, kind: str
) -> None:
    """A failed Job and a Deployment past its progress deadline are final for Flux: no timeout is waited for."""
    name, mended, behind = unique("fails"), unique("mended"), unique("behind")
    bad = {
        "job": job(name, Behaviour.FAIL),
        "deployment": deployment(name, Behaviour.NEVER_READY, progressDeadlineSeconds=2),
    }[kind]
    fleet = make_fleet(Link(name, text=bad, spec={"timeout": "5m"}), Link(behind, (name,)))
    said = failed(kustomization(name), "HealthCheckFailed", f"{kind.capitalize()}/default/{name}")
    told = wait_for(lab.store, said, deadline=FLOOR - 5, what="the failure")
    measured("fault until told", told.seconds, kind="detection")
    is_held_back(lab, behind, seconds=3)
    good = {"job": job(mended), "deployment": deployment(mended)}[kind]
    fleet.change({f"{name}/objects.yaml": good}, "replace it")
    fleet.wait_ready(deadline=60)


def test_control_a_workload_that_becomes_ready_within_the_timeout_is_waited_for(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Negative control of the failing ones: not ready yet is not failed, neither for a Job nor for a Deployment."""
    slow, done = unique("slow"), unique("done")
    make_fleet(Link(slow, text=deployment(slow, after="4s")), Link(done, text=job(done))).wait_ready(deadline=60)
    for name in (slow, done):
        reasons = {c.reason for one in lab.store.timeline.of(kustomization(name)) for c in one.conditions}
        assert "HealthCheckFailed" not in reasons


def test_a_dependent_starts_when_the_deployment_before_it_is_ready_and_not_earlier(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Readiness of a workload, not its existence, opens the way; nobody has to ask for it."""
    name, behind = unique("gate"), unique("behind")
    fleet = make_fleet(Link(name, text=deployment(name, Behaviour.NEVER_READY)), Link(behind, (name,)))
    wait_for(lab.store, present(deployment_ref(name)), deadline=30, what="the Deployment")
    is_held_back(lab, behind)
    becomes_ready(lab, name)
    fleet.wait_ready(deadline=30)


def test_control_a_link_that_a_person_calls_ready_opens_the_way_too_early(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Negative control of holding back: with a faked Ready the dependent writes beside a dead workload: it is seen."""
    name, behind = unique("gate"), unique("behind")
    fleet = make_fleet(Link(name, text=deployment(name, Behaviour.NEVER_READY)), Link(behind, (name,)))
    wait_for(lab.store, present(deployment_ref(name)), deadline=30, what="the Deployment")
    is_held_back(lab, behind, seconds=2)
    fake_ready(lab, kustomization(name), revision=fleet.revision)  # its controller still looks at the workload
    with refused():
        is_held_back(lab, behind, seconds=10)
    becomes_ready(lab, name)
    fleet.wait_ready(deadline=30)


@pytest.mark.core
@pytest.mark.ci
@pytest.mark.parametrize("wait", [True, False], ids=["with-wait", "without-wait"])
def test_s15_health_checks_are_ignored_beside_wait_and_count_without_it(
    lab: Lab, make_fleet: Make, unique: Unique, put: Put, *, wait: bool
) -> None:
    """S15, corrected: the guide sets both; `wait: true` looks at what was applied and at nothing else."""
    name, foreign = unique("checks"), unique("foreign")
    put(json.loads(job(foreign, Behaviour.FAIL)))
    wait_for(lab.store, condition(job_ref(foreign), "Failed", "True"), deadline=30, what="the foreign Job to fail")
    fleet = make_fleet(Link(name, spec={"wait": wait, "healthChecks": [health_check(job_ref(foreign))]}))
    if wait:
        fleet.wait_ready()
        return
    said = failed(kustomization(name), "HealthCheckFailed", f"Job/default/{foreign}")
    wait_for(lab.store, said, deadline=FLOOR - 5, what="the health check to count")


def test_s16_the_retry_interval_governs_when_a_failed_kustomization_tries_again(
    lab: Lab, make_fleet: Make, unique: Unique, put: Put, measured: Measured
) -> None:
    """S16: tries are as far apart as `retryInterval` says, and not further and further; a long one heals later."""
    quick, patient = unique("quick"), unique("patient")
    missing = {"postBuild": {"substituteFrom": [{"kind": "Secret", "name": quick}]}}
    fleet = make_fleet(
        Link(quick, text=config(quick, x="${X}"), spec={**missing, "retryInterval": "2s"}),
        Link(patient, text=config(patient, x="${X}"), spec={**missing, "retryInterval": "1m"}),
    )
    for name in (quick, patient):
        wait_for(lab.store, failed(kustomization(name), "BuildFailed", quick), deadline=30, what=f"{name} to fail")
    never(lab, condition(kustomization(quick), "Ready", "True"), seconds=9, what="it to be Ready without its Secret")
    gaps = _between_tries(fleet, quick)
    measured("between two tries", sum(gaps) / len(gaps), kind="other")
    assert len(gaps) >= 3
    assert all(1.8 < gap < 3.5 for gap in gaps), f"the tries were {gaps} s apart"
    assert _between_tries(fleet, patient) == []
    put(json.loads(secret(quick, X="there")))
    healed = has_data(ObjectRef("", "ConfigMap", "default", quick), x="there")
    told = wait_for(lab.store, healed, deadline=10, what="the quick one to heal")
    measured("heal until Ready", told.seconds)
    never(lab, at_revision([kustomization(patient)], fleet.revision), seconds=5, what="the patient one so soon")


def _between_tries(fleet: Fleet, name: str) -> list[float]:
    """Return the seconds between one failure of a link and the next."""
    failures = [
        one.at
        for one in fleet.lab.store.timeline.of(kustomization(name))
        if any(c.type == "Ready" and c.reason == "BuildFailed" for c in one.conditions)
    ]
    return [later.since(earlier) for earlier, later in pairwise(failures)]
