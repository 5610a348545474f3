"""The reasons that Flux controllers of 2.9 write into conditions, per kind.

Read in kustomize-controller 1.9, helm-controller 1.6, source-controller 1.9, image-reflector and
image-automation-controller 1.2 and notification-controller 1.9. A controller may write a reason
that is not listed here: `known_reason` then answers None, and the text stays in the condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class KustomizationReason(StrEnum):
    """Reasons on a Kustomization."""

    RECONCILIATION_SUCCEEDED = "ReconciliationSucceeded"
    RECONCILIATION_FAILED = "ReconciliationFailed"
    BUILD_FAILED = "BuildFailed"
    ARTIFACT_FAILED = "ArtifactFailed"
    PRUNE_FAILED = "PruneFailed"
    HEALTH_CHECK_FAILED = "HealthCheckFailed"
    HEALTH_CHECK_CANCELED = "HealthCheckCanceled"
    DEPENDENCY_NOT_READY = "DependencyNotReady"
    ACCESS_DENIED = "AccessDenied"
    INVALID_CEL_EXPRESSION = "InvalidCELExpression"
    FEATURE_GATE_DISABLED = "FeatureGateDisabled"
    PROGRESSING = "Progressing"
    PROGRESSING_WITH_RETRY = "ProgressingWithRetry"


class HelmReleaseReason(StrEnum):
    """Reasons on a HelmRelease."""

    INSTALL_SUCCEEDED = "InstallSucceeded"
    INSTALL_FAILED = "InstallFailed"
    UPGRADE_SUCCEEDED = "UpgradeSucceeded"
    UPGRADE_FAILED = "UpgradeFailed"
    TEST_SUCCEEDED = "TestSucceeded"
    TEST_FAILED = "TestFailed"
    ROLLBACK_SUCCEEDED = "RollbackSucceeded"
    ROLLBACK_FAILED = "RollbackFailed"
    UNINSTALL_SUCCEEDED = "UninstallSucceeded"
    UNINSTALL_FAILED = "UninstallFailed"
    ARTIFACT_FAILED = "ArtifactFailed"
    DEPENDENCY_NOT_READY = "DependencyNotReady"
    SOURCE_NOT_READY = "SourceNotReady"
    VALUES_ERROR = "ValuesError"
    STATE_ERROR = "StateError"
    CHART_MUTATE_ERROR = "ChartMutateError"
    REST_CLIENT_ERROR = "RESTClientError"
    RECONCILE_ERROR = "ReconcileError"
    PENDING_RELEASE = "PendingRelease"
    ACCESS_DENIED = "AccessDenied"
    INVALID_CEL_EXPRESSION = "InvalidCELExpression"
    HEALTH_CHECK_CANCELED = "HealthCheckCanceled"
    DRIFT_DETECTED = "DriftDetected"
    NO_DRIFT_DETECTED = "NoDriftDetected"
    RETRIES_EXCEEDED = "RetriesExceeded"
    MISSING_ROLLBACK_TARGET = "MissingRollbackTarget"
    PROGRESSING = "Progressing"
    PROGRESSING_WITH_RETRY = "ProgressingWithRetry"


class SourceReason(StrEnum):
    """Reasons on the kinds of source-controller."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    PROGRESSING = "Progressing"
    PROGRESSING_WITH_RETRY = "ProgressingWithRetry"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    URL_INVALID = "URLInvalid"
    VERIFICATION_ERROR = "VerificationError"
    GIT_OPERATION_FAILED = "GitOperationFailed"
    EMPTY_GIT_REPOSITORY = "EmptyGitRepository"
    INDEXATION_FAILED = "IndexationFailed"
    OCI_PULL_FAILED = "OCIArtifactPullFailed"
    OCI_LAYER_OPERATION_FAILED = "OCIArtifactLayerOperationFailed"
    BUCKET_OPERATION_FAILED = "BucketOperationFailed"
    NO_SOURCE_ARTIFACT = "NoSourceArtifact"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    INVALID_CHART_REFERENCE = "InvalidChartReference"
    VALUES_FILES_ERROR = "ValuesFilesError"
    METADATA_PATCH_ERROR = "MetadataPatchError"
    CHART_PULL_ERROR = "ChartPullError"
    DEPENDENCY_BUILD_ERROR = "DependencyBuildError"
    CHART_PACKAGE_ERROR = "ChartPackageError"
    CHART_PULL_SUCCEEDED = "ChartPullSucceeded"
    CHART_PACKAGE_SUCCEEDED = "ChartPackageSucceeded"
    NEW_CHART = "NewChart"
    ACCESS_DENIED = "AccessDenied"


class ImageReason(StrEnum):
    """Reasons on the kinds of the two image controllers."""

    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    PROGRESSING = "Progressing"
    PROGRESSING_WITH_RETRY = "ProgressingWithRetry"
    READ_OPERATION_FAILED = "ReadOperationFailed"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    IMAGE_URL_INVALID = "ImageURLInvalid"
    INVALID_POLICY = "InvalidPolicy"
    INTERVAL_NOT_CONFIGURED = "IntervalNotConfigured"
    DEPENDENCY_NOT_READY = "DependencyNotReady"
    GIT_OPERATION_FAILED = "GitOperationFailed"
    INVALID_SOURCE_CONFIGURATION = "InvalidSourceConfiguration"
    REMOVED_TEMPLATE_FIELD = "RemovedTemplateField"
    ACCESS_DENIED = "AccessDenied"


class NotificationReason(StrEnum):
    """Reasons on a Receiver (a Provider and an Alert have no status)."""

    SUCCEEDED = "Succeeded"
    TOKEN_NOT_FOUND = "TokenNotFound"  # noqa: S105 - a reason, not a token
    VALIDATION_FAILED = "ValidationFailed"
    PROGRESSING = "Progressing"


SOURCE_KINDS = ("GitRepository", "OCIRepository", "Bucket", "HelmRepository", "HelmChart", "ExternalArtifact")
IMAGE_KINDS = ("ImageRepository", "ImagePolicy", "ImageUpdateAutomation")

REASONS: Mapping[str, type[StrEnum]] = {
    "Kustomization": KustomizationReason,
    "HelmRelease": HelmReleaseReason,
    "Receiver": NotificationReason,
    **dict.fromkeys(SOURCE_KINDS, SourceReason),
    **dict.fromkeys(IMAGE_KINDS, ImageReason),
}
"""Which reasons the conditions of a Flux kind may carry."""


def known_reason(kind: str, reason: str) -> StrEnum | None:
    """Return `reason` as a member of the kind's enum; None for a kind or a reason that is not listed."""
    reasons = REASONS.get(kind, ())
    return next((member for member in reasons if member == reason), None)
