"""Faults of the control plane: the API server and etcd, killed, paused, or put back to an older state."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from fluxdrill.cluster.embedded import START_DEADLINE
from fluxdrill.cluster.part import State as ProcessState
from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State, Where
from fluxdrill.faults.world import World
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.model.capabilities import Capability
from fluxdrill.model.refs import ObjectRef


class _OnPart(Fault[Args]):
    """A fault of a process of the control plane."""

    where = Where.HOST
    rights: ClassVar[str] = "signals to the lab's own control plane"
    part: ClassVar[str]

    @property
    def takes(self) -> frozenset[str]:
        """The part."""
        return frozenset({"apiserver" if self.part == "kube-apiserver" else self.part})

    def prepare(self, world: World) -> State:
        """See that it runs; what does not run cannot be hit."""
        for name in ("etcd", "kube-apiserver"):
            process = world.own_lab.cluster.processes[name]
            if process.state is not ProcessState.RUNNING:
                raise NotInjectedError(f"{name} does not run ({process.state}): there is nothing to hit.")
        return {}

    def observe(self, world: World, state: State) -> Probe:
        """The API server gives no sign of life."""
        del state

        def ask() -> tuple[bool, str]:
            alive = world.api.livez(deadline=1.0)
            return not alive, f"the API server {'answers' if alive else 'does not answer'}"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Start it, or let it go on, and wait until it serves."""
        del state
        parts = [world.own_lab.cluster.processes[name] for name in ("etcd", "kube-apiserver")]
        for process in parts:
            if process.state is ProcessState.PAUSED:
                process.resume()
            if process.state is ProcessState.EXITED:
                process.start()
        for process in parts:
            process.wait_ready(START_DEADLINE)


class ApiKill(_OnPart):
    """SIGKILL of the API server; healing starts it again."""

    name = "apiserver.kill"
    part = "kube-apiserver"
    needs = frozenset({Capability.STOP_APISERVER})

    def inject(self, world: World, state: State) -> None:
        """Kill it."""
        del state
        world.own_lab.cluster.processes[self.part].kill()


class ApiPause(_OnPart):
    """SIGSTOP of the API server: connections stay open and nothing is answered; healing lets it go on."""

    name = "apiserver.pause"
    part = "kube-apiserver"
    needs = frozenset({Capability.STOP_APISERVER})

    def inject(self, world: World, state: State) -> None:
        """Stop it."""
        del state
        world.own_lab.cluster.processes[self.part].pause()


class EtcdKill(_OnPart):
    """SIGKILL of etcd: the API server can read and write nothing; healing starts it again."""

    name = "etcd.kill"
    part = "etcd"
    needs = frozenset({Capability.STOP_ETCD})

    def inject(self, world: World, state: State) -> None:
        """Kill it."""
        del state
        world.own_lab.cluster.processes[self.part].kill()

    def observe(self, world: World, state: State) -> Probe:
        """Its process is gone, and with it what the API server stands on."""
        del state
        process = world.own_lab.cluster.processes[self.part]
        return Probe(lambda: (process.state is ProcessState.EXITED, f"etcd is {process.state}"))


class Snapshot(_OnPart):
    """A copy of etcd's data is taken while it is stopped, for `etcd.restore`; it is no harm but a short silence."""

    name = "etcd.snapshot"
    part = "etcd"
    reversible = False
    needs = frozenset({Capability.STOP_ETCD, Capability.STOP_APISERVER, Capability.ETCD_FILES})

    @property
    def takes(self) -> frozenset[str]:
        """The snapshot; the restore takes etcd itself."""
        return frozenset({"etcd-snapshot"})

    def prepare(self, world: World) -> State:
        """See that there is none yet."""
        if _copy(world).exists():
            raise NotInjectedError("There is a snapshot already.", hint="One scenario takes one.")
        return super().prepare(world)

    def inject(self, world: World, state: State) -> None:
        """Stop etcd, copy its folder, start it."""
        del state
        with _stopped(world):
            shutil.copytree(_data(world), _copy(world))

    def observe(self, world: World, state: State) -> Probe:
        """The copy is there."""
        del state
        return Probe(lambda: (_copy(world).is_dir(), f"the copy is {'there' if _copy(world).is_dir() else 'missing'}"))

    def heal(self, world: World, state: State) -> None:
        """Remove the copy."""
        del state
        if world.lab is not None:
            shutil.rmtree(_copy(world), ignore_errors=True)


class Restore(_OnPart):
    """etcd goes back to the snapshot: the cluster forgets all since, while Git and the controllers do not."""

    name = "etcd.restore"
    part = "etcd"
    reversible = False
    needs = frozenset({Capability.STOP_ETCD, Capability.STOP_APISERVER, Capability.ETCD_FILES})

    @property
    def takes(self) -> frozenset[str]:
        """The store and what stands on it."""
        return frozenset({"etcd", "apiserver"})

    def prepare(self, world: World) -> State:
        """Choose the witness's name; without a snapshot there is nothing to restore."""
        if not _copy(world).is_dir():
            raise NotInjectedError("There is no snapshot: use etcd.snapshot before etcd.restore.")
        return {**super().prepare(world), "witness": f"fluxdrill-witness-{secrets.token_hex(4)}"}

    def inject(self, world: World, state: State) -> None:
        """Write a witness, stop etcd and the API server, put the copy in place, start both."""
        witness = self._witness(state)
        meta = {"name": witness.name, "namespace": witness.namespace}
        made = world.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
        with _stopped(world):
            shutil.rmtree(_data(world))
            shutil.copytree(_copy(world), _data(world))
        state["written"] = made["metadata"]["uid"]

    def observe(self, world: World, state: State) -> Probe:
        """The cluster has forgotten the witness, which it had when it was stopped."""

        def ask() -> tuple[bool, str]:
            if "written" not in state:
                return False, "no witness was written"
            try:
                world.api.get(self._witness(state))
            except NotFoundError:
                return True, "the cluster has forgotten what was written just before"
            return False, "the cluster knows what was written just before"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """See that both run, and remove a witness that was not forgotten; time does not come back."""
        super().heal(world, state)
        with suppress(NotFoundError):
            world.api.delete(self._witness(state))

    @staticmethod
    def _witness(state: State) -> ObjectRef:
        return ObjectRef("", "ConfigMap", "default", state["witness"])


@contextmanager
def _stopped(world: World) -> Iterator[None]:
    """Stop the API server and etcd, and start both again, whatever happens in between."""
    parts = [world.own_lab.cluster.processes[name] for name in ("etcd", "kube-apiserver")]
    try:
        for part in reversed(parts):
            part.stop()
        yield
    finally:
        for part in parts:
            if part.state is ProcessState.EXITED:
                part.start()
        for part in parts:
            part.wait_ready(START_DEADLINE)


def _data(world: World) -> Path:
    return world.own_lab.folder / "etcd"


def _copy(world: World) -> Path:
    return world.own_lab.folder / "etcd-snapshot"


FAULTS: tuple[type[Fault[Any]], ...] = (ApiKill, ApiPause, EtcdKill, Snapshot, Restore)
