"""What a scenario can check and do: the pieces of its schema that name objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fluxdrill.faults.refs import Ref
from fluxdrill.model.refs import ObjectRef

Refs = tuple[Ref, ...]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Files = Mapping[str, str | None]
"""Paths in the repository and their new text; null removes a file, a name that ends with / removes the folder."""


class Strict(BaseModel):
    """A part of a scenario file: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True)


class ConditionIs(Strict):
    """A condition of an object."""

    object: Ref
    type: str = "Ready"
    status: str = "True"
    reason: str | None = None
    message: str | None = Field(default=None, description="A part of the message.")


class FieldIs(Strict):
    """A field of an object; `path` is its dotted path, in which a list is entered by number."""

    object: Ref
    path: str
    equals: Any


class EventIs(Strict):
    """An event about an object, newer than the first fault."""

    object: Ref
    reason: str
    message: str | None = Field(default=None, description="A part of the message.")


class OneOf(Strict):
    """A mapping of which exactly one of the alternatives is given."""

    @classmethod
    def alternatives(cls) -> tuple[str, ...]:
        """Return the names of the alternatives."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in self.alternatives() if getattr(self, name) not in (None, (), False)]
        if len(given) != 1:
            choices = ", ".join(name.replace("_", "-") for name in self.alternatives())
            raise ValueError(f"give exactly one of {choices} (and name at least one object)")
        return self

    @property
    def verb(self) -> str:
        """The alternative that is given."""
        return next(name for name in self.alternatives() if getattr(self, name) not in (None, (), False))


class Check(OneOf):
    """One thing to look for. `within` are the seconds it may take, `stays` the seconds it must then hold."""

    converged: bool = Field(
        default=False, description="Git, Flux's inventory and the live objects agree at the newest commit."
    )
    ready: Refs = ()
    not_ready: Refs = Field(default=(), alias="not-ready")
    condition: ConditionIs | None = None
    present: Refs = ()
    absent: Refs = ()
    kept: Refs = Field(default=(), description="They are there with the UID they had in the steady state.")
    replaced: Refs = Field(default=(), description="They are there with another UID than in the steady state.")
    untouched: Refs = Field(default=(), description="Their UID and generation are those of the steady state.")
    field: FieldIs | None = None
    event: EventIs | None = None
    fetched: bool = Field(default=False, description="Flux has fetched the newest commit, which is not the steady one.")
    silent: bool = Field(default=False, description="The API server gives no sign of life for a while.")
    at_head: Refs = Field(
        default=(), alias="at-head", description="Kustomizations that are Ready at the newest commit."
    )
    at_steady: Refs = Field(
        default=(), alias="at-steady", description="Kustomizations Ready at the steady state's commit."
    )
    within: Seconds = 30.0
    stays: Annotated[float, Field(ge=0, le=600)] = 0.0

    @classmethod
    def alternatives(cls) -> tuple[str, ...]:
        """Return the names of the alternatives."""
        return tuple(name for name in cls.model_fields if name not in {"within", "stays"})

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.stays >= self.within:
            raise ValueError(f"stays ({self.stays:g} s) does not fit into within ({self.within:g} s)")
        return self

    @property
    def refs(self) -> tuple[ObjectRef, ...]:
        """The objects it names."""
        value = getattr(self, self.verb)
        if isinstance(value, tuple):
            return value
        return (value.object,) if hasattr(value, "object") else ()

    @property
    def text(self) -> str:
        """It as a sentence's end: "Kustomization/flux-system/apps is ready"."""
        return check_text(self)


class Commit(Strict):
    """A commit to the served repository."""

    message: str
    files: Files = Field(default_factory=dict)

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.files:
            raise ValueError("a commit needs at least one file")
        return self


class Patch(Strict):
    """A JSON merge patch by hand, as `kubectl patch` would do it."""

    object: Ref
    merge: Mapping[str, Any]
    subresource: str = ""


class Action(OneOf):
    """Something a person or a pipeline does during a scenario; it is no fault and needs no healing."""

    commit: Commit | None = None
    revert: bool = Field(default=False, description="Commit the tree of the steady state again.")
    reconcile: Ref | None = None
    reset: Ref | None = Field(
        default=None, description="Reconcile a HelmRelease with its failure counters set to zero."
    )
    force: Ref | None = Field(default=None, description="Have a HelmRelease upgraded once, in sync or not.")
    patch: Patch | None = None
    delete: Ref | None = None
    apply: Mapping[str, Any] | None = None
    suspend: Ref | None = None
    resume: Ref | None = None
    tag: str | None = Field(default=None, description="Put this tag on the newest commit.")
    restart: tuple[str, ...] = Field(default=(), description="Programs of the lab to restart in order, by name.")
    expect: Check | None = Field(default=None, description="Wait here until this holds.")

    @classmethod
    def alternatives(cls) -> tuple[str, ...]:
        """Return the names of the alternatives."""
        return tuple(cls.model_fields)

    @property
    def text(self) -> str:
        """It as a plan's line."""
        value = getattr(self, self.verb)
        return _ACTIONS[self.verb](value) if self.verb in _ACTIONS else f"{self.verb} {value}"


_ACTIONS: Mapping[str, Callable[[Any], str]] = {
    "commit": lambda value: f"commit {value.message!r} ({len(value.files)} files)",
    "revert": lambda _: "commit the steady state's tree again",
    "patch": lambda value: f"patch {value.object}",
    "apply": lambda value: f"apply {value.get('kind')}/{(value.get('metadata') or {}).get('name')}",
    "restart": lambda value: f"restart {', '.join(value)}",
    "expect": lambda value: f"wait until {value.text}",
}
_TEXTS = {
    "converged": "Git, Flux's inventory and the live objects agree at the newest commit",
    "fetched": "Flux has fetched the commit made meanwhile",
    "silent": "the API server is silent",
    "ready": "{} ready",
    "not_ready": "{} not ready",
    "present": "{} there",
    "absent": "{} gone",
    "kept": "{} still the same (UID)",
    "replaced": "{} replaced by a new one",
    "untouched": "{} untouched (UID and generation)",
    "at_head": "{} Ready at the newest commit",
    "at_steady": "{} Ready at the steady state's commit",
}


def check_text(check: Check) -> str:
    """Return a check as the end of a sentence."""
    value = getattr(check, check.verb)
    match check.verb:
        case "condition":
            why = f" ({value.reason})" if value.reason else ""
            about = f" that says {value.message!r}" if value.message else ""
            return f"{value.object} has {value.type}={value.status}{why}{about}"
        case "field":
            return f"{value.object} has {value.path} = {value.equals!r}"
        case "event":
            return f"an event {value.reason} is about {value.object}"
        case "converged" | "silent" | "fetched":
            return _TEXTS[check.verb]
        case verb:
            are = "is" if len(check.refs) == 1 else "are"
            return _TEXTS[verb].format(f"{', '.join(map(str, check.refs))} {are}")
