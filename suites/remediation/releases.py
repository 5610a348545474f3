"""HelmReleases of the stand-in chart, and what is left of them: conditions, counters, Helm's own history."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fluxdrill.cluster.simulated import BEHAVIOUR, Behaviour
from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.advice.case import Advice
from fluxdrill.flux.advice.collect import explain
from fluxdrill.flux.kinds import HELM_RELEASE
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import WaitResult, absent, all_of, condition, ready, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.capabilities import OFFERED, Capability
from fluxdrill.model.clock import Instant
from fluxdrill.model.conditions import ConditionStatus
from fluxdrill.model.conditions import condition as condition_of
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.repository.profile import RELEASE_TIMEOUT
from fluxdrill.sources.standin import NAME

VERSION = "1.0.0"
POD = GroupKind("", "Pod")
INTERVAL = "5s"
"""Of every release here: what the interval does not do, it has had the time not to do."""
NEVER_READY = {"behaviour": str(Behaviour.NEVER_READY)}
CONDITIONS = ("Ready", "Stalled", "Released", "Remediated", "TestSuccess")
COUNTERS = ("failures", "installFailures", "upgradeFailures")


def timeout(lab: Lab) -> str:
    """Return the timeout of releases that are to succeed: real pods need their time to start on a machine that is busy."""
    return "30s" if Capability.PODS in OFFERED[lab.spec.provider] else RELEASE_TIMEOUT


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision in Helm's storage."""

    number: int
    status: str
    description: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a HelmRelease says of itself: `ready` as "False UpgradeFailed", "" for a condition that is not there."""

    ready: str
    stalled: str
    released: str
    remediated: str
    tested: str
    failures: tuple[int, int, int]
    """The counters `failures`, `installFailures` and `upgradeFailures`."""

    @classmethod
    def of(cls, obj: KubeObject) -> Outcome:
        """Read it from a HelmRelease."""
        status = obj.get("status") or {}
        ready_, stalled, released, remediated, tested = (_words(obj, kind) for kind in CONDITIONS)
        failures, install, upgrade = (int(status.get(name) or 0) for name in COUNTERS)
        return cls(ready_, stalled, released, remediated, tested, (failures, install, upgrade))


def _words(obj: KubeObject, kind: str) -> str:
    found = condition_of(obj, kind)
    return f"{found.status} {found.reason}" if found is not None else ""


class Release:
    """One HelmRelease of the stand-in, applied by hand; `spec` is what it has beyond the usual.

    Until it is installed it may be given another namespace (one that exists), chart or version.
    """

    def __init__(self, lab: Lab, name: str, *, repository: str, spec: Mapping[str, Any]) -> None:
        self.lab = lab
        self.name = name
        self.namespace = "default"
        self.chart_name = NAME
        self.version = VERSION
        self._repository = repository
        self._spec = spec

    @property
    def ref(self) -> ObjectRef:
        """The HelmRelease."""
        return ObjectRef(HELM_RELEASE.group, HELM_RELEASE.kind, self.namespace, self.name)

    @property
    def repository(self) -> ObjectRef:
        """The HelmRepository of its chart."""
        return repository_ref(self._repository)

    @property
    def deployment(self) -> ObjectRef:
        """Its one workload."""
        return ObjectRef("apps", "Deployment", self.namespace, self.name)

    @property
    def chart(self) -> ObjectRef:
        """The HelmChart that is made for it."""
        return ObjectRef("source.toolkit.fluxcd.io", "HelmChart", NAMESPACE, f"{self.namespace}-{self.name}")

    def install(self, **values: object) -> None:
        """Create the HelmRelease with these values."""
        source = {"kind": "HelmRepository", "name": self._repository, "namespace": NAMESPACE}
        spec = {
            "interval": INTERVAL,
            "timeout": timeout(self.lab),
            "chart": {
                "spec": {"chart": self.chart_name, "version": self.version, "interval": "10m", "sourceRef": source}
            },
            "values": values,
            **self._spec,
        }
        meta = {"name": self.name, "namespace": self.namespace}
        self.lab.api.apply(
            {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": meta, "spec": spec}
        )

    def depends_on(self, other: Release) -> None:
        """Have it depend on another one, before it is installed."""
        self._spec = {**self._spec, "dependsOn": [{"name": other.name, "namespace": other.namespace}]}

    def change(self, **values: object) -> None:
        """Change values, which makes a new generation."""
        self.lab.api.patch(self.ref, {"spec": {"values": values}})

    def change_spec(self, **fields: object) -> None:
        """Change fields of its spec beside the values, which makes a new generation."""
        self.lab.api.patch(self.ref, {"spec": fields})

    def wait(self, predicate: Predicate, *, what: str, deadline: float = 90) -> WaitResult:
        """Wait; what fails meanwhile may be part of the story."""
        return wait_for(self.lab.store, predicate, deadline=deadline, what=f"{self.name} {what}", fail_fast=False)

    def wait_ready(self, *, deadline: float = 60) -> WaitResult:
        """Wait until it is Ready for its present generation."""
        return self.wait(ready(self.ref), what="to be Ready", deadline=deadline)

    def wait_stalled(self, reason: str = "RetriesExceeded", *, deadline: float = 90) -> WaitResult:
        """Wait until it is stalled for `reason`."""
        return self.wait(condition(self.ref, "Stalled", "True", reason), what="to stall", deadline=deadline)

    def outcome(self) -> Outcome:
        """Return what it says of itself now."""
        return Outcome.of(self.lab.api.get(self.ref))

    def advice(self) -> Advice:
        """Return what `fluxdrill explain hr` says of it now, at the end of the chain."""
        return explain(self.lab.api, self.ref)[-1]

    def history(self) -> tuple[Revision, ...]:
        """Return what Helm's own storage holds, oldest first."""
        secrets = self.lab.api.resource("", "Secret")
        selector = f"owner=helm,name={self.name}"
        found = self.lab.api.list(secrets, namespace=self.namespace, label_selector=selector).items
        return tuple(sorted((_revision(one) for one in found), key=lambda one: one.number))

    def statuses(self) -> tuple[str, ...]:
        """Return the status of each revision in Helm's own storage, oldest first."""
        return tuple(one.status for one in self.history())

    def ever(self, kind: str) -> bool:
        """Tell whether the condition `kind` was seen to be True at any time."""
        seen = [one for transition in self.lab.store.timeline.of(self.ref) for one in transition.conditions]
        assert seen, f"nothing was seen of {self.name}"
        return any(one.type == kind and one.status is ConditionStatus.TRUE for one in seen)

    def stalled_at(self) -> Instant:
        """Return when it was first seen to be stalled; a wait may have begun long after that."""
        seen = self.lab.store.timeline.of(self.ref)
        return next(one.at for one in seen if any(c.type == "Stalled" and c.status == "True" for c in one.conditions))

    def ready_after(self, moment: Instant) -> float:
        """Return the seconds from `moment` until it was first seen to be Ready; raises StopIteration for never."""
        seen = [one for one in self.lab.store.timeline.of(self.ref) if one.at.since(moment) > 0]
        return next(
            one.at.since(moment)
            for one in seen
            if any(c.type == "Ready" and c.status == "True" for c in one.conditions)
        )

    def heal_pods(self) -> None:
        """Have the pods that are not ready become so: the cause ends, and nobody touches the release."""
        pods = self.lab.store.list(POD, self.namespace)
        ill = [one for one in pods if _belongs(one, self.name) and one["metadata"]["annotations"][BEHAVIOUR] != "ready"]
        assert ill, f"{self.name} has no pod to heal"
        for pod in ill:
            self.lab.heal_pod(ObjectRef.of(pod))

    def wait_serving(self) -> None:
        """Wait until its workload is as it was asked to be, and ready."""
        wait_for(self.lab.store, ready(self.deployment), deadline=30, what=f"the pods of {self.name}", fail_fast=False)

    def available(self) -> int:
        """Return how many of its pods serve."""
        return int((self.lab.api.get(self.deployment).get("status") or {}).get("availableReplicas") or 0)

    def remove(self) -> None:
        """Delete it and wait until its workload is gone too."""
        if self.lab.store.get(self.ref) is None:
            return
        self.lab.api.delete(self.ref)
        wait_for(self.lab.store, absent(self.ref), deadline=60, what=f"{self.name} to be uninstalled")


def recovered(release: Release) -> Predicate:
    """Met when the release is Ready and its newest snapshot was deployed at the present generation, with no failures.

    Its Ready alone would be one word that anybody can write.
    """
    return _deployed(release, forgotten=True)


def deployed(release: Release) -> Predicate:
    """Met as `recovered`, whatever its counters say: remediation does not clear them when a later attempt succeeds."""
    return _deployed(release, forgotten=False)


def _deployed(release: Release, *, forgotten: bool) -> Predicate:
    def judge(view: View) -> Verdict3:
        obj = view.get(release.ref) or {}
        status = obj.get("status") or {}
        history = status.get("history") or [{}]
        said = Outcome.of(obj)
        counted = forgotten and said.failures != (0, 0, 0)
        if said.released.startswith("True") and history[0].get("status") == "deployed" and not counted:
            return Verdict3.met(f"{release.name} is deployed as revision {history[0].get('version')}")
        return Verdict3.not_yet(f"{release.name} says {said}, snapshot {history[0].get('status')}", release.ref)

    return all_of(ready(release.ref), Predicate(judge, frozenset([release.ref])))


def _belongs(pod: KubeObject, name: str) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return labels.get("app") == name and "deletionTimestamp" not in pod["metadata"]


def _revision(secret: KubeObject) -> Revision:
    stored = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
    return Revision(int(stored["version"]), str(stored["info"]["status"]), str(stored["info"].get("description", "")))


def repository(name: str, url: str, *, secret: str = "") -> KubeObject:
    """Return a HelmRepository in flux-system; it is asked again only when a test asks for it."""
    credentials = {"secretRef": {"name": secret}} if secret else {}
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmRepository",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"interval": "10m", "timeout": "5s", "url": url, **credentials},
    }


def repository_ref(name: str) -> ObjectRef:
    """Return the reference of a HelmRepository."""
    return ObjectRef("source.toolkit.fluxcd.io", "HelmRepository", NAMESPACE, name)
