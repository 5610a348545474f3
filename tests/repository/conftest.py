from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fluxdrill.repository.kustomize import KustomizeBuilder


@pytest.fixture(scope="session")
def kustomize() -> KustomizeBuilder:
    """The real kustomize."""
    program = os.environ.get("FLUXDRILL_KUSTOMIZE") or shutil.which("kustomize")
    if not program:
        pytest.skip("there is no kustomize: build the toolchain, or name one with FLUXDRILL_KUSTOMIZE")
    return KustomizeBuilder(Path(program))
