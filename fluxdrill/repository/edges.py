"""The dependencies that a repository declares, read from its files alone: cheap enough for collecting tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from fluxdrill.model.conditions import dependencies
from fluxdrill.model.ordering import Edge
from fluxdrill.model.refs import ObjectRef

_KINDS = {("kustomize.toolkit.fluxcd.io", "Kustomization"), ("helm.toolkit.fluxcd.io", "HelmRelease")}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def declared_edges(files: Mapping[str, bytes]) -> tuple[Edge, ...]:
    """Return every dependsOn of Kustomizations and HelmReleases in `files` (path -> content), without doubles.

    What is not YAML (a chart's templates, say) is passed over: it holds no object that Flux reads as it stands.
    """
    found = {edge for path, content in files.items() if path.endswith((".yaml", ".yml")) for edge in _edges(content)}
    return tuple(sorted(found, key=lambda edge: (edge.dependent, edge.dependency)))


def _edges(content: bytes) -> Iterator[Edge]:
    try:
        documents = list(yaml.load_all(content, Loader=_LOADER))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError):
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
