"""Which kinds an API server serves, and where: asked once, kept in memory, asked again on a miss."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fluxdrill.kube.errors import ApiError, UnknownKindError
from fluxdrill.model.refs import KubeObject, ObjectRef, Resource

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STABILITY = {"alpha": 0, "beta": 1, None: 2}


@dataclass(frozen=True, slots=True, order=True)
class GroupKind:
    """A kind whether or not it is served now, whatever the version."""

    group: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @classmethod
    def of(cls, subject: ObjectRef | Resource | GroupKind) -> GroupKind:
        """Return the kind of a reference or of a resource."""
        return cls(subject.group, subject.kind)


class Discovery:
    """The kinds of one API server. Never shared between servers: two labs may reuse one address.

    `fetch(path, accept)` returns the parsed answer of a GET.
    """

    def __init__(self, fetch: Callable[[str, str], Any]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._known: dict[GroupKind, tuple[Resource, ...]] = {}
        self._generation = 0

    def find(self, kind: GroupKind, version: str = "") -> Resource:
        """Return where `kind` is served (`version`: exactly there, else the server's preferred version).

        A miss asks the server again, once. Raises UnknownKindError when it is still missing, and the errors
        of the request.
        """
        generation = self._generation
        found = self._lookup(kind, version)
        if found is None:
            self._refresh(generation)
            found = self._lookup(kind, version)
        if found is None:
            raise UnknownKindError(kind.group, kind.kind, version)
        return found

    def all(self) -> list[Resource]:
        """Ask the server and return every served kind once, in its preferred version."""
        self._refresh(self._generation)
        return sorted(versions[0] for versions in self._known.values())

    def forget(self, kind: GroupKind) -> None:
        """Drop what is known of `kind`, because the server just denied it."""
        with self._lock:
            self._known = {known: served for known, served in self._known.items() if known != kind}

    def _lookup(self, kind: GroupKind, version: str) -> Resource | None:
        served = self._known.get(kind, ())
        return next((resource for resource in served if version in ("", resource.version)), None)

    def _refresh(self, generation: int) -> None:
        with self._lock:
            if generation != self._generation:  # another thread asked meanwhile
                return
            known: dict[GroupKind, list[Resource]] = {}
            for resource in [*self._core(), *self._groups()]:
                known.setdefault(GroupKind.of(resource), []).append(resource)
            self._known = {kind: tuple(versions) for kind, versions in known.items()}
            self._generation += 1

    def _core(self) -> Iterable[Resource]:
        answer = self._fetch("/api", AGGREGATED)
        if answer.get("kind") == "APIGroupDiscoveryList":
            return aggregated(answer)
        return [found for version in answer["versions"] for found in self._per_version("", version)]

    def _groups(self) -> Iterable[Resource]:
        answer = self._fetch("/apis", AGGREGATED)
        if answer.get("kind") == "APIGroupDiscoveryList":
            return aggregated(answer)
        return [found for group in answer.get("groups") or () for found in self._per_group(group)]

    def _per_group(self, group: Mapping[str, Any]) -> Iterator[Resource]:
        preferred = (group.get("preferredVersion") or {}).get("version")
        versions = [entry["version"] for entry in group["versions"]]
        for version in sorted(versions, key=lambda name: name != preferred):
            yield from self._per_version(group["name"], version)

    def _per_version(self, group: str, version: str) -> list[Resource]:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            answer = self._fetch(path, "application/json")
        except ApiError:
            # One broken aggregated API (a metrics server that is down, say) must not hide all the others.
            return []
        return [
            Resource(entry.get("group") or group, entry.get("version") or version, entry["kind"], entry["name"],
                     bool(entry["namespaced"]))
            for entry in answer.get("resources") or ()
            if "/" not in entry["name"]
        ]  # fmt: skip


def aggregated(answer: Mapping[str, Any]) -> Iterator[Resource]:
    """Yield the kinds of an APIGroupDiscoveryList; the server sends the preferred version of a group first."""
    for group in answer.get("items") or ():
        for version in group.get("versions") or ():
            for entry in version.get("resources") or ():
                # An aggregated API that is down is listed with empty kinds.
                kind = (entry.get("responseKind") or {}).get("kind")
                if kind:
                    name = (group.get("metadata") or {}).get("name", "")
                    yield Resource(name, version["version"], kind, entry["resource"], entry["scope"] == "Namespaced")


def of_crd(crd: KubeObject) -> Resource | None:
    """Return where an established CustomResourceDefinition's kind is served; None while it is not."""
    conditions = (crd.get("status") or {}).get("conditions") or ()
    established = any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions)
    served = [version["name"] for version in crd["spec"]["versions"] if version["served"]]
    if not established or not served or "deletionTimestamp" in crd["metadata"]:
        return None
    spec = crd["spec"]
    version = max(served, key=priority)
    return Resource(
        spec["group"], version, spec["names"]["kind"], spec["names"]["plural"], spec["scope"] == "Namespaced"
    )


def priority(version: str) -> tuple[int, int, int, str]:
    """Sort key of versions, highest last, as Kubernetes orders them: GA, beta, alpha, then anything else."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (-1, 0, 0, version)
    return (_STABILITY[match[2]], int(match[1]), int(match[3] or 0), version)
