"""No family of live checks without a negative control: each module under suites/ names tests in which its checks fail.

A check that cannot fail proves nothing, and nobody notices. At least one control of each module must lie to the checks
themselves (a faked status, hidden evidence) and expect them to be `refused`; see suites/sabotage.py. Read from the
source, so that it costs nothing.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SUITES = Path(__file__).parents[1] / "suites"
MODULES = sorted(SUITES.rglob("test_*.py"))
NAME = "CONTROLS"
REFUSED = "refused"


def controls(source: str) -> tuple[str, ...]:
    """Return the constant CONTROLS of a module; empty where there is none."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == NAME for one in node.targets):
            value = ast.literal_eval(node.value)
            assert isinstance(value, tuple), f"{NAME} is no tuple: {value!r}"
            return value
    return ()


def functions_of(source: str) -> set[str]:
    """Return the names of the test functions of a module."""
    functions = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def lying(source: str) -> set[str]:
    """Return the names of the functions that expect a check to be refused."""
    functions = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    return {node.name for node in functions if any(map(_is_refusal, ast.walk(node)))}


def _is_refusal(node: ast.AST) -> bool:
    calls = [one.context_expr for one in node.items] if isinstance(node, ast.With) else []
    return any(isinstance(one, ast.Call) and ast.unparse(one.func) == REFUSED for one in calls)


def complaint(source: str) -> str:
    """Return what is wrong with the controls of a module; "" when nothing is."""
    named, there = controls(source), functions_of(source)
    if not named:
        return f"names no negative control: give it {NAME} = ('test_control_...',)"
    if unknown := sorted(set(named) - there):
        return f"names controls that it does not have: {', '.join(unknown)}"
    if forgotten := sorted(one for one in there if one.startswith("test_control_") and one not in named):
        return f"has controls that it does not name: {', '.join(forgotten)}"
    if there <= set(named):
        return "consists of controls only, so they control nothing"
    if lying(source).isdisjoint(named):
        return f"has no control that lies to its checks and expects them to fail: use suites.sabotage.{REFUSED}"
    return ""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(SUITES).as_posix())
def test_every_module_of_the_suites_names_its_negative_controls(module: Path) -> None:
    assert complaint(module.read_text(encoding="utf-8")) == ""


def test_there_are_suites_to_look_at() -> None:
    assert {path.parent.name for path in MODULES} >= {"ordering", "smoke"}


CHECK = "def test_a(): ...\n"
CONTROL = "def test_control_a():\n    with refused():\n        check()\n"
PLAIN = "def test_control_a():\n    check()\n    refused()\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (CHECK, "names no negative control"),
        (f"CONTROLS = ()\n{CHECK}", "names no negative control"),
        (f"CONTROLS = ('test_control_a',)\n{CHECK}", "does not have: test_control_a"),
        (f"CONTROLS = ('test_a',)\n{CHECK}{CONTROL}def test_b(): ...\n", "does not name: test_control_a"),
        (f"CONTROLS = ('test_control_a',)\n{CONTROL}", "controls only"),
        (f"CONTROLS = ('test_control_a',)\n{CHECK}{PLAIN}", "lies to its checks"),
        (f"CONTROLS = ('helper',)\n{CHECK}def helper(): ...\n", "does not have: helper"),
    ],
    ids=["missing", "empty", "absent", "unnamed", "only-controls", "no-lie", "no-test"],
)
def test_a_module_without_good_controls_is_told_what_is_wrong(source: str, said: str) -> None:
    assert said in complaint(source)


def test_a_module_with_a_control_is_left_alone() -> None:
    assert complaint(f"CONTROLS = ('test_control_a',)\n{CHECK}{CONTROL}") == ""
