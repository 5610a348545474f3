"""Times that a test measured, such as how long a recovery took: a property of the test, and judged by their budget."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Protocol, Self

import pytest

from fluxdrill.errors import ProductDeviatedError

PROPERTY = "measured"
"""Name of the property; its value is a JSON object, so that JUnit, Allure and xdist carry it as it is."""


class Kind(StrEnum):
    """What a time says."""

    DETECTION = "detection"
    RECOVERY = "recovery"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured time and its budget, both in seconds."""

    name: str
    seconds: float
    kind: Kind
    budget: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.seconds) or self.seconds < 0:
            raise ValueError(f"{self.name!r} took {self.seconds} seconds, which is no time")

    @classmethod
    def of(cls, text: str) -> Self:
        """Read a property's value."""
        fields = json.loads(text)
        return cls(**{**fields, "kind": Kind(fields["kind"])})

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, for the journal."""
        return asdict(self)

    @property
    def over(self) -> bool:
        """Whether it took longer than its budget."""
        return self.budget is not None and self.seconds > self.budget

    def __str__(self) -> str:
        budget = f" of {self.budget:g} s" if self.budget is not None else ""
        return f"{self.seconds:.1f} s{budget}"


class Measured(Protocol):
    """What the fixture `measured` hands out."""

    def __call__(self, name: str, seconds: float, *, kind: str = "recovery", budget: float | None = None) -> None:
        """Record `seconds` as a property of the test; `name` says from what until what.

        `kind` is `detection` (fault until it is told), `recovery` (heal until Ready) or `other`. Raises
        ProductDeviatedError where it is over its budget, and ValueError where it is no time or no kind.
        """


def note(item: pytest.Item, found: Measurement) -> None:
    """Record a measurement and judge it: recorded first, for a time over budget is worth reading."""
    item.user_properties.append((PROPERTY, json.dumps(found.plain())))
    if found.over:
        raise ProductDeviatedError(
            f"{found.name} took {found.seconds:.1f} s, and its budget is {found.budget:g} s.",
            hint="See the timeline of the run's page for what it waited for.",
        )


def measurements(properties: Iterable[tuple[str, Any]]) -> list[Measurement]:
    """Return what a test measured, from its report's properties."""
    return [Measurement.of(str(value)) for name, value in properties if name == PROPERTY]
