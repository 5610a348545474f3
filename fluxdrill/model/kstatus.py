"""kstatus: what state one object is in, from the object alone.

`compute` follows the library that Flux waits with (fluxcd/cli-utils 1.2.2), `compute_strict` closes its
known hole (a custom resource that nobody has looked at yet is Current), and `flux_readiness` is the
stricter test of the flux command line. Where upstream reads a field of the wrong type as its default,
the result here is Unknown: an object that cannot be read is never Current.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from fluxdrill.model.conditions import HELM_GROUP, IMAGE_GROUP, KUSTOMIZE_GROUP, SOURCE_GROUP, ConditionStatus
from fluxdrill.model.kstatus_fields import (
    GroupKind,
    MalformedError,
    Result,
    Status,
    checked_conditions,
    group_kind,
    optional_integer,
    text,
)
from fluxdrill.model.kstatus_kinds import KIND_RULES, Flavour, Rules, current, failed, in_progress
from fluxdrill.model.reasons import IMAGE_KINDS, SOURCE_KINDS
from fluxdrill.model.refs import KubeObject

__all__ = [
    "REQUIRED_CONDITIONS",
    "Flavour",
    "RequiredConditions",
    "Result",
    "Status",
    "compute",
    "compute_strict",
    "flux_readiness",
    "flux_ready",
    "is_static",
    "kinds_showing_ready",
]

NOTIFICATION_GROUP = "notification.toolkit.fluxcd.io"

RequiredConditions = Mapping[GroupKind, str]
"""For a kind without a rule of its own: the condition that its controller always writes."""

REQUIRED_CONDITIONS: RequiredConditions = {
    (KUSTOMIZE_GROUP, "Kustomization"): "Ready",
    (HELM_GROUP, "HelmRelease"): "Ready",
    **{(SOURCE_GROUP, kind): "Ready" for kind in SOURCE_KINDS},
    **{(IMAGE_GROUP, kind): "Ready" for kind in IMAGE_KINDS},
    (NOTIFICATION_GROUP, "Receiver"): "Ready",
    ("source.extensions.fluxcd.io", "ArtifactGenerator"): "Ready",
    **{
        ("fluxcd.controlplane.io", kind): "Ready"
        for kind in ("FluxInstance", "FluxReport", "ResourceSet", "ResourceSetInputProvider")
    },
    ("bitnami.com", "SealedSecret"): "Synced",
    **{("cert-manager.io", kind): "Ready" for kind in ("Certificate", "CertificateRequest", "ClusterIssuer", "Issuer")},
    **{("external-secrets.io", kind): "Ready" for kind in ("ExternalSecret", "SecretStore", "ClusterSecretStore")},
    ("apiregistration.k8s.io", "APIService"): "Available",
    ("", "Node"): "Ready",
}
"""The kinds known to report; extend it with `{**REQUIRED_CONDITIONS, **kinds_showing_ready(objects)}`."""


def compute(
    obj: KubeObject | None,
    *,
    now: datetime,
    flavour: Flavour = Flavour.FLUX,
    late_binding_classes: Collection[str] = (),
) -> Result:
    """Return the state of `obj` (None: it does not exist), as kstatus computes it; never raises.

    `now` is an aware time, used only for pods that cannot be scheduled. A pending claim of one of
    `late_binding_classes` (storage classes that bind at the first pod) counts as Current as long as
    no node is chosen; kstatus leaves it InProgress. Malformed input gives Unknown, reason `Malformed`.
    """
    return _compute(obj, Rules(now, flavour, late_binding_classes), {})


def compute_strict(
    obj: KubeObject | None,
    *,
    now: datetime,
    flavour: Flavour = Flavour.FLUX,
    late_binding_classes: Collection[str] = (),
    required: RequiredConditions = REQUIRED_CONDITIONS,
) -> Result:
    """Return the state of `obj` like `compute`, but wait for the condition that its kind always reports.

    For a kind in `required` that condition takes the place of Ready: while it is missing the object is
    InProgress (`ConditionMissing`), while it is not True InProgress with its reason. That also covers a
    SealedSecret that cannot be opened, which kstatus calls Current.
    """
    return _compute(obj, Rules(now, flavour, late_binding_classes), required)


def kinds_showing_ready(objects: Iterable[KubeObject]) -> RequiredConditions:
    """Return the kinds of which one object shows a Ready condition: its siblings will show one, too."""
    found: dict[GroupKind, str] = {}
    for obj in objects:
        try:
            if any(one.type == "Ready" for one in checked_conditions(obj)):
                found[group_kind(obj)] = "Ready"
        except MalformedError:
            continue
    return found


def flux_ready(obj: KubeObject | None) -> bool:
    """Tell whether a Flux object is ready for its latest generation: see `flux_readiness`."""
    return flux_readiness(obj).status is Status.CURRENT


def flux_readiness(obj: KubeObject | None) -> Result:
    """Return the state of a Flux object as flux 2.9 `cmd/flux/readiness.go` judges it; never raises.

    Stricter than kstatus: the controller has observed the object, a Ready condition exists, and it is
    about the current generation. Kinds without a status (`is_static`) are left to kstatus.
    """
    if obj is None:
        return _NOT_FOUND
    try:
        stale = None if is_static(obj) else _stale(obj)
        result = stale or _generic(obj) or _by_condition(obj, "Ready") or _NOTHING_AGAINST_IT
        return (_own_words(obj) or result) if result.status is Status.IN_PROGRESS else result
    except MalformedError as error:
        return _unreadable(error)


def is_static(obj: KubeObject) -> bool:
    """Tell whether no Flux 2.9 controller reports on `obj`: Provider, Alert, a HelmRepository of type oci."""
    kind = group_kind(obj)
    if kind == (SOURCE_GROUP, "HelmRepository"):
        return text(obj, "spec.type") == "oci"
    return kind in {(NOTIFICATION_GROUP, "Provider"), (NOTIFICATION_GROUP, "Alert")}


_NOT_FOUND = Result(Status.NOT_FOUND, "NotFound", "the object does not exist")
_NOTHING_AGAINST_IT = current("no condition says otherwise")


def _unreadable(error: MalformedError) -> Result:
    return Result(Status.UNKNOWN, "Malformed", str(error))


def _compute(obj: KubeObject | None, rules: Rules, required: RequiredConditions) -> Result:
    if obj is None:
        return _NOT_FOUND
    try:
        return _generic(obj) or _by_kind(obj, rules, required)
    except MalformedError as error:
        return _unreadable(error)


def _by_kind(obj: KubeObject, rules: Rules, required: RequiredConditions) -> Result:
    kind = group_kind(obj)
    rule = KIND_RULES.get(kind)
    if rule is not None:
        return rule(obj, rules)
    wanted = None if is_static(obj) else required.get(kind)
    if wanted is None:
        return _by_condition(obj, "Ready") or _NOTHING_AGAINST_IT
    missing = in_progress("ConditionMissing", f"no condition {wanted} yet")
    return _by_condition(obj, wanted) or missing


def _generic(obj: KubeObject) -> Result | None:
    """Return what holds for every kind: deletion, an unobserved generation, Reconciling and Stalled."""
    if text(obj, "metadata.deletionTimestamp"):
        return Result(Status.TERMINATING, "Terminating", "the object is being deleted")
    generation = optional_integer(obj, "metadata.generation")
    observed = None if generation is None else optional_integer(obj, "status.observedGeneration")
    if observed is not None and observed != generation:
        return in_progress("LatestGenerationNotObserved", f"generation {generation}, observed {observed}")
    for one in checked_conditions(obj):
        if one.type == "Reconciling" and one.status is ConditionStatus.TRUE:
            return in_progress(one.reason, one.message)
        if one.type == "Stalled" and one.status is ConditionStatus.TRUE:
            return failed(one.reason, one.message)
    return None


def _by_condition(obj: KubeObject, wanted: str) -> Result | None:
    for one in checked_conditions(obj):
        if one.type == wanted:
            done = one.status is ConditionStatus.TRUE
            return current(f"{wanted} is True") if done else in_progress(one.reason, one.message)
    return None


def _own_words(obj: KubeObject) -> Result | None:
    """Return what the controller itself says against the current generation.

    It knows better than "not observed": observedGeneration stays behind while a Kustomization fails.
    """
    generation = optional_integer(obj, "metadata.generation")
    for one in checked_conditions(obj):
        if one.type == "Ready" and one.status is ConditionStatus.FALSE and one.observed_generation == generation:
            return in_progress(one.reason, one.message)
    return None


def _stale(obj: KubeObject) -> Result | None:
    """Return why the Ready condition of `obj` says nothing about its current generation, or None."""
    observed = optional_integer(obj, "status.observedGeneration") or 0
    if observed < 1:
        return in_progress("NotObserved", "the controller has not looked at the object yet")
    found = next((one for one in checked_conditions(obj) if one.type == "Ready"), None)
    if found is None:
        return in_progress("ConditionMissing", "no condition Ready yet")
    # HelmRelease and ImageUpdateAutomation write no generation per condition.
    about = found.observed_generation or observed
    generation = optional_integer(obj, "metadata.generation") or 0
    if about != generation:
        return in_progress("ConditionOutdated", f"generation {generation}, Ready is about {about}")
    return None
