"""What is collected at the moment of a failure, before anything is torn down. Never a Secret's data, always masked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

from fluxdrill.errors import FluxdrillError
from fluxdrill.faults.world import World
from fluxdrill.flux.advice.case import text as advised
from fluxdrill.flux.advice.collect import explain
from fluxdrill.flux.kinds import EVENT, HELM_RELEASE, RECONCILED
from fluxdrill.kube.view import View
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import Instant
from fluxdrill.model.conditions import conditions
from fluxdrill.model.kstatus import Status, flux_readiness, is_static
from fluxdrill.model.redaction import Redactor
from fluxdrill.model.refs import ObjectRef
from fluxdrill.report.graph import of_view
from fluxdrill.report.journal import Journal
from fluxdrill.scenario.session import Witness

LOG_LINES = 12
LINE_LIMIT = 400
OBJECTS = 12
ADVISED = 4
TRANSITIONS = 20

_UNSAID = ("Event", "CustomResourceDefinition")

Section = tuple[str, str]


def collect(lab: Lab, *, since: Instant) -> list[Section]:
    """Return titled texts: objects that are not Ready, what to do about releases, warnings, last transitions, Helm history, controllers' errors.

    `since` bounds what is taken from timeline and logs: the start of the failed test.
    """
    redact = Redactor(lab.secrets)
    view = lab.store.view()
    sections = [
        ("Not Ready", "\n".join(_not_ready(view))),
        ("What to do", "\n\n".join(_advice(lab, view))),
        ("Last transitions", "\n".join(_transitions(lab, since))),
        ("Warning events", "\n".join(_warnings(view))),
        ("Helm history", "\n".join(_history(view))),
        *((f"Log of {name}", text) for name, text in _logs(lab, since)),
    ]
    return [(title, redact(text)) for title, text in sections if text]


def _not_ready(view: View) -> Iterator[str]:
    objects = [obj for kind in RECONCILED for obj in view.list(kind)]
    waiting = [obj for obj in objects if not is_static(obj) and flux_readiness(obj).status is not Status.CURRENT]
    for obj in waiting[:OBJECTS]:
        yield str(ObjectRef.of(obj))
        for one in conditions(obj):
            when = one.last_transition.strftime("%H:%M:%S") if one.last_transition else "?"
            yield f"  {one.type}={one.status} {one.reason} since {when}: {_flat(one.message)}"
    if len(waiting) > OBJECTS:
        yield f"and {len(waiting) - OBJECTS} more"


def _advice(lab: Lab, view: View) -> Iterator[str]:
    """Yield advice for the HelmReleases that are not Ready, as `fluxdrill explain hr` gives it."""
    waiting = [obj for obj in view.list(HELM_RELEASE) if flux_readiness(obj).status is not Status.CURRENT]
    for obj in waiting[:ADVISED]:
        with suppress(FluxdrillError):  # evidence is also collected while the API server is away
            yield advised(explain(lab.api, ObjectRef.of(obj)))
    if len(waiting) > ADVISED:
        yield f"and {len(waiting) - ADVISED} more"


def _transitions(lab: Lab, since: Instant) -> Iterator[str]:
    lines: list[str] = []
    last: dict[ObjectRef, str] = {}
    for one in lab.store.timeline.since(since):
        state = str(one).partition(" ")[2]
        if one.ref.kind not in _UNSAID and last.get(one.ref) != state:
            last[one.ref] = state
            lines.append(_flat(f"{one.at.since(since):.2f} s  {state}"))
    yield from lines[-TRANSITIONS:]


def _warnings(view: View) -> Iterator[str]:
    for event in view.list(EVENT):
        if event.get("type") == "Warning":
            about = event.get("involvedObject", {})
            name = f"{about.get('kind')}/{about.get('namespace', '')}/{about.get('name')}"
            yield _flat(f"{name}: {event.get('reason')} (x{event.get('count') or 1}): {event.get('message', '')}")


def _history(view: View) -> Iterator[str]:
    for release in view.list(HELM_RELEASE):
        for one in release.get("status", {}).get("history") or ():
            version, status, chart = one.get("version"), one.get("status"), one.get("chartVersion")
            yield f"{ObjectRef.of(release)}: revision {version} {status} (chart {chart}, {one.get('action', '?')})"


def _logs(lab: Lab, since: Instant) -> Iterator[Section]:
    """Yield the errors that Flux's controllers logged since then, newest last."""
    start = since.utc.isoformat()[:19]
    for name, process in lab.flux.items():
        lines = [text for line in process.tail() if (text := _error(line, start))]
        if lines:
            yield name, "\n".join(lines[-LOG_LINES:])


def _error(line: str, start: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(entry, dict) or entry.get("level") != "error" or str(entry.get("ts", ""))[:19] < start:
        return ""
    about = "/".join(str(entry.get(key, "")) for key in ("controllerKind", "namespace", "name"))
    return _flat(f"{str(entry['ts'])[11:19]} {about}: {entry.get('msg', '')}: {entry.get('error', '')}")


def _flat(text: str) -> str:
    flat = " ".join(text.split())
    return flat[:LINE_LIMIT]


def witness(journal: Journal) -> Witness:
    """Return what a scenario calls when it begins to fail: it writes the evidence, and what waited for what, down."""

    def tell(world: World, *, scenario: str, why: str, since: Instant) -> None:
        if world.lab is None or world.lab.closed:
            return
        try:
            sections = collect(world.lab, since=since)
            title = f"What waited for what when {scenario} began to fail"
            journal.tell("graph", **of_view(world.store.view(), title=title, lab=world.lab.lab_id))
        except FluxdrillError as error:
            sections = [("No evidence", str(error))]
        journal.tell("evidence", scenario=scenario, why=why[:LINE_LIMIT], lab=world.lab.lab_id, sections=sections)

    return tell
