"""Record what is done to the parts of a lab: a process killed, stopped or paused, a server that is made to fail.

It listens to the parts themselves, so that nothing done by a suite, a scenario or a fault goes unrecorded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from fluxdrill.cluster.part import Action, Part
from fluxdrill.model.clock import Clock
from fluxdrill.model.records import Intervention
from fluxdrill.sources.server import Server


class Interventions:
    """What is done to one lab; `observe` is told each when it begins and again when it ends. Thread-safe."""

    def __init__(self, observe: Callable[[Intervention], None], *, clock: Clock) -> None:
        self._observe = observe
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, Intervention] = {}

    @contextmanager
    def of(self, processes: Iterable[Part], servers: Mapping[str, Server]) -> Iterator[None]:
        """Listen to these parts within the `with` block; what is done to them outside of it is a lab's own start or end.

        `servers` are named by what is told as the target of what is done to them.
        """
        parts = list(processes)
        for process in parts:
            process.listener = self._process
        for target, server in servers.items():
            server.on_fault(partial(self._server, target, server.title))
        try:
            yield
        finally:
            for server in servers.values():
                server.on_fault(None)
            for process in parts:
                process.listener = None

    @contextmanager
    def during(self, what: str, *, target: str) -> Iterator[None]:
        """Record that `what` was done to `target` from here to the end of the `with` block, for what no part tells itself."""
        begun = Intervention(what, target, self._clock.now())
        self._observe(begun)
        try:
            yield
        finally:
            self._observe(replace(begun, ended=self._clock.now()))

    def _process(self, name: str, action: Action) -> None:
        with self._lock:
            match action:
                case Action.KILLED | Action.STOPPED | Action.PAUSED:
                    self._begin(f"{name} {action}", name)
                case Action.STARTED:  # told again once it is ready: one that was only started does not work yet
                    self._end(name, for_good=False)
                case Action.READY | Action.RESUMED:
                    self._end(name)

    def _server(self, target: str, title: str, part: str, words: str | None) -> None:
        """Note a fault of a server, or of a part of it, which may be wrong at the same time."""
        target, title = (f"{target} {part}", f"{title} {part}") if part else (target, title)
        with self._lock:
            if words is not None:
                self._begin(f"{title} {words}", target)
            else:
                self._end(target)

    def _begin(self, what: str, target: str) -> None:
        last = self._last.get(target)
        if last is not None and last.ended is None:
            self._end(target)
        self._last[target] = Intervention(what, target, self._clock.now())
        self._observe(self._last[target])

    def _end(self, target: str, *, for_good: bool = True) -> None:
        last = self._last.pop(target, None)
        if last is None:
            return
        ended = replace(last, ended=self._clock.now())
        self._observe(ended)
        if not for_good:
            self._last[target] = ended
