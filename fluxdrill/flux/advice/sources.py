"""Advice for a HelmRelease that has no chart to work with: which of chart, repository and storage is to blame."""

from __future__ import annotations

from fluxdrill.flux.advice.case import Advice, Case, Retries, State, message, ready_of
from fluxdrill.model.conditions import source_ref
from fluxdrill.model.kstatus import flux_ready
from fluxdrill.model.refs import KubeObject, ObjectRef

_REASONS = {"SourceNotReady", "ArtifactFailed"}
_WAKES = "It is not asked for again until the repository's index changes or the version in spec does"


def waits_for_chart(case: Case) -> Advice | None:
    """Return advice where Ready is False for want of a chart, else None."""
    found = case.false("Ready")
    if found is None or found.reason not in _REASONS:
        return None
    if missing := _missing(case):
        return _advice(case, missing, "it does not exist", "It waits without end", f"commit {missing}")
    if case.source is not None and _fails(case.source):
        leaf = ObjectRef.of(case.source)
        return _advice(case, leaf, _said(case.source), "source-controller asks again by itself", _look(leaf))
    return _of_chart(case, case.chart, message(found)) if case.chart is not None else None


def _missing(case: Case) -> ObjectRef | None:
    """Return what is named and does not exist: the chart, or the repository behind it."""
    if case.chart is None:
        return source_ref(case.release) or case.ref
    if case.source is None and case.chart["kind"] == "HelmChart":
        return source_ref(case.chart)
    return None


def _of_chart(case: Case, chart: KubeObject, complaint: str) -> Advice:
    ref = ObjectRef.of(chart)
    if _invalid(chart):
        above = ObjectRef.of(case.source) if case.source is not None else ref
        do = f"commit a version that exists, or publish it and run: {_look(above)}"
        return _advice(case, ref, _said(chart), _WAKES, do)
    if flux_ready(chart):
        return _advice(case, ref, complaint, "It is fetched again every 30 s (--requeue-dependency)", _look(ref))
    return _advice(case, ref, _said(chart), "source-controller asks again by itself", _look(ref))


def _advice(case: Case, leaf: ObjectRef, cause: str, then: str, do: str) -> Advice:
    by_itself = Retries.NOT_BY_ITSELF if then is _WAKES else Retries.BY_ITSELF
    return Advice(
        case.ref, State.CHART, f"It has no chart to work with, because of {leaf}: {cause}.",
        f"{then}; what it runs already is left as it is.", by_itself, do, leaf, cause,
    )  # fmt: skip


def _fails(obj: KubeObject) -> bool:
    own = ready_of(obj)
    return own is not None and own.status == "False"


def _said(obj: KubeObject) -> str:
    own = ready_of(obj)
    return f"{own.reason}: {message(own)}" if own is not None else "it has said nothing yet"


def _invalid(chart: KubeObject) -> bool:
    own = ready_of(chart)
    return own is not None and own.reason == "InvalidChartReference"


def _look(ref: ObjectRef) -> str:
    names = {
        "GitRepository": "git",
        "HelmRepository": "helm",
        "OCIRepository": "oci",
        "Bucket": "bucket",
        "HelmChart": "chart",
    }
    return f"flux reconcile source {names.get(ref.kind, ref.kind)} {ref.name} -n {ref.namespace}"
