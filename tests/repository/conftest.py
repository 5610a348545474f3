"""The real kustomize, as the toolchain built it."""

from __future__ import annotations

import pytest

from fluxdrill.errors import HarnessError
from fluxdrill.repository.kustomize import KustomizeBuilder
from fluxdrill.toolchain.build import path_of


@pytest.fixture(scope="session")
def kustomize() -> KustomizeBuilder:
    """Return a builder with the pinned kustomize."""
    try:
        return KustomizeBuilder(path_of("kustomize"))
    except HarnessError as error:
        pytest.skip(f"{error.problem} {error.hint}")
