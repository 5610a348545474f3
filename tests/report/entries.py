"""Journal entries made by hand, as a run writes them."""

from __future__ import annotations

from typing import Any

Entry = dict[str, Any]


def transition(
    t: float, name: str, status: str, *, reason: str = "R", message: str = "m", change: str = "modified"
) -> Entry:
    return {
        "type": "transition", "t": t, "lab": "lab-1", "object": name, "group": "", "change": change, "seen": "watch",
        "status": status, "reason": reason, "message": message, "kstatus": "InProgress", "generation": 1, "revision": None,
    }  # fmt: skip


def case(name: str, outcome: str = "passed", *, t: float = 1.0, message: str = "") -> Entry:
    return {
        "type": "test",
        "t": t,
        "id": name,
        "outcome": outcome,
        "seconds": 0.5,
        "statement": "S",
        "message": message,
        "sections": [["Log", "text"]],
    }


def run(*entries: Entry, ended: bool = True) -> list[Entry]:
    end = [{"type": "end", "t": 20.0, "exit_status": 0}] if ended else []
    return [
        {"type": "run", "t": 0.0, "utc": "2026-01-02T03:04:05+00:00", "title": "T", "facts": {"python": "3"}},
        *entries,
        *end,
    ]


def large(tests: int, transitions: int) -> list[Entry]:
    """Return a run of many tests and transitions of many objects."""
    states = ("Unknown", "False", "True")
    cases = [
        case(f"suites/x/test_{n}.py::test_case[{n}]", "failed" if n % 50 == 0 else "passed", t=float(n))
        for n in range(tests)
    ]
    moves = [
        transition(20.0 * n / transitions, f"HelmRelease/ns-{n % 40}/release-{n % 400}", states[n % 3], message=f"attempt {n % 700} of a release that takes its time")
        for n in range(transitions)
    ]  # fmt: skip
    return run(*cases, *moves)
