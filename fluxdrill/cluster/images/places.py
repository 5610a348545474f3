"""Where images are kept, and the keys that say what went into them."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fluxdrill.cluster.leases import mounts_below, started
from fluxdrill.errors import HarnessError
from fluxdrill.process import run
from fluxdrill.toolchain.store import cache_root, writable

HOST = "fluxdrill.invalid"
"""The host in every image's name: a name that is never resolved, so that nothing can be pulled by mistake."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


def images_cache() -> Path:
    """Return the folder of everything about images."""
    return cache_root() / "images"


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder on the cache's disk that goes with the block; what a killed build left goes first.

    Raises HarnessError where the disk turns out to be full in the block.
    """
    parent = writable(images_cache() / "scratch")
    for left in [*parent.iterdir(), *(images_cache() / "archives").glob(".partial-*")]:
        owner = left.name.removeprefix(".partial-").partition("-")[0]
        if not owner.isdigit() or started(int(owner)) is None:
            _delete(left)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
    try:
        yield folder
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise HarnessError(
            f"The disk of the images is full ({images_cache()}).",
            hint="Free about 4 GB there, or set FLUXDRILL_CACHE elsewhere; images that are made stay made.",
        ) from error
    finally:
        _delete(folder)


def _delete(path: Path) -> None:
    for point in sorted(mounts_below(path), reverse=True):
        run(["umount", "--lazy", point], deadline=10)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def digest(*parts: str | bytes) -> str:
    """Return a short key of `parts`."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:12]


def identity(program: Path) -> str:
    """Return what tells a program from every other: the name of its cache entry, or what an external one holds."""
    if program.is_relative_to(cache_root()):
        return f"{program.name} {program.parent.name}"
    with program.open("rb") as file:
        return f"{program.name} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def recipe() -> str:
    """Return a key of the code that makes images."""
    return files_key(sorted(Path(__file__).parent.glob("*.py")))


def files_key(files: Iterable[Path]) -> str:
    """Return a key of the names, modes and contents of `files`."""
    return digest(*(part for one in files for part in (one.name, f"{one.stat().st_mode:o}", one.read_bytes())))
