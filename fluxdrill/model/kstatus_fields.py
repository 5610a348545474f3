"""What the kstatus rules are made of: the result, and strict readers of an object's fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fluxdrill.model.conditions import Condition, conditions
from fluxdrill.model.refs import KubeObject, group_of

GroupKind = tuple[str, str]
"""Group ("" for core) and kind: what identifies a rule, whatever the version."""


class Status(StrEnum):
    """The states of kstatus."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Result:
    """A state with the machine-readable reason (empty where kstatus has none) and a sentence."""

    status: Status
    reason: str = ""
    message: str = ""

    def __str__(self) -> str:
        """Return state, reason and sentence in one line."""
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.status}{reason}" + (f": {self.message}" if self.message else "")


class MalformedError(ValueError):
    """A field of the object has a type that its API does not allow."""

    def __init__(self, path: str, expected: str) -> None:
        super().__init__(f"{path} is not {expected}")


def field(obj: KubeObject, path: str) -> Any:
    """Return the value at the dotted `path`, None where it is absent or null; raises MalformedError on the way."""
    value: Any = obj
    walked = "the object"
    for key in path.split("."):
        if value is None:
            return None
        value = mapping(value, walked).get(key)
        walked = key if walked == "the object" else f"{walked}.{key}"
    return value


def mapping(value: object, path: str) -> Mapping[str, Any]:
    """Return `value`, which must be a JSON object."""
    if not isinstance(value, Mapping):
        raise MalformedError(path, "an object")
    return value


def items(obj: KubeObject, path: str) -> list[Mapping[str, Any]]:
    """Return the list of objects at `path`; empty where it is absent."""
    value = field(obj, path)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise MalformedError(path, "a list")
    return [mapping(entry, f"an entry of {path}") for entry in value]


def text(obj: KubeObject, path: str, default: str = "") -> str:
    """Return the string at `path`."""
    value = field(obj, path)
    if value is None:
        return default
    if not isinstance(value, str):
        raise MalformedError(path, "a string")
    return value


def integer(obj: KubeObject, path: str, default: int = 0) -> int:
    """Return the integer at `path`."""
    found = optional_integer(obj, path)
    return default if found is None else found


def optional_integer(obj: KubeObject, path: str) -> int | None:
    """Return the integer at `path`, None where it is absent. A boolean or a float is not an integer."""
    value = field(obj, path)
    if value is not None and type(value) is not int:
        raise MalformedError(path, "an integer")
    return value


def checked_conditions(obj: KubeObject) -> tuple[Condition, ...]:
    """Return the conditions of `obj`; unlike `conditions` it raises MalformedError where their shape is wrong."""
    for entry in items(obj, "status.conditions"):
        for key in ("type", "status", "reason", "message"):
            text(entry, key)
    return conditions(obj)


def group_kind(obj: KubeObject) -> GroupKind:
    """Return group and kind of `obj`."""
    return group_of(text(obj, "apiVersion")), text(obj, "kind")
