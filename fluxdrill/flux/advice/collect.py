"""Read what advice needs from an API server, and follow it from dependency to dependency. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator

from fluxdrill.errors import UsageError
from fluxdrill.flux.advice.case import Advice, Case
from fluxdrill.flux.advice.rules import advise
from fluxdrill.flux.kinds import HELM_RELEASE
from fluxdrill.kube.api import Api
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.errors import NotFoundError, UnknownKindError
from fluxdrill.model.conditions import SOURCE_GROUP, dependencies, source_ref
from fluxdrill.model.podstatus import select_pods
from fluxdrill.model.refs import KubeObject, ObjectRef

_CONTROLLERS = (("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "DaemonSet"), ("batch", "Job"))


def explain(api: Api, ref: ObjectRef) -> tuple[Advice, ...]:
    """Return advice for the HelmRelease `ref`, then for what it waits for, down to the cause.

    Raises UsageError where there is no such HelmRelease, and what `Api` raises.
    """
    return tuple(_chain(api, ref, frozenset()))


def _chain(api: Api, ref: ObjectRef, passed: frozenset[ObjectRef]) -> Iterator[Advice]:
    advice = advise(read(api, ref))
    yield advice
    on = advice.leaf
    if on != ref and on not in passed and GroupKind.of(on) == HELM_RELEASE and _find(api, on) is not None:
        yield from _chain(api, on, passed | {ref})


def read(api: Api, ref: ObjectRef) -> Case:
    """Return what is known of the HelmRelease `ref` now; raises UsageError where there is none."""
    release = _find(api, ref)
    if release is None:
        hint = "Name it as NAMESPACE/NAME, and look at the context of your kubeconfig."
        raise UsageError(f"There is no HelmRelease {ref.namespace}/{ref.name}.", hint=hint)
    chart = _chart(api, release)
    above = source_ref(chart) if chart is not None and chart["kind"] == "HelmChart" else None
    return Case(
        release,
        chart=chart,
        source=_find(api, above) if above is not None else None,
        dependencies={one: _find(api, one) for one in dependencies(release)},
        pods=tuple(_pods(api, release)),
    )


def _find(api: Api, ref: ObjectRef) -> KubeObject | None:
    try:
        return api.get(ref)
    except (NotFoundError, UnknownKindError):
        return None


def _chart(api: Api, release: KubeObject) -> KubeObject | None:
    if (release.get("spec") or {}).get("chartRef"):
        referenced = source_ref(release)
        return _find(api, referenced) if referenced is not None else None
    namespace, _, name = str((release.get("status") or {}).get("helmChart") or "").partition("/")
    return _find(api, ObjectRef(SOURCE_GROUP, "HelmChart", namespace, name)) if name else None


def _pods(api: Api, release: KubeObject) -> Iterator[KubeObject]:
    """Yield the pods of its own workloads, which helm-controller has labelled with its name."""
    meta, spec = release["metadata"], release.get("spec") or {}
    namespace = str(spec.get("targetNamespace") or meta["namespace"])
    own = f"helm.toolkit.fluxcd.io/name={meta['name']},helm.toolkit.fluxcd.io/namespace={meta['namespace']}"
    workloads = [
        one
        for group, kind in _CONTROLLERS
        for one in api.list(api.resource(group, kind), namespace=namespace, label_selector=own).items
    ]
    if not workloads:
        return
    pods = api.list(api.resource("", "Pod"), namespace=namespace).items
    seen = {pod["metadata"]["name"]: pod for one in workloads for pod in select_pods(one, pods)}
    yield from seen.values()
