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
from fluxdrill.process import run
from fluxdrill.progress import Progress, Silent
from fluxdrill.toolchain.catalog import ASSETS, BINARIES, Assets, Binary, assets, binary, family_module
from fluxdrill.toolchain.golang import Go, environment, explain, require_go
from fluxdrill.toolchain.store import Located, Origin, assets_entry, cache_root, entry, locate, writable

BUILD_DEADLINE = 3600.0
LOCK_DEADLINE = 7200.0


@dataclass(frozen=True, slots=True)
class Built:
    """One finished build: how long it took (seconds) and how large the program is (bytes)."""

    binary: Binary
    path: Path
    seconds: float
    size: int


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


def ensure(names: Iterable[str] | None = None, *, progress: Progress | None = None) -> tuple[Tools, list[Built]]:
    """Build and fetch what is missing of `names` (default: all); return the paths and what was built.

    Safe when two processes do it at once: the second waits and then finds everything. Raises HarnessError where Go
    is missing or too old, a module is refused, or the cache cannot be written.
    """
    progress = progress or Silent()
    wanted = BINARIES if names is None else tuple(binary(name) for name in names)
    found = [locate(one) for one in wanted]
    missing_files = [one for one in ASSETS if not assets_entry(one).is_dir()]
    built: list[Built] = []
    if missing_files or any(one.origin is Origin.MISSING for one in found):
        with _exclusive(progress):
            built = _build_missing([one for one in found if one.origin is Origin.MISSING], progress)
            for files in missing_files:
                _fetch(files, progress)
        found = [locate(one) for one in wanted]
    return Tools({one.binary.name: one.path for one in found}, {one.name: assets_entry(one) for one in ASSETS}), built


def path_of(name: str) -> Path:
    """Return the path of a present binary or file set; raises HarnessError if it is not built."""
    if any(one.name == name for one in ASSETS):
        folder = assets_entry(assets(name))
        if folder.is_dir():
            return folder
    else:
        place = locate(binary(name))
        if place.origin is not Origin.MISSING:
            return place.path
    raise HarnessError(f"{name} is not built yet.", hint="Run `fluxdrill toolchain build`.")


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


def _build_missing(missing: list[Located], progress: Progress) -> list[Built]:
    built: list[Built] = []
    for number, place in enumerate(missing, start=1):
        # looked up again: while we waited for the lock another process may have built it
        if locate(place.binary).origin is Origin.MISSING:
            go = require_go(place.binary.module.go)
            built.append(_build(go, place.binary, f"[{number}/{len(missing)}] {place.binary.name}", progress))
            done = built[-1]
            progress.note(f"built {done.binary.name} {done.binary.version} in {done.seconds:.0f} s")
    return built


def _build(go: Go, one: Binary, label: str, progress: Progress) -> Built:
    target = entry(one)
    _sweep(target.parent)
    partial = writable(target.parent / f".partial-{os.getpid()}")
    started = time.monotonic()
    try:
        total = _package_count(go, one, label, progress)
        done = run(
            [go.path, "build", "-v", "-ldflags", one.ldflags, "-o", partial / one.name, one.package],
            deadline=BUILD_DEADLINE,
            cwd=family_module(one.family).folder,
            env=environment(),
            on_stderr=_Bar(label, total, progress),
        )
        if done.returncode:
            raise explain(done.stderr, what=f"Building {one.name} {one.version}")
        seconds = time.monotonic() - started
        size = (partial / one.name).stat().st_size
        record = {"package": one.package, "version": one.version, "go": go.version, "seconds": round(seconds, 1)}
        (partial / "build.json").write_text(json.dumps(record), encoding="utf-8")
        partial.rename(target)
    except OSError as error:
        raise HarnessError(
            f"{one.name} cannot be put into the cache: {error.strerror}.", hint="Free space or set FLUXDRILL_CACHE."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Built(one, target / one.name, seconds, size)


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
    done = run(
        [go.path, "list", "-deps", "-f", "{{.ImportPath}}", one.package],
        deadline=BUILD_DEADLINE,
        cwd=family_module(one.family).folder,
        env=environment(),
        on_stderr=lambda line: progress.update(f"{label}: {line.removeprefix('go: ')}"),
    )
    if done.returncode:
        raise explain(done.stderr, what=f"Resolving {one.name} {one.version}")
    return len(done.text.splitlines())


def _sweep(shelf: Path) -> None:
    """Remove what a killed build left; the lock says that nobody else is at work."""
    for partial in shelf.glob(".partial-*"):
        shutil.rmtree(partial, ignore_errors=True)


def _fetch(files: Assets, progress: Progress) -> None:
    progress.update(f"files of {files.module} {files.version}")
    module = family_module(files.family)
    go = require_go(module.go)
    done = run(
        [go.path, "mod", "download", "-json", files.module],
        deadline=600,
        cwd=module.folder,
        env=environment(),
    )
    if done.returncode:
        raise explain(done.stderr or done.text, what=f"Fetching {files.module} {files.version}")
    _copy(files, Path(json.loads(done.text)["Dir"]))


def _copy(files: Assets, source: Path) -> None:
    target = assets_entry(files)
    partial = writable(target.parent / f".partial-{os.getpid()}")
    found = [path for pattern in files.patterns for path in source.glob(pattern)]
    if not found:
        raise HarnessError(f"{files.module} {files.version} has no files {files.patterns}.", hint="Check the pin.")
    for path in found:
        place = partial / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    partial.rename(target)
