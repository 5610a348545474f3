"""Render a run's journal into one HTML page that opens from disk and asks for nothing from anywhere."""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def render(data: Mapping[str, Any]) -> str:
    """Return the page of a run from its `page_data`, which is packed: the page unpacks it, without any library."""
    packed = base64.b64encode(gzip.compress(json.dumps(data, separators=(",", ":")).encode(), mtime=0)).decode()
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(_asset("page.html.j2"))
    failures = [one for one in data["headlines"] if one["where"] and not _of_scenario(one["where"], data)]
    named = any(not one["where"] for one in data["headlines"])  # a rehearsal names its first blocker itself
    blocked = [graph for graph in data["graphs"] if graph["blockers"] and not named]
    tally = list(Counter(one["verdict"] for one in data["scenarios"]).items())
    shown = {"tally": tally, "data": data, "blocked": blocked, "failures": failures, "packed": packed}
    scripts = {"script": _asset("page.js"), "scenario_script": _asset("scenarios.js")}
    return template.render(**shown, **scripts, style=_asset("page.css"))


def _of_scenario(test: str, data: Mapping[str, Any]) -> bool:
    """Tell whether a test is a scenario file that the page shows as a scenario, with its objectives."""
    file, _, name = test.partition("::")
    return file.endswith((".yaml", ".yml")) and any(one["id"] == name for one in data["scenarios"])


def _asset(name: str) -> str:
    return files("fluxdrill.report").joinpath(name).read_text(encoding="utf-8")
