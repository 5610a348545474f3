"""ROOTDIFF: what one Kustomization gains and loses between two revisions, told before anybody serves the second one.

What leaves a Kustomization is pruned where the living object still carries its label: a change of composition is a
deletion, and no build and no schema check says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from fluxdrill.errors import UsageError
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.repository.tree import Build, Expected, Node

GUARD = "kustomize.toolkit.fluxcd.io/prune"
_DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class RootDiff:
    """What a Kustomization renders `before` and `after`; `elsewhere` names who else renders it then."""

    root: ObjectRef
    before: frozenset[ObjectRef]
    after: frozenset[ObjectRef]
    elsewhere: Mapping[ObjectRef, ObjectRef]
    guarded: frozenset[ObjectRef]
    """What carries `prune: disabled` before: it leaves the inventory and stays in the cluster."""

    @property
    def gained(self) -> frozenset[ObjectRef]:
        """What comes."""
        return self.after - self.before

    @property
    def leaving(self) -> frozenset[ObjectRef]:
        """What goes: a candidate for pruning."""
        return self.before - self.after

    @property
    def at_risk(self) -> frozenset[ObjectRef]:
        """What goes without a guard."""
        return self.leaving - self.guarded

    @property
    def shared(self) -> frozenset[ObjectRef]:
        """What comes and has another owner already: the two will overwrite each other."""
        return frozenset(ref for ref in self.gained if ref in self.elsewhere)

    def __str__(self) -> str:
        moved = f"{self.root.name} {len(self.before)} -> {len(self.after)}"
        return (
            f"{moved}: {len(self.gained)} come ({len(self.shared)} of another Kustomization too), "
            f"{len(self.leaving)} leave ({len(self.at_risk)} without a guard){_kinds(self.leaving)}"
        )


def rootdiff(before: Expected, after: Expected, root: ObjectRef) -> RootDiff:
    """Compare what `root` renders in two trees.

    Raises UsageError where one of the trees has no such Kustomization or it is not built: nothing can be said then,
    and an empty difference would be a lie.
    """
    first, second = _built(before, root), _built(after, root)
    others = {ref: node.ref for node in after.nodes.values() if node.ref != root for ref in node.objects}
    guarded = frozenset(ObjectRef.of(obj) for obj in first.rendered if is_guarded(obj))
    return RootDiff(root, frozenset(first.objects), frozenset(second.objects), others, guarded)


def is_guarded(obj: KubeObject) -> bool:
    """Whether an object carries `prune: disabled`, as an annotation or a label."""
    meta = obj.get("metadata") or {}
    return _DISABLED in {(meta.get(place) or {}).get(GUARD) for place in ("annotations", "labels")}


def _built(tree: Expected, root: ObjectRef) -> Node:
    node = tree.nodes.get(root)
    if node is None:
        raise UsageError(f"The tree has no {root}.", hint="Name a Kustomization of both revisions.")
    if node.build is not Build.BUILT:
        raise UsageError(f"{root} does not build: {node.message}.", hint="Correct it, or leave the remote base out.")
    return node


def _kinds(refs: frozenset[ObjectRef]) -> str:
    counted = Counter(ref.kind for ref in refs).most_common(4)
    return f": {', '.join(f'{count} {kind}' for kind, count in counted)}" if counted else ""
