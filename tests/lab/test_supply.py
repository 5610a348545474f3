"""What a repository under test says that a lab shall serve, and that it is served: a real chart repository."""

from __future__ import annotations

import gzip
import io
import tarfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from fluxdrill.errors import UsageError
from fluxdrill.lab.supply import FILE, publish, supply_of
from fluxdrill.sources.charts import ChartServer
from fluxdrill.sources.registry import Registry

HOMELAB = Path(__file__).parents[2] / "homelab"
CHART = {
    "charts/app/Chart.yaml": b"apiVersion: v2\nname: app\nversion: 2.3.4\n",
    "charts/app/templates/a.yaml": b"a: {{ .Values.a }}\n",
    "charts/application/values.yaml": b"another: chart\n",
}
WANTED = {FILE: b"http:\n  shop: {web: app, api: app}\n", **CHART}


@dataclass
class Servers:
    """A chart repository, and a registry that must not be asked for."""

    charts: ChartServer

    @property
    def registry(self) -> Registry:
        raise AssertionError("nobody wants a chart in the registry")


@pytest.fixture
def servers() -> Iterator[Servers]:
    with ChartServer() as charts:
        yield Servers(charts)


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - a server of our own
        return bytes(answer.read())


def test_each_chart_is_served_under_its_own_name_with_the_files_of_its_folder(servers: Servers) -> None:
    address = publish(servers, WANTED)["CHARTS_URL"]
    entries = yaml.safe_load(read(f"{address}/shop/index.yaml"))["entries"]
    assert {name: [one["version"] for one in versions] for name, versions in entries.items()} == {
        "web": ["2.3.4"],
        "api": ["2.3.4"],
    }
    archive = read(f"{address}/shop/{entries['web'][0]['urls'][0]}")
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive))) as tar:
        assert sorted(tar.getnames()) == ["web/Chart.yaml", "web/templates/a.yaml"]
        about = tar.extractfile("web/Chart.yaml")
        assert about is not None
        assert yaml.safe_load(about) == {"apiVersion": "v2", "name": "web", "version": "2.3.4"}


def test_a_repository_that_wants_nothing_is_told_an_address_and_no_registry_is_started(servers: Servers) -> None:
    assert publish(servers, {"README.md": b"hello"}) == {"CHARTS_URL": servers.charts.url}
    assert publish(servers, {FILE: b""}) == {"CHARTS_URL": servers.charts.url}


def test_a_chart_in_the_registry_has_the_registry_asked_for(servers: Servers) -> None:
    with pytest.raises(AssertionError, match="nobody wants"):
        publish(servers, {FILE: b"oci: {shop: {web: app}}\n", **CHART})


@pytest.mark.parametrize(
    "text",
    [b"http: [", b"https: {a: {b: c}}\n", b"http: {a: b}\n", b"- a\n", b"http: {a: {b: [c]}}\n"],
    ids=["no-yaml", "unknown", "flat", "list", "deep"],
)
def test_a_file_that_says_anything_else_is_named(text: bytes) -> None:
    with pytest.raises(UsageError, match=r"charts/supply.yaml cannot be read"):
        supply_of({FILE: text})


@pytest.mark.parametrize("about", [None, b"", b"name: app\n", b"- a\n"], ids=["missing", "empty", "no-version", "list"])
def test_a_folder_that_is_no_chart_is_named(servers: Servers, about: bytes | None) -> None:
    texts = {path: text for path, text in WANTED.items() if not path.endswith("Chart.yaml")}
    if about is not None:
        texts["charts/app/Chart.yaml"] = about
    with pytest.raises(UsageError, match="charts/app is no chart"):
        publish(servers, texts)
