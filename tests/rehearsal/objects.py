"""Flux objects as their controllers leave them, made by hand for the rules of a rehearsal."""

from __future__ import annotations

from typing import Any

from fluxdrill.model.refs import ObjectRef

GROUPS = {
    "Kustomization": "kustomize.toolkit.fluxcd.io/v1",
    "HelmRelease": "helm.toolkit.fluxcd.io/v2",
    "GitRepository": "source.toolkit.fluxcd.io/v1",
    "HelmRepository": "source.toolkit.fluxcd.io/v1",
    "HelmChart": "source.toolkit.fluxcd.io/v1",
}


def flux(
    kind: str,
    name: str,
    *,
    ready: str = "True",
    reason: str = "ReconciliationSucceeded",
    message: str = "",
    generation: int = 1,
    revision: str = "main@sha1:1",
    **spec: Any,
) -> dict[str, Any]:
    """Return one Flux object in flux-system with a Ready condition."""
    condition = {
        "type": "Ready",
        "status": ready,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }
    return {
        "apiVersion": GROUPS[kind],
        "kind": kind,
        "metadata": {"name": name, "namespace": "flux-system", "generation": generation, "resourceVersion": "1"},
        "spec": spec,
        "status": {
            "observedGeneration": generation if ready == "True" else -1,
            "lastAttemptedRevision": revision,
            "conditions": [condition],
        },
    }


def failing(name: str, message: str, *, reason: str = "ReconciliationFailed", **rest: Any) -> dict[str, Any]:
    """Return a Kustomization that fails with `message`."""
    return flux("Kustomization", name, ready="False", reason=reason, message=message, **rest)


def retrying(name: str, **rest: Any) -> dict[str, Any]:
    """Return a Kustomization in the middle of an attempt."""
    return flux(
        "Kustomization", name, ready="Unknown", reason="Progressing", message="Reconciliation in progress", **rest
    )


def blocked(name: str, *dependencies: str, **rest: Any) -> dict[str, Any]:
    """Return a Kustomization that waits for others."""
    return failing(
        name,
        f"dependency 'flux-system/{dependencies[0]}' is not ready",
        reason="DependencyNotReady",
        dependsOn=[{"name": one} for one in dependencies],
        **rest,
    )


def refs(*objects: dict[str, Any]) -> dict[ObjectRef, dict[str, Any]]:
    """Return the objects by reference."""
    return {ObjectRef.of(one): one for one in objects}


def kustomization(name: str) -> ObjectRef:
    """Return the reference of a Kustomization in flux-system."""
    return ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", name)
