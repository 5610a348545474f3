"""Objects for the tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.view import Following, Part, PartKey, View
from fluxdrill.model.clock import Instant
from fluxdrill.model.refs import ObjectRef, Resource
from fluxdrill.model.timeline import Gap
from tests.kube.scripted import CRDS, KUSTOMIZATIONS


def ks_ref(name: str = "apps") -> ObjectRef:
    return ObjectRef(KUSTOMIZATIONS.group, "Kustomization", "flux-system", name)


def kustomization(
    name: str = "apps",
    *,
    ready: str | None = None,
    reason: str = "ReconciliationSucceeded",
    message: str = "",
    stalled: bool = False,
    needs: tuple[str, ...] = (),
    source: str | None = None,
    handled: str | None = None,
    generation: int = 1,
    observed: int = 1,
) -> dict[str, Any]:
    """Return a Kustomization as its controller leaves it; `ready` None: not looked at yet."""
    meta = {"name": name, "namespace": "flux-system", "generation": generation}
    spec: dict[str, Any] = {"dependsOn": [{"name": one} for one in needs]}
    if source:
        spec["sourceRef"] = {"kind": "GitRepository", "name": source}
    obj: dict[str, Any] = {
        "apiVersion": KUSTOMIZATIONS.api_version,
        "kind": "Kustomization",
        "metadata": meta,
        "spec": spec,
    }
    if ready is not None:
        common = {"reason": reason, "message": message, "observedGeneration": observed}
        found = [{"type": "Ready", "status": ready, **common}]
        if stalled:
            found.append({"type": "Stalled", "status": "True", **common})
        obj["status"] = {"observedGeneration": observed, "conditions": found}
    if handled:
        obj.setdefault("status", {})["lastHandledReconcileAt"] = handled
    return obj


def config_map(name: str = "settings", namespace: str = "default", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def cm_ref(name: str = "settings", namespace: str = "default") -> ObjectRef:
    return ObjectRef("", "ConfigMap", namespace, name)


def crd_of(resource: Resource, *, established: bool = True) -> dict[str, Any]:
    names = {"kind": resource.kind, "plural": resource.plural}
    versions = [{"name": resource.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": {}}}]
    scope = "Namespaced" if resource.namespaced else "Cluster"
    return {
        "apiVersion": CRDS.api_version,
        "kind": CRDS.kind,
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {"group": resource.group, "names": names, "scope": scope, "versions": versions},
        "status": {"conditions": [{"type": "Established", "status": str(established)}]},
    }


def crd_ref(resource: Resource) -> ObjectRef:
    return ObjectRef(CRDS.group, CRDS.kind, "", f"{resource.plural}.{resource.group}")


NOW = Instant(5000.0, datetime(2026, 11, 24, 12, 0, tzinfo=UTC))


def ago(seconds: float) -> Instant:
    return Instant(NOW.monotonic - seconds, NOW.utc - timedelta(seconds=seconds))


def view_of(*objs: dict[str, Any], absent: tuple[GroupKind, ...] = (), gap: Gap | None = None) -> View:
    """Return a view in which everything is known, made of these objects."""
    by_kind: dict[GroupKind, dict[ObjectRef, Any]] = {GroupKind.of(KUSTOMIZATIONS): {}}
    for obj in objs:
        ref = ObjectRef.of(obj)
        by_kind.setdefault(GroupKind.of(ref), {})[ref] = obj
    parts: dict[PartKey, Part] = {
        (kind, None): Part(kind, None, Following.LIVE, "", found) for kind, found in by_kind.items()
    }
    parts |= {(kind, None): Part(kind, None, Following.ABSENT, "not served") for kind in absent}
    return View(NOW, NOW, gap, parts)
