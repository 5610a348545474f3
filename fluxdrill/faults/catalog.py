"""Every fault by its name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from fluxdrill.errors import UsageError
from fluxdrill.faults import admission, charts, control_plane, controllers, network, objects, pushes, sources, storage
from fluxdrill.faults.fault import Fault

FAMILIES = (controllers, control_plane, network, sources, charts, pushes, objects, admission, storage)
FAULTS: Mapping[str, type[Fault[Any]]] = {one.name: one for family in FAMILIES for one in family.FAULTS}


def fault_class(name: str) -> type[Fault[Any]]:
    """Return the fault called `name`; raises UsageError with the nearest name where there is none."""
    if name not in FAULTS:
        near = difflib.get_close_matches(name, FAULTS, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(FAULTS))}."
        raise UsageError(f"There is no fault {name}.", hint=hint)
    return FAULTS[name]


def make(name: str, arguments: Mapping[str, Any]) -> Fault[Any]:
    """Return a fault with its arguments; raises UsageError for an unknown one, pydantic's ValidationError for wrong ones."""
    found = fault_class(name)
    return found(found.arguments.model_validate(arguments))
