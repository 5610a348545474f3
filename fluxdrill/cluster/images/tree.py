"""A file system as a list of entries, written as a tar archive whose bytes depend on nothing but the entries."""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from fluxdrill.errors import HarnessError

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Top folders that are links into usr: packages name either place."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or link: its content is `data`, or `size` bytes of the file `source` from `offset` on."""

    kind: bytes
    mode: int
    target: str = ""
    data: bytes = b""
    source: Path | None = None
    offset: int = 0
    size: int = 0
    owner: int = 0
    group: int = 0


class Sink(Protocol):
    """Where an archive is written to, from its beginning to its end."""

    def write(self, data: bytes, /) -> object:
        """Write all of `data`."""
        ...


class Tree:
    """A file system to be written; a later entry replaces an earlier one of the same path."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def __contains__(self, path: str) -> bool:
        return _plain(path) in self._entries

    def __getitem__(self, path: str) -> Entry:
        return self._entries[_plain(path)]

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add an empty folder."""
        self._add(_plain(path), Entry(tarfile.DIRTYPE, mode))

    def text(self, path: str, content: str, mode: int = 0o644) -> None:
        """Add a file with `content`."""
        data = content.encode()
        self._add(_plain(path), Entry(tarfile.REGTYPE, mode, data=data, size=len(data)))

    def file(self, path: str, source: Path, mode: int | None = None) -> None:
        """Add a copy of the file `source`, which is read when the archive is written."""
        found = source.stat()
        self._add(
            _plain(path), Entry(tarfile.REGTYPE, mode or stat.S_IMODE(found.st_mode), source=source, size=found.st_size)
        )

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(_plain(path), Entry(tarfile.SYMTYPE, 0o777, target=target))

    def merge(self, archive: Path, *, without: tuple[str, ...] = ()) -> None:
        """Add what a tar file holds, except what lies in the folders `without`; it is read again when this is written."""
        with tarfile.open(archive) as tar:
            members = {_plain(one.name): one for one in tar}
        for path, member in members.items():
            if path and not PurePosixPath(path).is_relative_to("dev") and not _below(path, without):
                self._add(path, _entry(members, member, archive))

    def copy(self, path: str, folder: Path) -> None:
        """Add `folder` with everything in it, owners and modes as they are; sockets are left out."""
        for found in [folder, *sorted(folder.rglob("*"))]:
            state = found.lstat()
            entry = Entry(tarfile.REGTYPE, stat.S_IMODE(state.st_mode), owner=state.st_uid, group=state.st_gid)
            if found.is_symlink():
                entry = replace(entry, kind=tarfile.SYMTYPE, target=str(found.readlink()))
            elif found.is_dir():
                entry = replace(entry, kind=tarfile.DIRTYPE)
            elif found.is_file():
                entry = replace(entry, source=found, size=state.st_size)
            else:
                continue
            self._add(_plain(f"{path}/{found.relative_to(folder)}"), entry)

    def write(self, out: Sink) -> None:
        """Write the archive: sorted, with time zero and numbers for owners."""
        with tarfile.open(fileobj=cast("IO[bytes]", out), mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for path, entry in sorted(self._entries.items()):
                tar.addfile(_info(path, entry), _Content(entry))

    def _add(self, path: str, entry: Entry) -> None:
        for parent in reversed(PurePosixPath(path).parents[:-1]):
            self._entries.setdefault(str(parent), Entry(tarfile.DIRTYPE, 0o755))
        if entry.kind == tarfile.DIRTYPE and path in self._entries and self._entries[path].kind == tarfile.SYMTYPE:
            return  # a folder that another package has made a link of
        self._entries[path] = entry


def _plain(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join(["usr", *parts] if parts and parts[0] in _MERGED and len(parts) > 1 else parts)


def _below(path: str, folders: tuple[str, ...]) -> bool:
    return any(PurePosixPath(path).is_relative_to(folder) for folder in folders)


def _entry(members: dict[str, tarfile.TarInfo], member: tarfile.TarInfo, archive: Path) -> Entry:
    # a second name of a file is written as a copy: sorted, it could come before the first
    held = members.get(_plain(member.linkname), member) if member.islnk() else member
    if member.isdir() or member.issym():
        return Entry(member.type, member.mode, target=member.linkname if member.issym() else "")
    if not held.isreg():
        raise HarnessError(f"{archive.name} holds {member.name} of an unknown kind.", hint="Report this.")
    return Entry(
        tarfile.REGTYPE,
        member.mode,
        source=archive,
        offset=held.offset_data,
        size=held.size,
        owner=member.uid,
        group=member.gid,
    )


def _info(path: str, entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.linkname, info.size = entry.kind, entry.mode, entry.target, entry.size
    info.uid, info.gid = entry.owner, entry.group
    return info


class _Content(io.RawIOBase):
    """Reads an entry's bytes, and opens its file only once the first is asked for."""

    def __init__(self, entry: Entry) -> None:
        self._chunks = _chunks(entry)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, `size` at the most."""
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        given, self._rest = self._rest[:size], self._rest[size:]
        return given


def _chunks(entry: Entry) -> Iterator[bytes]:
    if entry.source is None:
        yield entry.data
        return
    with entry.source.open("rb") as file:
        file.seek(entry.offset)
        left = entry.size
        while left and (chunk := file.read(min(left, 1 << 20))):
            left -= len(chunk)
            yield chunk
