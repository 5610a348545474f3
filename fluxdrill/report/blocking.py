"""What blocks, since when, why, and what waits for it; and the critical path: read from a graph and the rows of its lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import networkx as nx

from fluxdrill.model.critical_path import Span, critical_path

READY = ("True", "Current")
FAILED = ("False", "Failed")
GONE = "gone"
_NO_FAULT_OF_ITS_OWN = ("ready", "blocked", "suspended")

Row = Mapping[str, Any]
"""An object's row on the page: its `segments` are [second, status, reason, message], the texts by their number."""


def span(segments: Sequence[Sequence[Any]], texts: Sequence[str], *, at: float) -> Span | None:
    """Return how long an object took to be Ready, as known `at` that second; None where it was not there.

    One that is Ready then: from its creation to its first Ready. One that is not: from when it was Ready last.
    """
    began: float | None = None
    ready: float | None = None
    lost = 0.0
    good = False
    for second, status, *_ in segments:
        if second > at:
            break
        if texts[status] == GONE:
            began, ready, good = None, None, False
            continue
        if began is None:
            began = lost = second
        if good and texts[status] not in READY:
            lost = second
        good = texts[status] in READY
        ready = second if good and ready is None else ready
    if began is None:
        return None
    return Span(began, ready) if good else Span(lost, None)


def spans(rows: Mapping[str, Row], texts: Sequence[str], *, at: float) -> dict[str, Span]:
    """Return the spans of the objects that were there `at` that second."""
    found = {name: span(row["segments"], texts, at=at) for name, row in rows.items()}
    return {name: one for name, one in found.items() if one is not None}


def path_of(graph: Mapping[str, Any], rows: Mapping[str, Row], texts: Sequence[str]) -> list[dict[str, Any]]:
    """Return the critical path of a graph as plain data, first link first; empty where nothing of it was watched."""
    at = float(graph["t"])
    shown = {name: one for name, one in spans(rows, texts, at=at).items() if name in set(graph["nodes"])}
    return [asdict(link) for link in critical_path(shown, _depends_on(graph), end=at)]


def blockers(
    graph: Mapping[str, Any], rows: Mapping[str, Row], texts: Sequence[str], *, began: datetime
) -> list[dict[str, Any]]:
    """Return what blocks at the moment of `graph`: objects that are not Ready and wait for nothing in it.

    Each with `what`, `since` (seconds of the run; None: unknown) and `utc`, `lasting` (seconds), `why`, and `waits`: what
    stands behind it and is not Ready either.
    """
    at, states = float(graph["t"]), graph["states"]
    edges: nx.DiGraph[str] = nx.DiGraph()
    edges.add_nodes_from(graph["nodes"])
    edges.add_edges_from(graph["edges"])
    open_ones = {name for name in graph["nodes"] if states.get(name, "never created") != "ready"}
    roots = [name for name in sorted(open_ones) if states.get(name) not in _NO_FAULT_OF_ITS_OWN]
    roots += [name for name in _suspended(states) if open_ones & _behind(edges, name)]
    found = []
    for name in roots or _circle(edges, open_ones):
        known = span(rows[name]["segments"], texts, at=at) if name in rows else None
        since = known.began if known is not None and known.ready is None else None
        found.append(
            {
                "what": name,
                "state": states.get(name, "never created"),
                "since": since,
                "utc": f"{began + timedelta(seconds=since):%H:%M:%S}" if since is not None else "",
                "lasting": round(at - since, 1) if since is not None else None,
                "why": _why(rows.get(name), texts, at),
                "waits": sorted(_behind(edges, name) & open_ones - {name}),
            }
        )
    return sorted(found, key=lambda one: (-len(one["waits"]), one["what"]))


def _behind(edges: nx.DiGraph[str], name: str) -> set[str]:
    return set(nx.descendants(edges, name))


def _suspended(states: Mapping[str, str]) -> list[str]:
    return sorted(name for name, state in states.items() if state == "suspended")


def _circle(edges: nx.DiGraph[str], open_ones: set[str]) -> list[str]:
    """Return one member of each circle: everything waits, and nothing fails."""
    circles = [one for one in nx.strongly_connected_components(edges) if len(one) > 1 and one & open_ones]
    return sorted(min(one) for one in circles)


def _why(row: Row | None, texts: Sequence[str], at: float) -> str:
    """Return the last complaint since it was Ready last: between two tries an object only says that it tries again."""
    if row is None:
        return "it does not exist"
    past = [one for one in row["segments"] if one[0] <= at]
    if not past:
        return "it was not there yet"
    good = max((number for number, one in enumerate(past) if texts[one[1]] in READY), default=-1)
    complaints = [one for one in past[good + 1 :] if texts[one[1]] in FAILED]
    _, status, reason, message = (complaints or past)[-1]
    return ": ".join(text for text in (texts[reason] or texts[status], texts[message].strip()) if text)


def _depends_on(graph: Mapping[str, Any]) -> dict[str, list[str]]:
    wanted: dict[str, list[str]] = {}
    for before, after in graph["edges"]:
        wanted.setdefault(str(after), []).append(str(before))
    return wanted
