"""What a repository wants, without a cluster: its tree of Flux Kustomizations, what each renders and needs."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

import networkx as nx
import yaml

from fluxdrill.errors import UsageError
from fluxdrill.model.refs import KubeObject, ObjectRef, group_of
from fluxdrill.repository.addresses import host_of, is_in_cluster, is_loopback, is_ssh, without_credentials
from fluxdrill.repository.kustomize import Builder, BuildError, as_flux_builds, references

KUSTOMIZE, SOURCE = "kustomize.toolkit.fluxcd.io", "source.toolkit.fluxcd.io"
NAMESPACE = "flux-system"
REPOSITORY = ObjectRef(SOURCE, "GitRepository", NAMESPACE, "flux-system")
ROOT = ObjectRef(KUSTOMIZE, "Kustomization", NAMESPACE, "flux-system")

Graph: TypeAlias = "nx.DiGraph[ObjectRef]"


class Build(StrEnum):
    """How building one Kustomization went."""

    BUILT = "built"
    FAILED = "failed"
    REMOTE = "not built: remote base"
    ELSEWHERE = "not built: another source"


@dataclass(frozen=True, slots=True)
class Substitute:
    """One entry of `postBuild.substituteFrom`."""

    ref: ObjectRef
    optional: bool


@dataclass(frozen=True, slots=True)
class OutsideHost:
    """A host outside this machine and cluster that the object `by` names."""

    host: str
    url: str
    by: ObjectRef
    ssh: bool


@dataclass(frozen=True, slots=True)
class Node:
    """One Flux Kustomization: what it is told, and what its path renders (nothing unless `build` is BUILT)."""

    ref: ObjectRef
    path: str
    source: ObjectRef
    parent: ObjectRef | None
    depends_on: tuple[ObjectRef, ...]
    substitute_from: tuple[Substitute, ...]
    build: Build
    message: str = ""
    remote: tuple[str, ...] = ()
    objects: tuple[ObjectRef, ...] = ()
    hosts: tuple[OutsideHost, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    rendered: tuple[KubeObject, ...] = field(default=(), repr=False, compare=False)
    """What its path renders, before substitution."""

    @property
    def kinds(self) -> frozenset[tuple[str, str]]:
        """Group and kind of everything rendered."""
        return frozenset((ref.group, ref.kind) for ref in self.objects)


@dataclass(frozen=True, slots=True)
class Expected:
    """The tree from its entry path on; the first node is the root."""

    nodes: Mapping[ObjectRef, Node]
    graph: Graph = field(repr=False, compare=False)

    def dependents(self, name: str) -> tuple[ObjectRef, ...]:
        """Return every Kustomization that waits, directly or not, for the one called `name` or `namespace/name`.

        Raises UsageError where there is none of that name.
        """
        matching = [ref for ref in self.graph if name in {ref.name, f"{ref.namespace}/{ref.name}"}]
        if not matching:
            raise UsageError(f"No Kustomization is called {name}.", hint="Give its name, or namespace/name.")
        return tuple(sorted({below for ref in matching for below in nx.descendants(self.graph, ref)}))

    def cycles(self) -> tuple[tuple[ObjectRef, ...], ...]:
        """Return each circle of dependencies, from its smallest member on: Flux waits in it forever, and never says so."""
        return tuple(sorted(_from_smallest(cycle) for cycle in nx.simple_cycles(self.graph)))

    def missing_dependencies(self) -> tuple[tuple[ObjectRef, ObjectRef], ...]:
        """Return each Kustomization and the one it depends on that the tree does not contain."""
        wanted = ((node.ref, ref) for node in self.nodes.values() for ref in node.depends_on)
        return tuple(sorted((ref, dependency) for ref, dependency in wanted if dependency not in self.nodes))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: a plain `=` is a string (it occurs in the enumerations of CRDs)."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: loader.construct_scalar(node))


def expected(worktree: Path, path: str, build: Builder, *, repository: ObjectRef = REPOSITORY) -> Expected:
    """Return what the repository in `worktree` wants from the entry path `path` on.

    The root has the name of `repository`; every Kustomization of that source is built with `build`, in a copy of the
    tree, and nothing is fetched. A build that fails, or that would need a remote base, is recorded on its node. Raises
    UsageError where the entry path is no folder.
    """
    if not _inside(worktree, path).is_dir() or not _inside(worktree, path).is_relative_to(worktree.resolve()):
        raise UsageError(f"There is no folder {path} in the repository.", hint="Give it relative to the root.")
    spec = {"path": path, "sourceRef": {"kind": repository.kind, "name": repository.name}}
    meta = {"name": repository.name, "namespace": repository.namespace}
    entry = {"apiVersion": f"{KUSTOMIZE}/v1", "kind": "Kustomization", "metadata": meta, "spec": spec}
    with tempfile.TemporaryDirectory(prefix="fluxdrill-tree-") as scratch:
        copy = Path(scratch).resolve() / "tree"
        shutil.copytree(worktree, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        nodes = _walk(copy, entry, build, repository)
    return Expected(nodes, _graph(nodes))


def _walk(tree: Path, entry: KubeObject, build: Builder, repository: ObjectRef) -> dict[ObjectRef, Node]:
    nodes: dict[ObjectRef, Node] = {}
    pending: deque[tuple[KubeObject, ObjectRef | None]] = deque([(entry, None)])
    while pending:
        thing, parent = pending.popleft()
        if _ref(thing, parent) in nodes:
            continue  # a tree that contains its own root, as `flux bootstrap` writes it
        node, rendered = _node(tree, thing, parent, build, repository)
        nodes[node.ref] = node
        pending.extend((child, node.ref) for child in rendered if _is(child, KUSTOMIZE, "Kustomization"))
    return nodes


def _node(
    tree: Path, thing: KubeObject, parent: ObjectRef | None, build: Builder, repository: ObjectRef
) -> tuple[Node, list[KubeObject]]:
    ref, spec = _ref(thing, parent), _mapping(thing.get("spec"))
    source = _source(spec, ref)
    path = str(spec.get("path") or "./")
    outcome = (
        _build(tree, path, spec, build)
        if source == repository
        else _Outcome(Build.ELSEWHERE, f"not built: its source is {source}")
    )
    node = Node(
        ref,
        path,
        source,
        parent,
        _depends_on(spec, ref),
        _substitutes(spec, ref),
        outcome.build,
        outcome.message,
        outcome.remote,
        tuple(sorted(ObjectRef.of(rendered) for rendered in outcome.rendered)),
        tuple(_hosts(outcome.rendered)),
        spec,
        tuple(outcome.rendered),
    )
    return node, outcome.rendered


@dataclass(frozen=True, slots=True)
class _Outcome:
    build: Build
    message: str = ""
    remote: tuple[str, ...] = ()
    rendered: list[KubeObject] = field(default_factory=list)


def _build(tree: Path, path: str, spec: Mapping[str, Any], build: Builder) -> _Outcome:
    folder = _inside(tree, path)
    if not folder.is_relative_to(tree) or not folder.is_dir():
        return _Outcome(Build.FAILED, f"kustomization path not found: {path}")
    try:
        with as_flux_builds(folder, spec):
            beyond = references(folder, tree)
            if beyond.remote:
                return _Outcome(Build.REMOTE, f"not built: remote base {beyond.remote[0]}", tuple(beyond.remote))
            if beyond.outside:
                return _Outcome(Build.FAILED, f"{beyond.outside[0]} leaves the repository")
            return _Outcome(Build.BUILT, rendered=_parse(build(folder)))
    except BuildError as error:
        return _Outcome(Build.FAILED, error.problem.replace(f"{tree}/", "").replace(str(tree), "."))


def _parse(rendered: str) -> list[KubeObject]:
    """Return the objects of a rendered stream; raises BuildError for what no API server would take."""
    try:
        objects = [thing for thing in yaml.load_all(rendered, Loader=_Loader) if thing]
        for thing in objects:
            ObjectRef.of(thing)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise BuildError(f"what was rendered is not a stream of Kubernetes objects: {error}") from None
    return objects


def _hosts(rendered: list[KubeObject]) -> Iterator[OutsideHost]:
    """Yield the outside hosts that sources name; a Bucket has an endpoint instead of a URL."""
    for thing in rendered:
        spec = _mapping(thing.get("spec"))
        address = str(spec.get("url") or spec.get("endpoint") or "")
        if group_of(str(thing.get("apiVersion", ""))) != SOURCE or not address:
            continue
        host = host_of(address)
        if not (is_loopback(host) or is_in_cluster(host)):
            yield OutsideHost(host, without_credentials(address), ObjectRef.of(thing), is_ssh(address))


def _graph(nodes: Mapping[ObjectRef, Node]) -> Graph:
    """Return the graph of `dependsOn`, from a dependency to what waits for it."""
    graph: Graph = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((dependency, node.ref) for node in nodes.values() for dependency in node.depends_on)
    return graph


def _from_smallest(cycle: list[ObjectRef]) -> tuple[ObjectRef, ...]:
    start = cycle.index(min(cycle))
    return (*cycle[start:], *cycle[:start])


def _ref(thing: KubeObject, parent: ObjectRef | None) -> ObjectRef:
    ref = ObjectRef.of(thing)
    return ObjectRef(ref.group, ref.kind, ref.namespace or (parent.namespace if parent else NAMESPACE), ref.name)


def _source(spec: Mapping[str, Any], ref: ObjectRef) -> ObjectRef:
    source = _mapping(spec.get("sourceRef"))
    namespace = str(source.get("namespace") or ref.namespace)
    return ObjectRef(SOURCE, str(source.get("kind", "")), namespace, str(source.get("name", "")))


def _depends_on(spec: Mapping[str, Any], ref: ObjectRef) -> tuple[ObjectRef, ...]:
    wanted = [entry for entry in spec.get("dependsOn") or () if isinstance(entry, dict)]
    return tuple(
        ObjectRef(KUSTOMIZE, "Kustomization", str(entry.get("namespace") or ref.namespace), str(entry.get("name", "")))
        for entry in wanted
    )


def _substitutes(spec: Mapping[str, Any], ref: ObjectRef) -> tuple[Substitute, ...]:
    wanted = _mapping(spec.get("postBuild")).get("substituteFrom") or ()
    return tuple(
        Substitute(
            ObjectRef("", str(entry.get("kind", "")), ref.namespace, str(entry.get("name", ""))),
            bool(entry.get("optional")),
        )
        for entry in wanted
        if isinstance(entry, dict)
    )


def _is(thing: KubeObject, group: str, kind: str) -> bool:
    return group_of(str(thing.get("apiVersion", ""))) == group and thing.get("kind") == kind


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _inside(root: Path, path: str) -> Path:
    """Return `path` below `root`; like the controller, a leading slash means the root of the repository."""
    return (root / path.lstrip("/")).resolve()
