"""A chart that misbehaves on purpose: its values say how, and it is packaged as any version asked for.

Its pods are the simulated ones of `fluxdrill.cluster.simulated`, or real ones whose shell script and probe do the same.
What the values mean stands in `chart/values.yaml`, and `chart/values.schema.json` refuses all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from fluxdrill.sources.archive import pack

NAME = "standin"
FOLDER = Path(__file__).parent / "chart"


def package(version: str, *, name: str = NAME, files: Mapping[str, str] | None = None) -> bytes:
    """Return the stand-in chart as Helm packages a chart (a gzipped tar): the same arguments, the same bytes.

    `files` are added by their path inside of the chart and replace what it has there; whether `version` is a version is
    for Helm to say.
    """
    content = {path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in _own_files()}
    content |= {"Chart.yaml": yaml.safe_dump(_metadata(version, name=name)), **(files or {})}
    return pack(name, {path: text.encode() for path, text in content.items()})


def crd(group: str, *, witness: str) -> str:
    """Return the text of the CRD of kind Widget in the API group `group`, for `files` as `crds/widgets.yaml`.

    `witness` tells one version of it from another: it is the description of its schema. The chart has a Widget where
    its value `widgets` is `group`.
    """
    schema = {"type": "object", "description": witness, "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": group,
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
        "versions": [version],
    }
    metadata = {"name": f"widgets.{group}"}
    whole = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": spec,
    }
    return yaml.safe_dump(whole)


def _metadata(version: str, *, name: str = NAME) -> dict[str, str]:
    return {
        "apiVersion": "v2",
        "name": name,
        "version": version,
        "description": "A chart that misbehaves on purpose",
    }


def _own_files() -> list[Path]:
    return [path for path in FOLDER.rglob("*") if path.is_file()]
