"""A runtime folder of its own for tests that ask for one, and nothing left in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxdrill.cluster import leases


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """FLUXDRILL_RUNTIME in the test's own folder; what a failed test leaves there is removed."""
    root = tmp_path / "runtime"
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(root))
    yield root
    for lab_id in leases.orphans():
        leases.remove(lab_id)
