"""Faults of source-controller's storage: lost, corrupted, full."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

from fluxdrill.cluster.supervised import State as ProcessState
from fluxdrill.errors import HarnessError
from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State, Where
from fluxdrill.faults.world import World
from fluxdrill.flux.controllers import READY_DEADLINE
from fluxdrill.model.capabilities import Capability
from fluxdrill.process import run

CONTROLLER = "source-controller"
ROOM = "16k"
"""What is left on the full disk: less than any artifact needs."""


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
        found = [str(path) for path in artifacts(world)]
        if not found:
            raise NotInjectedError("source-controller holds no artifact: there is nothing to lose.")
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
        """Overwrite them."""
        del world
        for name in state["artifacts"]:
            path = Path(name)
            before = path.read_bytes()
            path.write_bytes(bytes(len(before)))
            state["changed"] = state.get("changed", 0) + (before != path.read_bytes())

    def observe(self, world: World, state: State) -> Probe:
        """The bytes are others than before."""
        del world
        changed = state.get("changed", 0)
        return Probe(lambda: (changed > 0, f"{changed} of {len(state['artifacts'])} artifacts were overwritten"))


class Full(_Storage):
    """The disk below the storage path is full: a tiny file system is mounted over it; healing takes it off."""

    name = "storage.full"

    def inject(self, world: World, state: State) -> None:
        """Mount it and copy what fits; the controller keeps its path."""
        del state
        folder = storage(world)
        done = run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "fluxdrill-full", str(folder)], deadline=10)
        if done.returncode:
            raise NotInjectedError(f"A small file system cannot be mounted: {done.stderr.strip()}.")
        (folder / "full").write_bytes(bytes(8 * 1024))

    def observe(self, world: World, state: State) -> Probe:
        """The file system at the storage path is the tiny one, and almost full."""
        del state

        def ask() -> tuple[bool, str]:
            usage = shutil.disk_usage(storage(world))
            return usage.total <= 64 * 1024, f"{usage.free} of {usage.total} bytes are free"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Take it off."""
        if world.lab is not None and storage(world).is_mount():
            done = run(["umount", "--lazy", str(storage(world))], deadline=10)
            if done.returncode:
                raise HarnessError(f"The full disk cannot be taken off: {done.stderr.strip()}.")
        super().heal(world, state)


def storage(world: World) -> Path:
    """Return source-controller's storage path."""
    return world.own_lab.folder / "storage" / CONTROLLER


def artifacts(world: World) -> list[Path]:
    """Return the stored tarballs."""
    return sorted(storage(world).rglob("*.tar.gz"))


FAULTS: tuple[type[Fault[Any]], ...] = (Wipe, Corrupt, Full)
