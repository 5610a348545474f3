"""Everything that a run's folder holds beside its journal, written from the journal alone."""

from __future__ import annotations

import json
from pathlib import Path

from fluxdrill.report.journal import read_journal
from fluxdrill.report.junit import junit
from fluxdrill.report.markdown import parts
from fluxdrill.report.page import render
from fluxdrill.report.run import page_data
from fluxdrill.report.seal import JOURNAL, VERDICT, sealed

PAGE = "index.html"


def write_files(run: Path) -> Path:
    """Write page, Markdown, JUnit (where pytest wrote none) and verdict.json of a run; return the page's path.

    A verdict.json that is there stays as it is: it says what the run's own end was. Raises UsageError where the folder
    holds no journal.
    """
    journal = run / JOURNAL
    data = page_data(read_journal(journal))
    _write(run / PAGE, render(data))
    for old in run.glob("report-*.md"):
        old.unlink()
    for number, text in enumerate(parts(data), 1):
        _write(run / f"report-{number}.md", text)
    if data["scenarios"] and not data["tests"]:
        _write(run / "junit.xml", junit(data["scenarios"], began=data["began"]))
    if not (run / VERDICT).exists():
        _write(run / VERDICT, json.dumps(sealed(data, journal), indent=1) + "\n")
    return run / PAGE


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
