"""Render a run's journal into one HTML page that opens from disk and asks for nothing from anywhere."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from fluxdrill.report.journal import Entry, read_journal
from fluxdrill.report.run import page_data


def render(entries: Sequence[Entry]) -> str:
    """Return the page of a run. The data is packed: the page unpacks it in the browser, without any library."""
    data = page_data(entries)
    packed = base64.b64encode(gzip.compress(json.dumps(data, separators=(",", ":")).encode(), mtime=0)).decode()
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_asset("page.html.j2"))
    failures = [one for one in data["headlines"] if one["where"]]
    named = len(failures) < len(data["headlines"])  # a rehearsal names its first blocker itself
    blocked = [graph for graph in data["graphs"] if graph["blockers"] and not named]
    shown = {"data": data, "blocked": blocked, "failures": failures, "packed": packed}
    return template.render(**shown, style=_asset("page.css"), script=_asset("page.js"))


def write_page(journal: Path, page: Path) -> Path:
    """Render `journal` (of a finished, killed or running run) to `page`. Raises UsageError where it is no journal."""
    text = render(read_journal(journal))
    partial = page.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(page)
    return page


def _asset(name: str) -> str:
    return files("fluxdrill.report").joinpath(name).read_text(encoding="utf-8")
