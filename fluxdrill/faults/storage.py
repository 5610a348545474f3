"""Faults of source-controller's storage: lost, corrupted, full."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from fluxdrill.cluster.part import State as ProcessState
from fluxdrill.errors import HarnessError
from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State, Where
from fluxdrill.faults.world import World
from fluxdrill.flux.controllers import READY_DEADLINE
from fluxdrill.model.capabilities import Capability
from fluxdrill.process import run

CONTROLLER = "source-controller"
PAGE = 4096
"""Bytes: tmpfs gives a file whole pages."""


class _Storage(Fault[Args]):
    """A fault of the files below source-controller's storage path."""

    where = Where.HOST
    needs = frozenset({Capability.CONTROLLER_FILES, Capability.STOP_CONTROLLER})
    rights: ClassVar[str] = "the lab's own folder"

    @property
    def takes(self) -> frozenset[str]:
        """The storage and the controller that owns it."""
        return frozenset({"storage", f"controller/{CONTROLLER}"})

    def prepare(self, world: World) -> State:
        """Note the artifacts; without any there is nothing to lose."""
        process = world.own_lab.flux.get(CONTROLLER)
        if process is None or process.state is not ProcessState.RUNNING:
            raise NotInjectedError(f"{CONTROLLER} does not run: nobody would notice.")
        found = [str(path) for path in artifacts(world)]
        if not found:
            raise NotInjectedError(f"{CONTROLLER} holds no artifact: there is nothing to lose.")
        return {"artifacts": found}

    def heal(self, world: World, state: State) -> None:
        """See that the controller runs; it rebuilds what is lost."""
        del state
        if world.lab is not None and (process := world.lab.flux[CONTROLLER]).state is ProcessState.EXITED:
            process.start()
            process.wait_ready(READY_DEADLINE)


class Wipe(_Storage):
    """source-controller is killed, all its artifacts are lost, and it starts with an empty disk."""

    name = "storage.wipe"
    reversible = False

    def inject(self, world: World, state: State) -> None:
        """Kill, wipe, start."""
        process = world.own_lab.flux[CONTROLLER]
        process.kill()
        for entry in storage(world).iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        state["lost"] = [path for path in state["artifacts"] if not Path(path).exists()]
        process.start()
        process.wait_ready(READY_DEADLINE)

    def observe(self, world: World, state: State) -> Probe:
        """The files were gone before the controller came back."""
        del world
        lost = len(state.get("lost", ()))
        return Probe(lambda: (lost > 0, f"{lost} of {len(state['artifacts'])} artifacts were lost"))


class Corrupt(_Storage):
    """Every stored artifact is overwritten with other bytes of the same length."""

    name = "storage.corrupt"
    reversible = False

    def inject(self, world: World, state: State) -> None:
        """Overwrite what is there now: meanwhile others may have come or gone."""
        changed = []
        for path in artifacts(world):
            with suppress(FileNotFoundError):
                before = path.read_bytes()
                path.write_bytes(bytes(len(before)))
                changed += [str(path)] if before != path.read_bytes() else []
        state["changed"] = changed

    def observe(self, world: World, state: State) -> Probe:
        """The bytes are others than before."""
        del world
        changed = len(state.get("changed", ()))
        return Probe(lambda: (changed > 0, f"{changed} of {len(state['artifacts'])} artifacts were overwritten"))


class Full(_Storage):
    """The disk below the storage path is full: a file system with no room left lies over it; healing takes it off.

    It holds what the storage held, so that only writing fails.
    """

    name = "storage.full"

    def prepare(self, world: World) -> State:
        """Note the artifacts; one full disk is enough."""
        if storage(world).is_mount():
            raise NotInjectedError(f"A file system lies over {CONTROLLER}'s storage already.")
        return super().prepare(world)

    def inject(self, world: World, state: State) -> None:
        """Mount it, copy what was there, and fill what is left."""
        del state
        folder = storage(world)
        held = _contents(folder)
        size = PAGE * (1 + sum(1 + len(content) // PAGE for content in held.values()))
        done = run(["mount", "-t", "tmpfs", "-o", f"size={size}", "fluxdrill-full", str(folder)], deadline=10)
        if done.returncode:
            raise NotInjectedError(f"A small file system cannot be mounted: {done.stderr.strip()}.")
        for name, content in held.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        _fill(folder / "full")

    def observe(self, world: World, state: State) -> Probe:
        """A file system lies over the storage path and has no room."""
        del state
        folder = storage(world)

        def ask() -> tuple[bool, str]:
            free = shutil.disk_usage(folder).free
            mounted = folder.is_mount()
            return mounted and free == 0, f"{free} bytes are free on the {'small' if mounted else 'usual'} disk"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Take it off."""
        if world.lab is not None and storage(world).is_mount():
            done = run(["umount", "--lazy", str(storage(world))], deadline=10)
            if done.returncode:
                raise HarnessError(f"The full disk cannot be taken off: {done.stderr.strip()}.")
        super().heal(world, state)


def _contents(folder: Path) -> dict[Path, bytes]:
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError, IsADirectoryError):  # what is old goes at any time
            found[path.relative_to(folder)] = path.read_bytes()
    return found


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as full, suppress(OSError):  # ENOSPC is what we are after
        while full.write(bytes(PAGE)):
            pass


def storage(world: World) -> Path:
    """Return source-controller's storage path."""
    return world.own_lab.folder / "storage" / CONTROLLER


def artifacts(world: World) -> list[Path]:
    """Return the stored tarballs."""
    return sorted(storage(world).rglob("*.tar.gz"))


FAULTS: tuple[type[Fault[Any]], ...] = (Wipe, Corrupt, Full)
