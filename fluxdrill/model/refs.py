"""References to Kubernetes objects and kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KubeObject = Mapping[str, Any]
"""A Kubernetes object as the API server sends it."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """One object; the version is left out on purpose, since it is not part of an object's identity."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    @classmethod
    def of(cls, obj: KubeObject) -> ObjectRef:
        """Return the reference of `obj`; raises KeyError where kind or name is missing."""
        meta = obj["metadata"]
        return cls(group_of(str(obj.get("apiVersion", ""))), obj["kind"], meta.get("namespace", ""), meta["name"])


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """One kind as an API server serves it: where its objects are found."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """`group/version`, or only the version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


def group_of(api_version: str) -> str:
    """Return the group of an apiVersion ("" for the core group)."""
    return api_version.rpartition("/")[0]
