"""What became of each object that a Kustomization let go of: told from what the watch and the audit log saw.

kustomize-controller 1.9 deletes what leaves its inventory where the living object still carries its own label and no
guard (facts: flux.md 4.1.12). So each fate has a reason that was visible before: the label, the guard, or the namespace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
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
        return (
            f"{self.ref}: {self.fate} (last label: {self.owner or 'none'}{anew}){f': {self.why}' if self.why else ''}"
        )


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
    cases = (
        _Case(ref, tuple(found), root, deleted=ref in pruned, homeless=ref.namespace in namespaces)
        for ref, found in sorted(seen.items())
    )
    return [_tell(case) for case in cases]


def deleted_by_flux(writes: Iterable[Write], *, since: datetime) -> frozenset[ObjectRef]:
    """Return what kustomize-controller deleted from `since` on."""
    return frozenset(
        one.ref for one in writes if one.verb == "delete" and one.at >= since and one.user.endswith(f":{PRUNER}")
    )


@dataclass(frozen=True, slots=True)
class _Case:
    """One object: what was seen of it, and whether kustomize-controller `deleted` it or its namespace (`homeless`)."""

    ref: ObjectRef
    found: tuple[Sighting, ...]
    root: str
    _: KW_ONLY
    deleted: bool
    homeless: bool

    @property
    def alive(self) -> list[Sighting]:
        """The object as it was until its deletion was asked for."""
        first = self.found[0]
        return [one for one in self.found if first.uid and one.uid == first.uid and not one.going]

    def told(self, fate: Fate, why: str = "") -> Told:
        """Return the case with its fate."""
        last = self.found[-1]
        again = last.owner if last.uid not in {"", self.found[0].uid} else ""
        return Told(self.ref, fate, self.alive[-1].owner if self.alive else "", again, why)


def _tell(case: _Case) -> Told:
    if not case.alive:
        return case.told(Fate.UNEXPLAINED, "it was not there when the revision was served")
    last = case.found[-1]
    if last.uid == case.found[0].uid and not last.going:
        return _tell_saved(case)
    if case.deleted:
        return _tell_pruned(case)
    if case.homeless:
        return case.told(Fate.WITH_NAMESPACE)
    return case.told(Fate.UNEXPLAINED, "it is gone, and neither it nor its namespace was pruned")


def _tell_saved(case: _Case) -> Told:
    if case.deleted:
        return case.told(Fate.UNEXPLAINED, "its deletion was taken, and it is still there")
    if case.found[0].guarded:
        return case.told(Fate.GUARDED)
    if case.found[-1].owner not in {"", case.root}:
        return case.told(Fate.ADOPTED)
    return case.told(Fate.UNEXPLAINED, f"it carries no other label than {case.root}'s, no guard, and stays")


def _tell_pruned(case: _Case) -> Told:
    """Tell of a deletion: the controller reads the label first and deletes then, so the label may change in between."""
    last = case.alive[-1]
    if last.guarded:
        return case.told(Fate.UNEXPLAINED, "it was guarded, and pruned all the same")
    if last.owner == case.root:
        return case.told(Fate.PRUNED)
    if case.root in {one.owner for one in case.alive}:
        return case.told(Fate.PRUNED, f"adopted between {case.root}'s look and its deletion")
    return case.told(Fate.UNEXPLAINED, f"it never carried {case.root}'s label, and was pruned")


def as_text(told: Sequence[Told], *, title: str) -> str:
    """Return every object by name with its fate, grouped, the numbers first."""
    counted = Counter(one.fate for one in told)
    lines = [title, ", ".join(f"{counted[fate]} {fate}" for fate in Fate if counted[fate])]
    for fate in Fate:
        lines += [f"  {one}" for one in told if one.fate is fate]
    return "\n".join(lines)
