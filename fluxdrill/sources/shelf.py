"""What a chart repository has: the charts, and an index of them that can be made to lie."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias

import yaml

from fluxdrill.errors import UsageError
from fluxdrill.sources.exchange import Answer, Body, Request, plain_answer

INDEX = "index.yaml"
MALFORMED = b"apiVersion: v1\nentries: [ {\n"
HUGE = 100 << 20
"""Bytes of a huge index; source-controller 1.9 takes 50 MiB, unless told otherwise with --helm-index-max-size."""
_COMMENT = b"# this index is valid, and larger than any client wants to read; the rest of it is this comment\n"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]*")
_CREATED = datetime(2020, 1, 1, tzinfo=UTC).isoformat()  # so that the same charts make the same index

_Key: TypeAlias = tuple[str, str, str]


class IndexFault(StrEnum):
    """What can be wrong with the index while the server itself works."""

    MALFORMED = "malformed"
    STALE = "stale"
    MISSING = "missing"
    HUGE = "huge"


@dataclass(frozen=True, slots=True)
class _Chart:
    folder: str
    name: str
    version: str
    archive: bytes

    @property
    def key(self) -> _Key:
        return self.folder, self.name, self.version

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}.tgz"

    @property
    def path(self) -> str:
        return _within(self.folder, self.file)

    @property
    def entry(self) -> dict[str, object]:
        digest = hashlib.sha256(self.archive).hexdigest()
        about = {"apiVersion": "v2", "name": self.name, "version": self.version, "created": _CREATED}
        return {**about, "digest": digest, "urls": [self.file]}


class Shelf:
    """The charts of a server by folder, each folder with an index; answers requests for them from memory."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._listed: dict[_Key, _Chart] = {}
        self._files: dict[str, bytes] = {}
        self._before: dict[_Key, _Chart] = {}
        self._folders = {""}
        self.fault: IndexFault | None = None

    def open(self) -> None:
        """Need nothing of the machine."""

    def close(self) -> None:
        """Have nothing to end."""

    def put(self, name: str, version: str, archive: bytes, *, folder: str) -> None:
        """Add a version, or replace it; raises UsageError for what is no name of a file or folder."""
        good = _NAME.fullmatch(name) and _VERSION.fullmatch(version) and (not folder or _NAME.fullmatch(folder))
        if not good:
            raise UsageError(
                f"{folder} {name!r} {version!r} names no chart.".lstrip(),
                hint="Use small letters, digits, dots and dashes.",
            )
        chart = _Chart(folder, name, version, archive)
        with self._guard:
            self._listed[chart.key] = chart
            self._files[chart.path] = chart.archive
            self._folders.add(folder)

    def remove(self, name: str, version: str, *, archive_only: bool, folder: str) -> None:
        """Remove a version, or only its archive; raises UsageError where there is none."""
        with self._guard:
            chart = self._listed.get((folder, name, version))
            if chart is None:
                raise UsageError(f"{name} {version} is not served.", hint="Publish it first.")
            self._files.pop(chart.path, None)
            if not archive_only:
                del self._listed[chart.key]

    def turn(self, fault: IndexFault | None) -> None:
        """Have every index lie, or tell the truth again."""
        with self._guard:
            if fault is IndexFault.STALE and self.fault is not IndexFault.STALE:
                self._before = dict(self._listed)
            self.fault = fault

    def answer(self, request: Request) -> Answer:
        """Return an index or an archive; 404 for all else."""
        if request.method not in {"GET", "HEAD"}:
            return plain_answer(405, "This repository is only read.")
        path = request.path.strip("/")
        folder, _, file = path.rpartition("/")
        with self._guard:
            made = self._index(folder) if file == INDEX else self._file(path)
        if made is None:
            return plain_answer(404, "There is no such file.")
        kind = "application/yaml" if file == INDEX else "application/gzip"
        body, length = made
        return Answer(200, (("Content-Type", kind),), body, length)

    def _file(self, path: str) -> tuple[Body, int] | None:
        return _whole(self._files[path]) if path in self._files else None

    def _index(self, folder: str) -> tuple[Body, int] | None:
        if folder not in self._folders:
            return None
        match self.fault:
            case IndexFault.MALFORMED:
                return _whole(MALFORMED)
            case IndexFault.STALE:
                return _whole(_text(self._before, folder))
            case IndexFault.MISSING:
                return None
            case IndexFault.HUGE:
                return _huge(_text(self._listed, folder))
            case _:
                return _whole(_text(self._listed, folder))


def _text(charts: dict[_Key, _Chart], folder: str) -> bytes:
    entries: dict[str, list[dict[str, object]]] = {}
    for key in sorted(charts):
        if key[0] == folder:
            entries.setdefault(key[1], []).append(charts[key].entry)
    return yaml.safe_dump({"apiVersion": "v1", "entries": entries, "generated": _CREATED}).encode()


def _whole(content: bytes) -> tuple[Body, int]:
    return io.BytesIO(content), len(content)


class _Padded:
    """`head` and then the same block again and again: a body of any length that takes no memory."""

    def __init__(self, head: bytes, block: bytes) -> None:
        self._head = io.BytesIO(head)
        self._block = io.BytesIO(block)

    def read(self, size: int, /) -> bytes:
        """Return the next bytes; never none."""
        if found := self._head.read(size) or self._block.read(size):
            return found
        self._block.seek(0)
        return self._block.read(size)

    def close(self) -> None:
        """Have nothing to let go of."""


def _huge(true: bytes) -> tuple[Body, int]:
    block = _COMMENT * 512
    return _Padded(true, block), len(true) + HUGE // len(_COMMENT) * len(_COMMENT)


def _within(folder: str, file: str) -> str:
    return f"{folder}/{file}" if folder else file
