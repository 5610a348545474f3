"""Waiting: a predicate, asked again on every change that a watch brings, never by a poll.

While the API server is silent nothing is decided, but the deadline counts on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from fluxdrill.errors import FluxdrillError, HarnessError, ProductDeviatedError, UsageError
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.errors import ApiError, ForbiddenError, UnreachableError
from fluxdrill.kube.explain import LAST_TRANSITIONS, Scene, explain
from fluxdrill.kube.predicates import (
    Answer,
    Predicate,
    Verdict3,
    absent,
    all_current,
    all_of,
    condition,
    handled,
    present,
    ready,
)
from fluxdrill.kube.view import KNOWN, Following, View
from fluxdrill.kube.watch import Store, Subscription
from fluxdrill.model.clock import Instant
from fluxdrill.model.records import Wait, WaitEnd
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Gap, Transition

__all__ = [
    "Answer",
    "DeviatedTimeoutError",
    "Predicate",
    "UndecidedTimeoutError",
    "Verdict3",
    "WaitFailedError",
    "WaitResult",
    "WaitTimeout",
    "absent",
    "all_current",
    "all_of",
    "condition",
    "handled",
    "present",
    "ready",
    "wait_for",
]

_NEVER: Final = float("inf")
CATCHING_UP: Final = 5.0
"""Seconds at the most that a wait lets the store catch up with what was written before it."""
UNDER_WAY: Final = 0.1
"""Seconds for an event that is on its way, before the server is asked once more."""


@dataclass(frozen=True, slots=True)
class WaitResult:
    """A wait that was met: since `met` without interruption, known for certain at `ended`."""

    what: str
    why: str
    started: Instant
    met: Instant
    ended: Instant
    flaps: int
    """How often it was met and then no longer, before the dwell time was over."""
    gaps: tuple[Gap, ...]
    """The silent times of the API server during the wait."""

    @property
    def seconds(self) -> float:
        """From the start of the wait to the moment from which on it was met."""
        return self.met.since(self.started)


class _WaitError(FluxdrillError):
    """The first line says what was not met; `lines` explain it."""

    def __init__(self, problem: str, *, lines: list[str], transitions: tuple[Transition, ...], hint: str) -> None:
        super().__init__(problem, hint=hint)
        self.lines = lines
        self.transitions = transitions

    def __str__(self) -> str:
        return "\n".join(part for part in (self.problem, *self.lines, self.hint) if part)


class WaitTimeout(_WaitError):  # noqa: N818 - the field's own word
    """The deadline passed. Always a DeviatedTimeoutError or an UndecidedTimeoutError."""


class DeviatedTimeoutError(WaitTimeout, ProductDeviatedError):
    """The deadline passed, and the cluster was not as it should be: known for certain."""


class UndecidedTimeoutError(WaitTimeout, HarnessError):
    """The deadline passed while the cluster could not be observed: nothing is known about it."""


class WaitFailedError(_WaitError, ProductDeviatedError):
    """The wait ended early: the predicate says that waiting on cannot help."""


def wait_for(
    store: Store,
    predicate: Predicate,
    *,
    deadline: float,
    dwell: float = 0.0,
    what: str,
    fail_fast: bool = True,
    on_event: Callable[[str], None] | None = None,
) -> WaitResult:
    """Wait until `predicate` is met, and stays met for `dwell` seconds with the API server reachable.

    `deadline` is in seconds from now and includes the dwell. `what` completes "waiting for ...". `on_event` gets a
    line whenever the answer changes; it is called in the caller's thread. Kinds that nobody follows yet are followed.

    Raises DeviatedTimeoutError, UndecidedTimeoutError, WaitFailedError (a terminal answer, with `fail_fast`), ForbiddenError
    (a kind may not be read, with `fail_fast`), HarnessError (a watch thread died) and UsageError (the dwell does not
    fit into the deadline).
    """
    if dwell >= deadline:
        raise UsageError(
            f"A dwell of {dwell:g} s does not fit into a deadline of {deadline:g} s.", hint="Raise the deadline."
        )
    _follow(store, predicate)
    _catch_up(store, predicate, deadline)
    subscription, view = store.subscribe(predicate.kinds, predicate.refs)
    try:
        wait = _Wait(store, predicate, what=what, dwell=dwell, fail_fast=fail_fast, on_event=on_event)
        with _told(wait, store, predicate, deadline):
            return _until(wait, store, subscription, view, deadline)
    finally:
        store.unsubscribe(subscription)


@contextmanager
def _told(wait: _Wait, store: Store, predicate: Predicate, deadline: float) -> Iterator[None]:
    """Have the store tell whoever listens that a wait began, and how it ended."""
    record = Wait(wait.what, tuple(sorted(predicate.refs)), wait.started, deadline)
    store.tell(record)
    outcome = WaitEnd.BROKEN
    try:
        yield
        outcome = WaitEnd.MET
    except WaitTimeout as error:
        outcome = WaitEnd.DEVIATED if isinstance(error, DeviatedTimeoutError) else WaitEnd.UNDECIDED
        raise
    except WaitFailedError:
        outcome = WaitEnd.GAVE_UP
        raise
    finally:
        store.tell(replace(record, ended=store.clock.now(), outcome=outcome, why=wait.why))


def _until(wait: _Wait, store: Store, subscription: Subscription, view: View, deadline: float) -> WaitResult:
    end = wait.started.monotonic + deadline
    wait.begin(view)
    while True:
        now = store.clock.now()
        if store.closed:
            raise HarnessError(f"The store was closed while waiting for {wait.what}.")
        if now.monotonic >= end:
            raise wait.timeout(deadline)
        if wait.due <= now.monotonic:
            # Nothing spoke against it; but is the server alive to speak? Its answer comes after all older events.
            alive = store.confirm(now, end - now.monotonic)
            views = subscription.take(0)
            if alive and not views:
                return wait.result()
        else:
            views = subscription.take(min(end, wait.due) - now.monotonic)
        if any(wait.over(view) for view in views):
            return wait.result()


def _catch_up(store: Store, predicate: Predicate, deadline: float) -> None:
    """Let the store learn what was written before the wait began, so that nothing older is taken for news.

    A silent server is the wait's own business: after a gap everything is listed anew.
    """
    end = store.clock.now().monotonic + min(deadline, CATCHING_UP)
    subscription, _ = store.subscribe(predicate.kinds, predicate.refs)
    try:
        with suppress(ApiError, UnreachableError):
            while not store.caught_up(predicate.refs, deadline=CATCHING_UP) and store.clock.now().monotonic < end:
                subscription.take(UNDER_WAY)
    finally:
        store.unsubscribe(subscription)


def _follow(store: Store, predicate: Predicate) -> None:
    view = store.view()
    for ref in sorted(predicate.refs):
        if view.part(GroupKind.of(ref), ref.namespace).following is Following.UNFOLLOWED:
            store.follow(ref)
    for part in view.parts_of(predicate.kinds - {GroupKind.of(ref) for ref in predicate.refs}):
        if part.following is Following.UNFOLLOWED:
            store.follow(part.kind)


class _Wait:
    """The state of one wait between two views."""

    def __init__(
        self,
        store: Store,
        predicate: Predicate,
        *,
        what: str,
        dwell: float,
        fail_fast: bool,
        on_event: Callable[[str], None] | None,
    ) -> None:
        self.what = what
        self.started = store.clock.now()
        self._store = store
        self._predicate = predicate
        self._dwell = dwell
        self._fail_fast = fail_fast
        self._on_event = on_event
        self._view = store.view()
        self._verdict: Verdict3 | None = None
        self._met: Instant | None = None
        self._flaps = 0
        self._told = ""

    @property
    def due(self) -> float:
        """The monotonic time at which it will have been met for long enough."""
        return _NEVER if self._met is None else self._met.monotonic + self._dwell

    @property
    def why(self) -> str:
        """The last answer of the predicate; "" before the first one."""
        return self._verdict.why if self._verdict else ""

    def begin(self, view: View) -> None:
        """Look at the state at the start. It may be old, so that alone it ends no wait, not even one without dwell."""
        self._look(view, at=self.started)

    def over(self, view: View) -> bool:
        """Look at the next view; tell whether the wait is over. Raises what `wait_for` raises, but timeouts."""
        if view.decidable(self._predicate.kinds) and self.due <= view.at.monotonic:
            return True  # it held until this later change, which proves that the server was there to tell
        self._look(view, at=view.at)
        return self.due <= view.at.monotonic

    def result(self) -> WaitResult:
        """Return the result of a wait that is over."""
        if self._met is None or self._verdict is None:
            raise AssertionError
        return WaitResult(
            self.what, self._verdict.why, self.started, self._met, self._store.clock.now(), self._flaps, self._gaps()
        )

    def timeout(self, deadline: float) -> WaitTimeout:
        """Return the error for a deadline that has passed."""
        now = self._store.clock.now()
        unknown = self._unknown(now)
        if unknown:
            last = [f"Before that: {self._verdict.why}."] if self._verdict else []
            problem = f"Undecided after {deadline:g} s of waiting for {self.what}: {unknown}."
            hint = "Bring the API server back, or give the wait a deadline that outlasts its absence."
            return UndecidedTimeoutError(problem, lines=[*last, *self._lines(now)], transitions=self._last(), hint=hint)
        why = self._verdict.why if self._verdict else "nothing was seen"
        if self._met is not None:
            why = f"it was met for {now.since(self._met):.1f} s only, of {self._dwell:g} s"
        problem = f"Not met after {deadline:g} s of waiting for {self.what}: {why}."
        hint = "The last entry of a chain under Blocking is where to look first."
        return DeviatedTimeoutError(problem, lines=self._lines(now), transitions=self._last(), hint=hint)

    def _look(self, view: View, *, at: Instant) -> None:
        self._view = view
        self._refuse(view)
        if not view.decidable(self._predicate.kinds):
            self._unmeet()
            self._tell(self._unknown(view.at) or "unknown")
            return
        self._verdict = self._predicate.judge(view)
        self._tell(self._verdict.why)
        if self._verdict.answer is Answer.MET:
            self._met = self._met or at
        else:
            self._unmeet()
        if self._verdict.answer is Answer.TERMINAL and self._fail_fast:
            raise self._failed(self._verdict)

    def _unmeet(self) -> None:
        self._flaps += self._met is not None
        self._met = None

    def _refuse(self, view: View) -> None:
        for part in view.parts_of(self._predicate.kinds):
            if part.following is Following.BROKEN:
                raise HarnessError(f"The watch of {part.kind} is dead: {part.why}.", hint="Look at its traceback.")
            if part.following is Following.FORBIDDEN and self._fail_fast:
                raise ForbiddenError(403, "Forbidden", f"waiting for {self.what} needs {part.kind}: {part.why}")

    def _failed(self, verdict: Verdict3) -> WaitFailedError:
        now = self._store.clock.now()
        problem = f"Gave up after {now.since(self.started):.1f} s of waiting for {self.what}: {verdict.why}."
        hint = "Waiting on does not help; with fail_fast=False it is waited all the same."
        return WaitFailedError(problem, lines=self._lines(now), transitions=self._last(), hint=hint)

    def _unknown(self, now: Instant) -> str:
        """Return why nothing can be decided at this moment; "" when it can."""
        gap = self._view.gap
        if gap is not None:
            start = f"{gap.start.utc:%H:%M:%S} UTC ({now.since(gap.start):.1f} s ago)"
            return f"the API server is silent since {start}: {gap.why}"
        if self._view.heard is None:
            return "the API server has not been heard of yet"
        blind = [part for part in self._view.parts_of(self._predicate.kinds) if part.following not in KNOWN]
        return "; ".join(f"{part.kind}: {part.following}{_because(part.why)}" for part in blind)

    def _lines(self, now: Instant) -> list[str]:
        gaps = [
            f"The API server was silent for {gap.seconds:.1f} s from {gap.start.utc:%H:%M:%S} UTC on: {gap.why}."
            for gap in self._gaps()
            if gap.seconds is not None
        ]
        return [*gaps, *explain(Scene(self._view, self._store.timeline, now), self._blocking())]

    def _blocking(self) -> tuple[ObjectRef, ...]:
        return (self._verdict.blocking if self._verdict else ()) or tuple(sorted(self._predicate.refs))

    def _last(self) -> tuple[Transition, ...]:
        return self._store.timeline.last(LAST_TRANSITIONS, refs=self._blocking())

    def _gaps(self) -> tuple[Gap, ...]:
        start = self.started.monotonic
        return tuple(gap for gap in self._store.gaps if gap.end is None or gap.end.monotonic >= start)

    def _tell(self, news: str) -> None:
        if self._on_event is not None and news != self._told:
            self._told = news
            elapsed = self._store.clock.now().since(self.started)
            self._on_event(f"{elapsed:.1f} s, waiting for {self.what}: {news}")


def _because(why: str) -> str:
    return f" ({why})" if why else ""
