"""Health checks written in CEL (`spec.healthCheckExprs`), with the semantics of Flux.

As in fluxcd/pkg runtime 0.110 `cel/status_evaluator.go` and `expression.go` (RFC 0009). The evaluator is
cel-python, brought to the settings that Flux gives cel-go: numbers compare across types, values of
different types are unequal, and `has(a.b)` is an error where `a` is missing. Not there: optional
syntax (`a.?b`) and the string, set and encoder extensions; an expression that needs them gives
Unknown (or `UnsupportedExpressionError`), never a pass.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import celpy
from celpy import celtypes
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError, CELUnsupportedError, Evaluator, base_functions

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.model.kstatus_fields import (
    GroupKind,
    MalformedError,
    Result,
    Status,
    group_kind,
    items,
    optional_integer,
    text,
)
from fluxdrill.model.refs import KubeObject, group_of


class InvalidExpressionError(UsageError):
    """A health expression is missing or does not parse: Flux makes the owner Stalled, InvalidCELExpression."""


class UnsupportedExpressionError(HarnessError):
    """A health expression is valid for Flux but beyond the evaluator: nothing can be said about the object."""


@dataclass(frozen=True, slots=True)
class HealthExpressions:
    """The expressions of one entry; `current` is mandatory, an empty one of the others is never true."""

    current: str
    in_progress: str = ""
    failed: str = ""


class HealthEvaluator:
    """Computes the state of a custom resource from expressions over its top-level fields."""

    def __init__(self, expressions: HealthExpressions) -> None:
        """Compile; raises InvalidExpressionError or UnsupportedExpressionError."""
        if not expressions.current:
            raise InvalidExpressionError("The health expression `current` is missing.", hint="Add it: it is mandatory.")
        # The order decides: an object for which everything is true is in progress.
        ordered = (
            (Status.IN_PROGRESS, "inProgress", expressions.in_progress),
            (Status.FAILED, "failed", expressions.failed),
            (Status.CURRENT, "current", expressions.current),
        )
        self._programs = tuple((status, name, _compile(name, source)) for status, name, source in ordered if source)

    def evaluate(self, obj: KubeObject | None) -> Result:
        """Return the state of `obj` (None: it does not exist); never raises.

        An expression that cannot be evaluated, or is no boolean, gives Unknown, reason `CELError`.
        """
        if obj is None:
            return Result(Status.NOT_FOUND, "NotFound", "the object does not exist")
        if _generation_lags(obj):
            return Result(Status.IN_PROGRESS, "LatestGenerationNotObserved", "the latest generation is not observed")
        try:
            variables = {key: json_to_cel(value) for key, value in obj.items() if key.isidentifier()}
            for status, name, program in self._programs:
                if _is_true(program.evaluate(variables)):
                    return Result(status, f"CEL:{name}", f"the expression `{name}` is true")
        except _EVALUATION_ERRORS as error:
            return Result(Status.UNKNOWN, "CELError", _cause(error))
        return Result(Status.IN_PROGRESS, "CEL:none", "no expression is true")


@dataclass(frozen=True, slots=True)
class HealthChecks:
    """The evaluators of one Kustomization or HelmRelease, by kind."""

    evaluators: Mapping[GroupKind, HealthEvaluator]

    @classmethod
    def of(cls, obj: KubeObject) -> HealthChecks:
        """Return the checks in spec.healthCheckExprs; raises MalformedError and what HealthEvaluator raises."""
        return cls(dict(_entries(items(obj, "spec.healthCheckExprs"))))

    def evaluate(self, obj: KubeObject) -> Result | None:
        """Return the state of `obj`, or None where no entry is about its kind; an entry without kind is for a group.

        Raises MalformedError where apiVersion or kind of `obj` is no text.
        """
        group, kind = group_kind(obj)
        found = self.evaluators.get((group, kind)) or self.evaluators.get((group, ""))
        return None if found is None else found.evaluate(obj)


def _entries(entries: Iterable[Mapping[str, Any]]) -> Iterable[tuple[GroupKind, HealthEvaluator]]:
    for entry in entries:
        expressions = HealthExpressions(text(entry, "current"), text(entry, "inProgress"), text(entry, "failed"))
        yield (group_of(text(entry, "apiVersion")), text(entry, "kind")), HealthEvaluator(expressions)


def _generation_lags(obj: KubeObject) -> bool:
    """Compare the generations where both are integers; else the expressions alone decide."""
    try:
        generation = optional_integer(obj, "metadata.generation")
        observed = optional_integer(obj, "status.observedGeneration")
    except MalformedError:
        return False
    return None not in (generation, observed) and generation != observed


def _is_true(value: object) -> bool:
    if not isinstance(value, celtypes.BoolType):
        raise CELEvalError(_NO_BOOLEAN)
    return bool(value)


_NO_BOOLEAN = "the expression is no boolean"
_HARMLESS = re.compile(rf"undeclared reference to '\w+'|no such member in mapping: '\w+'|{_NO_BOOLEAN}")


def _cause(error: Exception) -> str:
    """Return what went wrong without the library's text: that holds the whole object, with every value in it."""
    found = _HARMLESS.match(str(error.args[0])) if error.args else None
    return found.group() if found else "an expression cannot be evaluated on this object"


def _compile(name: str, source: str) -> celpy.Runner:
    try:
        tree = _environment().compile(source)
    except CELParseError as error:
        if ".?" in source or "[?" in source:
            raise UnsupportedExpressionError(
                f"The health expression `{name}` uses optional syntax, which cannot be evaluated here.",
                hint="Write it with has(), or judge the object on a cluster.",
            ) from error
        raise InvalidExpressionError(
            f"The health expression `{name}` does not parse: {source!r}.", hint="Flux would refuse it as well: fix it."
        ) from error
    return _environment().program(tree, functions=_FUNCTIONS)


@cache
def _environment() -> celpy.Environment:
    # Built at first use, since the parser takes 0.2 s; and the library raises the recursion limit of
    # the whole process, which is not its to change.
    limit = sys.getrecursionlimit()
    try:
        return celpy.Environment(runner_class=_Runner)
    finally:
        sys.setrecursionlimit(limit)


class _StrictHas(Evaluator):
    """cel-python answers false to `has(a.b)` when `a` itself is missing; cel-go answers with an error."""

    def macro_has_eval(self, exprlist: Any) -> Any:
        node: Any = exprlist
        while getattr(node, "data", "") != "member_dot":
            if len(getattr(node, "children", ())) != 1:
                return CELEvalError("has() takes a field selection")
            node = node.children[0]
        holder = self.visit(node.children[0])
        if isinstance(holder, CELEvalError):
            return holder
        if isinstance(holder, list):
            return CELEvalError("has() on a list")
        return celtypes.BoolType(isinstance(holder, Mapping) and node.children[1].value in holder)


class _Runner(celpy.InterpretedRunner):
    def evaluate(self, context: Any) -> Any:
        return _StrictHas(ast=self.ast, activation=self.new_activation()).evaluate(context)


def _plain(value: object) -> int | float | None:
    """Return a CEL number as a Python one (their own operators refuse other types), None for anything else."""
    if isinstance(value, celtypes.DoubleType):
        return float(value)
    return int(value) if isinstance(value, celtypes.IntType | celtypes.UintType) else None


def _equal(left: Any, right: Any) -> bool:
    numbers = _plain(left), _plain(right)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_equal(value, right[key]) for key, value in left.items())
    if _is_null(left) or _is_null(right):
        return _is_null(left) and _is_null(right)
    return _kind(left) is _kind(right) and bool(left == right)


def _kind(value: object) -> type:
    """Return the type of `value`; what cel-python concatenates comes out as a plain Python string."""
    return next((plain for plain in (str, bytes, list) if isinstance(value, plain)), type(value))


def _is_null(value: object) -> bool:
    return value is None or isinstance(value, celtypes.NullType)


def _contains(item: Any, holder: Any) -> bool:
    if not isinstance(holder, list | Mapping):
        raise TypeError("no such overload")
    return any(_equal(item, member) for member in holder)


def _ordered(name: str, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
    def ordered(left: Any, right: Any) -> Any:
        numbers = _plain(left), _plain(right)
        if None not in numbers:
            return compare(*numbers)
        if _kind(left) is not _kind(right):
            raise TypeError("no such overload")
        return base_functions[name](left, right)

    return ordered


def _lifted(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Pass errors through, as values: `false && error` is false in CEL."""

    def lifted(left: Any, right: Any) -> Any:
        for side in (left, right):
            if isinstance(side, CELEvalError):
                return side
        found = function(left, right)
        return found if isinstance(found, CELEvalError) else celtypes.BoolType(bool(found))

    return lifted


def _item(holder: Any, key: Any) -> Any:
    if not isinstance(holder, list | Mapping) or (isinstance(holder, list) and isinstance(key, int) and key < 0):
        raise TypeError("no such overload")
    return base_functions["_[_]"](holder, key)


def _size(holder: Any) -> Any:
    if not isinstance(holder, str | bytes | list | Mapping):
        raise TypeError("no such overload")
    return base_functions["size"](holder)


def _arithmetic(name: str) -> Callable[[Any, Any], Any]:
    def calculated(left: Any, right: Any) -> Any:
        times = celtypes.TimestampType | celtypes.DurationType
        if _kind(left) is not _kind(right) and not (isinstance(left, times) and isinstance(right, times)):
            raise TypeError("no such overload")
        return base_functions[name](left, right)

    return calculated


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "_[_]": _item,
    "size": _size,
    **{name: _arithmetic(name) for name in ("_+_", "_-_", "_*_", "_/_", "_%_")},
    "_==_": _lifted(_equal),
    "_!=_": _lifted(lambda left, right: not _equal(left, right)),
    "_in_": _lifted(_contains),
    **{
        name: _lifted(_ordered(name, compare))
        for name, compare in (("_<_", operator.lt), ("_<=_", operator.le), ("_>_", operator.gt), ("_>=_", operator.ge))
    },
}

# What cel-python raises: its own two, and plain ones for numbers beyond 64 bits and for deep nesting.
_EVALUATION_ERRORS = (CELEvalError, CELUnsupportedError, ValueError, TypeError, OverflowError, RecursionError)
