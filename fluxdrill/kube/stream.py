"""The events of one open watch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import urllib3
from urllib3.exceptions import HTTPError

from fluxdrill.kube.errors import Cause, UnreachableError, error_of_status
from fluxdrill.model.refs import ObjectRef, Resource

_CHUNK = 1 << 16


class EventType(StrEnum):
    """What a watch says about an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event; of a bookmark's object only the resource version counts."""

    type: EventType
    object: dict[str, Any]

    @property
    def resource_version(self) -> str:
        """The version from which a watch can go on after this event."""
        return str(self.object["metadata"]["resourceVersion"])


class WatchStream:
    """Iterate over it once; it ends when the server ends the watch, and raises when the connection breaks.

    Raises UnreachableError, and ApiError for an ERROR event (GoneError when the version is too old).
    """

    def __init__(
        self,
        answer: urllib3.BaseHTTPResponse,
        *,
        resource: Resource,
        ref: ObjectRef,
        translate: Callable[[Exception], UnreachableError],
    ) -> None:
        self._answer = answer
        self._resource = resource
        self._ref = ref
        self._translate = translate

    def __iter__(self) -> Iterator[WatchEvent]:
        try:
            for line in self._lines():
                yield self._event(line)
        except (HTTPError, OSError) as error:
            raise self._translate(error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; a watch's is never reused."""
        self._answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _lines(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        while chunk := self._answer.read1(_CHUNK):
            *ends, rest = chunk.split(b"\n")
            for end in ends:
                yield b"".join((*parts, end))
                parts = []
            parts.append(rest)
        if any(parts):  # cut off in the middle of an event
            raise self._translate(HTTPError())

    def _event(self, line: bytes) -> WatchEvent:
        try:
            event = json.loads(line)
        except ValueError as error:
            raise UnreachableError(Cause.RESET, f"WATCH {self._resource.plural}: broken event") from error
        if event["type"] == "ERROR":
            raise error_of_status(event["object"], self._ref)
        return WatchEvent(EventType(event["type"]), event["object"])
