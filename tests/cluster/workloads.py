"""Objects for tests of simulated pods and claims, and what they wait for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fluxdrill.cluster.simulated import AFTER, BEHAVIOUR, CLAIM
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.model.refs import KubeObject, ObjectRef

Document = dict[str, Any]
EVENTS = GroupKind("", "Event")
VOLUMES = GroupKind("", "PersistentVolume")
ACCOUNTS = GroupKind("", "ServiceAccount")


def template(behaviour: str = "", after: str = "", **spec: Any) -> Document:
    """Return metadata and spec of a pod that behaves so."""
    asked = {BEHAVIOUR: behaviour, AFTER: after}
    metadata = {"annotations": {name: value for name, value in asked.items() if value}, "labels": {"app": "a"}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main", "image": "simulated"}], **spec}}


def pod(name: str, behaviour: str = "", after: str = "", **spec: Any) -> Document:
    """Return a pod that behaves so."""
    made = template(behaviour, after, **spec)
    made["metadata"]["name"] = name
    return {"apiVersion": "v1", "kind": "Pod", **made}


def job(name: str, behaviour: str = "", after: str = "") -> Document:
    """Return a job of one pod that is tried once."""
    spec = {"backoffLimit": 0, "template": template(behaviour, after, restartPolicy="Never")}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def deployment(name: str, behaviour: str = "", replicas: int = 2) -> Document:
    """Return a deployment of pods that behave so."""
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "template": template(behaviour)}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def claim(name: str, *, state: str = "", after: str = "") -> Document:
    """Return a claim of the default class."""
    annotations = {key: value for key, value in ((CLAIM, state), (AFTER, after)) if value}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def holds(ref: ObjectRef, test: Callable[[KubeObject], bool], what: str) -> Predicate:
    """Met when `ref` exists and `test` is true of it."""

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        return Verdict3.met(what) if obj is not None and test(obj) else Verdict3.not_yet(f"not {what}", ref)

    return Predicate(judge, frozenset([ref]))


def some(kind: GroupKind, test: Callable[[KubeObject], bool], what: str) -> Predicate:
    """Met when `test` is true of any object of `kind`."""

    def judge(view: View) -> Verdict3:
        return Verdict3.met(what) if any(map(test, view.list(kind))) else Verdict3.not_yet(f"no {what}")

    return Predicate(judge, kinds=frozenset([kind]))


def none(kind: GroupKind, test: Callable[[KubeObject], bool], what: str) -> Predicate:
    """Met when `test` is true of no object of `kind`."""

    def judge(view: View) -> Verdict3:
        return Verdict3.not_yet(what) if any(map(test, view.list(kind))) else Verdict3.met(f"no {what}")

    return Predicate(judge, kinds=frozenset([kind]))


def container(obj: KubeObject) -> Document:
    """Return the status of the first container of a pod; empty before it has one."""
    statuses: list[Document] = obj.get("status", {}).get("containerStatuses") or [{}]
    return statuses[0]
