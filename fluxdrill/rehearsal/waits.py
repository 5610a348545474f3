"""Who waits for whom: from an object that is not ready to the objects it names as the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fluxdrill.model.conditions import blames_dependency, dependencies, ready, source_ref
from fluxdrill.model.kstatus import Status, flux_readiness, is_static
from fluxdrill.model.reasons import KustomizationReason
from fluxdrill.model.refs import KubeObject, ObjectRef

_NAMED = re.compile(r"(?<![\w/])([A-Z][A-Za-z]+)/([a-z0-9][-a-z0-9.]*)/([A-Za-z0-9][-\w.:]*[A-Za-z0-9]|[A-Za-z0-9])")
_NAMED_GLOBAL = re.compile(r"(?<![\w/])([A-Z][A-Za-z]+)/([A-Za-z0-9][-\w.:]*[A-Za-z0-9]|[A-Za-z0-9])(?![-\w./])")


def is_ready(obj: KubeObject) -> bool:
    """Whether a Flux object is Ready at its present generation, or has no status by design."""
    return is_static(obj) or flux_readiness(obj).status is Status.CURRENT


def waits_for(obj: KubeObject, objects: Mapping[ObjectRef, KubeObject]) -> tuple[ObjectRef, ...]:
    """Return what keeps `obj` from being ready, as far as it names others; empty when its fault is its own.

    That is a dependency, a source, a HelmRelease's chart, or the objects of a failed health check. Each is missing
    or not ready itself.
    """
    found = ready(obj)
    if found is None or is_ready(obj):
        return ()
    if found.reason == KustomizationReason.HEALTH_CHECK_FAILED:
        named = [ref for ref in _known(found.message, objects) if not is_ready(objects[ref])]
        return tuple(named)
    if not blames_dependency(obj):
        return ()
    candidates = [*dependencies(obj), *_chart(obj, objects), *_source(obj)]
    return tuple(ref for ref in candidates if ref not in objects or not is_ready(objects[ref]))


def named_objects(message: str) -> tuple[str, ...]:
    """Return the objects that a controller's message names, as Kind/namespace/name or Kind/name."""
    namespaced = [(match.start(), match[0]) for match in _NAMED.finditer(message)]
    taken = {start for start, _ in namespaced}
    cluster = [(match.start(), match[0]) for match in _NAMED_GLOBAL.finditer(message) if match.start() not in taken]
    return tuple(dict.fromkeys(text for _, text in sorted([*namespaced, *cluster])))


def _known(message: str, objects: Mapping[ObjectRef, KubeObject]) -> list[ObjectRef]:
    by_text = {str(ref): ref for ref in objects}
    return [by_text[name] for name in named_objects(message) if name in by_text]


def _chart(obj: KubeObject, objects: Mapping[ObjectRef, KubeObject]) -> tuple[ObjectRef, ...]:
    """Return the HelmChart that helm-controller made for a HelmRelease (status.helmChart, "namespace/name")."""
    namespace, _, name = str(obj.get("status", {}).get("helmChart", "")).partition("/")
    ref = ObjectRef("source.toolkit.fluxcd.io", "HelmChart", namespace, name)
    return (ref,) if ref in objects else ()


def _source(obj: KubeObject) -> tuple[ObjectRef, ...]:
    found = source_ref(obj)
    return (found,) if found is not None else ()
