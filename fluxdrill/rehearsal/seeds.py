"""What the owner would have to bring by hand: read from a controller's message, as far as it is known to say so.

The texts are those of kustomize-controller 1.9.3 and kube-apiserver 1.36.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from fluxdrill.errors import UsageError

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r'no matches for kind "(?P<kind>[^"]+)" in version "(?P<version>[^"]+)"'),
        "the CRD of {kind} ({version})",
    ),
    (re.compile(r'namespaces "(?P<name>[^"]+)" not found'), "Namespace {name}"),
    (
        re.compile(r"substitute from '(?P<kind>Secret|ConfigMap)/(?P<name>[^']+)' error"),
        "{kind} {name} with the variables that are substituted",
    ),
    (re.compile(r'variable not set \(strict mode\):? "?(?P<name>\w+)'), "a value for the variable {name}"),
)


def wanted(message: str) -> str:
    """Return what to bring before Flux so that this failure passes; "" when the message does not tell."""
    for pattern, text in _RULES:
        if match := pattern.search(message):
            return text.format(**match.groupdict())
    return ""


def read(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a seed file; raises UsageError where it is not readable as Kubernetes objects."""
    try:
        documents = [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one is not None]
    except OSError as error:
        raise UsageError(f"The seed {path} cannot be read: {error.strerror}.", hint="Name a YAML file.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise UsageError(f"The seed {path} is not YAML{line}.", hint="Correct it, then rehearse again.") from error
    objects = list(_flatten(documents))
    complete = all(isinstance(one, dict) and one.get("kind") and one.get("metadata", {}).get("name") for one in objects)
    if not objects or not complete:
        raise UsageError(
            f"The seed {path} holds no complete Kubernetes objects.", hint="Each needs kind and metadata.name."
        )
    return sorted(objects, key=_rank)


def _flatten(documents: list[Any]) -> Iterator[Any]:
    for document in documents:
        if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") and "items" in document:
            yield from document["items"]
        else:
            yield document


def _rank(obj: dict[str, Any]) -> int:
    """CRDs and namespaces go first: the others may need them."""
    return {"CustomResourceDefinition": 0, "Namespace": 1}.get(obj["kind"], 2)
