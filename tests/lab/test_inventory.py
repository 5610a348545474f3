"""The guide's inventory of chart repositories is a test input: homelab declares it, row by row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxdrill.lab.supply import FILE, Supply, supply_of

ROOT = Path(__file__).resolve().parents[2]
HOMELAB = ROOT / "homelab"
GUIDE = ROOT.parent / "shared" / "seed" / "elysium-homelab.md"
HEADING = "### HelmRepository Inventory"
NO_CHART = "Most applications"
"""What the guide says instead of the charts of onechart."""
INTERVALS = {"cert-manager": "24h", "sealed-secrets": "24h", "coder-v2": "30m", "fission-charts": "30m"}
"""Those that are not asked each hour; the guide names them by their first word."""


@dataclass(frozen=True)
class Row:
    """One row of the guide's table."""

    name: str
    type: str
    charts: frozenset[str]


def table(text: str) -> list[Row]:
    """Return the rows of the inventory; empty where the guide has none."""
    section = text.partition(HEADING)[2].partition("**Update Intervals**")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| **")]
    return [Row(name.strip("*"), type_.lower(), frozenset(charts.split(", "))) for name, type_, _, charts, *_ in lines]


@pytest.fixture(scope="module")
def guide() -> str:
    if not GUIDE.is_file():
        pytest.skip(f"the guide is not there: put it at ../{'/'.join(GUIDE.parts[-3:])}")
    return GUIDE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rows(guide: str) -> list[Row]:
    found = table(guide)
    assert len(found) == 18, "the guide's table was not found, or has changed"
    return found


def declared(kind: str) -> list[dict[str, Any]]:
    """Return homelab's objects of a kind, read from its files."""
    paths = [path for path in HOMELAB.rglob("*.yaml") if path.parent.name != "templates"]
    objects = [one for path in paths for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
    return [one for one in objects if one.get("kind") == kind]


def repositories() -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one["spec"] for one in declared("HelmRepository")}


def supply() -> Supply:
    return supply_of({FILE: (HOMELAB / FILE).read_bytes()})


def test_the_names_and_types_are_those_of_the_guides_table(rows: list[Row]) -> None:
    told = {row.name: row.type for row in rows}
    assert {name: "oci" if spec.get("type") == "oci" else "standard" for name, spec in repositories().items()} == told


def test_the_intervals_are_those_that_the_guide_gives_them(guide: str) -> None:
    assert {name: spec["interval"] for name, spec in repositories().items()} == {
        name: INTERVALS.get(name, "1h") for name in repositories()
    }
    told = guide.partition("**Update Intervals**")[2].partition("**Adding")[0]
    assert re.findall(r"^- (.*): (\w+) \((.*)\)$", told, re.MULTILINE) == [
        ("Most repositories", "1h", "balance between freshness and load"),
        ("Critical infrastructure", "24h", "cert-manager, sealed-secrets"),
        ("Development tools", "30m", "coder, fission"),
    ]


def test_the_charts_are_those_of_the_guides_table(rows: list[Row]) -> None:
    served = {**supply().http, **supply().oci}
    named = {row.name: row.charts for row in rows if row.charts != {NO_CHART}}
    assert len(named) == 17
    assert {name: {chart.lower() for chart in charts} for name, charts in named.items()} == {
        name: set(charts) for name, charts in served.items() if name in named
    }


def test_a_row_less_or_of_another_type_would_be_noticed(rows: list[Row], guide: str) -> None:
    """Negative control: the table itself is read, and not a copy of what homelab declares."""
    assert {row.name for row in table(guide.replace("| **otwld**", "| **ollama**"))} != set(repositories())
    changed = guide.replace("| **bitnami** | OCI |", "| **bitnami** | Standard |")
    assert table(changed) != rows
    assert table("no table at all") == []


def test_what_is_declared_is_served_and_in_the_way_that_it_is_asked_for() -> None:
    assert {name for name, spec in repositories().items() if spec.get("type") == "oci"} == set(supply().oci)
    assert {name for name, spec in repositories().items() if spec.get("type") != "oci"} == set(supply().http)
    for name, spec in repositories().items():
        assert spec["url"] == ("${REGISTRY_URL}/" if spec.get("type") == "oci" else "${CHARTS_URL}/") + name
        assert spec.get("insecure", False) is (spec.get("type") == "oci")


def test_every_release_from_a_repository_asks_for_a_chart_that_is_in_it() -> None:
    served = {**supply().http, **supply().oci}
    asked = [(one["chart"]["spec"]["sourceRef"], one["chart"]["spec"]) for one in releases()]
    of_repositories = [(source["name"], spec) for source, spec in asked if source["kind"] == "HelmRepository"]
    assert len(of_repositories) >= 7
    assert [(name, spec["chart"]) for name, spec in of_repositories if spec["chart"] not in served[name]] == []
    versions = {yaml.safe_load((HOMELAB / "charts" / one / "Chart.yaml").read_text())["version"] for one in ("operator", "workload")}  # fmt: skip
    assert {spec["version"] for _, spec in of_repositories} == versions
    assert {source["kind"] for source, _ in asked} == {"HelmRepository", "GitRepository"}, "both ways are to be shown"


def releases() -> list[dict[str, Any]]:
    found = [one["spec"] for one in declared("HelmRelease")]
    return [spec for spec in found if isinstance(spec.get("chart"), dict)]
