"""The scenarios of a run as plain data: pure rules from a journal's entries, for the page and every other form of report.

Verdicts are those that were recorded; what else is shown is worked out from the steps and the watch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fluxdrill.model.capabilities import UNSEEN
from fluxdrill.model.verdicts import Verdict, merge
from fluxdrill.report.journal import Entry
from fluxdrill.scenario.measure import cycles, falls, of_lab, recovery_path, span, spread
from fluxdrill.scenario.plan import Verb
from fluxdrill.scenario.record import Facts, Record, Result, Run, read_runs

SELF = 0.3
"""Seconds by which a lab's own note of an intervention may stand beside the step that did it."""
_INTERRUPTED = "it never ended: the run was interrupted or killed"
Data = dict[str, Any]


def scenarios(entries: Sequence[Entry]) -> list[Data]:
    """Return every scenario of a journal, those that ended worst first, then in the order in which they ran."""
    order = [str(verdict) for verdict in reversed(Verdict)]
    found = [_scenario(run, entries) for run in read_runs(entries)]
    found += [_not_run(one) for one in entries if one.get("type") == "not-run"]
    return sorted(found, key=lambda one: order.index(one["verdict"]) if one["verdict"] in order else len(order))


def _not_run(one: Entry) -> Data:
    return {**_EMPTY, "id": one["scenario"], "title": one["title"], "seed": one["seed"], "verdict": "not run", "why": one["why"]}  # fmt: skip


_EMPTY: Data = {
    "t": 0.0, "end": 0.0, "lab": "", "proves": [], "outcome": "", "faults": [], "objectives": [], "blast": [], "decoy": [],
    "steps": [], "numbers": [], "paths": [], "evidence": [], "uncertain": [], "bands": [],
}  # fmt: skip


def _scenario(run: Run, entries: Sequence[Entry]) -> Data:
    facts, told = run.facts, run.told or {}
    begun = next(
        (one for one in entries if one.get("type") == "scenario-begun" and one["scenario"] == run.scenario), {}
    )
    unjudged = {"verdict": str(Verdict.UNKNOWN), "why": _INTERRUPTED}
    made = {
        **_EMPTY,
        "id": run.scenario,
        "title": facts.title if facts else begun.get("title", ""),
        "seed": facts.seed if facts else begun.get("seed", 0),
        "t": min((one.started for one in run.records), default=0.0),
        "end": max((one.ended for one in run.records), default=0.0),
        "steps": [_step(one) for one in run.records],
        "evidence": [{"why": one["why"], "t": one["t"], "sections": one["sections"]} for one in run.evidence],
        **({"verdict": told["verdict"], "why": told["why"]} if told else unjudged),
        "objectives": list(told.get("objectives", ())),
    }
    if facts is None:
        return {**made, "bands": _bands(run, str(begun.get("lab", "")))}
    return {
        **made,
        **{key: list(getattr(facts, key)) for key in ("proves", "faults", "decoy")},
        "lab": facts.lab,
        "outcome": facts.outcome,
        "blast": _blast(facts, run.records, entries),
        "numbers": numbers(facts, told.get("samples", ())),
        "paths": _paths(facts, run, entries),
        "uncertain": list(_uncertain(facts, run.records, entries)),
        "bands": _bands(run, facts.lab),
    }


def _step(one: Record) -> Data:
    return {**asdict(one), "verb": str(one.verb), "result": str(one.result)}


def numbers(facts: Facts, samples: Iterable[Mapping[str, Any]]) -> list[Data]:
    """Return the spread of what was measured, of the whole and of each object, beside its budget in seconds."""
    budgets = {"detection": facts.detect, "recovery": facts.recover}
    grouped: dict[tuple[str, str], list[float]] = {}
    for one in samples:
        grouped.setdefault((str(one["what"]), str(one["object"])), []).append(float(one["seconds"]))
    return [
        {
            "what": what,
            "object": name,
            "budget": budgets[what],
            "over": max(values) > budgets[what],
            "samples": values,
            **asdict(spread(values)),
        }
        for (what, name), values in sorted(grouped.items())
    ]


def _blast(facts: Facts, records: Sequence[Record], entries: Sequence[Entry]) -> list[Data]:
    """Return what was declared to be affected and what left Ready, each with when: expected against observed."""
    begin, end = span(records)
    scope = {*facts.scope, *facts.affected}
    seen: dict[str, list[list[float | None]]] = {}
    for fall in falls(of_lab(facts, entries)):
        if fall.object in scope and begin <= fall.t <= end:
            seen.setdefault(fall.object, []).append([fall.t, fall.until])
    names = sorted({*facts.affected, *seen}, key=lambda name: (name in facts.affected, name))
    return [{"object": name, "declared": name in facts.affected, "falls": seen.get(name, [])} for name in names]


def _paths(facts: Facts, run: Run, entries: Sequence[Entry]) -> list[Data]:
    found = []
    for cycle in cycles(run.records):
        own = [record for record in run.records if record.cycle == cycle]
        if links := recovery_path(facts, own, entries, run.waits_for):
            found.append({"cycle": cycle, "links": [asdict(link) for link in links]})
    return found


def _bands(run: Run, lab: str) -> list[Data]:
    """Return each fault from its injection to its healing; `end` is None where it was never healed."""
    found: list[Data] = []
    for one in run.records:
        if one.verb is Verb.INJECT and one.result is Result.DONE:
            heal = next((r for r in run.records if r.verb is Verb.HEAL and r.fault == one.fault and _done(r)), None)
            clean = next((r for r in run.records if r.verb is Verb.CLEAN and _done(r)), None)
            end = heal or clean
            ended = (end.met or end.ended) if end is not None else None
            band = {"lab": lab, "t": one.started, "what": one.text, "target": run.scenario, "end": ended}
            found.append({**band, "injected": one.ended, "healing": end.started if end is not None else None})
    return found


def _done(record: Record) -> bool:
    return record.result is Result.DONE


def own_note(band: Mapping[str, Any], note: Mapping[str, Any]) -> bool:
    """Tell whether a lab's own note of an intervention is about the fault of a band: it was begun by its injection."""
    begun = band["t"] - SELF <= note["t"] <= band["injected"] + SELF
    return bool(begun and note.get("lab", "") in ("", band["lab"]))


def _uncertain(facts: Facts, records: Sequence[Record], entries: Sequence[Entry]) -> Iterable[str]:
    """Yield what this scenario does not certify, whatever its verdict."""
    yield UNSEEN[facts.provider]
    yield "All was seen through the harness's own watch of the API server; no user's request was made."
    begin, end = span(records)
    for gap in _gaps(facts, entries, begin, end):
        yield f"The API server was silent from {gap['t']:.1f} s on ({gap['why']}): what came and went meanwhile was not seen."
    if releases := sum(one.startswith("HelmRelease/") for one in facts.scope):
        yield f"What {releases} HelmReleases install was not compared with Git; their own Ready stands for it."
    for one in facts.uncompared:
        yield f"Not compared with Git: {one}."
    for record in records:
        if record.why.startswith("not looked at"):
            yield f"{record.text}: {record.why}."
    if skipped := sum(record.result is Result.SKIPPED for record in records):
        yield f"{skipped} of {len(records)} steps were not taken."


def _gaps(facts: Facts, entries: Iterable[Entry], begin: float, end: float) -> list[Entry]:
    last = {one["t"]: one for one in entries if one.get("type") == "gap" and one.get("lab") == facts.lab}
    return [one for one in last.values() if begin <= one["t"] <= end]


def matrix(found: Sequence[Data]) -> Data:
    """Return which kinds left Ready under which fault: rows of faults, columns of kinds, cells [left, declared, runs]."""
    cells: dict[tuple[str, str], list[int]] = {}
    runs: dict[str, int] = {}
    for one in found:
        names = {str(fault).partition("(")[0] for fault in one["faults"]} if one["bands"] else set()
        for fault in names:
            runs[fault] = runs.get(fault, 0) + 1
            for kind in {str(row["object"]).partition("/")[0] for row in one["blast"]}:
                rows = [row for row in one["blast"] if row["object"].startswith(f"{kind}/")]
                cell = cells.setdefault((fault, kind), [0, 0])
                cell[0] += any(row["falls"] for row in rows)
                cell[1] += any(row["declared"] for row in rows)
    kinds = sorted({kind for _, kind in cells})
    rows = [
        {"fault": fault, "runs": runs[fault], "cells": [cells.get((fault, kind)) for kind in kinds]}
        for fault in sorted(runs)
    ]
    return {"kinds": kinds, "rows": rows}


def worst(found: Iterable[Data]) -> Verdict | None:
    """Return the worst verdict of scenarios that ran; None where none did."""
    known = [Verdict(one["verdict"]) for one in found if one["verdict"] != "not run"]
    return merge(known) if known else None
