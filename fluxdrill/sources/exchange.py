"""What a server of a lab is asked and what it answers, and the seam behind which the content is."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Protocol


class Body(Protocol):
    """Bytes to be sent, from where it stands on."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: `body` has `length` bytes (none for a HEAD, whose `length` is what a GET would get)."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: Body
    length: int


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `path` is decoded, `body` (`length` bytes) is still gzipped if it was, `user` is who was let in."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)  # they carry credentials
    user: str
    body: IO[bytes]
    length: int


class Backend(Protocol):
    """What stands behind the HTTP side of a server; used by many threads."""

    def open(self) -> None:
        """Get ready to answer; raises UsageError or HarnessError where that cannot be."""

    def answer(self, request: Request) -> Answer:
        """Answer as a server without a fault does."""

    def close(self) -> None:
        """End all that is under way; later requests are refused."""


def plain_answer(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    """Return an answer of one line of text."""
    body = tempfile.SpooledTemporaryFile(max_size=1 << 16)  # noqa: SIM115 - the sender closes it
    length = body.write(f"{text}\n".encode())
    body.seek(0)
    return Answer(status, (("Content-Type", "text/plain; charset=utf-8"), *headers), body, length)


def unauthorized() -> Answer:
    """Return the answer that asks for credentials."""
    return plain_answer(401, "Credentials are missing or wrong.", ("WWW-Authenticate", 'Basic realm="fluxdrill"'))
