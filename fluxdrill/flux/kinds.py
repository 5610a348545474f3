"""The kinds of Flux 2.9 that a lab watches."""

from __future__ import annotations

from fluxdrill.kube.discovery import GroupKind

_SOURCE = "source.toolkit.fluxcd.io"
_IMAGE = "image.toolkit.fluxcd.io"

KUSTOMIZATION = GroupKind("kustomize.toolkit.fluxcd.io", "Kustomization")
HELM_RELEASE = GroupKind("helm.toolkit.fluxcd.io", "HelmRelease")
SOURCES = tuple(
    GroupKind(_SOURCE, kind)
    for kind in ("GitRepository", "OCIRepository", "HelmRepository", "HelmChart", "Bucket", "ExternalArtifact")
)
IMAGES = tuple(GroupKind(_IMAGE, kind) for kind in ("ImageRepository", "ImagePolicy", "ImageUpdateAutomation"))
RECEIVER = GroupKind("notification.toolkit.fluxcd.io", "Receiver")

RECONCILED = (KUSTOMIZATION, HELM_RELEASE, *SOURCES, *IMAGES, RECEIVER)
"""Kinds that a Flux controller reconciles and reports conditions of (Alert and Provider have no status)."""

EVENT = GroupKind("", "Event")

WORKLOADS = (
    GroupKind("apps", "Deployment"),
    GroupKind("batch", "Job"),
    GroupKind("", "Pod"),
    GroupKind("", "PersistentVolumeClaim"),
)
"""What Flux brings up, as far as a failure's evidence shows it."""
