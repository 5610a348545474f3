"""Labs for scenarios: started when the first one needs it, used again only after a scenario that left it as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.errors import UsageError
from fluxdrill.faults.world import World
from fluxdrill.flux.controllers import Pace
from fluxdrill.kube.wait import WaitTimeout
from fluxdrill.lab.lab import Lab, LabSpec, Observer
from fluxdrill.lab.profiles import pace_of as base_pace
from fluxdrill.lab.serve import REPOSITORY, prepare, sync
from fluxdrill.model.capabilities import OFFERED, Capability, lacking
from fluxdrill.progress import Progress
from fluxdrill.repository.profile import Profile
from fluxdrill.scenario.schema import LabUse, Scenario

UP = 180.0
"""Seconds that a repository may take to come up in a new lab."""
Start = Callable[..., Lab]


@dataclass(frozen=True, slots=True)
class Make:
    """What distinguishes one world from another."""

    source: str
    path: str
    profile: str
    pace: Pace
    safe_etcd: bool


def missing(scenario: Scenario, provider: str) -> str:
    """Return why labs of a provider cannot run a scenario; "" where they can."""
    wanting = sorted(lacking(scenario.needs, OFFERED[provider]))
    return f"it needs {', '.join(wanting)}, which a lab of {provider} does not have" if wanting else ""


class Worlds:
    """Hands out worlds one after the other; close it, it is a context manager.

    `start` starts a lab from a LabSpec with `prepare=`, as Lab.start does. `repositories` is where scenarios'
    repositories lie by name. `source` and `path` replace what the scenarios name. `provider` makes the labs.
    """

    def __init__(
        self, start: Start, repositories: Path, *, source: str = "", path: str = "", provider: str = "embedded"
    ) -> None:
        self.provider = provider
        self._start, self._repositories = start, repositories
        self._source, self._path = source, path
        self._make: Make | None = None
        self._world: World | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def get(self, scenario: Scenario) -> World:
        """Return a world for a scenario: the present one if it fits and may be shared, otherwise a new one."""
        make = self._make_of(scenario)
        if self._world is None or self._make != make or scenario.lab is LabUse.OWNED:
            self.close()
            self._world = self._begin(make)
            self._make = make
        return self._world

    def done(self, scenario: Scenario, *, clean: bool) -> None:
        """Say that a scenario has ended; a world that it did not leave clean, or owned, is ended as well."""
        if not clean or scenario.lab is LabUse.OWNED:
            self.close()

    def close(self) -> None:
        """End the present world."""
        world, self._world, self._make = self._world, None, None
        if world is not None:
            world.own_lab.close()

    def _make_of(self, scenario: Scenario) -> Make:
        wanted = scenario.repository
        named = self._repositories / wanted.source
        source = self._source or (str(named) if named.is_dir() else wanted.source)
        safe = Capability.STOP_ETCD in scenario.needs
        pace = pace_of(scenario.pace, Profile(wanted.profile))
        return Make(source, self._path or wanted.path, wanted.profile, pace, safe)

    def _begin(self, make: Make) -> World:
        profile = Profile(make.profile)
        spec = LabSpec(provider=self.provider, pace=make.pace, cluster=ClusterOptions(safe_etcd=make.safe_etcd))
        copies: list[Any] = []

        def copy(root: Path) -> None:
            copies.append(prepare(make.source, into=root / REPOSITORY, path=make.path, profile=profile))

        lab = self._start(spec, prepare=copy)
        try:
            repository = sync(lab, copies[0])
            with suppress(WaitTimeout):  # the steady state of the scenario will say so, in its own words
                repository.wait_ready(deadline=UP)
        except BaseException:
            lab.close()
            raise
        return World(lab.api, lab.store, lab, repository)


def pace_of(given: Mapping[str, Any], profile: Profile) -> Pace:
    """Return the lab's pace with what a scenario changes in it; raises UsageError for an unknown field."""
    base = asdict(base_pace(profile))
    try:
        if unknown := sorted(given.keys() - base.keys()):
            raise UsageError(f"A pace has no {unknown[0]}.", hint=f"It has {', '.join(base)}.")
        return TypeAdapter(Pace).validate_python({**base, **given})
    except ValidationError as error:
        raise UsageError(f"The pace is wrong: {error.errors()[0]['msg']}.", hint="See `pace` in the schema.") from None


def starter(progress: Progress, observer: Observer | None) -> Start:
    """Return a `start` for Worlds outside pytest."""

    def start(spec: LabSpec, **how: Any) -> Lab:
        return Lab.start(spec, progress=progress, observer=observer, **how)

    return start
