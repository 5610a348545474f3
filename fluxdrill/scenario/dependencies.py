"""What waits for what among Flux's own objects: dependsOn, and the source that a Kustomization reads."""

from __future__ import annotations

from fluxdrill.flux.kinds import KUSTOMIZATION, RECONCILED
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.view import View
from fluxdrill.model.conditions import dependencies
from fluxdrill.model.refs import KubeObject, ObjectRef


def source(ref: ObjectRef, obj: KubeObject) -> ObjectRef | None:
    """Return the source that a Kustomization reads; None for everything else."""
    named = obj.get("spec", {}).get("sourceRef") if GroupKind.of(ref) == KUSTOMIZATION else None
    if not named:
        return None
    namespace = str(named.get("namespace") or ref.namespace)
    return ObjectRef("source.toolkit.fluxcd.io", str(named["kind"]), namespace, str(named["name"]))


def waits_for(view: View) -> dict[str, list[str]]:
    """Return every object that Flux reconciles, with what must be Ready before it; plain data for a journal."""
    found: dict[str, list[str]] = {}
    for obj in (one for kind in RECONCILED for one in view.list(kind)):
        ref = ObjectRef.of(obj)
        before = {*dependencies(obj), *filter(None, [source(ref, obj)])}
        found[str(ref)] = sorted(map(str, before))
    return found
