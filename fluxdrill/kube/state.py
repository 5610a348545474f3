"""The store's memory: one immutable view that every change replaces, behind one condition."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from fluxdrill.kube.api import ObjectList
from fluxdrill.kube.discovery import GroupKind, of_crd
from fluxdrill.kube.heartbeat import Beat
from fluxdrill.kube.reduce import Reducer
from fluxdrill.kube.stream import EventType, WatchEvent
from fluxdrill.kube.view import KNOWN, Following, Part, PartKey, View
from fluxdrill.model.clock import Clock, Instant
from fluxdrill.model.records import Record
from fluxdrill.model.refs import KubeObject, ObjectRef, Resource
from fluxdrill.model.timeline import Change, Gap, Seen, Timeline, Transition, WatchLoss

CRD = GroupKind("apiextensions.k8s.io", "CustomResourceDefinition")
Objects = Mapping[ObjectRef, KubeObject]


@dataclass(frozen=True, slots=True)
class Missed:
    """A change that a watch should have told of and did not; the safety list found it at `at`."""

    ref: ObjectRef
    at: Instant
    change: Change


@dataclass(frozen=True, slots=True)
class Effects:
    """What a change of the memory sets off outside of it."""

    hurry: Callable[[], None]
    """Ask the API server for a sign of life now."""
    reconnect: Callable[[PartKey], None]
    """Tear off the connections of a part: after a gap they may be dead without anybody having said so."""
    relocate: Callable[[GroupKind], None]
    """Stop watching a kind, because its CRD is gone."""


class Subscription:
    """The views that one waiter has not looked at yet, one per change that concerns it; none is ever skipped."""

    def __init__(
        self, condition: threading.Condition, kinds: Collection[GroupKind], refs: Collection[ObjectRef]
    ) -> None:
        self._condition = condition
        self._kinds = frozenset(kinds)
        self._refs = frozenset(refs)
        self._views: deque[View] = deque()
        self.ended = False

    def offer(self, view: View, kind: GroupKind | None = None, refs: Collection[ObjectRef] | None = None) -> None:
        """Queue `view` if the change concerns the waiter; None stands for everything. Called under the condition."""
        concerned = kind is None or kind in self._kinds
        if concerned and (refs is None or not self._refs or not self._refs.isdisjoint(refs)):
            self._views.append(view)

    def take(self, timeout: float) -> list[View]:
        """Return what is queued, oldest first, waiting up to `timeout` seconds for the first; empty then and on close."""
        with self._condition:
            self._condition.wait_for(lambda: self._views or self.ended, timeout=max(0.0, timeout))
            views = list(self._views)
            self._views.clear()
            return views


Listener = Callable[[Record], None]


class Memory:
    """Everything that the threads of a store share; each method is one critical section (see follower.Host)."""

    def __init__(self, *, clock: Clock, reduce: Reducer, effects: Effects, listener: Listener | None = None) -> None:
        self.clock = clock
        self.listener = listener
        self.condition = threading.Condition()
        self.view = View(clock.now())
        self.timeline = Timeline(listener=listener)
        self.missed: list[Missed] = []
        self.subscriptions: list[Subscription] = []
        self.managed_fields_of: set[GroupKind] = set()
        self._closed = False
        self._reduce = reduce
        self._effects = effects
        self._recoveries = 0
        self._suspected: Instant | None = None
        self._watched: set[PartKey] = set()
        self._crd_news: dict[GroupKind, int] = {}

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self._closed

    def close(self) -> None:
        """Wake everybody up for the end."""
        with self.condition:
            self._closed = True
            for subscription in self.subscriptions:
                subscription.ended = True
            self.condition.notify_all()

    def begin(self, key: PartKey) -> None:
        """Make room for a kind."""
        with self.condition:
            self.view = self.view.with_part(Part(*key), self.clock.now())

    # What the heartbeat tells.

    def beat(self, beat: Beat) -> None:
        """Take a sign of life, or its absence, in."""
        with self.condition:
            if not beat.why:
                self._alive(beat, back=self.view.gap is not None)
            elif self.view.gap is None:
                self._silent(beat)
            self.condition.notify_all()

    def alive_since(self, moment: Instant) -> bool:
        """Tell whether the API server has answered a question asked at or after `moment`."""
        heard = self.view.heard
        return heard is not None and heard.monotonic >= moment.monotonic

    def _alive(self, beat: Beat, *, back: bool) -> None:
        first = self.view.heard is None
        self._suspected = None
        self.view = replace(self.view, heard=beat.asked, gap=None)
        if back:
            self.timeline.end_gap(beat.answered)
            self._recoveries += 1
            for key, part in self.view.parts.items():
                if part.following not in KNOWN:  # those that have listed again since have good connections
                    self._effects.reconnect(key)
        if back or first:
            self._publish(beat.answered)

    def _silent(self, beat: Beat) -> None:
        gap = Gap(self._suspected or beat.asked, beat.why, self.view.heard)
        self.timeline.disturb(gap)
        parts = {key: _doubted(part) for key, part in self.view.parts.items()}
        self.view = replace(self.view, gap=gap, parts=parts)
        self._publish(beat.answered)

    # What the followers tell.

    def replace(self, key: PartKey, listed: ObjectList) -> None:
        """Take a list for the truth: one batch."""
        with self.condition:
            part = self.view.parts[key]
            stored = self._stored(part, listed)
            upserts = {ref: obj for ref, obj in stored.items() if _version(part.objects.get(ref)) != _version(obj)}
            gone = [part.objects[ref] for ref in part.objects if ref not in stored]
            self._watched.add(key)
            self._change(part, upserts=upserts, gone=gone, seen=Seen.LIST, following=Following.LIVE)

    def differs(self, key: PartKey, listed: ObjectList) -> bool:
        """Tell whether a list differs from what is stored."""
        part = self.view.parts[key]
        return bool(_differences(self._stored(part, listed), part.objects))

    def judge(self, key: PartKey, exact: ObjectList) -> None:
        """Record where the stored state differs from the server's at the version that the watch had reached."""
        with self.condition:
            part, now = self.view.parts[key], self.clock.now()
            self.missed += (
                Missed(ref, now, change) for ref, change in _differences(self._stored(part, exact), part.objects)
            )

    def happened(self, key: PartKey, event: WatchEvent) -> None:
        """Take an event in: one batch. A bookmark changes nothing but the watch's position."""
        if event.type is EventType.BOOKMARK:
            return
        with self.condition:
            part = self.view.parts[key]
            obj = self._reduced(part, event.object)
            ref = ObjectRef.of(obj)
            if event.type is EventType.DELETED:
                self._change(part, upserts={}, gone=[obj], seen=Seen.WATCH)
            elif _version(part.objects.get(ref)) != _version(obj):
                self._change(part, upserts={ref: obj}, gone=[], seen=Seen.WATCH)

    def lost(self, key: PartKey, why: str, *, disconnected: bool) -> None:
        """Mark a part as possibly stale; a broken connection makes the heartbeat look at once."""
        with self.condition:
            if self._closed:
                return
            part, now = self.view.parts[key], self.clock.now()
            if key in self._watched:
                self._watched.remove(key)
                self.timeline.disturb(WatchLoss(str(part.kind), now, why))
            suspicious = disconnected and self.view.gap is None
            self._suspected = self._suspected or (now if suspicious else None)
            starting = part.following is Following.STARTING
            self._mark(part, Following.STARTING if starting else Following.STALE, why)
        if suspicious:
            self._effects.hurry()

    def forbidden(self, key: PartKey, why: str) -> None:
        """Mark a part as not readable."""
        with self.condition:
            self._mark(self.view.parts[key], Following.FORBIDDEN, why)

    def broken(self, key: PartKey) -> None:
        """Mark a part whose thread has died."""
        with self.condition:
            self._mark(self.view.parts[key], Following.BROKEN, "its thread ended with an error")

    def absent(self, key: PartKey, why: str) -> None:
        """Empty a part, because its kind is not served: one batch."""
        with self.condition:
            part = self.view.parts[key]
            gone = list(part.objects.values())
            self._change(part, upserts={}, gone=gone, seen=Seen.LIST, following=Following.ABSENT, why=why)

    # What the followers ask.

    def located(self, kind: GroupKind) -> Resource | None:
        """Return where the kind's CRD says that it is served."""
        for crd in self.view.part(CRD).objects.values():
            if _defined_by(crd) == kind:
                return of_crd(crd)
        return None

    def pause(self, seconds: float) -> bool:
        """Wait, at most until the server is back after a gap (then True) or the store closes."""
        with self.condition:
            before = self._recoveries
            self.condition.wait_for(lambda: self._closed or self._recoveries != before, timeout=seconds)
            return self._recoveries != before

    def recoveries(self) -> int:
        """Return how often the API server has come back after a gap."""
        with self.condition:
            return self._recoveries

    def crd_news(self, kind: GroupKind) -> int:
        """Return how many changes of the kind's CRD were seen."""
        with self.condition:
            return self._crd_news.get(kind, 0)

    def await_crd(self, kind: GroupKind, known: int, seconds: float) -> None:
        """Wait until the kind's CRD changes, or the server is back after a gap, or the store closes."""
        with self.condition:
            before = self._recoveries
            self.condition.wait_for(
                lambda: self._closed or self._crd_news.get(kind, 0) != known or self._recoveries != before,
                timeout=seconds,
            )

    # How a change is made.

    def _change(
        self,
        part: Part,
        *,
        upserts: Objects,
        gone: Iterable[KubeObject],
        seen: Seen,
        following: Following | None = None,
        why: str = "",
    ) -> None:
        if following is None:
            following, why = part.following, part.why
        now = self.clock.now()
        objects = {**part.objects, **upserts}
        removed = {ObjectRef.of(obj): obj for obj in gone}
        for ref, obj in removed.items():
            objects.pop(ref, None)
            self.timeline.record(Transition.of(obj, at=now, kind=Change.DELETED, seen=seen))
        for ref, obj in upserts.items():
            self._record(part.objects.get(ref), obj, now, seen)
        same_following = (following, why) == (part.following, part.why)
        if same_following and not upserts and not removed:
            return
        self.view = self.view.with_part(replace(part, objects=objects, following=following, why=why), now)
        self._publish(now, part.kind, {*upserts, *removed} if same_following else None)
        if part.kind == CRD:
            self._crds_changed(upserts.values(), removed.values())

    def _record(self, before: KubeObject | None, obj: KubeObject, now: Instant, seen: Seen) -> None:
        if before is not None and before["metadata"].get("uid") != obj["metadata"].get("uid"):
            # Deleted and made again while nobody watched: another object under the same name.
            self.timeline.record(Transition.of(before, at=now, kind=Change.DELETED, seen=seen))
            before = None
        kind = Change.ADDED if before is None else Change.MODIFIED
        self.timeline.record(Transition.of(obj, at=now, kind=kind, seen=seen))

    def _mark(self, part: Part, following: Following, why: str) -> None:
        self._change(part, upserts={}, gone=(), seen=Seen.LIST, following=following, why=why)

    def _publish(self, now: Instant, kind: GroupKind | None = None, refs: Collection[ObjectRef] | None = None) -> None:
        self.view = replace(self.view, at=now)
        for subscription in self.subscriptions:
            subscription.offer(self.view, kind, refs)
        self.condition.notify_all()

    def _crds_changed(self, changed: Iterable[KubeObject], removed: Iterable[KubeObject]) -> None:
        for crd in (*changed, *removed):
            kind = _defined_by(crd)
            self._crd_news[kind] = self._crd_news.get(kind, 0) + 1
        for crd in removed:
            self._effects.relocate(_defined_by(crd))

    def _stored(self, part: Part, listed: ObjectList) -> dict[ObjectRef, KubeObject]:
        return {ObjectRef.of(item): self._reduced(part, item) for item in listed.items}

    def _reduced(self, part: Part, obj: KubeObject) -> KubeObject:
        return self._reduce(obj, keep_managed_fields=part.kind in self.managed_fields_of)


def _doubted(part: Part) -> Part:
    return replace(part, following=Following.STALE) if part.following is Following.LIVE else part


def _version(obj: KubeObject | None) -> tuple[str, str] | None:
    return None if obj is None else (obj["metadata"].get("uid", ""), obj["metadata"].get("resourceVersion", ""))


def _differences(truth: Objects, stored: Objects) -> list[tuple[ObjectRef, Change]]:
    refs = sorted({*truth, *stored})
    return [
        (ref, _change_to(truth.get(ref), stored.get(ref)))
        for ref in refs
        if _version(truth.get(ref)) != _version(stored.get(ref))
    ]


def _change_to(truth: KubeObject | None, stored: KubeObject | None) -> Change:
    if truth is None:
        return Change.DELETED
    return Change.ADDED if stored is None else Change.MODIFIED


def _defined_by(crd: KubeObject) -> GroupKind:
    return GroupKind(crd["spec"]["group"], crd["spec"]["names"]["kind"])
