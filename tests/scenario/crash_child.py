"""A harness that kills itself at one write of its ledger: python crash_child.py KUBECONFIG FAULT ARGUMENTS WRITE MOMENT.

Without a kubeconfig ("") it starts a lab of its own with the fleet repository. WRITE counts from 1, over the lines of the
ledger and what it writes to the cluster; MOMENT is before, torn (half a line) or after.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fluxdrill.faults import catalog
from fluxdrill.faults.world import World
from fluxdrill.kube.api import Api
from fluxdrill.kube.watch import Store
from fluxdrill.lab.marker import require_marker
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.progress import Silent
from fluxdrill.scenario import ledger
from fluxdrill.scenario.ledger import Entry, Ledger
from fluxdrill.scenario.schema import Scenario
from fluxdrill.scenario.worlds import Worlds, starter
from tests.faults.standing import converge
from tests.scenario.conftest import REPOSITORIES
from tests.scenario.samples import sample


class Crash:
    """Counts writes and ends this process, as SIGKILL does, at one of them."""

    def __init__(self, write: int, moment: str) -> None:
        self.write, self.moment = write, moment
        self.count = 0
        self.append = ledger.append
        ledger.append = self.append_line

    def append_line(self, path: Path, entry: Entry) -> None:
        """Append a line, or half of it."""
        if self.count + 1 == self.write and self.moment == "torn":
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write('{"id": "' + entry.id)
            die()
        self.at(lambda: self.append(path, entry))

    def at(self, write: Callable[[], Any]) -> Any:
        """Do one write, unless this process ends before."""
        self.count += 1
        if (self.count, self.moment) == (self.write, "before"):
            die()
        done = write()
        if (self.count, self.moment) == (self.write, "after"):
            die()
        return done


class Counted:
    """The two calls with which the ledger writes to a cluster."""

    def __init__(self, api: Api, crash: Crash) -> None:
        self._api, self._crash = api, crash

    def apply(self, *args: Any, **how: Any) -> Any:
        """Apply."""
        return self._crash.at(lambda: self._api.apply(*args, **how))

    def delete(self, *args: Any, **how: Any) -> Any:
        """Delete."""
        return self._crash.at(lambda: self._api.delete(*args, **how))


def die() -> None:
    """End without any chance to clean up."""
    os.kill(os.getpid(), signal.SIGKILL)


def tell(word: object) -> None:
    """Tell the test."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def life(world: World, kubeconfig: str, name: str, arguments: str, crash: Crash) -> None:
    """Bring a fault through its life as the runner does."""
    counted: Any = Counted(world.api, crash)
    own = Ledger(counted, scenario="crash", lab=require_marker(world.api), kubeconfig=kubeconfig)
    fault = catalog.make(name, json.loads(arguments))
    state = fault.prepare(world)
    entry = own.intend(fault, state)
    fault.inject(world, state)
    entry = own.injected(entry)
    fault.heal(world, state)
    own.healed(entry)
    own.close()
    tell(crash.count)


def main(kubeconfig: str, name: str, arguments: str, write: str, moment: str) -> None:
    """Run it."""
    crash = Crash(int(write), moment)
    if kubeconfig:
        with Api.connect(Path(kubeconfig)) as api, Store(api, clock=SYSTEM_CLOCK) as store:
            life(World(api, store), kubeconfig, name, arguments, crash)
        return
    with Worlds(starter(Silent(), None), REPOSITORIES) as worlds:
        world = worlds.get(Scenario.model_validate(sample()))
        converge(world)
        tell(world.own_lab.folder)
        sys.stdin.readline()  # the test looks at the lab first
        life(world, str(world.own_lab.kubeconfig), name, arguments, crash)


if __name__ == "__main__":
    main(*sys.argv[1:])
