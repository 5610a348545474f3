"""Measure how fast a large run's page is: until it is complete, and until it answers the first filter and the first click."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fluxdrill.lab.bench import Figure, figure
from fluxdrill.progress import Progress
from fluxdrill.report.browser import Browser
from fluxdrill.report.page import render
from fluxdrill.report.run import page_data

TESTS = 500
TRANSITIONS = 10_000
OBJECTS = 400
_FAILS = 50
"""One test in so many fails."""

_COMPLETE = """
new Promise((done) => requestAnimationFrame(() => setTimeout(
  () => done(performance.getEntriesByName("complete")[0].startTime))))
"""
_INTERACTION = """
(async () => {
  const shown = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const timed = async (act) => { const begun = performance.now(); act(); await shown(); return performance.now() - begun; };
  const field = (id, text) => () => { const one = document.getElementById(id); one.value = text; one.dispatchEvent(new Event("input")); };
  return [
    await timed(() => document.getElementById("changed").click()),
    await timed(field("filter", "release-7")),
    await timed(field("find", "case[7")),
    await timed(() => document.querySelector("#rows .row").click()),
    await timed(() => document.querySelector("#cases summary").click()),
  ];
})()
"""


def page_load(rounds: int, progress: Progress) -> dict[str, Figure]:
    """Return `page_load` and `page_interaction` in milliseconds, of a page with 500 tests and 10,000 transitions.

    The load is from the browser's start of navigation until the page is complete and drawn; an interaction (filter, expand,
    open) from the event until the next frame is drawn. Raises HarnessError where there is no chromium.
    """
    loads: list[float] = []
    interactions: list[float] = []
    with tempfile.TemporaryDirectory(prefix="fluxdrill-page-") as folder, Browser() as browser:
        page = Path(folder) / "index.html"
        page.write_text(render(page_data(large_run(TESTS, TRANSITIONS))), encoding="utf-8")
        browser.show(width=1280, height=860)
        for number in range(rounds):
            progress.update(f"page_load {number + 1}/{rounds}")
            browser.open(page)
            loads.append(float(browser.evaluate(_COMPLETE)))
            interactions.extend(map(float, browser.evaluate(_INTERACTION)))
    return {"page_load": figure("ms", loads), "page_interaction": figure("ms", interactions)}


def large_run(tests: int, transitions: int) -> Sequence[dict[str, Any]]:
    """Return the entries of a run of many tests, transitions, waits and disturbances."""
    seconds = 20.0
    states = ("Unknown", "False", "True")
    cases = [
        {
            "type": "test", "t": seconds * n / tests, "id": f"suites/x/test_{n}.py::test_case[{n}]",
            "outcome": "failed" if n % _FAILS == 0 else "passed", "seconds": 0.5, "statement": "What it proves.",
            "message": f"Not met after 30 s of waiting for release {n}.", "sections": [["Log", "text " * 200]],
        }
        for n in range(tests)
    ]  # fmt: skip
    moves = [
        {
            "type": "transition", "t": seconds * n / transitions, "lab": "lab-1", "group": "", "change": "modified",
            "object": f"HelmRelease/ns-{n % 40}/release-{n % OBJECTS}", "status": states[n % 3], "reason": "Reason",
            "message": f"attempt {n} of a release that takes its time",
        }
        for n in range(transitions)
    ]  # fmt: skip
    waits = [
        {
            "type": "wait", "t": seconds * n / tests, "end": seconds * n / tests + 0.1, "lab": "lab-1", "count": 1,
            "what": f"release {n}", "objects": [f"HelmRelease/ns/release-{n}"], "deadline": 30.0, "outcome": "met", "why": "",
        }
        for n in range(tests)
    ]  # fmt: skip
    faults = [
        {"type": "disturbance", "t": n / 2, "end": n / 2 + 0.2, "lab": "lab-1", "what": "etcd killed", "target": "etcd"}
        for n in range(int(seconds))
    ]
    begin = {"type": "run", "t": 0.0, "utc": "2026-01-02T03:04:05+00:00", "title": "A large run", "facts": {}}
    return [begin, *cases, *moves, *waits, *faults, {"type": "end", "t": seconds, "exit_status": 1}]
