"""One sealing key and its certificate for all tests: making one takes a tenth of a second."""

from __future__ import annotations

import pytest

from fluxdrill.sealedsecrets.keys import SealingKey


@pytest.fixture(scope="session")
def key() -> SealingKey:
    return SealingKey.generate()


@pytest.fixture(scope="session")
def other_key() -> SealingKey:
    return SealingKey.generate()
