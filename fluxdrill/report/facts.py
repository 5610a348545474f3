"""What every report says of how a run was done: versions, the machine, and what was simulated."""

from __future__ import annotations

import platform
from typing import Any

import fluxdrill
from fluxdrill.model.capabilities import SIMULATED
from fluxdrill.toolchain.catalog import BINARIES


def run_facts(provider: str) -> dict[str, Any]:
    """Return them as plain data, for labs of `provider`."""
    return {
        "fluxdrill": fluxdrill.version(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "provider": provider,
        "simulated": list(SIMULATED[provider]),
        "versions": {one.name: one.version for one in BINARIES},
    }
