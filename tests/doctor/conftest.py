"""Fixtures of the tests of the doctor."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cluster.conftest import runtime

__all__ = ["bin_only", "runtime"]


@pytest.fixture
def bin_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with the real git and go and nothing else; what a test takes out of it is not there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "go"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    return folder
