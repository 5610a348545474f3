"""What every fault is: arguments, what it takes, how it is injected, seen to bite, and healed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from fluxdrill.errors import FluxdrillError
from fluxdrill.kube.predicates import Predicate
from fluxdrill.model.capabilities import Capability

if TYPE_CHECKING:
    from fluxdrill.faults.world import World

State = dict[str, Any]
"""What `heal` needs, as JSON: it must be enough for another process, after this one was killed."""


class Where(StrEnum):
    """Where a fault lives: in the cluster (any machine with the kubeconfig can heal it) or on the lab's host."""

    CLUSTER = "cluster"
    HOST = "host"


class NotInjectedError(FluxdrillError):
    """The fault could not be injected: it was denied, or what it should hit is not there."""


class Args(BaseModel):
    """Arguments of a fault; unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks one of our own servers or the host whether a fault bit: (bit, why); asked until true or the deadline."""

    ask: Callable[[], tuple[bool, str]]


A = TypeVar("A", bound=Args)


class Fault(ABC, Generic[A]):
    """One fault with its arguments. A subclass docstring says what it does; `rights` what it needs to be allowed.

    The life of a fault: `prepare` reads and returns the state, `inject` acts, `observe` returns what shows that it
    bit, `heal` undoes it from the state alone and may be called twice or without a finished `inject`.
    """

    name: ClassVar[str]
    """`family.fault`, as scenario files write it."""
    arguments: ClassVar[type[Args]] = Args
    where: ClassVar[Where] = Where.CLUSTER
    reversible: ClassVar[bool] = True
    """Whether `heal` removes the cause; without, only Flux (or a person) brings back what was lost."""
    needs: ClassVar[frozenset[Capability]] = frozenset()
    rights: ClassVar[str] = "cluster-admin"
    bites_within: ClassVar[float] = 30.0
    """Seconds in which `observe` must be met."""

    def __init__(self, args: A) -> None:
        self.args = args

    @property
    @abstractmethod
    def takes(self) -> frozenset[str]:
        """The resources it takes for itself: two faults that take the same never run together."""

    def prepare(self, world: World) -> State:
        """Read what `heal` will need; changes nothing. Raises NotInjectedError where it would hit nothing."""
        del world
        return {}

    @abstractmethod
    def inject(self, world: World, state: State) -> None:
        """Break it. Raises NotInjectedError, or what the API says."""

    @abstractmethod
    def observe(self, world: World, state: State) -> Predicate | Probe:
        """Return what shows that the fault bit: a rule on the watch's view, or a probe of our own servers."""

    @abstractmethod
    def heal(self, world: World, state: State) -> None:
        """Undo it; idempotent. Raises what the API says."""

    @property
    def text(self) -> str:
        """It and its arguments as one line."""
        given = ", ".join(
            f"{key}={_shown(value)}" for key, value in self.args.model_dump(exclude_defaults=True).items()
        )
        return f"{self.name}({given})"


def _shown(value: object) -> str:
    if isinstance(value, Mapping) and set(value) == {"group", "kind", "namespace", "name"}:
        return "/".join(str(value[key]) for key in ("kind", "namespace", "name") if value[key])
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
