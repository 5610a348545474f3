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
from fluxdrill.toolchain.catalog import Assets, Binary, family_module
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
    """Where a program is, or would be once built; `remark` says why an external one was passed over."""

    binary: Binary
    origin: Origin
    path: Path
    remark: str = ""


def cache_root() -> Path:
    """Return the cache folder: FLUXDRILL_CACHE, else fluxdrill below XDG_CACHE_HOME or ~/.cache."""
    if named := os.environ.get("FLUXDRILL_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fluxdrill"


def locate(binary: Binary) -> Located:
    """Find `binary`: a fitting external one, a cached build of exactly these inputs, or where it is to be built."""
    remark = ""
    for folder in _external_folders():
        candidate = folder / binary.name
        if candidate.is_file():
            if _fits(binary, candidate):
                return Located(binary, Origin.EXTERNAL, candidate)
            remark = f"{candidate} is not {binary.version}"
    built = _cached(binary)
    if built is not None:
        return Located(binary, Origin.CACHE, built, remark)
    return Located(binary, Origin.MISSING, entry(binary) / binary.name, remark)


def entry(binary: Binary) -> Path:
    """Return the cache folder of a build of `binary` by this machine's Go."""
    go = find_go()
    version = go.version if go else "no-go"
    return _shelf(binary) / f"{binary.version}-{_source_key(binary)}-{version}"


def assets_entry(assets: Assets) -> Path:
    """Return the cache folder of a file set."""
    return cache_root() / "assets" / assets.name / f"{assets.version}-{_digest(repr(assets.patterns))}"


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
            hint="Set FLUXDRILL_CACHE to a folder that can.",
        ) from error
    return folder


def _external_folders() -> list[Path]:
    return [Path(value) for name in EXTERNAL_VARIABLES if (value := os.environ.get(name))]


def _cached(binary: Binary) -> Path | None:
    if find_go() is not None:
        exact = entry(binary) / binary.name
        return exact if exact.is_file() else None
    builds = sorted(_shelf(binary).glob(f"{binary.version}-{_source_key(binary)}-*/{binary.name}"))
    return builds[-1] if builds else None


def _shelf(binary: Binary) -> Path:
    return cache_root() / "bin" / binary.name


def _source_key(binary: Binary) -> str:
    folder = family_module(binary.family).folder
    pins = [(folder / name).read_bytes() for name in ("go.mod", "go.sum") if (folder / name).exists()]
    platform = f"{sys.platform}-{os.uname().machine}"
    return _digest(binary.package, binary.ldflags, platform, *(pin.decode() for pin in pins))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _fits(binary: Binary, candidate: Path) -> bool:
    wanted = binary.version.removeprefix("v")
    try:
        if binary.version_argv:
            done = run([candidate, *binary.version_argv], deadline=20)
            return wanted in re.findall(r"\d+\.\d+\.\d+[-+.\w]*", done.text + done.stderr)
        go = find_go()
        return go is not None and build_info(go, candidate).get(binary.module.pin(binary.package)[0]) == binary.version
    except FluxdrillError:
        return False
