"""One consistent moment of the watched kinds: immutable, and replaced as a whole by every change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fluxdrill.kube.discovery import GroupKind
from fluxdrill.model.clock import Instant
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.model.timeline import Gap


class Following(StrEnum):
    """How well a kind's stored state is known to be the server's."""

    STARTING = "not listed yet"
    LIVE = "watched"
    STALE = "no longer watched"
    ABSENT = "not served"
    FORBIDDEN = "not allowed"
    BROKEN = "dead"
    UNFOLLOWED = "not followed"


KNOWN = (Following.LIVE, Following.ABSENT)
"""What is stored is the server's own state."""


@dataclass(frozen=True, slots=True)
class Part:
    """The objects of one kind, in one namespace or (None) in all."""

    kind: GroupKind
    namespace: str | None = None
    following: Following = Following.STARTING
    why: str = ""
    objects: Mapping[ObjectRef, KubeObject] = field(default_factory=dict)


PartKey = tuple[GroupKind, str | None]


@dataclass(frozen=True, slots=True)
class View:
    """What is known at the moment `at`. `gap` is the silence of the API server that lasts, if one does.

    `heard` is the last proof of life of the API server; None before the first one.
    """

    at: Instant
    heard: Instant | None = None
    gap: Gap | None = None
    parts: Mapping[PartKey, Part] = field(default_factory=dict)

    @property
    def reachable(self) -> bool:
        """Whether the API server answered when last asked."""
        return self.gap is None and self.heard is not None

    def get(self, ref: ObjectRef) -> KubeObject | None:
        """Return one object; None where it is not known, so ask `following` before taking that for absent."""
        part = self.part(GroupKind.of(ref), ref.namespace)
        return part.objects.get(ref)

    def list(self, kind: GroupKind, namespace: str | None = None) -> list[KubeObject]:
        """Return the known objects of a kind, by name."""
        objects = self.part(kind, namespace).objects
        return [objects[ref] for ref in sorted(objects) if namespace is None or ref.namespace == namespace]

    def part(self, kind: GroupKind, namespace: str | None = None) -> Part:
        """Return the part that holds the objects of a kind in a namespace, or an empty, unfollowed one."""
        for key in ((kind, None), (kind, namespace)):
            if key in self.parts:
                return self.parts[key]
        return Part(kind, namespace, Following.UNFOLLOWED)

    def parts_of(self, kinds: Iterable[GroupKind]) -> Iterator[Part]:
        """Yield the parts of some kinds, and an unfollowed one for a kind that is not followed."""
        for kind in kinds:
            found = [part for (key, _), part in self.parts.items() if key == kind]
            yield from found or [Part(kind, None, Following.UNFOLLOWED)]

    def decidable(self, kinds: Iterable[GroupKind]) -> bool:
        """Tell whether the state of `kinds` is the server's own, so that something may be decided by it."""
        return self.reachable and all(part.following in KNOWN for part in self.parts_of(kinds))

    def with_part(self, part: Part, at: Instant) -> View:
        """Return the view after a change of one part."""
        return replace(self, at=at, parts={**self.parts, (part.kind, part.namespace): part})
