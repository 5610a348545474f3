"""Who still gets an answer while something is broken: asked from this machine, and from a pod on another node.

Each probe asks twice a second and notes every answer with the time of the machine's clock since its start, which is the
same in every container of it.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import pytest

from fluxdrill.cluster.node_parts import pod_log
from fluxdrill.kube.api import Api
from fluxdrill.model.refs import ObjectRef

EVERY = 0.5
"""Seconds between two questions."""
PATIENCE = 1.0
"""Seconds that an answer may take."""
LOOP = f"""\
trap 'exit 0' TERM
while :; do
  word=$(timeout {PATIENCE:g} wget -q -O - http://$0/born 2> /dev/null) && state=ok || state=none
  echo "$(cut -d ' ' -f 1 /proc/uptime) $state $word"
  sleep {EVERY:g} & wait $!
done
"""
"""What the probe in a pod runs; $0 is whom it asks."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: when (seconds of the machine's clock since its start), whether there was one, and what it said."""

    at: float
    good: bool
    word: str = ""


class FromHere:
    """Asks `host`:`port` from this machine for the time of a `with` block."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="probe", daemon=True)
        self.answers: list[Answer] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _ask_on(self) -> None:
        while True:
            self.answers.append(self._ask())
            if self._ended.wait(EVERY):
                return

    def _ask(self) -> Answer:
        connection = http.client.HTTPConnection(*self._address, timeout=PATIENCE)
        try:
            connection.request("GET", "/born")
            reply = connection.getresponse()
            return Answer(now(), reply.status == 200, reply.read().decode().strip())
        except (OSError, http.client.HTTPException):
            return Answer(now(), good=False)
        finally:
            connection.close()


def inside(api: Api, pod: ObjectRef, *, since: float) -> list[Answer]:
    """Return what the probe in `pod` has got since then."""
    found = []
    for line in pod_log(api, pod.namespace, pod.name, 1 << 18).splitlines():
        with suppress(ValueError):
            at, state, word = (*line.split(maxsplit=2), "")[:3]
            if float(at) >= since:
                found.append(Answer(float(at), state == "ok", word))
    return found


def since_then(answers: Iterable[Answer], moment: float) -> list[Answer]:
    """Return the answers from a moment on."""
    return [one for one in answers if one.at >= moment]


def from_first_good(answers: Iterable[Answer]) -> list[Answer]:
    """Return the answers from the first good one to the last good one."""
    answers = list(answers)
    good = [number for number, one in enumerate(answers) if one.good]
    return answers[good[0] : good[-1] + 1] if good else []


def until_both(look: Callable[[], tuple[Iterable[Answer], Iterable[Answer]]], *, deadline: float = 60.0) -> None:
    """Wait until each of two probes has got a good answer; fails with what they got."""
    end = time.monotonic() + deadline
    while True:
        outside, inside_ = map(list, look())
        if all(any(one.good for one in answers) for answers in (outside, inside_)):
            return
        if time.monotonic() > end:
            pytest.fail(f"no good answer in {deadline:g} s: outside {outside[-3:]}, inside {inside_[-3:]}")
        time.sleep(EVERY)


def now() -> float:
    """Return the machine's clock since its start, as /proc/uptime tells it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def longest_gap(answers: Iterable[Answer]) -> float:
    """Return the longest time in seconds between two good answers with a bad one between them.

    Raises ValueError where there was no good answer before, or none after.
    """
    answers = list(answers)
    if not answers or not answers[0].good or not answers[-1].good:
        raise ValueError("The first or the last question got no answer: how long the gap was is not known.")
    longest, last, broken = 0.0, answers[0].at, False
    for one in answers:
        if not one.good:
            broken = True
            continue
        longest = max(longest, one.at - last) if broken else longest
        last, broken = one.at, False
    return longest
