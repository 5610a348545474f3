"""Releases of the stand-in chart on the shared lab, from a chart repository of their own, removed again afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, cast

import pytest

from fluxdrill.kube.wait import absent, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.sources.standin import NAME, package
from suites.remediation.releases import VERSION, Release, repository, repository_ref

MakeRelease = Callable[..., Release]
T = TypeVar("T")


class Told(Protocol):
    """What `all_at_once` hands out."""

    def __call__(self, story: Callable[[Lab, MakeRelease], T]) -> T:
        """Return what a story returned once it has ended, or raise what it raised."""


@contextmanager
def releases_on(lab: Lab) -> Iterator[MakeRelease]:
    """Hand out a function that makes releases, not yet installed; they and their repository end with the block."""
    mark = secrets.token_hex(2)
    source = f"charts-{mark}"
    lab.charts.publish(NAME, VERSION, package(VERSION))
    lab.api.apply(repository(source, lab.charts.url))
    made: list[Release] = []

    def make(name: str, **spec: Any) -> Release:
        made.append(Release(lab, f"{name}-{mark}", repository=source, spec=spec))
        return made[-1]

    try:
        yield make
    finally:
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(Release.remove, made))
        lab.api.delete(repository_ref(source))
        wait_for(lab.store, absent(repository_ref(source)), deadline=30, what=f"{source} to be gone")


@contextmanager
def all_at_once(lab: Lab, *stories: Callable[[Lab, MakeRelease], object]) -> Iterator[Told]:
    """Begin several stories about releases at the same time; the tests of a module then wait for theirs, one by one."""
    with releases_on(lab) as make, ThreadPoolExecutor(max_workers=len(stories)) as pool:
        running: dict[object, Future[object]] = {story: pool.submit(story, lab, make) for story in stories}

        def told(story: Callable[[Lab, MakeRelease], T]) -> T:
            return cast("T", running[story].result())

        yield told


@pytest.fixture
def make_release(lab: Lab) -> Iterator[MakeRelease]:
    """Return a function that makes releases for one test."""
    with releases_on(lab) as make:
        yield make
