"""What an API server, or the way to it, can answer instead of the thing that was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from fluxdrill.errors import HarnessError
from fluxdrill.model.refs import ObjectRef

WITHHELD = "the server's message is withheld, since it may quote the data of a Secret"
_LONGEST_TEXT = 300


class Cause(StrEnum):
    """Why a server could not be reached."""

    REFUSED = "connection refused"
    RESET = "connection lost"
    TIMEOUT = "no answer in time"
    TLS = "TLS failure"
    CLOSED = "closed by fluxdrill"


class KubeError(HarnessError):
    """Root of all errors of the API access."""


class UnreachableError(KubeError):
    """No answer came: the request may or may not have been carried out. `cause` says what happened on the way."""

    def __init__(self, cause: Cause, what: str) -> None:
        super().__init__(f"{what}: {cause}.", hint="Check that the API server runs and that the address is right.")
        self.cause = cause


class UnknownKindError(KubeError):
    """The API server serves no such kind (now)."""

    def __init__(self, group: str, kind: str, version: str = "") -> None:
        where = "/".join(part for part in (group or "the core group", version) if part)
        super().__init__(
            f"The API server serves no kind {kind} in {where}.", hint="Install its CRD first, or check the spelling."
        )
        self.group = group
        self.kind = kind


class ApiError(KubeError):
    """The API server answered with an error.

    `status` is the HTTP status, `reason` the machine-readable word of the Status object, `ref` the object that
    was asked for, `retry_after` the seconds the server asked to wait (None when it did not ask).
    """

    def __init__(
        self, status: int, reason: str, message: str, ref: ObjectRef | None = None, *, retry_after: float | None = None
    ) -> None:
        subject = f"{ref}: " if ref else ""
        super().__init__(f"{subject}{message} ({status} {reason})", hint="")
        self.status = status
        self.reason = reason
        self.message = message
        self.ref = ref
        self.retry_after = retry_after


class NotFoundError(ApiError):
    """404: no such object, or no such path."""


class ConflictError(ApiError):
    """409: the object exists already, has changed meanwhile, or another field manager owns a field."""


class ForbiddenError(ApiError):
    """401 or 403: the credentials do not allow it."""


class GoneError(ApiError):
    """410: the resource version is too old; list again."""


_CLASSES: Mapping[int, type[ApiError]] = {
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
}


def error_of(
    status: int, body: bytes, ref: ObjectRef | None, *, retry_after: str | None = None, secret: bool = False
) -> ApiError:
    """Return the error for an answer; with `secret` nothing of the server's own words is kept but names of fields."""
    report = _status_object(body)
    message = str(report.get("message") or _text(body, report) or _phrase(status))
    return error_of_status(
        {**report, "code": status, "message": message}, ref, retry_after=_seconds(retry_after), secret=secret
    )


def error_of_status(
    report: Mapping[str, Any], ref: ObjectRef | None, *, retry_after: float | None = None, secret: bool = False
) -> ApiError:
    """Return the error for a Status object, as an answer or as an ERROR event of a watch."""
    status = int(report.get("code") or 500)
    details = report.get("details") or {}
    message = _withheld(details) if secret else str(report.get("message") or _phrase(status))
    wait = retry_after if retry_after is not None else details.get("retryAfterSeconds")
    reason = str(report.get("reason") or _phrase(status))
    return _CLASSES.get(status, ApiError)(status, reason, message, ref, retry_after=wait)


def _status_object(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) and parsed.get("kind") == "Status" else {}


def _text(body: bytes, report: Mapping[str, Any]) -> str:
    return "" if report else body[:_LONGEST_TEXT].decode(errors="replace").strip()


def _withheld(details: Mapping[str, Any]) -> str:
    fields = sorted({str(cause["field"]) for cause in details.get("causes") or () if cause.get("field")})
    return f"{WITHHELD}; fields: {', '.join(fields)}" if fields else WITHHELD


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"


def _seconds(retry_after: str | None) -> float | None:
    # The header may also be a date; API servers send seconds only.
    return float(retry_after) if retry_after and retry_after.isdigit() else None
