"""The archive that Helm makes of a chart's folder, without Helm."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping


def pack(name: str, content: Mapping[str, bytes]) -> bytes:
    """Return `content`, files by their path inside of the chart `name`, as a gzipped tar: the same files, the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(content):
            entry = tarfile.TarInfo(f"{name}/{path}")  # of nobody, and of no time
            entry.size = len(content[path])
            tar.addfile(entry, io.BytesIO(content[path]))
    return gzip.compress(packed.getvalue(), mtime=0)
