"""The cache of built programs and fetched files, and the search order for a program."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fluxdrill.errors import FluxdrillError, HarnessError
from fluxdrill.process import run
from fluxdrill.toolchain.catalog import Binary, FileSet
from fluxdrill.toolchain.golang import build_info, find_go

EXTERNAL_VARIABLES = ("FLUXDRILL_BIN", "KUBEBUILDER_ASSETS")
"""Folders of ready binaries, looked into first, in this order."""


class Origin(StrEnum):
    """Where a program comes from."""

    EXTERNAL = "external"
    CACHE = "cache"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Located:
    """Where a program or file set is, or would be once built; `remarks` say why external ones were passed over."""

    item: Binary | FileSet
    origin: Origin
    path: Path
    remarks: tuple[str, ...] = ()


def cache_root() -> Path:
    """Return the cache folder: FLUXDRILL_CACHE, else fluxdrill below XDG_CACHE_HOME or ~/.cache."""
    if named := os.environ.get("FLUXDRILL_CACHE"):
        return Path(named).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fluxdrill"


def locate(item: Binary | FileSet) -> Located:
    """Find a fitting external program, a cached build of exactly these inputs, or where it is to be built.

    A file set is never external.
    """
    if isinstance(item, FileSet):
        folder = entry(item)
        return Located(item, Origin.CACHE if folder.is_dir() else Origin.MISSING, folder)
    remarks: list[str] = []
    for candidate in _external(item.name):
        misfit = _misfit(item, candidate)
        if not misfit:
            return Located(item, Origin.EXTERNAL, candidate, tuple(remarks))
        remarks.append(f"{candidate} was passed over: {misfit}")
    built = _cached(item)
    path = built or entry(item) / item.name
    return Located(item, Origin.CACHE if built else Origin.MISSING, path, tuple(remarks))


def entry(item: Binary | FileSet) -> Path:
    """Return the cache folder of a file set, or of a build of a program by this machine's Go."""
    if isinstance(item, FileSet):
        return cache_root() / "assets" / item.name / f"{item.version}-{_digest(repr(item.patterns))}"
    go = find_go()
    return _shelf(item) / f"{item.version}-{_source_key(item)}-{go.version if go else 'no-go'}"


def writable(folder: Path) -> Path:
    """Make `folder` and return it; raises HarnessError with the remedy where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise HarnessError(
            f"The cache folder {folder} cannot be written: {error.strerror}.",
            hint="Set FLUXDRILL_CACHE to a folder that can, with about 1 GB free.",
        ) from error
    return folder


def cache_size() -> int:
    """Return how many bytes the cache takes."""
    return sum(path.lstat().st_size for path in cache_root().rglob("*") if path.is_file())


def _external(name: str) -> list[Path]:
    folders = [Path(value).absolute() for variable in EXTERNAL_VARIABLES if (value := os.environ.get(variable))]
    return [folder / name for folder in folders if (folder / name).is_file()]


def _cached(binary: Binary) -> Path | None:
    if find_go() is not None:
        exact = entry(binary) / binary.name
        return exact if exact.is_file() else None
    # without Go nothing can be built: then a build by whatever Go it was is right
    builds = sorted(_shelf(binary).glob(f"{binary.version}-{_source_key(binary)}-*/{binary.name}"))
    return builds[-1] if builds else None


def _shelf(binary: Binary) -> Path:
    return cache_root() / "bin" / binary.name


def _source_key(binary: Binary) -> str:
    pins = [path.read_bytes() for name in ("go.mod", "go.sum") if (path := binary.folder / name).exists()]
    platform = f"{sys.platform}-{os.uname().machine}"
    source = [path.read_text(encoding="utf-8") for path in sorted(binary.folder.glob("*.go"))]
    return _digest(binary.package, binary.ldflags, platform, *(pin.decode() for pin in pins), *source)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _misfit(binary: Binary, candidate: Path) -> str:
    """Return why `candidate` is not `binary` at its pinned version; "" when it is."""
    try:
        found = _versions(binary, candidate)
    except FluxdrillError as error:
        return error.problem
    if binary.version.removeprefix("v") in found:
        return ""
    return f"{binary.version} is wanted, it is {' '.join(found) or 'of unknown version'}"


def _versions(binary: Binary, candidate: Path) -> list[str]:
    """Return the versions that `candidate` calls its own."""
    if binary.version_argv:
        done = run([candidate, *binary.version_argv], deadline=20)
        return re.findall(r"(?<!go)(?<![\d.])\d+\.\d+\.\d+(?:[-+][-+.\w]+)?", done.text + done.stderr)[:1]
    go = find_go()
    if go is None:
        raise HarnessError("without Go its version cannot be read.")
    version = build_info(go, candidate).get(binary.module.pin(binary.package)[0])
    return [version.removeprefix("v")] if version else []
