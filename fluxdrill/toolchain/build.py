"""Build the pinned programs and fetch the pinned files into the cache, one `go build` at a time."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from fluxdrill.errors import HarnessError
from fluxdrill.progress import Progress, Silent
from fluxdrill.toolchain.catalog import PINNED, Binary, Catalog, FileSet
from fluxdrill.toolchain.golang import Go, require_go
from fluxdrill.toolchain.gomod import read_module
from fluxdrill.toolchain.store import Origin, cache_root, entry, locate, writable

BUILD_DEADLINE = 3600.0
FETCH_DEADLINE = 600.0
LOCK_DEADLINE = 7200.0


@dataclass(frozen=True, slots=True)
class Built:
    """One program built, or one file set fetched: how long it took (seconds) and where it is."""

    item: Binary | FileSet
    path: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class Tools:
    """Paths of everything a lab needs, all present."""

    binaries: dict[str, Path]
    files: dict[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.binaries[name]

    def manifests(self, name: str) -> list[Path]:
        """Return the YAML files of one file set, sorted."""
        return sorted(self.files[name].rglob("*.yaml"))


def ensure(
    names: Iterable[str] | None = None, *, progress: Progress | None = None, catalog: Catalog = PINNED
) -> tuple[Tools, list[Built]]:
    """Build and fetch what is missing; return the paths and what was built.

    `names` are programs (default: all); the file sets are small and always included. Safe when two processes do it at
    once: the second waits and then finds everything. Raises UsageError for an unknown name, HarnessError where Go is
    missing or too old, a module is refused, or the cache cannot be written.
    """
    progress = progress or Silent()
    named = catalog.binaries if names is None else [catalog.find(name) for name in names]
    wanted = list(dict.fromkeys([*named, *catalog.files]))
    found = [locate(item) for item in wanted]
    built: list[Built] = []
    if missing := [one.item for one in found if one.origin is Origin.MISSING]:
        with _exclusive(progress):
            built = _build_missing(missing, progress)
        found = [locate(item) for item in wanted]
    binaries = {one.item.name: one.path for one in found if isinstance(one.item, Binary)}
    return Tools(binaries, {one.item.name: one.path for one in found if isinstance(one.item, FileSet)}), built


def path_of(name: str, *, catalog: Catalog = PINNED) -> Path:
    """Return the path of a present binary or file set; UsageError for an unknown name, HarnessError if not built."""
    place = locate(catalog.find(name))
    if place.origin is Origin.MISSING:
        raise HarnessError(f"{name} is not built yet.", hint="Run `fluxdrill toolchain build`.")
    return place.path


@contextmanager
def _exclusive(progress: Progress) -> Iterator[None]:
    lock = FileLock(writable(cache_root()) / "build.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note("Another fluxdrill builds the toolchain; waiting for it.")
        try:
            lock.acquire(timeout=LOCK_DEADLINE)
        except Timeout as error:
            raise HarnessError(
                f"Another build has held the cache for {LOCK_DEADLINE:g} s.", hint="See what it waits for, or end it."
            ) from error
    try:
        yield
    finally:
        lock.release()


def _build_missing(missing: list[Binary | FileSet], progress: Progress) -> list[Built]:
    built: list[Built] = []
    for number, item in enumerate(missing, start=1):
        # looked up again: while we waited for the lock another process may have built it
        if locate(item).origin is not Origin.MISSING:
            continue
        label = f"[{number}/{len(missing)}] {item.name}"
        started = time.monotonic()
        path = _build(item, label, progress) if isinstance(item, Binary) else _fetch(item, label, progress)
        built.append(Built(item, path, time.monotonic() - started))
        if isinstance(item, Binary):
            progress.note(f"built {item.name} {item.version} in {built[-1].seconds:.0f} s")
    return built


def _build(one: Binary, label: str, progress: Progress) -> Path:
    go = require_go(one.module.go)
    what = f"Building {one.name} {one.version}"
    with _placed(one) as (partial, scratch):
        started = time.monotonic()
        go.run(
            *("build", "-v", "-ldflags", one.ldflags, "-o", partial / one.name, one.package),
            deadline=BUILD_DEADLINE,
            what=what,
            folder=one.folder,
            scratch=scratch,
            on_stderr=_Bar(label, _package_count(go, one, label, progress), progress),
        )
        seconds = round(time.monotonic() - started, 1)
        record = {"package": one.package, "version": one.version, "go": go.version, "seconds": seconds}
        (partial / "build.json").write_text(json.dumps(record), encoding="utf-8")
    return entry(one) / one.name


def _fetch(files: FileSet, label: str, progress: Progress) -> Path:
    what = f"Fetching {files.module} {files.version}"
    progress.update(f"{label}: {files.module} {files.version}")
    go = require_go(read_module(files.folder).go)
    answer = go.run("mod", "download", "-json", files.module, deadline=FETCH_DEADLINE, what=what, folder=files.folder)
    source = Path(json.loads(answer)["Dir"])
    found = [path for pattern in files.patterns for path in source.glob(pattern)]
    if not found:
        raise HarnessError(f"{files.module} {files.version} has no files {files.patterns}.", hint="Check the pin.")
    with _placed(files) as (partial, _):
        for path in found:
            place = partial / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    return entry(files)


@contextmanager
def _placed(item: Binary | FileSet) -> Iterator[tuple[Path, Path]]:
    """Give a partial folder, and a scratch folder in it; the entry appears, whole, when the block ends well."""
    target = entry(item)
    partial = target.parent / f".partial-{os.getpid()}"
    scratch = partial / ".scratch"
    # what a killed build left; the lock says that nobody else is at work
    for left in target.parent.glob(".partial-*"):
        shutil.rmtree(left, ignore_errors=True)
    try:
        writable(scratch)
        yield partial, scratch
        shutil.rmtree(scratch)
        if target.exists():  # an entry that has lost its program
            shutil.rmtree(target)
        partial.rename(target)
    except OSError as error:
        raise HarnessError(
            f"{item.name} cannot be put into the cache: {error.strerror}.", hint="Free space or set FLUXDRILL_CACHE."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class _Bar:
    """Counts the packages `go build -v` names as it compiles them."""

    def __init__(self, label: str, total: int, progress: Progress) -> None:
        self._label, self._total, self._progress, self._done = label, total, progress, 0

    def __call__(self, line: str) -> None:
        if line.startswith("go: "):
            self._progress.update(f"{self._label}: {line.removeprefix('go: ')}")
            return
        self._done = min(self._done + 1, self._total)
        filled = 20 * self._done // max(1, self._total)
        bar = "#" * filled + "." * (20 - filled)
        self._progress.update(f"{self._label} [{bar}] {self._done}/{self._total} packages  {line[:60]}")


def _package_count(go: Go, one: Binary, label: str, progress: Progress) -> int:
    """Count what has to be compiled at the most; downloads the modules on the way."""
    progress.update(f"{label}: resolving packages")
    listed = go.run(
        *("list", "-deps", "-f", "{{.ImportPath}}", one.package),
        deadline=BUILD_DEADLINE,
        what=f"Resolving {one.name} {one.version}",
        folder=one.folder,
        on_stderr=lambda line: progress.update(f"{label}: {line.removeprefix('go: ')}"),
    )
    return len(listed.splitlines())
