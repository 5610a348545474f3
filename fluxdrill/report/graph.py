"""Lay out a dependency graph in columns: what waits for nobody stands left, every other object right of what it needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import networkx as nx

from fluxdrill.flux.kinds import HELM_RELEASE, KUSTOMIZATION, RECONCILED
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.view import View
from fluxdrill.model.conditions import dependencies
from fluxdrill.model.refs import ObjectRef
from fluxdrill.rehearsal.outcome import State, judge
from fluxdrill.scenario.dependencies import source


@dataclass(frozen=True, slots=True)
class Placed:
    """One node of the graph: its column (0: waits for nobody) and its row within the column."""

    name: str
    column: int
    row: int


def layout(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> tuple[Placed, ...]:
    """Place `names`; an edge leads from what must be ready first to what waits for it. A circle shares one column."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sorted(names))
    graph.add_edges_from(sorted(edges))
    circles = nx.condensation(graph)
    placed: list[Placed] = []
    for column, generation in enumerate(nx.topological_generations(circles)):
        names_here = (name for one in generation for name in circles.nodes[one]["members"])
        members = sorted(names_here, key=lambda name: (graph.degree(name) == 0, name))  # what stands alone, last
        placed.extend(Placed(name, column, row) for row, name in enumerate(members))
    return tuple(placed)


def of_view(view: View, *, title: str, lab: str) -> dict[str, Any]:
    """Return the journal entry of what waits for what at this moment: Kustomizations and HelmReleases, by dependsOn.

    A source that is not Ready is shown as well, before the Kustomizations that read it.
    """
    objects = {ObjectRef.of(obj): obj for kind in RECONCILED for obj in view.list(kind)}
    found = judge(objects, parents={}, depends_on={}, since={}).findings
    open_ones = {ref for ref in objects if found[ref].state is not State.READY}
    links = (KUSTOMIZATION, HELM_RELEASE)
    shown = {ref: obj for ref, obj in objects.items() if GroupKind.of(ref) in links or ref in open_ones}
    wanted = {ref: (*dependencies(obj), *(open_ones & {source(ref, obj)})) for ref, obj in shown.items()}
    names = {str(ref) for ref in (*shown, *(one for refs in wanted.values() for one in refs))}
    return {
        "title": title,
        "lab": lab,
        "nodes": sorted(names),
        "edges": sorted((str(before), str(ref)) for ref, refs in wanted.items() for before in refs),
        "states": {str(ref): str(found[ref].state) for ref in shown},
    }
