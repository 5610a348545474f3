"""Permissive CRDs for the kinds that a repository uses and a lab does not serve: simulated, and marked as such.

Such a kind takes any object and does nothing with it: enough where the question is who applies, owns and prunes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from fluxdrill.model.refs import KubeObject, group_of

SIMULATED = "fluxdrill.dev/simulated"
"""Annotation of everything that stands in for something else; its value says for what."""
_SIBILANTS = ("s", "x", "z", "ch", "sh")
_VOWELS = "aeiou"


@dataclass(frozen=True, slots=True, order=True)
class ForeignKind:
    """A kind that nobody serves: as which versions it is written, and whether any object of it names a namespace."""

    group: str
    kind: str
    versions: tuple[str, ...]
    namespaced: bool

    @property
    def plural(self) -> str:
        """The plural as Kubernetes guesses it from the kind."""
        word = self.kind.lower()
        if word.endswith(_SIBILANTS):
            return f"{word}es"
        if word.endswith("y") and word[-2:-1] not in _VOWELS:
            return f"{word[:-1]}ies"
        return f"{word}s"

    def __str__(self) -> str:
        return f"{self.kind}.{self.group}"


def foreign_kinds(rendered: Iterable[KubeObject], served: Collection[tuple[str, str]]) -> tuple[ForeignKind, ...]:
    """Return the kinds of `rendered` that are not among `served` (group and kind), in order.

    The scope is guessed: a kind is namespaced when at least one of its objects names a namespace.
    """
    versions: dict[tuple[str, str], set[str]] = {}
    namespaced: set[tuple[str, str]] = set()
    for obj in rendered:
        group, _, version = str(obj["apiVersion"]).rpartition("/")
        key = (group, str(obj["kind"]))
        if key in served:
            continue
        versions.setdefault(key, set()).add(version)
        if obj["metadata"].get("namespace"):
            namespaced.add(key)
    return tuple(ForeignKind(*key, tuple(sorted(found)), key in namespaced) for key, found in sorted(versions.items()))


def definition(kind: ForeignKind) -> dict[str, Any]:
    """Return the CRD of a foreign kind: every version takes everything (`x-kubernetes-preserve-unknown-fields`)."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {"name": name, "served": True, "storage": name == kind.versions[-1], "schema": schema} for name in kind.versions
    ]
    names = {"kind": kind.kind, "plural": kind.plural, "singular": kind.kind.lower(), "listKind": f"{kind.kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}", "annotations": _marks(kind)},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": names,
            "versions": versions,
        },
    }


def _marks(kind: ForeignKind) -> dict[str, str]:
    # groups under k8s.io are protected: their CRDs need a word of approval
    approval = {"api-approved.kubernetes.io": "unapproved, simulated"} if _is_protected(kind.group) else {}
    return {SIMULATED: "its schema and its controller", **approval}


def _is_protected(group: str) -> bool:
    return group.endswith((".k8s.io", ".kubernetes.io"))


def namespaces(rendered: Iterable[KubeObject], existing: Collection[str]) -> list[dict[str, Any]]:
    """Return every namespace that `rendered` objects lie in and that is not `existing`."""
    wanted = {str(obj["metadata"].get("namespace") or "") for obj in rendered} - {"", *existing}
    return [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in sorted(wanted)]


def is_of(obj: KubeObject, group: str, kind: str) -> bool:
    """Whether `obj` is of that group and kind."""
    return group_of(str(obj.get("apiVersion", ""))) == group and obj.get("kind") == kind
