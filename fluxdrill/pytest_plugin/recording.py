"""Record a session into a run's folder: tests as they end, labs, transitions, evidence of failures; then the page.

Under xdist each worker writes a journal of its own beside the controller's; the controller merges them at the end.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.errors import FluxdrillError
from fluxdrill.pytest_plugin.options import PROVIDER, read
from fluxdrill.report.facts import run_facts
from fluxdrill.report.folder import RunFolder
from fluxdrill.report.journal import Journal

_MESSAGE_LIMIT = 20_000


class Recording:
    """The controller's side (or the only process's): owns the run's folder."""

    def __init__(self, config: pytest.Config, root: Path) -> None:
        title = " ".join(map(str, config.invocation_params.args)) or "suites"
        self.folder = RunFolder(root, "suites", title=f"pytest {title}", facts=run_facts(read(config, PROVIDER)))
        self.journal = self.folder.journal
        self.page: Path | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Append a test when it has ended, or failed in set-up or tear-down."""
        if report.when == "call" or report.outcome != "passed":
            self.journal.tell("test", **_test(report))

    def pytest_internalerror(self, excrepr: object) -> None:
        """Say that the harness itself broke."""
        self.journal.tell("internal-error", text=str(excrepr)[:_MESSAGE_LIMIT])

    def finish(self, exit_status: int) -> Path:
        """Merge what the workers wrote and write the page."""
        for worker in sorted(self.folder.path.glob("journal-*.jsonl")):
            _merge(worker, self.journal)
        end = {"verdict": "interrupted"} if exit_status == pytest.ExitCode.INTERRUPTED else {}
        self.page = self.folder.finish(exit_status=exit_status, **end)
        return self.page


def worker_journal(folder: Path, worker: str) -> Journal:
    """Return the journal of one xdist worker."""
    return Journal(folder / f"journal-{worker}.jsonl")


def message_of(call: pytest.CallInfo[Any], report: pytest.TestReport) -> str:
    """Return what a failed test says: our own errors and assertions in their own words, others with their type."""
    error = call.excinfo.value if call.excinfo is not None else None
    match error:
        case None:
            return report.longreprtext[-_MESSAGE_LIMIT:]
        case FluxdrillError() | pytest.fail.Exception():
            return str(error)
        case AssertionError():
            return _said(str(error)) or report.longreprtext[-_MESSAGE_LIMIT:]
        case _:
            return f"{type(error).__name__}: {error}"[:_MESSAGE_LIMIT]


def _said(assertion: str) -> str:
    """Return the words of an assertion, without what pytest adds below them: how each value came about."""
    lines = assertion.splitlines()
    added = next((number for number, line in enumerate(lines) if number and line.startswith("assert ")), len(lines))
    return "\n".join(lines[:added])


def _test(report: pytest.TestReport) -> dict[str, Any]:
    properties = dict(report.user_properties)
    sections = [(title, text) for title, text in report.sections if not title.startswith("Captured")]
    message = properties.get("message", "") or _skip_reason(report)
    if report.failed and (place := report.longreprtext[-_MESSAGE_LIMIT:].removesuffix(str(message)).strip()):
        sections.append(("Where it failed", place))
    return {
        "id": report.nodeid,
        "outcome": _outcome(report),
        "seconds": round(report.duration, 3),
        "statement": properties.get("statement", ""),
        "message": message,
        "sections": sections,
    }


def _outcome(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return "error" if report.failed and report.when != "call" else report.outcome


def _skip_reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return report.longreprtext[-_MESSAGE_LIMIT:] if report.failed else ""


def _merge(worker: Path, into: Journal) -> None:
    """Take over a worker's entries, moved from its clock to ours (both are monotonic on the same machine)."""
    entries = [entry for line in worker.read_text(encoding="utf-8").splitlines() if (entry := _parse(line))]
    began = next((float(entry["monotonic"]) for entry in entries if "monotonic" in entry), into.began.monotonic)
    into.take(entries, shift=began - into.began.monotonic)
    worker.unlink()


def _parse(line: str) -> dict[str, Any] | None:
    with suppress(ValueError):  # the last line of a worker that was killed
        return dict(json.loads(line))
    return None
