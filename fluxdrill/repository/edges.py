"""The dependencies that a repository declares, read from its files alone: cheap enough for collecting tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from fluxdrill.model.conditions import dependencies
from fluxdrill.model.ordering import Edge
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.charts import templates

_KINDS = {("kustomize.toolkit.fluxcd.io", "Kustomization"), ("helm.toolkit.fluxcd.io", "HelmRelease")}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def declared_edges(files: Mapping[str, bytes]) -> tuple[Edge, ...]:
    """Return every dependsOn of Kustomizations and HelmReleases in `files` (path -> content), without doubles.

    What is not YAML is passed over, as are objects that get their namespace only when they are built: see `unreadable`.
    """
    found = {edge for _, content in _manifests(files) for edge in _edges(content)}
    return tuple(sorted(found, key=lambda edge: (edge.dependent, edge.dependency)))


def unreadable(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return each YAML file that cannot be read, with the reason: what it declares is unknown.

    Templates of a chart are none of them: they are not meant to be YAML.
    """
    told = {path: _complaint(content) for path, content in _manifests(files)}
    return {path: why for path, why in told.items() if why}


def _manifests(files: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    of_charts = templates(files)
    return (
        (path, content) for path, content in files.items() if path.endswith((".yaml", ".yml")) and path not in of_charts
    )


def _complaint(content: bytes) -> str:
    try:
        list(yaml.compose_all(content, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        return f"{where}{error.problem or error.context}"
    except (yaml.YAMLError, ValueError) as error:
        return str(error).partition("\n")[0]
    return ""


def _edges(content: bytes) -> Iterator[Edge]:
    try:
        documents = list(yaml.load_all(content, Loader=_LOADER))
    except (yaml.YAMLError, ValueError):
        return
    for document in documents:
        if _depends(document):
            dependent = ObjectRef.of(document)
            yield from (Edge(dependency, dependent) for dependency in dependencies(document))


def _depends(document: object) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
        return False
    group = str(document.get("apiVersion", "")).rpartition("/")[0]
    complete = bool(document["metadata"].get("name") and document["metadata"].get("namespace"))
    return complete and (group, document.get("kind")) in _KINDS
