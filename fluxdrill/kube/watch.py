"""The store: one list and watch per kind feed it, and waits are told of every change.

API server loss is a normal state of it: watches reconnect by themselves, and a heartbeat dates the gaps.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Self

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.kube.api import Api
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.errors import NotFoundError, UnknownKindError
from fluxdrill.kube.follower import Follower, Rhythm
from fluxdrill.kube.heartbeat import Heartbeat, Pace
from fluxdrill.kube.reduce import Reducer
from fluxdrill.kube.state import CRD, Effects, Listener, Memory, Missed, Subscription
from fluxdrill.kube.view import Following, PartKey, View
from fluxdrill.model.clock import SYSTEM_CLOCK, Clock, Instant
from fluxdrill.model.records import Wait
from fluxdrill.model.refs import KubeObject, ObjectRef, Resource
from fluxdrill.model.timeline import Gap, Timeline, WatchLoss

__all__ = ["CLOSING", "CRD", "Missed", "Pace", "Rhythm", "Store", "Subscription"]

CLOSING = 2.0
"""Seconds within which all threads end, also when the server hangs."""


def _version(obj: KubeObject) -> int:
    return int(obj["metadata"]["resourceVersion"])  # comparable as a number since Kubernetes 1.35


class Store:
    """Watched kinds of one API server, and a timeline of their transitions. Close it; it is a context manager.

    It has connections of its own; `api` stays the caller's. Secrets are kept as metadata, type and keyed digests of
    their values (`digests`), CRDs without their schemas, and everything without managedFields unless `follow` says
    otherwise. `on_record` is told every transition, disturbance and wait as it is seen. Thread-safe; `kubectl` sees nothing of it.
    """

    def __init__(
        self,
        api: Api,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rhythm: Rhythm | None = None,
        pace: Pace | None = None,
        digest_key: bytes | None = None,
        on_record: Listener | None = None,
    ) -> None:
        self._api = api.sibling()
        self._rhythm = rhythm or Rhythm()
        self._followers: dict[PartKey, Follower] = {}
        effects = Effects(hurry=self._hurry, reconnect=self._reconnect, relocate=self._relocate)
        self._memory = Memory(clock=clock, reduce=Reducer(digest_key=digest_key), effects=effects, listener=on_record)
        self._heart = Heartbeat(api.sibling(), clock=clock, pace=pace or Pace(), report=self._memory.beat)
        self._heart.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def follow(
        self,
        kind: GroupKind | Resource | ObjectRef,
        namespace: str | None = None,
        *,
        keep_managed_fields: bool = False,
    ) -> None:
        """Start to list and watch a kind, in one namespace or in all, whether or not it is served yet.

        Always in the version that the server prefers. Does nothing when it is followed already. Raises UsageError
        when a kind is followed in one namespace and shall now be followed in all, and when the store is closed.
        """
        wanted = GroupKind.of(kind)
        with self._memory.condition:
            if self._memory.closed:
                raise UsageError("The store is closed.", hint="Make a new one.")
            if keep_managed_fields:
                self._memory.managed_fields_of.add(wanted)
            self._start((CRD, None))  # it tells when a kind appears or vanishes
            self._start((wanted, None if wanted == CRD else namespace))

    def view(self) -> View:
        """Return the present state, which never changes under the reader."""
        with self._memory.condition:
            return self._memory.view

    def get(self, ref: ObjectRef) -> KubeObject | None:
        """Return an object as it is stored; None where it is not known."""
        return self.view().get(ref)

    def list(self, kind: GroupKind, namespace: str | None = None) -> list[KubeObject]:
        """Return the stored objects of a kind, by name."""
        return self.view().list(kind, namespace)

    def tell(self, wait: Wait) -> None:
        """Tell `on_record` that a wait on this store has begun or ended."""
        if self._memory.listener is not None:
            self._memory.listener(wait)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._memory.closed

    @property
    def clock(self) -> Clock:
        """The clock that dates everything in here."""
        return self._memory.clock

    @property
    def timeline(self) -> Timeline:
        """Every transition and disturbance so far, as a copy."""
        with self._memory.condition:
            return self._memory.timeline.copy()

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The silent times of the API server so far."""
        with self._memory.condition:
            return self._memory.timeline.gaps

    @property
    def losses(self) -> tuple[WatchLoss, ...]:
        """The watches that broke so far."""
        with self._memory.condition:
            return self._memory.timeline.losses

    @property
    def missed(self) -> tuple[Missed, ...]:
        """What the watches had missed, as the safety lists found."""
        with self._memory.condition:
            return tuple(self._memory.missed)

    def subscribe(self, kinds: Collection[GroupKind], refs: Collection[ObjectRef] = ()) -> tuple[Subscription, View]:
        """Return a queue of all views from now on that concern `refs` (none: all objects of `kinds`), and the present."""
        with self._memory.condition:
            subscription = Subscription(self._memory.condition, kinds, refs)
            self._memory.subscriptions.append(subscription)
            return subscription, self._memory.view

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        with self._memory.condition:
            self._memory.subscriptions.remove(subscription)

    def caught_up(self, refs: Collection[ObjectRef], *, deadline: float) -> bool:
        """Ask the API server for `refs` once; tell whether the store knows at least what it answers.

        A write and the event of it travel on different connections: right after a write the store may be older.
        Kinds that are not watched yet are passed over: their first list comes later than this. Raises what `get` of
        the API raises, but for what does not exist.
        """
        return all(self._knows(ref, deadline) for ref in refs)

    def _knows(self, ref: ObjectRef, deadline: float) -> bool:
        if self.view().part(GroupKind.of(ref), ref.namespace).following is not Following.LIVE:
            return True
        try:
            there = self._api.get(ref, deadline=deadline)
        except (NotFoundError, UnknownKindError):
            return self.get(ref) is None
        known = self.get(ref)
        return known is not None and _version(known) >= _version(there)

    def confirm(self, moment: Instant, timeout: float) -> bool:
        """Ask the API server for a sign of life after `moment`.

        Tell whether it came within `timeout` seconds; a gap that begins ends the waiting early.
        """
        self._heart.hurry()
        memory = self._memory
        with memory.condition:
            memory.condition.wait_for(
                lambda: memory.closed or memory.view.gap is not None or memory.alive_since(moment),
                timeout=max(0.0, timeout),
            )
            return memory.view.gap is None and memory.alive_since(moment)

    def close(self) -> None:
        """End all threads and connections, within 2 s also when the server hangs. May be called twice."""
        self._memory.close()
        with self._memory.condition:
            threads: list[Follower | Heartbeat] = [*self._followers.values(), self._heart]
        for thread in threads:
            thread.stop()
        self._api.close()
        until = self.clock.now().monotonic + CLOSING
        ended = [thread.join(max(0.0, until - self.clock.now().monotonic)) for thread in threads]
        if not all(ended):
            raise HarnessError(
                f"{ended.count(False)} watch threads did not end within {CLOSING:g} s.",
                hint="This is a defect of fluxdrill: please report it.",
            )

    def _start(self, key: PartKey) -> None:
        kind, namespace = key
        if (kind, None) in self._followers or key in self._followers:
            return
        if namespace is None and any(kind == other for other, _ in self._followers):
            raise UsageError(
                f"{kind} is followed in single namespaces already.", hint="Follow it in all namespaces first."
            )
        self._memory.begin(key)
        follower = Follower(self._memory, self._api, key, clock=self.clock, rhythm=self._rhythm)
        self._followers[key] = follower
        follower.start()

    def _hurry(self) -> None:
        self._heart.hurry()

    def _reconnect(self, key: PartKey) -> None:
        self._followers[key].reconnect()

    def _relocate(self, kind: GroupKind) -> None:
        for (followed, _), follower in self._followers.items():
            if followed == kind:
                follower.relocate()
