"""A small valid scenario, changed by each test."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

SCENARIO: dict[str, Any] = {
    "apiVersion": "fluxdrill.dev/v1",
    "kind": "Scenario",
    "id": "sample-scenario",
    "title": "A scenario that is made for a test",
    "proves": ["C-21"],
    "needs": ["stop-controller"],
    "faults": [{"fault": "controllers.kill", "with": {"controller": "kustomize-controller"}}],
    "seen": [{"absent": ["ConfigMap/shop/web"]}],
    "affected": ["ConfigMap/shop/web"],
    "decoy": ["Deployment/monitoring/watcher"],
    "outcome": "recovered",
}


def sample(**changes: Any) -> dict[str, Any]:
    """Return the sample with some fields changed; None removes one."""
    made = copy.deepcopy(SCENARIO) | changes
    return {key: value for key, value in made.items() if value is not None}


def written(folder: Path, **changes: Any) -> Path:
    """Write the sample as a file."""
    path = folder / "sample.yaml"
    path.write_text(yaml.safe_dump(sample(**changes), sort_keys=False), encoding="utf-8")
    return path
