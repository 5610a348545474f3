"""What the conditions and the references of a Flux object say.

Readers here are lenient: they answer "nothing" for a field that is missing or has the wrong type,
because an object may be seen before its controller wrote anything. `kstatus.compute` is where a
malformed object becomes a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from fluxdrill.model.messages import normalise_message
from fluxdrill.model.reasons import (
    REASONS,
    HelmReleaseReason,
    ImageReason,
    KustomizationReason,
    NotificationReason,
    SourceReason,
    known_reason,
)
from fluxdrill.model.refs import KubeObject, ObjectRef, group_of

__all__ = [
    "REASONS",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "HelmReleaseReason",
    "ImageReason",
    "KustomizationReason",
    "NotificationReason",
    "SourceReason",
    "attempted_revision",
    "blames_dependency",
    "condition",
    "conditions",
    "dependencies",
    "handled_token",
    "known_reason",
    "normalise_message",
    "parse_time",
    "ready",
    "source_ref",
    "suspended",
]

KUSTOMIZE_GROUP = "kustomize.toolkit.fluxcd.io"
HELM_GROUP = "helm.toolkit.fluxcd.io"
SOURCE_GROUP = "source.toolkit.fluxcd.io"
IMAGE_GROUP = "image.toolkit.fluxcd.io"


class ConditionStatus(StrEnum):
    """The three states of a condition; any other text is read as Unknown."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """The condition types that Flux controllers and sealed-secrets write."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    HEALTHY = "Healthy"
    RELEASED = "Released"
    REMEDIATED = "Remediated"
    TEST_SUCCESS = "TestSuccess"
    DRIFTED = "Drifted"
    ARTIFACT_IN_STORAGE = "ArtifactInStorage"
    ARTIFACT_OUTDATED = "ArtifactOutdated"
    SOURCE_VERIFIED = "SourceVerified"
    FETCH_FAILED = "FetchFailed"
    BUILD_FAILED = "BuildFailed"
    STORAGE_OPERATION_FAILED = "StorageOperationFailed"
    INCLUDE_UNAVAILABLE = "IncludeUnavailable"
    SYNCED = "Synced"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of an object. `type` and `reason` stay text, since foreign kinds invent their own.

    `observed_generation` is None where the controller does not write it per condition (HelmRelease
    and ImageUpdateAutomation, Flux 2.9); `last_transition` is None where it is missing or no RFC 3339 time.
    """

    type: str
    status: ConditionStatus
    reason: str = ""
    message: str = ""
    observed_generation: int | None = None
    last_transition: datetime | None = None

    @classmethod
    def of(cls, entry: object) -> Condition | None:
        """Return the condition that `entry` of status.conditions describes; None where it has no type."""
        if not isinstance(entry, Mapping) or not _text(entry.get("type")):
            return None
        generation = entry.get("observedGeneration")
        return cls(
            type=entry["type"],
            status=_status(entry.get("status")),
            reason=_text(entry.get("reason")),
            message=_text(entry.get("message")),
            observed_generation=generation if type(generation) is int else None,
            last_transition=parse_time(entry.get("lastTransitionTime")),
        )


def conditions(obj: KubeObject) -> tuple[Condition, ...]:
    """Return the conditions of `obj` in the order of the object; entries without a type are left out."""
    entries = _mapping(obj.get("status")).get("conditions")
    if not isinstance(entries, list | tuple):
        return ()
    return tuple(found for found in map(Condition.of, entries) if found is not None)


def condition(obj: KubeObject, kind: str) -> Condition | None:
    """Return the first condition of type `kind`, or None."""
    return next((one for one in conditions(obj) if one.type == kind), None)


def ready(obj: KubeObject) -> Condition | None:
    """Return the Ready condition, or None. It may be about an older generation: see `kstatus.flux_ready`."""
    return condition(obj, ConditionType.READY)


_BLAMING_REASONS = frozenset(
    {
        KustomizationReason.DEPENDENCY_NOT_READY,
        HelmReleaseReason.SOURCE_NOT_READY,
        SourceReason.NO_SOURCE_ARTIFACT,
        SourceReason.SOURCE_UNAVAILABLE,
    }
)
# ArtifactFailed means a missing source or a missing path alike; only the text of
# kustomize-controller 1.9 and helm-controller 1.6 tells the two apart.
_MISSING_SOURCE = ("artifact not found", "source is not ready", "could not get source object")


def blames_dependency(obj: KubeObject) -> bool:
    """Tell whether `obj` is not ready because of something it waits for, rather than for a fault of its own."""
    found = ready(obj)
    if found is None or found.status is ConditionStatus.TRUE:
        return False
    if found.reason in _BLAMING_REASONS:
        return True
    return found.reason == KustomizationReason.ARTIFACT_FAILED and _names_missing_source(found.message)


def _names_missing_source(message: str) -> bool:
    text = message.lower()
    if any(part in text for part in _MISSING_SOURCE):
        return True
    return text.endswith("not found") and "path" not in text


def dependencies(obj: KubeObject) -> tuple[ObjectRef, ...]:
    """Return what spec.dependsOn of a Kustomization or HelmRelease names; the namespace defaults to its own.

    A dependency has the kind of the object itself (Flux knows no dependency across kinds here).
    """
    own = _own_ref(obj)
    if (own.group, own.kind) not in {(KUSTOMIZE_GROUP, "Kustomization"), (HELM_GROUP, "HelmRelease")}:
        return ()
    entries = _mapping(obj.get("spec")).get("dependsOn")
    named = (_mapping(entry) for entry in entries) if isinstance(entries, list) else ()
    return tuple(
        ObjectRef(own.group, own.kind, _text(entry.get("namespace")) or own.namespace, _text(entry.get("name")))
        for entry in named
        if _text(entry.get("name"))
    )


def source_ref(obj: KubeObject) -> ObjectRef | None:
    """Return what `obj` is made from, or None.

    That is spec.sourceRef (Kustomization, HelmChart, ImageUpdateAutomation), spec.chartRef or
    spec.chart.spec.sourceRef (HelmRelease), or spec.imageRepositoryRef (ImagePolicy).
    """
    own, spec = _own_ref(obj), _mapping(obj.get("spec"))
    template = _mapping(_mapping(spec.get("chart")).get("spec"))
    for holder, key in ((spec, "sourceRef"), (spec, "chartRef"), (template, "sourceRef")):
        found = _reference(_mapping(holder.get(key)), own.namespace)
        if found is not None:
            return found
    policy = _text(_mapping(spec.get("imageRepositoryRef")).get("name"))
    namespace = _text(_mapping(spec.get("imageRepositoryRef")).get("namespace")) or own.namespace
    return ObjectRef(IMAGE_GROUP, "ImageRepository", namespace, policy) if policy else None


def _reference(entry: Mapping[str, Any], namespace: str) -> ObjectRef | None:
    kind, name = _text(entry.get("kind")), _text(entry.get("name"))
    if not kind or not name:
        return None
    group = group_of(_text(entry.get("apiVersion"))) or SOURCE_GROUP
    return ObjectRef(group, kind, _text(entry.get("namespace")) or namespace, name)


def attempted_revision(obj: KubeObject) -> str | None:
    """Return status.lastAttemptedRevision (Kustomization: source revision; HelmRelease: chart version)."""
    return _status_text(obj, "lastAttemptedRevision")


def handled_token(obj: KubeObject) -> str | None:
    """Return the last reconcile request that the controller took up; taken up does not mean succeeded."""
    return _status_text(obj, "lastHandledReconcileAt")


def suspended(obj: KubeObject) -> bool:
    """Tell whether spec.suspend is true: no reconcile starts, one that is running goes on."""
    return _mapping(obj.get("spec")).get("suspend") is True


def parse_time(value: object) -> datetime | None:
    """Return an RFC 3339 time as an aware datetime (UTC where no offset is written); None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _status_text(obj: KubeObject, key: str) -> str | None:
    return _text(_mapping(obj.get("status")).get(key)) or None


def _own_ref(obj: KubeObject) -> ObjectRef:
    meta = _mapping(obj.get("metadata"))
    group = group_of(_text(obj.get("apiVersion")))
    return ObjectRef(group, _text(obj.get("kind")), _text(meta.get("namespace")), _text(meta.get("name")))


def _status(value: object) -> ConditionStatus:
    return next((known for known in ConditionStatus if known == value), ConditionStatus.UNKNOWN)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
