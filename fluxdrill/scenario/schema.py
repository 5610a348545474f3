"""The schema of a scenario file; `load.py` reads one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fluxdrill.faults.refs import Ref
from fluxdrill.model.capabilities import Capability
from fluxdrill.model.verdicts import Outcome
from fluxdrill.scenario.checks import Action, Check, Files, Refs, Seconds, Strict

API_VERSION = "fluxdrill.dev/v1"
KIND = "Scenario"
CONVERGED = Check(converged=True, within=60, stays=2)
"""Steady state, and what recovered means, unless a scenario says more."""


class Order(StrEnum):
    """How several faults follow each other."""

    TOGETHER = "together"
    ONE_BY_ONE = "one-by-one"


class FaultUse(Strict):
    """One use of a fault: its name, its arguments (`choose: [...]` leaves one to the seed), and when it comes."""

    fault: str = Field(description="Its name, family.fault: see `fluxdrill scenario faults`.")
    before: tuple[Action, ...] = Field(default=(), description="Done just before it is injected.")
    arguments: Mapping[str, Any] = Field(default_factory=dict, alias="with")
    then: tuple[Action, ...] = Field(default=(), description="Done just after it is injected, so that it shows.")
    lasting: bool = Field(default=False, description="It is healed only after the judgement, whatever the outcome.")
    after: Check | None = Field(default=None, description="It is injected once this holds.")


class LabUse(StrEnum):
    """Whether a scenario may run in a lab that others used before it."""

    SHARED = "shared"
    OWNED = "owned"


class Repository(Strict):
    """What Flux follows: a repository beside the scenario, changed by `files`."""

    source: str = Field(default="fleet", description="A folder in scenarios/repositories, or a path or URL.")
    path: str = "clusters/lab"
    profile: str = "fast"
    files: Files = Field(default_factory=dict, description="Committed on top before Flux sees it.")
    parameters: Mapping[str, str] = Field(default_factory=dict)


class Budgets(Strict):
    """Seconds that may pass: until the first thing is seen, from the healing to converged, and in all."""

    detect: Seconds = 30.0
    recover: Seconds = 60.0
    total: Seconds = 240.0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.detect + self.recover > self.total:
            raise ValueError(
                f"the budget is impossible: detect ({self.detect:g} s) and recover ({self.recover:g} s) "
                f"do not fit into total ({self.total:g} s)"
            )
        return self


class Scenario(Strict):
    """One scenario: what is broken, what must be seen, and what recovered means."""

    api_version: Literal["fluxdrill.dev/v1"] = Field(alias="apiVersion")
    kind: Literal["Scenario"]
    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{2,60}$")]
    title: Annotated[str, Field(min_length=10, max_length=160)]
    proves: tuple[str, ...] = Field(default=(), description="Ids of the catalogue, such as C-10.")
    needs: frozenset[Capability] = frozenset()
    weight: Annotated[int, Field(ge=0, le=100)] = Field(
        default=1, description="How often a campaign draws it; 0 is never."
    )
    marks: tuple[Literal["ci", "nightly"], ...] = ()
    lab: LabUse = LabUse.SHARED
    pace: Mapping[str, Any] = Field(default_factory=dict, description="How the lab's controllers are started.")
    repository: Repository = Field(default_factory=lambda: Repository.model_validate({}))
    arrange: tuple[Action, ...] = Field(
        default=(), description="Done before the steady state, undone after the scenario."
    )
    steady: Annotated[tuple[Check, ...], Field(min_length=1)] = (CONVERGED,)
    faults: Annotated[tuple[FaultUse, ...], Field(min_length=1)]
    order: Order = Order.TOGETHER
    repeat: Annotated[int, Field(ge=1, le=20)] = 1
    seen: Annotated[tuple[Check, ...], Field(min_length=1, description="What must be seen while it is broken.")]
    meanwhile: tuple[Action, ...] = Field(default=(), description="What people do while it is broken.")
    affected: tuple[Ref, ...] = Field(
        default=(), description="What may leave Ready meanwhile; everything else must not."
    )
    decoy: Annotated[Refs, Field(min_length=1, description="What must not be touched at all.")]
    outcome: Outcome
    stuck: tuple[Check, ...] = Field(default=(), description="What stays broken after the cause is gone.")
    manual: tuple[Action, ...] = Field(default=(), description="The documented manual step that then works.")
    recovered: tuple[Check, ...] = (CONVERGED,)
    budgets: Budgets = Field(default_factory=lambda: Budgets.model_validate({}))
    notes: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.outcome is Outcome.STUCK and not (self.stuck and self.manual):
            raise ValueError("outcome stuck-as-documented needs `stuck` (what stays broken) and `manual` (what helps)")
        if self.outcome is not Outcome.STUCK and (self.stuck or self.manual):
            raise ValueError(f"`stuck` and `manual` belong to outcome stuck-as-documented, not to {self.outcome}")
        if not self.recovered:
            raise ValueError("`recovered` names no check: then nothing would be proved")
        if touched := set(self.decoy) & set(self.affected):
            raise ValueError(f"{', '.join(map(str, sorted(touched)))} cannot be a decoy and affected")
        slow = [check for check in self.recovered if check.within > self.budgets.total]
        if slow:
            raise ValueError(f"the budget is impossible: {slow[0].text} may take longer than total allows")
        return self
