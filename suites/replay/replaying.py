"""Replay the incident on a lab: seeds, the three revisions one after another, and evidence of all that happened."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from fluxdrill.flux.kinds import EVENT, KUSTOMIZATION
from fluxdrill.flux.operations import reconcile
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import all_of, ready, wait_for
from fluxdrill.lab.audit import read_writes
from fluxdrill.lab.lab import CRDS, Lab
from fluxdrill.lab.serve import REPOSITORY, Copy, Repository, sync
from fluxdrill.model.conditions import blames_dependency, dependencies
from fluxdrill.model.conditions import ready as ready_condition
from fluxdrill.model.ordering import Write
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.rehearsal.settle import Settling
from fluxdrill.repository.permissive import ForeignKind, definition, foreign_kinds, namespaces
from fluxdrill.repository.rootdiff import RootDiff, rootdiff
from fluxdrill.repository.tree import ROOT
from suites.replay.fates import OWNER, Sighting, Told, sightings, tell
from suites.replay.incident import CHILDREN, PATH, History, Stage, open_history, variables

ALL = tuple(replace(ROOT, name=name) for name in (ROOT.name, *CHILDREN))
DEADLINE = 150.0
"""Seconds for one revision to arrive everywhere, also on a busy machine."""
DWELL = 5.0
"""Seconds that everything must stay settled: longer than a retry and the attempt after it."""


class Last(StrEnum):
    """Who applied last before the fix is served."""

    ROOT = "the root"
    CHILDREN = "the children"


@dataclass(frozen=True, slots=True)
class Moment:
    """How things stood: what the root counts as its own, and whose label each of the objects in question carries."""

    name: str
    inventory: frozenset[ObjectRef]
    owners: Mapping[ObjectRef, str]
    unsubstituted: int
    """How many of them carry a literal `${`, as only the root writes it."""

    def __str__(self) -> str:
        counted = Counter(self.owners.values()).most_common()
        shown = ", ".join(f"{count} {owner or 'without a label'}" for owner, count in counted)
        return f"{self.name}: the root has {len(self.inventory)} objects; labels: {shown or 'none there'}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one replay of the fix left behind."""

    diff: RootDiff
    moments: tuple[Moment, ...]
    simulated: tuple[ForeignKind, ...]
    since: datetime
    seconds: float
    """From serving the fix until the root said that it had applied it."""
    seen: Mapping[ObjectRef, list[Sighting]]
    """Every object of the repository, from the moment on at which the fix was served."""
    writes: tuple[Write, ...]
    refusals: Mapping[str, str]
    """What each Kustomization said in the end that was not Ready."""

    @property
    def told(self) -> list[Told]:
        """The fate of everything that leaves the root."""
        return self.fates(self.diff.leaving)

    @property
    def bystanders(self) -> list[Told]:
        """The fate of everything that was there and that the root never had a hand in."""
        there = frozenset(ref for ref, found in self.seen.items() if found[0].uid)
        return self.fates(there - self.diff.before - self.diff.after)

    def fates(self, refs: Collection[ObjectRef]) -> list[Told]:
        """Return the fates of some objects."""
        return [one for one in tell(self.seen, self.writes, root=ROOT.name, since=self.since) if one.ref in refs]


class Replay:
    """One lab on which the history is served; the root starts with its own seven files."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.history: History = open_history(lab.git_root / REPOSITORY)
        before, taken_in, fixed = (
            self.history.revisions[stage].tree for stage in (Stage.BEFORE, Stage.TAKEN_IN, Stage.FIXED)
        )
        self.grown, self.diff = rootdiff(before, taken_in, ROOT), rootdiff(taken_in, fixed, ROOT)
        self.moments: list[Moment] = []
        self.simulated = self._seed()
        self.repository: Repository = sync(lab, Copy(self.history.served, PATH, self.history.profile))
        self._arrive(Stage.BEFORE)

    @property
    def objects(self) -> frozenset[ObjectRef]:
        """Everything that the repository renders once it is fixed, and what leaves the root."""
        nodes = self.history.revisions[Stage.FIXED].tree.nodes.values()
        return self.diff.leaving.union(*(node.objects for node in nodes))

    def take_in(self, stage: Stage, *, last: Last) -> None:
        """Serve a revision in which the root renders the layers too, have both sides apply, and `last` at the end."""
        self._serve(stage)
        self._arrive(stage)
        order = (Last.CHILDREN, Last.ROOT) if last is Last.ROOT else (Last.ROOT, Last.CHILDREN)
        for who in order:
            self._apply_again(who)
            self._note(f"{stage}, and {who} applied again")

    def fix(self) -> Evidence:
        """Serve the fix and watch what becomes of every object, until every Kustomization has settled."""
        store = self.lab.store
        kinds = {GroupKind.of(ref) for ref in self.objects}
        subscription, start = store.subscribe(kinds)
        settling = Settling()
        try:
            began = store.clock.now()
            self._serve(Stage.FIXED)
            revision = self.repository.revision
            applied = wait_for(store, at_revision([ROOT], revision), deadline=DEADLINE, what="the root to be fixed")
            settled = self._settled(revision, settling)
            wait_for(store, settled, deadline=DEADLINE, dwell=DWELL, what="the rest", fail_fast=False)
            views = [start, *subscription.take(0)]
            end = store.view()
            settling.judge(_kustomizations(end))  # a retry may have begun since
        finally:
            store.unsubscribe(subscription)
        self._note(str(Stage.FIXED))
        return Evidence(
            diff=self.diff,
            moments=tuple(self.moments),
            simulated=self.simulated,
            since=began.utc,
            seconds=applied.met.since(began),
            seen=sightings(views, self.objects),
            writes=tuple(read_writes(self.lab.cluster.audit_log, self.lab.api.discovery.all())),
            refusals=_refusals(_completed(settling, end)),
        )

    # Seeds.

    def _seed(self) -> tuple[ForeignKind, ...]:
        """Apply what the warm cluster had: permissive CRDs, namespaces, variables."""
        api, rendered = self.lab.api, self.history.rendered
        kinds = foreign_kinds(rendered, {(one.group, one.kind) for one in api.discovery.all()})
        definitions = [definition(kind) for kind in kinds]
        existing = {one["metadata"]["name"] for one in api.list(api.resource("", "Namespace")).items}
        for obj in (*definitions, *namespaces(rendered, existing), *variables(self.history)):
            api.apply(obj)
        self.lab.store.follow(CRDS)
        established = [ready(ObjectRef.of(one)) for one in definitions]
        wait_for(self.lab.store, all_of(*established), deadline=30, what="the simulated kinds to be served")
        for kind in sorted({GroupKind.of(ref) for ref in self.objects}):
            self.lab.store.follow(kind)
        return kinds

    # Steps.

    def _serve(self, stage: Stage) -> None:
        self.history.move_to(stage)
        reconcile(self.lab.api, self.lab.store, self.repository.source, deadline=60)

    def _arrive(self, stage: Stage) -> None:
        what = f"everything to be Ready: {stage}"
        arrived = at_revision(ALL, self.repository.revision)
        wait_for(self.lab.store, arrived, deadline=DEADLINE, what=what, fail_fast=False)
        self._note(str(stage))

    def _apply_again(self, who: Last) -> None:
        """Have one side apply, and wait until the labels say so."""
        for ref in ALL[:1] if who is Last.ROOT else ALL[1:]:
            reconcile(self.lab.api, self.lab.store, ref, deadline=DEADLINE)
        owned = _owned(self.diff.leaving, by_root=who is Last.ROOT)
        wait_for(self.lab.store, owned, deadline=30, what=f"{who} to own everything")

    def _note(self, name: str) -> None:
        view = self.lab.store.view()
        found = {ref: obj for ref in self.diff.leaving if (obj := view.get(ref)) is not None}
        inventory = _inventory(view.get(ROOT) or {})
        unsubstituted = sum("${" in json.dumps(obj) for obj in found.values())
        self.moments.append(Moment(name, inventory, {ref: owner_of(obj) for ref, obj in found.items()}, unsubstituted))

    def _settled(self, revision: str, settling: Settling) -> Predicate:
        """Met when no old object is on its way out, and each Kustomization is Ready at `revision` or fails for good."""

        def judge(view: View) -> Verdict3:
            verdict = settling.judge(_kustomizations(view))
            going = [ref for ref in sorted(self.objects) if _is_going(view.get(ref))]
            if going:
                return Verdict3.not_yet(f"{len(going)} objects are on their way out, such as {going[0]}", *going)
            moving = _moving(_completed(settling, view), revision)
            return Verdict3.not_yet(f"{moving[0]} is not at {revision} yet", *moving) if moving else verdict

        kinds = {GroupKind.of(ref) for ref in self.objects} | {KUSTOMIZATION, EVENT}
        return Predicate(judge, kinds=frozenset(kinds))


def _completed(settling: Settling, view: View) -> dict[ObjectRef, KubeObject]:
    """Return the root and its children as their last completed attempt left them."""
    present = {ObjectRef.of(obj): obj for obj in view.list(KUSTOMIZATION)}
    return {ref: obj for ref, obj in settling.completed(present).items() if ref in ALL}


def _refusals(completed: Mapping[ObjectRef, KubeObject]) -> dict[str, str]:
    conditions = {ref.name: ready_condition(obj) for ref, obj in completed.items()}
    return {
        name: f"{found.reason}: {' '.join(found.message.split())}"
        for name, found in conditions.items()
        if found is not None and found.status != "True"
    }


def owner_of(obj: KubeObject) -> str:
    """Return the Kustomization whose label an object carries."""
    return str((obj["metadata"].get("labels") or {}).get(OWNER, ""))


def _owned(refs: Collection[ObjectRef], *, by_root: bool) -> Predicate:
    """Met when every one of `refs` is there and carries the root's label, or (each) another one's."""

    def judge(view: View) -> Verdict3:
        found = {ref: obj for ref in refs if (obj := view.get(ref)) is not None}
        right = {ref for ref, obj in found.items() if owner_of(obj) and (owner_of(obj) == ROOT.name) is by_root}
        wrong = sorted(set(refs) - right)
        return Verdict3.not_yet(f"{len(wrong)} have another label", *wrong) if wrong else Verdict3.met("all of them")

    return Predicate(judge, frozenset(refs))


def _inventory(obj: KubeObject) -> frozenset[ObjectRef]:
    """Return what a Kustomization counts as its own: its entries read namespace_name_group_kind."""
    entries: Iterable[dict[str, Any]] = (obj.get("status") or {}).get("inventory", {}).get("entries") or ()
    parts = (str(entry["id"]).split("_") for entry in entries)
    return frozenset(ObjectRef(group, kind, space, name.replace("__", ":")) for space, name, group, kind in parts)


def _kustomizations(view: View) -> View:
    """Return a view of the Kustomizations alone: releases whose charts cannot be fetched never come to rest."""
    parts = {key: part for key, part in view.parts.items() if key[0] in {KUSTOMIZATION, EVENT}}
    return replace(view, parts=parts)


def _is_going(obj: KubeObject | None) -> bool:
    return obj is not None and "deletionTimestamp" in obj["metadata"]


def _moving(completed: Mapping[ObjectRef, KubeObject], revision: str) -> list[ObjectRef]:
    """Return what has not come to its end: nothing completed yet, Ready at another revision, or free to go on."""
    here = {ref for ref, obj in completed.items() if _ready_at(obj) == revision}
    return [ref for ref, obj in completed.items() if ref not in here and _goes_on(obj, here)]


def _ready_at(obj: KubeObject) -> str:
    """Return the revision at which an object is Ready; "" where it is not."""
    found = ready_condition(obj)
    is_ready = found is not None and found.status == "True"
    return str((obj.get("status") or {}).get("lastAppliedRevision", "")) if is_ready else ""


def _goes_on(obj: KubeObject, here: Collection[ObjectRef]) -> bool:
    """Whether an object that is not Ready at the revision will be tried with another result."""
    found = ready_condition(obj)
    if found is None or found.status != "False":
        return True
    return blames_dependency(obj) and set(dependencies(obj)) <= set(here)
