"""What every test of this repository shares: where the shared corpus is, and programs of the toolchain."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxdrill.cli import hear_interrupts

hear_interrupts()  # also where CI runs in the background of a shell: the programs that tests start inherit it
CORPUS = Path(__file__).resolve().parent.parent / "shared" / "corpus" / "elysium.bundle"


@pytest.fixture(scope="session")
def elysium() -> Path:
    """Return the bundle of a real GitOps repository; it is never part of this one."""
    if not CORPUS.is_file():
        pytest.skip(f"the corpus is not there: put elysium.bundle at ../{'/'.join(CORPUS.parts[-3:])}")
    return CORPUS
