"""Read scenario files; what is wrong is told with the file's line, before anything is touched."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fluxdrill.errors import UsageError
from fluxdrill.faults import catalog
from fluxdrill.faults.fault import Fault
from fluxdrill.scenario.schema import API_VERSION, KIND, FaultUse, Order, Scenario

SUFFIXES = (".yaml", ".yml")
Place = Sequence[str | int]


class ScenarioError(UsageError):
    """A scenario file that cannot be used; `lines` are its problems, each with file and line."""

    def __init__(self, path: Path, problems: Iterable[tuple[int, str]]) -> None:
        self.lines = [f"{path}:{line}: {text}" for line, text in sorted(set(problems))]
        count = "a problem" if len(self.lines) == 1 else f"{len(self.lines)} problems"
        super().__init__(
            f"{path.name} has {count}:\n  " + "\n  ".join(self.lines),
            hint="Nothing was touched. Correct it and run `fluxdrill scenario validate`.",
        )


def is_scenario(path: Path) -> bool:
    """Tell whether a YAML file says that it is a scenario: other YAML may lie beside it."""
    if path.suffix not in SUFFIXES:
        return False
    head = path.read_text(encoding="utf-8", errors="replace")[:4096]
    return f"apiVersion: {API_VERSION}" in head and f"kind: {KIND}" in head


def find(places: Iterable[Path]) -> list[Path]:
    """Return the scenario files in files and folders; raises UsageError for a place that does not exist or has none."""
    found: list[Path] = []
    for place in places:
        if not place.exists():
            raise UsageError(f"There is no {place}.", hint="Name a scenario file or a folder of them.")
        below = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.suffix in SUFFIXES)
        scenarios = [path for path in below if path.is_file() and is_scenario(path)]
        if not scenarios:
            raise UsageError(
                f"{place} holds no scenario.", hint=f"A scenario begins with apiVersion: {API_VERSION}, kind: {KIND}."
            )
        found += scenarios
    return found


def load(path: Path) -> Scenario:
    """Read one scenario and check all that can be checked without a cluster; raises ScenarioError."""
    text = path.read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScenarioError(path, [(line, f"this is no YAML: {error.problem}")]) from None
    if not isinstance(data, dict):
        raise ScenarioError(path, [(1, "a scenario is a mapping")])
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        raise ScenarioError(path, ((line_of(root, one["loc"]), _words(one)) for one in error.errors())) from None
    if problems := [(line_of(root, place), text) for place, text in _fault_problems(scenario)]:
        raise ScenarioError(path, problems)
    return scenario


def load_all(paths: Iterable[Path]) -> dict[Path, Scenario]:
    """Read several files; raises ScenarioError, also for two of the same id."""
    loaded: dict[Path, Scenario] = {}
    known: dict[str, Path] = {}
    for path in paths:
        scenario = load(path)
        if scenario.id in known:
            raise ScenarioError(path, [(1, f"the id {scenario.id} is taken by {known[scenario.id]}")])
        known[scenario.id], loaded[path] = path, scenario
    return loaded


def choices(use: FaultUse) -> Iterator[dict[str, Any]]:
    """Yield the arguments of one use: once, or for every choice that is left to the seed one at a time."""
    open_ = {name: value["choose"] for name, value in use.arguments.items() if _is_choice(value)}
    fixed = {name: value for name, value in use.arguments.items() if name not in open_}
    longest = max((len(options) for options in open_.values()), default=1)
    for number in range(longest):
        yield fixed | {name: options[number % len(options)] for name, options in open_.items()}


def decide(use: FaultUse, chance: random.Random) -> Fault[Any]:
    """Return the fault of one use; every choice that was left open is made by `chance`."""
    arguments = {
        name: chance.choice(value["choose"]) if _is_choice(value) else value for name, value in use.arguments.items()
    }
    return catalog.make(use.fault, arguments)


def _is_choice(value: object) -> bool:
    return isinstance(value, dict) and set(value) == {"choose"} and bool(value["choose"])


def _fault_problems(scenario: Scenario) -> Iterator[tuple[Place, str]]:
    taken: dict[str, int] = {}
    for number, use in enumerate(scenario.faults):
        place: Place = ("faults", number)
        try:
            made = [catalog.make(use.fault, arguments) for arguments in choices(use)]
        except UsageError as error:
            yield (*place, "fault"), str(error)
            continue
        except ValidationError as error:
            for one in error.errors():
                yield (*place, "with", *one["loc"]), f"{use.fault}: {_words(one)}"
            continue
        needs = frozenset(need for fault in made for need in fault.needs)
        if missing := needs - scenario.needs:
            yield (*place, "fault"), f"{use.fault} needs {', '.join(sorted(missing))}: name it in `needs`"
        for resource in sorted({one for fault in made for one in fault.takes}):
            if scenario.order is Order.TOGETHER and resource in taken:
                yield place, f"two faults take {resource}: this one and the one in faults.{taken[resource]}"
            taken.setdefault(resource, number)


def _words(error: ErrorDetails) -> str:
    """Return pydantic's finding in plain words, with the place it concerns."""
    where = ".".join(str(part) for part in error["loc"] if not str(part).startswith("function-"))
    match error["type"]:
        case "extra_forbidden":
            text = "there is no such field"
        case "missing":
            text = "this field is missing"
        case "value_error":
            text = str(error["ctx"]["error"]) if "ctx" in error else error["msg"]
        case "too_short":
            text = "it names nothing: at least one is needed"
        case _:
            text = error["msg"][:1].lower() + error["msg"][1:]
    return f"{where}: {text}" if where else text


def line_of(root: yaml.Node | None, place: Place) -> int:
    """Return the line (from 1) of the deepest part of `place` that the file has."""
    node, line = root, 1
    for step in place:
        found = _child(node, step)
        if found is None:
            continue  # pydantic names types and validators between the fields
        line, node = found
    return line


def _child(node: yaml.Node | None, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child = node.value[step]
        return child.start_mark.line + 1, child
    return None
