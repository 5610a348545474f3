"""One kind, listed and then watched by one thread, through everything an API server can do to a watch."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from fluxdrill.kube.api import Api, ObjectList
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.errors import (
    ApiError,
    Cause,
    ForbiddenError,
    GoneError,
    NotFoundError,
    UnknownKindError,
    UnreachableError,
)
from fluxdrill.kube.stream import WatchEvent
from fluxdrill.kube.view import PartKey
from fluxdrill.model.clock import Clock
from fluxdrill.model.refs import Resource


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a follower paces itself; all in seconds."""

    window: int = 30
    """The server ends a watch after that long (whole seconds, as the API has it)."""
    grace: float = 5.0
    """The client gives a silent watch up that long after its window."""
    relist: float = 45.0
    """Between two safety lists."""
    listing: float = 10.0
    """For one list, all pages; also for opening a watch."""
    first_pause: float = 0.1
    longest_pause: float = 5.0
    forbidden_after: float = 5.0
    """A refusal that lasts that long is taken for the truth: right after its start a server refuses everybody."""


class Host(Protocol):
    """What a follower tells the store, and what it lets itself be told."""

    @property
    def closed(self) -> bool:
        """Whether to end."""
        ...

    def located(self, kind: GroupKind) -> Resource | None:
        """Return where the kind's CRD, if there is one in the store, says that it is served."""
        ...

    def replace(self, key: PartKey, listed: ObjectList) -> None:
        """Take a list for the truth."""
        ...

    def judge(self, key: PartKey, exact: ObjectList) -> None:
        """Record where the stored state differs from the server's state at the very same version."""
        ...

    def differs(self, key: PartKey, listed: ObjectList) -> bool:
        """Tell whether a list differs from what is stored."""
        ...

    def happened(self, key: PartKey, event: WatchEvent) -> None:
        """Take an event in."""
        ...

    def lost(self, key: PartKey, why: str, *, disconnected: bool) -> None:
        """Note that the kind's state may be stale from now on."""
        ...

    def forbidden(self, key: PartKey, why: str) -> None:
        """Note that the kind may not be read."""
        ...

    def absent(self, key: PartKey, why: str) -> None:
        """Note that the kind is not served, so that no object of it exists."""
        ...

    def broken(self, key: PartKey) -> None:
        """Note that the follower has failed for good."""
        ...

    def pause(self, seconds: float) -> bool:
        """Wait, at most until the API server is back after a gap (then True) or the store closes."""
        ...

    def recoveries(self) -> int:
        """Return how often the API server has come back after a gap."""
        ...

    def crd_news(self, kind: GroupKind) -> int:
        """Return how many changes of the kind's CRD were seen."""
        ...

    def await_crd(self, kind: GroupKind, known: int, seconds: float) -> None:
        """Wait until the CRD of `kind` changes, at most `seconds`."""
        ...


class Backoff:
    """Pauses that double up to a limit, each shortened by up to a third at random, so that followers spread."""

    def __init__(self, *, first: float, longest: float, seed: str) -> None:
        self._first = first
        self._longest = longest
        self._next = first
        self._random = random.Random(seed)  # noqa: S311 - spreads load, guards nothing

    def next(self) -> float:
        """Return the next pause in seconds."""
        pause, self._next = self._next, min(self._longest, self._next * 2)
        return pause * (1 - self._random.random() / 3)

    def reset(self) -> None:
        """Start over: something has worked."""
        self._next = self._first


class Follower:
    """Keeps one part of a store in step with the API server, in its own thread, until the store closes.

    It has connections of its own, and shares what `api` has discovered.
    """

    def __init__(self, host: Host, api: Api, key: PartKey, *, clock: Clock, rhythm: Rhythm) -> None:
        self._host = host
        self._api = api.sibling()
        self._discovery = api.discovery
        self._key = key
        self._clock = clock
        self._rhythm = rhythm
        self._backoff = Backoff(first=rhythm.first_pause, longest=rhythm.longest_pause, seed=str(key))
        # The first safety list comes early at random, or all kinds would be listed at the same moment for ever.
        self._relist = rhythm.relist * (0.5 + random.Random(str(key)).random() / 2)  # noqa: S311 - spreads load
        self._refused_since: float | None = None
        self._recoveries = 0
        self._relocate = False
        self._thread = threading.Thread(target=self._run, name=f"fluxdrill-watch-{key[0]}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End what is under way, at once; the host must have been closed before."""
        self._api.close()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds; tell whether the thread has ended."""
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def reconnect(self) -> None:
        """Give up the present connections, and list again."""
        self._api.reset_connections()

    def relocate(self) -> None:
        """Leave the present watch, because the kind's CRD is gone."""
        self._relocate = True
        self._api.reset_connections()

    def _run(self) -> None:
        try:
            while not self._host.closed:
                self._survive()
        finally:
            # An end that nobody asked for must not look like a kind in which nothing happens.
            if not self._host.closed:
                self._host.broken(self._key)

    def _survive(self) -> None:
        """Follow until something goes wrong, and deal with that."""
        news, self._recoveries = self._host.crd_news(self._key[0]), self._host.recoveries()
        try:
            self._follow()
        except UnknownKindError as error:
            self._host.absent(self._key, error.problem)
            self._backoff.reset()
            self._host.await_crd(self._key[0], news, self._rhythm.relist)
        except NotFoundError as error:
            self._not_found(error)
        except GoneError:
            self._lose("the watched version is too old", None)
        except ForbiddenError as error:
            self._refused(error)
        except (ApiError, UnreachableError) as error:
            self._broke(error)

    def _follow(self) -> None:
        resource = self._locate()
        listed = self._list(resource)
        self._host.replace(self._key, listed)
        self._relocate, self._refused_since = False, None
        position = listed.resource_version
        while not self._host.closed:
            position = self._watch_until(resource, position, self._now() + self._relist)
            self._relist = self._rhythm.relist
            if not self._host.closed:
                position = self._check(resource, position)

    def _locate(self) -> Resource:
        return self._host.located(self._key[0]) or self._discovery.find(self._key[0])

    def _list(self, resource: Resource, *, at: str = "") -> ObjectList:
        return self._api.list(resource, namespace=self._key[1], at=at, deadline=self._rhythm.listing)

    def _watch_until(self, resource: Resource, position: str, due: float) -> str:
        while (left := due - self._now()) > 0 and not self._host.closed:
            opened, before = self._now(), position
            for event in self._events(resource, position, math.ceil(min(left, self._rhythm.window))):
                position = event.resource_version
                self._host.happened(self._key, event)
            if position != before:
                self._backoff.reset()
            elif self._now() - opened < self._rhythm.first_pause:
                self._pause()  # a server that ends every watch at once
        return position

    def _events(self, resource: Resource, position: str, window: int) -> Iterator[WatchEvent]:
        with self._api.watch(
            resource,
            resource_version=position,
            namespace=self._key[1],
            timeout_seconds=window,
            grace=self._rhythm.grace,
            connect=self._rhythm.listing,
        ) as stream:
            if self._relocate:
                raise UnreachableError(Cause.CLOSED, f"WATCH {resource.plural}")
            yield from stream

    def _check(self, resource: Resource, position: str) -> str:
        """List for safety. What differs is the watch's fault only if it differed at the watch's own position."""
        listed = self._list(resource)
        if self._host.differs(self._key, listed):
            # Once that version is compacted it cannot be told whether the watch or the time between is to blame.
            with suppress(GoneError):
                self._host.judge(self._key, self._list(resource, at=position))
        self._host.replace(self._key, listed)
        return listed.resource_version

    def _not_found(self, error: NotFoundError) -> None:
        self._discovery.forget(self._key[0])
        self._lose(error.message, None)

    def _refused(self, error: ForbiddenError) -> None:
        self._refused_since = self._refused_since or self._now()
        if self._now() - self._refused_since >= self._rhythm.forbidden_after:
            self._host.forbidden(self._key, error.message)
            self._pause()
        else:
            self._lose(error.message, error.retry_after)

    def _broke(self, error: ApiError | UnreachableError) -> None:
        if self._relocate:
            self._relocate = False
            self._host.lost(self._key, "the CRD was deleted", disconnected=False)
        elif isinstance(error, UnreachableError):
            self._lose(str(error.cause), None, disconnected=True)
        else:
            self._lose(f"{error.message} ({error.status})", error.retry_after)

    def _lose(self, why: str, retry_after: float | None, *, disconnected: bool = False) -> None:
        self._host.lost(self._key, why, disconnected=disconnected)
        self._pause(retry_after or 0.0)

    def _pause(self, at_least: float = 0.0) -> None:
        # An attempt that began before the server was back says nothing about the server that is back.
        if self._host.recoveries() != self._recoveries:
            self._backoff.reset()
        if self._host.pause(max(self._backoff.next(), at_least)):
            self._backoff.reset()

    def _now(self) -> float:
        return self._clock.now().monotonic
