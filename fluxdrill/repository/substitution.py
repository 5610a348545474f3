"""Variable substitution as kustomize-controller does it after a build (Flux 2.9, strict mode), as far as it is plain.

Plain are `${X}`, `${X:=d}`, `${X:-d}`, `${X=d}`, `${X-d}` and `$${X}`; anything else is reported, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from fluxdrill.model.refs import KubeObject

DISABLED = "kustomize.toolkit.fluxcd.io/substitute"
_VARIABLE = re.compile(r"(?P<escape>\$?)\$\{(?P<name>[_A-Za-z][_A-Za-z0-9]*)(?P<rest>[^}]*)\}")
_DEFAULT = re.compile(r"^:?[=-](?P<text>[^$]*)$")


class NotPlainError(ValueError):
    """A variable without a value, or an expression that is not plain; the message names it."""


def substitute(obj: KubeObject, variables: Mapping[str, str]) -> KubeObject:
    """Return `obj` with its variables replaced; raises NotPlainError.

    Without any variable nothing is replaced, not even escapes: the controller skips the step then (flux.md 4.1.21).
    """
    if not variables or _is_off(obj):
        return obj
    text = yaml.safe_dump(dict(obj), sort_keys=False, allow_unicode=True, width=2**20)
    if "${" not in text:
        return obj
    replaced: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(lambda found: _value(found, variables), text))
    return replaced


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["escape"]:
        return found[0][1:]
    known = variables.get(found["name"])
    default = _DEFAULT.match(found["rest"])
    if found["rest"] and default is None:
        raise NotPlainError(f"${{{found['name']}{found['rest']}}} is not plain")
    if known is not None and (known or not found["rest"].startswith(":")):
        return known.replace("\n", "")
    if default is None:
        raise NotPlainError(f"the variable {found['name']} has no value")
    return default["text"]


def _is_off(obj: KubeObject) -> bool:
    meta = obj.get("metadata") or {}
    marks = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
    return str(marks.get(DISABLED, "")).lower() == "disabled"
