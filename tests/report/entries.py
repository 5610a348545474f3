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


APPS, SOURCE, WEB = "Kustomization/n/apps", "GitRepository/n/flux", "ConfigMap/shop/web"
_COURSE = (
    ("steady", 1.0, 2.0, 0, -1), ("inject", 3.0, 3.1, 1, 0), ("observe", 3.1, 3.2, 1, 0), ("see", 3.2, 4.5, 1, -1),
    ("heal", 6.0, 6.1, 1, 0), ("recover", 6.1, 12.5, 1, -1), ("decoy", 12.5, 12.6, 0, -1), ("clean", 12.6, 13.0, 0, -1),
    ("after", 13.0, 14.0, 0, -1), ("quiet", 14.0, 17.0, 0, -1),
)  # fmt: skip


def scenario(name: str = "git-down", *, ended: bool = True, told: str = "", **results: Any) -> list[Entry]:
    """Return what one run of a scenario writes; `results` replaces the result of a verb, `told` the recorded verdict."""
    begun = {"type": "scenario-begun", "t": 0.9, "scenario": name, "title": "Git is down", "seed": 7, "lab": "lab-1"}
    steps = [
        {
            "type": "step", "t": end, "scenario": name, "lab": "lab-1", "number": number, "verb": verb, "text": f"{verb} it",
            "cycle": cycle, "fault": fault, "result": results.get(verb, "done"), "why": f"why {verb}", "started": start,
            "ended": end, "met": end - 0.5 if verb in ("see", "recover") else None,
        }
        for number, (verb, start, end, cycle, fault) in enumerate(_COURSE, 1)
    ]  # fmt: skip
    moves = [
        transition(2, APPS, "True"), transition(2, SOURCE, "True"), transition(2, WEB, "Current"),
        transition(4, SOURCE, "False", reason="GitOperationFailed"), transition(7, SOURCE, "True"),
        transition(8, APPS, "Unknown"), transition(11, APPS, "True"),
    ]  # fmt: skip
    if not ended:
        return [begun, *moves, *steps[:4]]
    facts = {
        "type": "scenario", "t": 17.1, "id": name, "title": "Git is down", "proves": ["C-10"], "outcome": "recovered",
        "seed": 7, "affected": [SOURCE, WEB], "decoy": ["Deployment/shop/decoy"], "scope": [SOURCE, APPS, WEB],
        "silences": False, "detect": 10.0, "recover": 20.0, "total": 100.0, "faults": ["git.down()"], "lab": "lab-1",
        "waits_for": {SOURCE: [], APPS: [SOURCE]},
    }  # fmt: skip
    verdict = told or ("pass" if not results else "deviated")
    objectives = [
        {"name": "it was seen", "verdict": verdict, "why": "nobody told of it" if results else "told"},
        {"name": "blast radius", "verdict": "pass", "why": "as declared"},
    ]
    samples = [{"what": "recovery", "object": "", "cycle": 1, "seconds": 5.9}]
    said = {
        "type": "verdict", "t": 17.2, "scenario": name, "verdict": verdict, "why": "it was seen: nobody told of it",
        "objectives": objectives, "samples": samples,
    }  # fmt: skip
    return [begun, *moves, *steps, facts, said]
