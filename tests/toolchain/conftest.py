"""A cache of its own for every test, and no programs from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxdrill.toolchain.catalog import Binary
from fluxdrill.toolchain.store import EXTERNAL_VARIABLES
from tests.toolchain.wrapper import wrapper


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that this test and the processes it starts use."""
    for name in EXTERNAL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLUXDRILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hello(tmp_path: Path, cache: Path) -> Binary:
    """A pinned program of one file, in an empty cache."""
    return wrapper(tmp_path / "wrapper")
