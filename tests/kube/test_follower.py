"""How one follower paces itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fluxdrill.kube.api import Api
from fluxdrill.kube.follower import Backoff, Follower
from fluxdrill.kube.reduce import Reducer
from fluxdrill.kube.state import Effects, Memory
from fluxdrill.model.clock import SYSTEM_CLOCK
from tests.kube.conftest import FAST
from tests.kube.helpers import MAPS
from tests.kube.scripted import ScriptedServer


class Pauses(Memory):
    """The real memory, which notes pauses instead of making them."""

    def __init__(self) -> None:
        nothing = Effects(hurry=lambda: None, reconnect=lambda _: None, relocate=lambda _: None)
        super().__init__(clock=SYSTEM_CLOCK, reduce=Reducer(), effects=nothing)
        self.noted: list[float] = []

    def pause(self, seconds: float) -> bool:
        self.noted.append(seconds)
        if len(self.noted) == 8:
            self.close()
        return False


def test_an_attempt_that_spans_the_servers_return_does_not_keep_the_long_pause(
    api: Api, server: ScriptedServer
) -> None:
    memory, asked = Pauses(), []

    def back_at_the_sixth(_method: str, target: str) -> bool:
        if "/configmaps" in target:
            asked.append(target)
            memory._recoveries += len(asked) == 6
        return "/configmaps" in target

    server.script(503).matches = back_at_the_sixth
    key = (MAPS, None)
    memory.begin(key)
    follower = Follower(memory, api, key, clock=SYSTEM_CLOCK, rhythm=replace(FAST, first_pause=1, longest_pause=60))
    follower.start()
    assert follower.join(5)
    follower.stop()
    growing, afterwards = memory.noted[:5], memory.noted[5:]
    assert growing == sorted(growing)
    assert growing[-1] > 10
    assert [pause <= 2**power for power, pause in enumerate(afterwards)] == [True] * 3


def test_pauses_double_up_to_a_limit_and_differ_between_followers() -> None:
    def some(seed: str) -> list[float]:
        backoff = Backoff(first=1, longest=8, seed=seed)
        return [backoff.next() for _ in range(6)]

    limits: list[Any] = [1, 2, 4, 8, 8, 8]
    assert all(limit * 2 / 3 <= pause <= limit for pause, limit in zip(some("a"), limits, strict=True))
    assert some("a") != some("b")


def test_a_reset_starts_the_pauses_over() -> None:
    backoff = Backoff(first=1, longest=8, seed="a")
    for _ in range(4):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 1
