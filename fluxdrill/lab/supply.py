"""The charts that a repository under test wants a lab to serve: its file `charts/supply.yaml` names them.

http:                          # the chart repository: an index for each name, at CHARTS_URL/<name>
  coder-v2: {coder: workload}  # the chart `coder`, packed under that name from the folder charts/workload
oci:                           # the registry, at REGISTRY_URL/<name>
  bitnami: {redis: workload}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluxdrill.errors import UsageError
from fluxdrill.sources.archive import pack
from fluxdrill.sources.charts import ChartServer
from fluxdrill.sources.registry import Registry

FOLDER = "charts"
FILE = f"{FOLDER}/supply.yaml"
Charts = dict[str, dict[str, str]]


class Servers(Protocol):
    """What of a lab serves charts."""

    @property
    def charts(self) -> ChartServer:
        """The chart repository."""

    @property
    def registry(self) -> Registry:
        """The registry, which is started when it is asked for."""


class Supply(BaseModel):
    """What `charts/supply.yaml` says: by repository, each chart's name and the folder it is packed from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    http: Charts = Field(default_factory=dict)
    oci: Charts = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Packed:
    """One chart as it is served: in which repository, and its archive."""

    repository: str
    name: str
    version: str
    archive: bytes


def supply_of(texts: Mapping[str, bytes]) -> Supply:
    """Return what a repository of these files wants served: nothing where it has no such file.

    Raises UsageError for a file that says anything else.
    """
    if FILE not in texts:
        return Supply()
    try:
        return Supply.model_validate(yaml.safe_load(texts[FILE]) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise UsageError(f"{FILE} cannot be read: {error}.", hint="See homelab/charts/supply.yaml for one.") from None


def publish(lab: Servers, texts: Mapping[str, bytes]) -> dict[str, str]:
    """Have the lab serve the charts that a repository of these files wants; return their addresses, by variable.

    The registry is started only where a chart is wanted in it. Raises UsageError for a chart without its folder.
    """
    wanted = supply_of(texts)
    for one in _packed(texts, wanted.http):
        lab.charts.publish(one.name, one.version, one.archive, folder=one.repository)
    addresses = {"CHARTS_URL": lab.charts.url}
    if wanted.oci:
        addresses["REGISTRY_URL"] = f"oci://{lab.registry.address}"
    for one in _packed(texts, wanted.oci):
        lab.registry.push_chart(f"{one.repository}/{one.name}", one.version, one.archive)
    return addresses


def _packed(texts: Mapping[str, bytes], charts: Charts) -> Iterator[Packed]:
    for repository, names in charts.items():
        for name, folder in names.items():
            prefix = f"{FOLDER}/{folder}/"
            content = {path.removeprefix(prefix): text for path, text in texts.items() if path.startswith(prefix)}
            about = _about(content, folder)
            content["Chart.yaml"] = yaml.safe_dump({**about, "name": name}).encode()
            yield Packed(repository, name, str(about["version"]), pack(name, content))


def _about(content: Mapping[str, bytes], folder: str) -> dict[str, Any]:
    about = yaml.safe_load(content.get("Chart.yaml", b""))
    if not isinstance(about, dict) or "version" not in about:
        raise UsageError(f"{FOLDER}/{folder} is no chart: it has no Chart.yaml with a version.", hint=f"See {FILE}.")
    return about
