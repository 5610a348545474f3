"""A chart that misbehaves on purpose: its values say how, and it is packaged as any version asked for.

Its pods are the simulated ones of `fluxdrill.cluster.simulated`. What the values mean stands in `chart/values.yaml`, and
`chart/values.schema.json` refuses all others.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import yaml

NAME = "standin"
FOLDER = Path(__file__).parent / "chart"


def package(version: str, *, name: str = NAME, files: Mapping[str, str] | None = None) -> bytes:
    """Return the stand-in chart as Helm packages a chart (a gzipped tar): the same arguments, the same bytes.

    `files` are added by their path inside of the chart and replace what it has there; whether `version` is a version is
    for Helm to say.
    """
    content = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in _own_files()}
    content |= {"Chart.yaml": yaml.safe_dump(_metadata(version, name=name)), **(files or {})}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(content):
            body = content[path].encode()
            entry = tarfile.TarInfo(f"{name}/{path}")  # of nobody, and of no time
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return gzip.compress(packed.getvalue(), mtime=0)


def _metadata(version: str, *, name: str = NAME) -> dict[str, str]:
    return {
        "apiVersion": "v2",
        "name": name,
        "version": version,
        "description": "A chart that misbehaves on purpose",
    }


def _own_files() -> list[Path]:
    return [path for path in FOLDER.rglob("*") if path.is_file()]
