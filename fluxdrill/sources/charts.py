"""A chart repository over HTTP: `index.yaml` and archives, with the fault switches of every server.

Beside those the index itself can be wrong, and versions can vanish. Flux's source-controller fetches from it.
"""

from __future__ import annotations

from typing import ClassVar

from fluxdrill.model.clock import SYSTEM_CLOCK, Clock
from fluxdrill.sources.front import HOST
from fluxdrill.sources.server import Server
from fluxdrill.sources.shelf import IndexFault, Shelf

__all__ = ["ChartServer", "IndexFault"]


class ChartServer(Server):
    """Serves the charts that are published to it at `url`, or at `url`/<folder>: each folder is a repository of its own.

    The `only` of a fault is a path such as `index.yaml`, or a folder. Read and written by any thread.
    """

    title: ClassVar[str] = "chart repository"

    def __init__(self, *, user: str = "", password: str = "", clock: Clock = SYSTEM_CLOCK, host: str = HOST) -> None:
        self._shelf = Shelf()
        super().__init__(self._shelf, user=user, password=password, clock=clock, host=host)

    def publish(self, name: str, version: str, archive: bytes, *, folder: str = "") -> None:
        """Serve `archive` as `version` of the chart `name`, in place of what was served as that before.

        The archive is served as it is, good or bad; the index tells its digest. Raises UsageError for what is no name
        or version of a file.
        """
        self._shelf.put(name, version, archive, folder=folder)

    def withdraw(self, name: str, version: str, *, archive_only: bool = False, folder: str = "") -> None:
        """Have a version vanish from index and server; with `archive_only` the index goes on promising it.

        With its last version the name of a chart vanishes from the index. Raises UsageError where there is no such
        version.
        """
        self._shelf.remove(name, version, archive_only=archive_only, folder=folder)

    @property
    def index_fault(self) -> IndexFault | None:
        """What is wrong with every index; set one to turn it on, None to have them tell the truth."""
        return self._shelf.fault

    @index_fault.setter
    def index_fault(self, fault: IndexFault | None) -> None:
        self._shelf.turn(fault)
        self._tell("index", None if fault is None else f"is {fault}")
