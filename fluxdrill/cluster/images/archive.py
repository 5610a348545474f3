"""Docker archives of one layer: what `docker load`, `kind load image-archive` and containerd read."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fluxdrill.cluster.images.tree import Tree

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class Settings:
    """How a container of an image starts; `user` is a number, "" for root."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    stop_signal: str = ""


def write_archive(path: Path, name: str, tree: Tree, settings: Settings) -> str:
    """Write the image `name` into the file `path`, whole or not at all; return its id ("sha256:...").

    The same tree and settings give the same bytes.
    """
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("w+b") as out:
            image_id = _write(out, name, tree, settings)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return f"sha256:{image_id}"


def _write(out: IO[bytes], name: str, tree: Tree, settings: Settings) -> str:
    layer = _write_layer(out, tree)
    config = json.dumps(_config(layer, settings), sort_keys=True).encode()
    image_id = hashlib.sha256(config).hexdigest()
    listed = [{"Config": f"{image_id}.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(fileobj=out, mode="w") as tar:  # behind the layer
        for member, data in ((f"{image_id}.json", config), ("manifest.json", json.dumps(listed).encode())):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return image_id


def _write_layer(out: IO[bytes], tree: Tree) -> str:
    """Write the layer straight into the archive: its header comes first and is filled in once its size is known."""
    out.seek(_BLOCK)
    counted = _Hashing(out)
    tree.write(counted)
    info = tarfile.TarInfo("layer.tar")
    info.size = counted.size
    out.seek(0)
    out.write(info.tobuf(tarfile.GNU_FORMAT))
    out.seek(_BLOCK + counted.size)
    return counted.digest


def _config(layer: str, settings: Settings) -> dict[str, object]:
    started = {
        "Entrypoint": list(settings.entrypoint) or None,
        "Cmd": list(settings.command) or None,
        "Env": [f"{key}={value}" for key, value in ({"PATH": PATH} | dict(settings.environment)).items()],
        "User": settings.user,
        "StopSignal": settings.stop_signal,
    }
    return {
        "architecture": _ARCHITECTURES.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {key: value for key, value in started.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created_by": "fluxdrill"}],
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
