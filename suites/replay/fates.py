"""What became of each object that a Kustomization let go of: told from what the watch and the audit log saw.

kustomize-controller 1.9 deletes what leaves its inventory where the living object still carries its own label and no
guard (facts: flux.md 4.1.12). So each fate has a reason that was visible before: the label, the guard, or the namespace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from fluxdrill.kube.view import View
from fluxdrill.model.ordering import Write
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.repository.rootdiff import is_guarded

OWNER = "kustomize.toolkit.fluxcd.io/name"
PRUNER = "kustomize-controller"


class Fate(StrEnum):
    """How an object ended."""

    PRUNED = "pruned"
    WITH_NAMESPACE = "gone with its namespace"
    ADOPTED = "saved by another owner's label"
    GUARDED = "saved by its guard"
    UNEXPLAINED = "unexplained"


LOST = frozenset({Fate.PRUNED, Fate.WITH_NAMESPACE})
SAVED = frozenset({Fate.ADOPTED, Fate.GUARDED})


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object as the watch saw it from `at` on; without a `uid` it was not there."""

    at: datetime
    uid: str = ""
    owner: str = ""
    guarded: bool = False
    going: bool = False
    """Whether its deletion had been asked for."""


@dataclass(frozen=True, slots=True)
class Told:
    """One object's fate; `owner` is whose label it carried last before that, `again` who made it anew."""

    ref: ObjectRef
    fate: Fate
    owner: str
    again: str = ""
    why: str = ""

    def __str__(self) -> str:
        anew = f", made anew by {self.again}" if self.again else ""
        return f"{self.ref}: {self.fate} (last label: {self.owner or 'none'}{anew}){f': {self.why}' if self.why else ''}"


def sightings(views: Iterable[View], refs: Iterable[ObjectRef]) -> dict[ObjectRef, list[Sighting]]:
    """Return what the views show of each of `refs`, every change once."""
    seen: dict[ObjectRef, list[Sighting]] = {ref: [] for ref in refs}
    for view in views:
        for ref, found in seen.items():
            now = _sighting(view.at.utc, view.get(ref))
            if not found or _what(found[-1]) != _what(now):
                found.append(now)
    return seen


def _sighting(at: datetime, obj: KubeObject | None) -> Sighting:
    if obj is None:
        return Sighting(at)
    meta = obj["metadata"]
    owner = str((meta.get("labels") or {}).get(OWNER, ""))
    return Sighting(at, str(meta["uid"]), owner, is_guarded(obj), "deletionTimestamp" in meta)


def _what(one: Sighting) -> tuple[str, str, bool, bool]:
    return one.uid, one.owner, one.guarded, one.going


def tell(
    seen: Mapping[ObjectRef, Sequence[Sighting]], writes: Iterable[Write], *, root: str, since: datetime
) -> list[Told]:
    """Return the fate of each object: `root` is who let go of it, `since` when that revision was served."""
    pruned = deleted_by_flux(writes, since=since)
    namespaces = {ref.name for ref in pruned if ref.kind == "Namespace"}
    return [_tell(ref, list(found), ref in pruned, ref.namespace in namespaces, root) for ref, found in sorted(seen.items())]


def deleted_by_flux(writes: Iterable[Write], *, since: datetime) -> frozenset[ObjectRef]:
    """Return what kustomize-controller deleted from `since` on."""
    return frozenset(
        _cluster_wide(one.ref)
        for one in writes
        if one.verb == "delete" and one.at >= since and one.user.endswith(f":{PRUNER}")
    )


def _cluster_wide(ref: ObjectRef) -> ObjectRef:
    """Audit logs say of a Namespace that it lies in itself."""
    return replace(ref, namespace="") if (ref.group, ref.kind) == ("", "Namespace") else ref


def _tell(ref: ObjectRef, found: list[Sighting], deleted: bool, namespace_deleted: bool, root: str) -> Told:
    first, last = found[0], found[-1]
    alive = [one for one in found if first.uid and one.uid == first.uid and not one.going]
    if not alive:
        return Told(ref, Fate.UNEXPLAINED, "", why="it was not there when the revision was served")
    owner = alive[-1].owner
    if last.uid == first.uid and not last.going:
        return _tell_saved(ref, last, deleted, root)
    again = last.owner if last.uid not in {"", first.uid} else ""
    if deleted:
        return _tell_pruned(ref, alive, again, root)
    if namespace_deleted:
        return Told(ref, Fate.WITH_NAMESPACE, owner, again)
    return Told(ref, Fate.UNEXPLAINED, owner, again, "it is gone, and neither it nor its namespace was pruned")


def _tell_saved(ref: ObjectRef, last: Sighting, deleted: bool, root: str) -> Told:
    if deleted:
        return Told(ref, Fate.UNEXPLAINED, last.owner, why="its deletion was taken, and it is still there")
    if last.guarded:
        return Told(ref, Fate.GUARDED, last.owner)
    if last.owner not in {"", root}:
        return Told(ref, Fate.ADOPTED, last.owner)
    return Told(ref, Fate.UNEXPLAINED, last.owner, why=f"it carries no other label than {root}'s, no guard, and stays")


def _tell_pruned(ref: ObjectRef, alive: Sequence[Sighting], again: str, root: str) -> Told:
    """Tell of a deletion: the label must have been the root's; it reads the label first and deletes then."""
    owner = alive[-1].owner
    if alive[-1].guarded:
        return Told(ref, Fate.UNEXPLAINED, owner, again, "it was guarded, and pruned all the same")
    if owner == root:
        return Told(ref, Fate.PRUNED, owner, again)
    if root in {one.owner for one in alive}:
        return Told(ref, Fate.PRUNED, owner, again, f"adopted between {root}'s look and its deletion")
    return Told(ref, Fate.UNEXPLAINED, owner, again, f"it never carried {root}'s label, and was pruned")


def as_text(told: Sequence[Told], *, title: str) -> str:
    """Return every object by name with its fate, grouped, the numbers first."""
    counted = Counter(one.fate for one in told)
    lines = [title, ", ".join(f"{counted[fate]} {fate}" for fate in Fate if counted[fate])]
    for fate in Fate:
        lines += [f"  {one}" for one in told if one.fate is fate]
    return "\n".join(lines)
