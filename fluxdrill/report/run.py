"""A run as the page shows it: pure rules from journal entries to verdicts, rows and segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from fluxdrill.model.verdicts import Verdict
from fluxdrill.report import scenario_data
from fluxdrill.report.blocking import blockers, path_of
from fluxdrill.report.graph import layout
from fluxdrill.report.journal import Entry

GRAPHS = 6
"""How many different graphs a page shows; the newest ones."""


class RunVerdict(StrEnum):
    """What a run came to, worst first."""

    HARNESS_ERROR = "harness-error"
    INTERRUPTED = "interrupted"
    INVALID = "invalid"
    UNKNOWN = "unknown"
    DEVIATED = "deviated"
    BLOCKED = "blocked"
    NOTHING_RAN = "nothing ran"
    PASS = "pass"  # noqa: S105 - a verdict, not a password


_OUTCOMES = {
    "error": RunVerdict.HARNESS_ERROR,
    "failed": RunVerdict.DEVIATED,
    "xpassed": RunVerdict.DEVIATED,
    "passed": RunVerdict.PASS,
}


@dataclass(slots=True)
class Strings:
    """Every text once: a page of many transitions repeats few messages."""

    texts: list[str] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)

    def put(self, text: str) -> int:
        """Return the number of `text`."""
        if text not in self._index:
            self._index[text] = len(self.texts)
            self.texts.append(text)
        return self._index[text]


def page_data(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return everything the page shows as plain data, short enough for thousands of transitions."""
    strings = Strings()
    by_type: dict[str, list[Entry]] = {}
    for entry in entries:
        by_type.setdefault(str(entry.get("type")), []).append(entry)
    run = {key: value for entry in by_type.get("run", []) for key, value in entry.items()}
    end = by_type.get("end", [{}])[-1]
    tests = [_test(entry) for entry in by_type.get("test", [])]
    seconds = end.get("t") or max((float(entry.get("t", 0)) for entry in entries), default=0.0)
    objects = _objects(by_type.get("transition", []), strings)
    told = scenario_data.scenarios(entries)
    disturbances = _disturbances(by_type, told, seconds)
    return {
        "title": run.get("title", "Run"),
        "began": run.get("utc", ""),
        "seconds": seconds,
        "complete": bool(by_type.get("end")),
        "verdict": str(verdict(tests, end, by_type, scenario_data.worst(told))),
        "counts": dict(Counter(test["outcome"] for test in tests)),
        "headlines": _headlines(tests, by_type),
        "tests": tests,
        "scenarios": told,
        "matrix": scenario_data.matrix(told),
        "campaign": [_without_type(entry) for entry in by_type.get("campaign", [])],
        "labs": [_without_type(entry) for entry in by_type.get("lab", [])],
        "objects": objects,
        "gaps": _spans(by_type.get("gap", []), seconds, key=("lab", "t")),
        "waits": _spans(by_type.get("wait", []), seconds, key=("lab", "t", "what")),
        "disturbances": disturbances,
        "graphs": _graphs(by_type.get("graph", []), objects, strings.texts, str(run.get("utc", "")), disturbances),
        "facts": dict(run.get("facts", {})),
        "texts": [_without_type(entry) for entry in by_type.get("text", [])],
        "strings": strings.texts,
    }


def verdict(
    tests: Sequence[Mapping[str, Any]],
    end: Mapping[str, Any],
    by_type: Mapping[str, list[Entry]],
    scenarios: Verdict | None,
) -> RunVerdict:
    """Merge the outcomes of a run, worst first; a run that looked at nothing never passes."""
    if named := end.get("verdict"):
        return RunVerdict(named)
    if not end:
        return RunVerdict.INTERRUPTED
    found = {_OUTCOMES[outcome] for test in tests if (outcome := str(test["outcome"])) in _OUTCOMES}
    if scenarios is not None:
        found.add(RunVerdict(scenarios))
    if by_type.get("internal-error"):
        found.add(RunVerdict.HARNESS_ERROR)
    return min(found, key=list(RunVerdict).index, default=RunVerdict.NOTHING_RAN)


def _test(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry["id"],
        "outcome": entry["outcome"],
        "t": entry["t"],
        "seconds": entry.get("seconds", 0.0),
        "statement": entry.get("statement", ""),
        "message": entry.get("message", ""),
        "sections": entry.get("sections", []),
        "lab": entry.get("lab", ""),
    }


def _headlines(tests: Sequence[Mapping[str, Any]], by_type: Mapping[str, list[Entry]]) -> list[dict[str, Any]]:
    """Return what is to be read first: named blockers, then the first lines of each failure."""
    found = [{"lines": [], "where": "", **_without_type(entry)} for entry in by_type.get("headline", [])]
    for test in tests:
        if test["outcome"] in ("failed", "error"):
            lines = [line for line in str(test["message"]).splitlines() if line.strip()]
            found.append({"title": lines[0] if lines else test["id"], "lines": lines[1:12], "where": test["id"]})
    return found


def _objects(transitions: Iterable[Entry], strings: Strings) -> list[dict[str, Any]]:
    """Return one row per object and lab: its segments are [second, status, reason, message, change]."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in transitions:
        key = (str(entry.get("lab", "")), str(entry["object"]))
        row = rows.setdefault(key, {"lab": key[0], "object": key[1], "segments": []})
        status = "gone" if entry["change"] == "deleted" else str(entry["status"])
        segment = [entry["t"], *(strings.put(str(text or "")) for text in (status, entry["reason"], entry["message"]))]
        if not row["segments"] or row["segments"][-1][1:] != segment[1:]:
            row["segments"].append(segment)
    for row in rows.values():
        row["flips"] = sum(strings.texts[one[1]] == "True" for one in row["segments"])
    return sorted(rows.values(), key=lambda row: (row["lab"], _rank(row["object"]), row["segments"][0][0]))


def _rank(name: str) -> int:
    order = ("Kustomization/", "GitRepository/", "HelmRelease/", "HelmRepository/", "HelmChart/", "OCIRepository/")
    return next((number for number, kind in enumerate(order) if name.startswith(kind)), len(order))


def _spans(entries: Iterable[Entry], seconds: float, *, key: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return what lasts, each once with its last word: it is told again when it ends, and what never ended lasts on."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for entry in entries:
        end = entry.get("end")
        one = {**_without_type(entry), "end": seconds if end is None else end, "open": end is None}
        found[tuple(entry.get(name, "") for name in key)] = one
    return list(found.values())


def _disturbances(by_type: Mapping[str, list[Entry]], told: Sequence[Mapping[str, Any]], seconds: float) -> list[Any]:
    """Return what was done to the labs: the faults of scenarios, and what labs noted themselves beside those."""
    noted = _spans(by_type.get("disturbance", []), seconds, key=("lab", "t", "what"))
    bands = [band for one in told for band in one["bands"]]
    faults = [{**one, "fault": True} for one in _spans(bands, seconds, key=("lab", "t", "what"))]
    return [*faults, *(one for one in noted if not any(scenario_data.own_note(band, one) for band in bands))]


def _graphs(
    entries: Iterable[Entry],
    objects: Sequence[Mapping[str, Any]],
    texts: Sequence[str],
    began: str,
    done: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return the newest graphs; one that shows the same as an earlier one only counts up that one's `same`."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(repr([entry.get("lab"), entry["nodes"], entry["edges"], entry.get("states")]), []).append(
            entry
        )
    start = datetime.fromisoformat(began) if began else datetime.fromtimestamp(0, UTC)
    graphs = [_graph(same, objects, texts, start) for same in list(found.values())[-GRAPHS:]]
    return [{**graph, "during": [one for one in done if _meanwhile(one, graph)]} for graph in graphs]


def _meanwhile(done: Mapping[str, Any], graph: Mapping[str, Any]) -> bool:
    """Tell whether something was done to a graph's lab since the first of its blockers stands, or a second before."""
    known = [one["since"] for one in graph["blockers"] if one["since"] is not None]
    since = min(known, default=graph["t"]) - 1.0
    return done.get("lab", "") in ("", graph["lab"]) and bool(done["t"] <= graph["t"] and done["end"] >= since)


def _graph(
    same: Sequence[Entry], objects: Sequence[Mapping[str, Any]], texts: Sequence[str], began: datetime
) -> dict[str, Any]:
    first = {"t": 0.0, "states": {}, **same[0]}
    edges = [(str(before), str(after)) for before, after in first["edges"]]
    rows = {row["object"]: row for row in objects if row["lab"] == first.get("lab", "")}
    places = [
        {"name": one.name, "column": one.column, "row": one.row, "seen": one.name in rows}
        for one in layout(map(str, first["nodes"]), edges)
    ]
    return {
        "title": first.get("title", ""),
        "same": len(same),
        "lab": first.get("lab", ""),
        "t": first["t"],
        "nodes": places,
        "edges": edges,
        "states": first["states"],
        "blockers": blockers(first, rows, texts, began=began),
        "path": path_of(first, rows, texts),
    }


def _without_type(entry: Entry) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "type"}
