"""Faults of the chart repository: those of a server that Helm charts come from."""

from __future__ import annotations

from typing import Any

from fluxdrill.faults import sources
from fluxdrill.faults.fault import Fault
from fluxdrill.faults.world import World
from fluxdrill.sources.charts import ChartServer


class Down(sources.Down):
    """Connections to the chart repository are refused."""

    name = "charts.down"
    serves = "chart"

    def server(self, world: World) -> ChartServer:
        """Return the server."""
        return world.own_lab.charts


class Error(sources.Error):
    """Each request to the chart repository is answered with a server error."""

    name = "charts.error"
    serves = "chart"

    def server(self, world: World) -> ChartServer:
        """Return the server."""
        return world.own_lab.charts


FAULTS: tuple[type[Fault[Any]], ...] = (Down, Error)
