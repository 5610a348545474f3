"""A run as the page shows it: pure rules from journal entries to verdicts, rows and segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fluxdrill.report.graph import layout
from fluxdrill.report.journal import Entry

SHOWN_OUTCOMES = ("failed", "error", "passed", "skipped", "xfailed", "xpassed")


class RunVerdict(StrEnum):
    """What a run came to, worst first."""

    HARNESS_ERROR = "harness-error"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"
    DEVIATED = "deviated"
    BLOCKED = "blocked"
    NOTHING_RAN = "nothing ran"
    PASS = "pass"  # noqa: S105 - a verdict, not a password


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
    return {
        "title": run.get("title", "Run"),
        "began": run.get("utc", ""),
        "seconds": seconds,
        "complete": bool(by_type.get("end")),
        "verdict": str(verdict(tests, end, by_type)),
        "counts": dict(Counter(test["outcome"] for test in tests)),
        "headlines": _headlines(tests, by_type),
        "tests": tests,
        "labs": [_without_type(entry) for entry in by_type.get("lab", [])],
        "objects": objects,
        "gaps": _gaps(by_type.get("gap", []), seconds),
        "waits": [_without_type(entry) for entry in by_type.get("wait", [])],
        "disturbances": [_without_type(entry) for entry in by_type.get("disturbance", [])],
        "graphs": [_graph(entry, objects) for entry in by_type.get("graph", [])],
        "facts": dict(run.get("facts", {})),
        "texts": [_without_type(entry) for entry in by_type.get("text", [])],
        "strings": strings.texts,
    }


def verdict(
    tests: Sequence[Mapping[str, Any]], end: Mapping[str, Any], by_type: Mapping[str, list[Entry]]
) -> RunVerdict:
    """Merge the outcomes of a run, worst first; a run that looked at nothing never passes."""
    if named := end.get("verdict"):
        return RunVerdict(named)
    if not end:
        return RunVerdict.INTERRUPTED
    outcomes = {str(test["outcome"]) for test in tests}
    if "error" in outcomes or by_type.get("internal-error"):
        return RunVerdict.HARNESS_ERROR
    if "failed" in outcomes or "xpassed" in outcomes:
        return RunVerdict.DEVIATED
    return RunVerdict.PASS if "passed" in outcomes else RunVerdict.NOTHING_RAN


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


def _gaps(entries: Iterable[Entry], seconds: float) -> list[dict[str, Any]]:
    """Return the silent times of the API servers; a gap is told again when it ends."""
    found: dict[tuple[str, float], dict[str, Any]] = {}
    for entry in entries:
        end = entry.get("end")
        found[(str(entry.get("lab", "")), entry["t"])] = {
            **_without_type(entry),
            "end": seconds if end is None else end,
        }
    return list(found.values())


def _graph(entry: Entry, objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    edges = [(str(before), str(after)) for before, after in entry["edges"]]
    known = {row["object"] for row in objects if row["lab"] == entry.get("lab", "")}
    places = [
        {"name": one.name, "column": one.column, "row": one.row, "seen": one.name in known}
        for one in layout(map(str, entry["nodes"]), edges)
    ]
    return {"title": entry.get("title", ""), "lab": entry.get("lab", ""), "nodes": places, "edges": edges,
            "states": entry.get("states", {})}  # fmt: skip


def _without_type(entry: Entry) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "type"}
