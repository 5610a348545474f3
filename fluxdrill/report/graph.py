"""Lay out a dependency graph in columns: what waits for nobody stands left, every other object right of what it needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx


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
        members = sorted(name for one in generation for name in circles.nodes[one]["members"])
        placed.extend(Placed(name, column, row) for row, name in enumerate(members))
    return tuple(placed)
