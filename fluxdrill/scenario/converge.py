"""Convergence: what Git renders, what Flux counts as its own, and what is live are the same, at the newest commit.

`Ready=True` alone is not enough: it may be about an old revision, and it says nothing about fields changed by hand.
Fields are compared as Flux compares them: a dry-run of its own apply must change nothing (kustomize-controller 1.9).
Objects that a HelmRelease installs are not in Git; their release's own Ready stands for them.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxdrill.errors import UsageError
from fluxdrill.faults.world import World
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import ApiError, NotFoundError, UnknownKindError
from fluxdrill.kube.predicates import Predicate, all_current, all_of
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.repository.kustomize import KustomizeBuilder
from fluxdrill.repository.source import export
from fluxdrill.repository.substitution import NotPlainError, substitute
from fluxdrill.repository.tree import Build, Expected, Node, expected
from fluxdrill.toolchain.build import path_of

MANAGER = "kustomize-controller"
_FLUX = ".toolkit.fluxcd.io"
_OWNER = "kustomize.toolkit.fluxcd.io"
_LEFT_ALONE = {f"{_OWNER}/reconcile": {"disabled"}, f"{_OWNER}/ssa": {"ignore", "ifnotpresent", "merge"}}
_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


@dataclass(frozen=True, slots=True)
class Difference:
    """One object in which Git, inventory and cluster do not agree; `why` names fields, never values."""

    ref: ObjectRef
    why: str

    def __str__(self) -> str:
        return f"{self.ref}: {self.why}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared: `objects` in all three sets, what differs or failed to compare, and what Flux leaves alone."""

    objects: int
    differences: tuple[Difference, ...]
    uncompared: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One line."""
        if not self.differences:
            return f"{self.objects} objects agree in Git, inventory and cluster"
        more = f" and {len(self.differences) - 3} more" if len(self.differences) > 3 else ""
        return f"{'; '.join(map(str, self.differences[:3]))}{more}"


class Rendering:
    """What the repository renders, kept per commit."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: tuple[str, Expected] | None = None

    def at_head(self) -> tuple[str, Expected]:
        """Return the newest revision and what it renders."""
        repository = self._world.own_repository
        revision = repository.revision
        if self._known is None or self._known[0] != revision:
            with tempfile.TemporaryDirectory(prefix="fluxdrill-tree-", dir=self._world.own_lab.folder) as folder:
                export(repository.served, Path(folder))
                tree = expected(Path(folder), repository.path, KustomizeBuilder(path_of("kustomize")))
            self._known = (revision, tree)
        return self._known


def converged(rendering: Rendering) -> Predicate:
    """Met when every Kustomization of the repository is Ready at the newest revision, and all that Flux reports on."""
    revision, tree = rendering.at_head()
    source = next(iter(tree.nodes.values())).source
    own = {ref for ref, node in tree.nodes.items() if node.source == source}
    reported = {ref for node in tree.nodes.values() for ref in node.objects if ref.group.endswith(_FLUX)}
    return all_of(at_revision(own, revision), all_current((reported - own) | {source}))


def compare(api: Api, tree: Expected) -> Comparison:
    """Compare the three sets now; raises UsageError when Git renders nothing, which would agree with anything."""
    differences: list[Difference] = []
    uncompared: list[str] = []
    count = 0
    for node in tree.nodes.values():
        if node.build is Build.ELSEWHERE:
            uncompared.append(f"what {node.ref} applies, which comes from another source")
            continue
        if node.build is not Build.BUILT:
            differences.append(Difference(node.ref, f"its path does not render: {node.message}"))
            continue
        wanted = {_located(api, ref) for ref in node.objects}
        count += len(wanted)
        differences += _inventory(api, node, wanted)
        differences += _fields(api, node, uncompared)
    if count == 0 and not differences:
        raise UsageError(
            "The repository renders no object, so there is nothing that could agree.", hint="See its path."
        )
    return Comparison(count, tuple(differences), tuple(uncompared))


def _located(api: Api, ref: ObjectRef) -> ObjectRef:
    """Return the reference with the namespace that the API server gives it; an unknown kind stays as it is."""
    try:
        namespaced = api.resource(ref.group, ref.kind).namespaced
    except UnknownKindError:
        return ref
    return ObjectRef(ref.group, ref.kind, (ref.namespace or "default") if namespaced else "", ref.name)


def _inventory(api: Api, node: Node, wanted: set[ObjectRef]) -> Iterator[Difference]:
    try:
        live = api.get(node.ref)
    except (NotFoundError, UnknownKindError):
        yield Difference(node.ref, "the Kustomization is not in the cluster")
        return
    entries = ((live.get("status") or {}).get("inventory") or {}).get("entries") or ()
    owned = {entry_ref(str(entry["id"])) for entry in entries}
    for ref in sorted(wanted - owned):
        yield Difference(ref, f"Git has it, and the inventory of {node.ref.name} does not")
    for ref in sorted(owned - wanted):
        yield Difference(ref, f"the inventory of {node.ref.name} has it, and Git does not")


def entry_ref(entry: str) -> ObjectRef:
    """Return the object of an inventory entry, `<namespace>_<name>_<group>_<kind>`."""
    namespace, name, group, kind = entry.split("_")
    return ObjectRef(group, kind, namespace, name.replace("__", ":"))


def _fields(api: Api, node: Node, uncompared: list[str]) -> Iterator[Difference]:
    variables = _variables(api, node)
    for rendered in node.rendered:
        ref = ObjectRef.of(rendered)
        try:
            obj = _owned(substitute(rendered, variables), node)
            live = api.get(_located(api, ref))
            if _left_alone(live) or _left_alone(obj):
                uncompared.append(f"the fields of {ref}, which tells Flux to leave it alone")
                continue
            applied = api.apply(_in_namespace(obj, live), field_manager=MANAGER, dry_run=True)
        except NotFoundError:
            yield Difference(ref, "Git has it, and it is not in the cluster")
        except NotPlainError as error:
            yield Difference(ref, f"its fields could not be compared: {error}")
        except ApiError as error:
            yield Difference(ref, f"its fields could not be compared: {error}")
        else:
            changed = sorted(_changed(_comparable(live), _comparable(applied)))
            if changed:
                yield Difference(ref, f"differs from Git in {', '.join(changed[:4])}")


def _variables(api: Api, node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in node.substitute_from:
        try:
            obj = api.get(one.ref)
        except NotFoundError:
            continue  # the Kustomization says itself that a wanted one is missing
        decode = one.ref.kind == "Secret"
        data = obj.get("data") or {}
        found |= {key: base64.b64decode(value).decode() if decode else str(value) for key, value in data.items()}
    inline = (node.spec.get("postBuild") or {}).get("substitute") or {}
    return {**found, **{key: str(value) for key, value in inline.items()}}


def _owned(obj: KubeObject, node: Node) -> dict[str, Any]:
    """Return the object with what the controller adds to it: its labels, and the common metadata of the spec."""
    common = node.spec.get("commonMetadata") or {}
    meta = dict(obj["metadata"])
    labels = {f"{_OWNER}/name": node.ref.name, f"{_OWNER}/namespace": node.ref.namespace}
    meta["labels"] = {**(meta.get("labels") or {}), **(common.get("labels") or {}), **labels}
    if annotations := {**(meta.get("annotations") or {}), **(common.get("annotations") or {})}:
        meta["annotations"] = annotations
    return {**obj, "metadata": meta}


def _in_namespace(obj: Mapping[str, Any], live: KubeObject) -> dict[str, Any]:
    namespace = live["metadata"].get("namespace")
    return {**obj, "metadata": {**obj["metadata"], **({"namespace": namespace} if namespace else {})}}


def _left_alone(obj: KubeObject) -> bool:
    meta = obj.get("metadata") or {}
    marks = {**(meta.get("labels") or {}), **(meta.get("annotations") or {})}
    return any(str(marks.get(name, "")).lower() in values for name, values in _LEFT_ALONE.items())


def _comparable(obj: KubeObject) -> dict[str, Any]:
    meta = {key: value for key, value in obj["metadata"].items() if key not in _BOOKKEEPING}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": meta}


def _changed(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield the paths at which two trees differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from _changed(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif before != after:
        yield path


def names(differences: Iterable[Difference]) -> frozenset[ObjectRef]:
    """Return the objects that differ."""
    return frozenset(one.ref for one in differences)
