"""Change an object as it is now: read, decide, write, and never over what somebody else wrote meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fluxdrill.kube.api import FIELD_MANAGER, Api
from fluxdrill.kube.errors import ConflictError
from fluxdrill.model.refs import KubeObject, ObjectRef

ATTEMPTS = 5
"""So often somebody else may write between our read and our write."""

Decide = Callable[[KubeObject], dict[str, Any] | None]
"""Returns the JSON merge patch for an object, None where nothing is to be done; it may refuse by raising."""


def change(api: Api, ref: ObjectRef, decide: Decide, *, field_manager: str = FIELD_MANAGER) -> tuple[str, str]:
    """Change an object and return its resourceVersion before and after: the same where nothing was changed.

    Raises what the API says; ConflictError only where others kept on writing.
    """
    for attempt in range(ATTEMPTS):
        found = api.get(ref)
        before = str(found["metadata"]["resourceVersion"])
        patch = decide(found)
        if patch is None:
            return before, before
        held = {**patch, "metadata": {**(patch.get("metadata") or {}), "resourceVersion": before}}
        try:
            after = api.patch(ref, held, field_manager=field_manager)
        except ConflictError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        return before, str(after["metadata"]["resourceVersion"])
    raise AssertionError
