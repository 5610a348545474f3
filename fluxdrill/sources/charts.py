"""A chart repository over HTTP on loopback: `index.yaml` and archives, with the fault switches of the Git server.

Beside those the index itself can be wrong, and versions can vanish. Flux's source-controller fetches from it.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import yaml

from fluxdrill.errors import UsageError
from fluxdrill.model.clock import SYSTEM_CLOCK, Clock
from fluxdrill.sources.git import GitServer
from fluxdrill.sources.git_backend import Answer, Backend, Request, plain_answer
from fluxdrill.sources.git_faults import FaultKind, GitFault
from fluxdrill.sources.git_http import RequestRecord, Site

__all__ = ["ChartServer", "FaultKind", "GitFault", "IndexFault", "RequestRecord"]

INDEX = "index.yaml"
MALFORMED = b"apiVersion: v1\nentries: [ {\n"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]*")
_CREATED = datetime(2020, 1, 1, tzinfo=UTC).isoformat()  # so that the same charts make the same index


class IndexFault(StrEnum):
    """What can be wrong with the index while the server itself works."""

    MALFORMED = "malformed"
    STALE = "stale"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class _Chart:
    name: str
    version: str
    archive: bytes

    @property
    def file(self) -> str:
        return f"{self.name}-{self.version}.tgz"

    @property
    def entry(self) -> dict[str, object]:
        digest = hashlib.sha256(self.archive).hexdigest()
        about = {"apiVersion": "v2", "name": self.name, "version": self.version, "created": _CREATED}
        return {**about, "digest": digest, "urls": [self.file]}


class ChartServer(GitServer):
    """Serves the charts that are published to it at `url`; used once, as a context manager.

    With a `user`, every request must carry `user` and `password` (HTTP basic). `fault` is any fault of the Git server,
    `only` being a path such as `index.yaml`. Read and written by any thread.
    """

    def __init__(self, *, user: str = "", password: str = "", clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(Path(), user=user, password=password, clock=clock)
        self._shelf = _Shelf()
        credentials = f"{user}:{password}".encode() if user else b""
        self._site = Site(self._shelf, user or "anonymous", credentials, clock)

    def publish(self, name: str, version: str, archive: bytes) -> None:
        """Serve `archive` as `version` of the chart `name`, in place of what was served as that before.

        The archive is served as it is, good or bad. Raises UsageError for what is no name or version of a file.
        """
        if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
            raise UsageError(
                f"{name!r} {version!r} names no chart.", hint="Use small letters, digits, dots and dashes."
            )
        self._shelf.put(_Chart(name, version, archive))

    def withdraw(self, name: str, version: str, *, archive_only: bool = False) -> None:
        """Have a version vanish from index and server; with `archive_only` the index goes on promising it.

        Raises UsageError where there is no such version.
        """
        self._shelf.remove(name, version, archive_only=archive_only)

    @property
    def index_fault(self) -> IndexFault | None:
        """What is wrong with the index; set one to turn it on, None to have the index tell the truth."""
        return self._shelf.index_fault

    @index_fault.setter
    def index_fault(self, fault: IndexFault | None) -> None:
        self._shelf.turn(fault)


class _Shelf(Backend):
    """Answers from memory, where the Git server asks `git http-backend`."""

    def __init__(self) -> None:
        super().__init__(Path(), deadline=0)
        self._guard = threading.Lock()
        self._listed: dict[tuple[str, str], _Chart] = {}
        self._files: dict[str, bytes] = {}
        self._frozen = b""
        self.index_fault: IndexFault | None = None

    def check(self) -> None:
        """Need nothing of the machine."""

    def close(self) -> None:
        """Have nothing to end."""

    def put(self, chart: _Chart) -> None:
        with self._guard:
            self._listed[chart.name, chart.version] = chart
            self._files[chart.file] = chart.archive

    def remove(self, name: str, version: str, *, archive_only: bool) -> None:
        with self._guard:
            chart = self._listed.get((name, version))
            if chart is None:
                raise UsageError(f"{name} {version} is not served.", hint="Publish it first.")
            self._files.pop(chart.file, None)
            if not archive_only:
                del self._listed[name, version]

    def turn(self, fault: IndexFault | None) -> None:
        with self._guard:
            if fault is IndexFault.STALE and self.index_fault is not IndexFault.STALE:
                self._frozen = self._true_index()
            self.index_fault = fault

    def answer(self, request: Request) -> Answer:
        """Return the index or an archive; 404 for all else."""
        if request.method not in {"GET", "HEAD"}:
            return plain_answer(405, "This repository is only read.")
        path = request.path.strip("/")
        with self._guard:
            body = self._index() if path == INDEX else self._files.get(path)
        if body is None:
            return plain_answer(404, "There is no such file.")
        kind = "application/yaml" if path == INDEX else "application/gzip"
        return Answer(200, (("Content-Type", kind),), io.BytesIO(body), len(body))

    def _index(self) -> bytes | None:
        match self.index_fault:
            case IndexFault.MALFORMED:
                return MALFORMED
            case IndexFault.STALE:
                return self._frozen
            case IndexFault.MISSING:
                return None
            case _:
                return self._true_index()

    def _true_index(self) -> bytes:
        entries: dict[str, list[dict[str, object]]] = {}
        for key in sorted(self._listed):
            entries.setdefault(key[0], []).append(self._listed[key].entry)
        return yaml.safe_dump({"apiVersion": "v1", "entries": entries, "generated": _CREATED}).encode()
