"""What a lab tells of itself beside transitions: each wait, and what was done to one of its parts on purpose.

Both are told when they begin and again, as the same one, when they end; a run that was killed leaves them open.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fluxdrill.model.clock import Instant
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Gap, Transition, WatchLoss


class WaitEnd(StrEnum):
    """How a wait ended."""

    WAITING = "waiting"
    MET = "met"
    DEVIATED = "not met in time"
    UNDECIDED = "undecided"
    GAVE_UP = "gave up"
    BROKEN = "broken off"


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait for `what`; `deadline` is in seconds from `started`, `why` is the last answer."""

    what: str
    refs: tuple[ObjectRef, ...]
    started: Instant
    deadline: float
    ended: Instant | None = None
    outcome: WaitEnd = WaitEnd.WAITING
    why: str = ""


@dataclass(frozen=True, slots=True)
class Intervention:
    """Something done to a part of the lab: `what` is the sentence, `target` the part; `ended` is None until it is healed."""

    what: str
    target: str
    started: Instant
    ended: Instant | None = None


Record = Transition | Gap | WatchLoss | Wait | Intervention


def transition_fields(entry: Transition) -> dict[str, Any]:
    """Return the plain fields of a transition: the object, what was seen, and its Ready condition or kstatus."""
    ready = next((one for one in entry.conditions if one.type == "Ready"), None)
    status = str(ready.status) if ready else str(entry.status.status)
    return {
        "object": str(entry.ref),
        "group": entry.ref.group,
        "change": str(entry.kind),
        "seen": str(entry.seen),
        "status": status,
        "reason": ready.reason if ready else entry.status.reason,
        "message": (ready.message if ready else entry.status.message)[:500],
        "kstatus": str(entry.status.status),
        "generation": entry.generation,
        "revision": entry.revision,
    }
