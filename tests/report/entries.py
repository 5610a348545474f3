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


def wait(t: float, end: float | None, what: str, *, outcome: str = "met") -> Entry:
    return {
        "type": "wait", "t": t, "end": end, "lab": "lab-1", "what": what, "objects": ["K/n/a"], "count": 1,
        "deadline": 30.0, "outcome": outcome, "why": "1 of 2",
    }  # fmt: skip


def disturbance(t: float, end: float | None, what: str, target: str) -> Entry:
    return {"type": "disturbance", "t": t, "end": end, "lab": "lab-1", "what": what, "target": target}


def graph(t: float, nodes: list[str], edges: list[tuple[str, str]], states: dict[str, str]) -> Entry:
    return {
        "type": "graph", "t": t, "lab": "lab-1", "title": "What waited for what", "nodes": nodes,
        "edges": [list(one) for one in edges], "states": states,
    }  # fmt: skip
