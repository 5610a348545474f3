from __future__ import annotations

import gzip
import io
import tarfile

from fluxdrill.sources.archive import pack


def test_a_chart_is_packed_below_its_name_and_the_same_files_make_the_same_bytes() -> None:
    packed = pack("app", {"values.yaml": b"a: 1\n", "Chart.yaml": b"name: app\n"})
    assert packed == pack("app", {"Chart.yaml": b"name: app\n", "values.yaml": b"a: 1\n"})
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        assert tar.getnames() == ["app/Chart.yaml", "app/values.yaml"]
        values = tar.extractfile("app/values.yaml")
        assert values is not None
        assert values.read() == b"a: 1\n"
    assert packed != pack("other", {"Chart.yaml": b"name: app\n", "values.yaml": b"a: 1\n"})
