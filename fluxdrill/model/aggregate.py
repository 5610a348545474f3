"""The state of a set of objects, and when waiting for it is over.

As in fluxcd/cli-utils 1.2.2 `polling/aggregator` and fluxcd/pkg ssa 0.76 `manager_wait.go`, with two
differences, since a check that looked at nothing must not pass: upstream calls an empty set the desired
state, and a set of Jobs that nobody has ever seen done; both are Unknown (`LookedAtNothing`) here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from fluxdrill.model.kstatus_fields import MalformedError, Result, Status, group_kind, optional_integer
from fluxdrill.model.kstatus_kinds import current
from fluxdrill.model.refs import KubeObject, ObjectRef

LOOKED_AT_NOTHING = "LookedAtNothing"


class Ending(StrEnum):
    """Why a wait ends from outside."""

    DEADLINE = "deadline"
    CANCELLED = "cancelled"


class Conclusion(StrEnum):
    """What a wait has come to."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    LOOKED_AT_NOTHING = "looked-at-nothing"


@dataclass(frozen=True, slots=True)
class Watched:
    """One object of the set: its present result, None where nothing could be learnt about it.

    `expires` marks a Job that removes itself when it has ended (`expires_when_done`); `last_seen` is
    its last result while it existed.
    """

    ref: ObjectRef
    result: Result | None
    expires: bool = False
    last_seen: Result | None = None

    @property
    def state(self) -> Result:
        """The result that counts: an expired Job is done, unless it had failed when it was last seen."""
        if self.result is None:
            return Result(Status.UNKNOWN, "NoStatus", "its status cannot be determined")
        if not self.expires or self.result.status is not Status.NOT_FOUND:
            return self.result
        if self.last_seen is not None and self.last_seen.status is Status.FAILED:
            return self.last_seen
        return current("the Job has ended and its time to live is over", "JobExpired")

    @property
    def was_seen(self) -> bool:
        """Whether anything was ever learnt about the object itself."""
        exists = self.result is not None and self.result.status is not Status.NOT_FOUND
        return exists or self.last_seen is not None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the set has come to, which objects are to blame, and a sentence that names each with its state."""

    conclusion: Conclusion
    blocking: tuple[Watched, ...] = ()
    message: str = ""

    @property
    def is_over(self) -> bool:
        """Whether waiting on is of no use."""
        return self.conclusion is not Conclusion.WAITING


def aggregate(results: Iterable[Result], *, desired: Status = Status.CURRENT) -> Result:
    """Return the state of the whole: any Failed, else any Unknown, else all `desired`, else InProgress.

    An empty set is Unknown, reason `LookedAtNothing` (upstream: `desired`).
    """
    found = [result.status for result in results]
    if not found:
        return Result(Status.UNKNOWN, LOOKED_AT_NOTHING, "the set is empty")
    for decisive in (Status.FAILED, Status.UNKNOWN):
        if decisive in found:
            return Result(decisive, message=f"{found.count(decisive)} of {len(found)} are {decisive}")
    reached = found.count(desired)
    status = desired if reached == len(found) else Status.IN_PROGRESS
    return Result(status, message=f"{reached} of {len(found)} are {desired}")


def expires_when_done(obj: KubeObject) -> bool:
    """Tell whether `obj` is a Job with ttlSecondsAfterFinished (0 counts)."""
    try:
        return group_kind(obj) == ("batch", "Job") and optional_integer(obj, "spec.ttlSecondsAfterFinished") is not None
    except MalformedError:
        return False


def judge(watched: Sequence[Watched], *, fail_fast: bool = True, ending: Ending | None = None) -> Judgement:
    """Return what waiting for all of `watched` to be Current has come to.

    It is over when all are Current, when one is Failed (`fail_fast`), when only Failed and Current are
    left (something Failed never becomes Current), or when `ending` says so; a result that is already
    certain goes before `ending`.
    """
    if not watched or all(one.expires and not one.was_seen for one in watched):
        return Judgement(Conclusion.LOOKED_AT_NOTHING, tuple(watched), _nothing(watched))
    lagging = tuple(one for one in watched if one.state.status is not Status.CURRENT)
    lost = tuple(one for one in lagging if one.state.status is Status.FAILED)
    if not lagging:
        return Judgement(Conclusion.DONE)
    if lost and (fail_fast or lost == lagging):
        return Judgement(Conclusion.FAILED, lost, f"failed: {describe(lost)}")
    if ending is Ending.DEADLINE:
        return Judgement(Conclusion.TIMED_OUT, lagging, f"timed out waiting for: {describe(lagging)}")
    if ending is Ending.CANCELLED:
        return Judgement(Conclusion.CANCELLED, lagging, f"cancelled while waiting for: {describe(lagging)}")
    return Judgement(Conclusion.WAITING, lagging, f"waiting for: {describe(lagging)}")


def describe(watched: Iterable[Watched]) -> str:
    """Return each object with its last state, sorted by reference."""
    return "; ".join(f"{one.ref} is {one.state}" for one in sorted(watched, key=lambda one: one.ref))


def seen(before: Watched, result: Result | None) -> Watched:
    """Return `before` with a new result, remembering the last one while the object existed."""
    gone = result is None or result.status is Status.NOT_FOUND
    return replace(before, result=result, last_seen=before.last_seen if gone else result)


def _nothing(watched: Sequence[Watched]) -> str:
    if not watched:
        return "the set of objects to wait for is empty"
    return f"none of these Jobs was ever seen: {', '.join(str(one.ref) for one in watched)}"
