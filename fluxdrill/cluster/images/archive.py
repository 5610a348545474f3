"""Docker archives of one layer, or of one on another image's: what `docker load`, `kind load` and containerd read."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fluxdrill.cluster.images.tree import Tree

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_BLOCK = tarfile.BLOCKSIZE
_BASE, _LAYER = "base.tar", "layer.tar"


@dataclass(frozen=True, slots=True)
class Settings:
    """How a container of an image starts; `user` is a number, "" for root. `volumes` are folders outside its layers."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    stop_signal: str = ""
    volumes: Sequence[str] = ()


def write_archive(path: Path, name: str, tree: Tree, settings: Settings, *, base: Path | None = None) -> str:
    """Write the image `name` into the file `path`, whole or not at all; return its id ("sha256:...").

    `base` is the archive of an image of one layer that the tree lies on. The same tree, settings and base give the same
    bytes.
    """
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("w+b") as out:
            image_id = _write(out, name, tree, settings, base)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return f"sha256:{image_id}"


def _write(out: IO[bytes], name: str, tree: Tree, settings: Settings, base: Path | None) -> str:
    layers = {_BASE: _copy_layer(out, base)} if base else {}
    layers[_LAYER] = _write_layer(out, tree)
    config = json.dumps(_config(list(layers.values()), settings), sort_keys=True).encode()
    image_id = hashlib.sha256(config).hexdigest()
    listed = [{"Config": f"{image_id}.json", "RepoTags": [name], "Layers": list(layers)}]
    with tarfile.open(fileobj=out, mode="w") as tar:  # behind the layers
        for member, data in ((f"{image_id}.json", config), ("manifest.json", json.dumps(listed).encode())):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return image_id


def _copy_layer(out: IO[bytes], base: Path) -> str:
    """Copy the only layer of the archive `base`, and return its SHA-256 as `base` knows it."""
    with tarfile.open(base) as tar:
        (listed,) = json.load(_open(tar, "manifest.json"))
        (digest,) = json.load(_open(tar, listed["Config"]))["rootfs"]["diff_ids"]
        layer = tar.getmember(_LAYER)
        out.write(_header(_BASE, layer.size))
        with _open(tar, _LAYER) as file:  # whole blocks: it is an archive itself
            shutil.copyfileobj(file, out, 1 << 20)
    return str(digest).removeprefix("sha256:")


def _open(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    file = tar.extractfile(name)
    assert file is not None  # noqa: S101 - an archive of ours
    return file


def _write_layer(out: IO[bytes], tree: Tree) -> str:
    """Write the layer straight into the archive: its header comes first and is filled in once its size is known."""
    start = out.tell()
    out.seek(start + _BLOCK)
    counted = _Hashing(out)
    tree.write(counted)
    out.seek(start)
    out.write(_header(_LAYER, counted.size))
    out.seek(start + _BLOCK + counted.size)
    return counted.digest


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def _config(layers: Sequence[str], settings: Settings) -> dict[str, object]:
    started: dict[str, object] = {
        "Entrypoint": list(settings.entrypoint) or None,
        "Cmd": list(settings.command) or None,
        "Env": [f"{key}={value}" for key, value in ({"PATH": PATH} | dict(settings.environment)).items()],
        "User": settings.user,
        "StopSignal": settings.stop_signal,
        "Volumes": {one: {} for one in settings.volumes},
    }
    return {
        "architecture": _ARCHITECTURES.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {key: value for key, value in started.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{one}" for one in layers]},
        "history": [{"created_by": "fluxdrill"} for _ in layers],
    }


class _Hashing:
    """Passes what is written on, and knows its size and SHA-256."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out, self._hash, self.size = out, hashlib.sha256(), 0

    def write(self, data: bytes, /) -> object:
        """Write all of `data`."""
        self._hash.update(data)
        self.size += len(data)
        return self._out.write(data)

    @property
    def digest(self) -> str:
        """The SHA-256 of what was written, in hexadecimal."""
        return self._hash.hexdigest()
