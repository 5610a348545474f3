"""Faults of the Git server: down, slow, or answering wrongly."""

from __future__ import annotations

import socket
from typing import Annotated, Any, ClassVar

from pydantic import Field

from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State, Where
from fluxdrill.faults.world import World
from fluxdrill.model.capabilities import Capability
from fluxdrill.sources.git import GitFault

GIT = frozenset({Capability.GIT_FAULTS})


class _Server(Fault[Args]):
    """A fault of the Git server itself."""

    where = Where.HOST
    needs = GIT
    rights: ClassVar[str] = "the lab's own Git server"

    @property
    def takes(self) -> frozenset[str]:
        """The server."""
        return frozenset({"git-server"})

    def fault(self) -> GitFault:
        """Return the switch's position."""
        raise NotImplementedError

    def prepare(self, world: World) -> State:
        """See that the server is in order."""
        if (fault := world.own_lab.git.fault) is not None:
            raise NotInjectedError(f"The Git server {fault} already.")
        return {}

    def inject(self, world: World, state: State) -> None:
        """Turn it on."""
        del state
        world.own_lab.git.fault = self.fault()

    def observe(self, world: World, state: State) -> Probe:
        """A request of a client met it."""
        del state
        git = world.own_lab.git

        def ask() -> tuple[bool, str]:
            if git.fault is None:
                return False, "the Git server is in order"
            return git.bitten > 0, f"{git.bitten} requests met it"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Turn it off."""
        del state
        if world.lab is not None:
            world.lab.git.heal()


class Down(_Server):
    """Connections are refused."""

    name = "git.down"

    def fault(self) -> GitFault:
        """Return the switch's position."""
        return GitFault.down()

    def observe(self, world: World, state: State) -> Probe:
        """A connection to its port is refused."""
        del state
        port = world.own_lab.git.port

        def ask() -> tuple[bool, str]:
            with socket.socket() as connection:
                connection.settimeout(2)
                refused = connection.connect_ex(("127.0.0.1", port)) != 0
            return refused, f"a connection to the Git server is {'refused' if refused else 'accepted'}"

        return Probe(ask)


class Delay(Args):
    """How slow."""

    seconds: Annotated[float, Field(gt=0, le=120)] = 5.0


class Slow(_Server):
    """Each request waits before it is answered."""

    name = "git.slow"
    arguments = Delay

    def fault(self) -> GitFault:
        """Return the switch's position."""
        assert isinstance(self.args, Delay)
        return GitFault.slow(self.args.seconds)


class Status(Args):
    """Which server error."""

    status: Annotated[int, Field(ge=500, le=599)] = 503


class Error(_Server):
    """Each request is answered with a server error."""

    name = "git.error"
    arguments = Status

    def fault(self) -> GitFault:
        """Return the switch's position."""
        assert isinstance(self.args, Status)
        return GitFault.server_error(self.args.status)


class Unauthorized(_Server):
    """Each request is answered with 401: the credentials were revoked."""

    name = "git.unauthorized"

    def fault(self) -> GitFault:
        """Return the switch's position."""
        return GitFault.unauthorized()


class Truncated(_Server):
    """Each answer is cut in the middle."""

    name = "git.truncated"

    def fault(self) -> GitFault:
        """Return the switch's position."""
        return GitFault.truncated()


class Hang(_Server):
    """Each request is accepted and not answered."""

    name = "git.hang"

    def fault(self) -> GitFault:
        """Return the switch's position."""
        return GitFault.hang()


FAULTS: tuple[type[Fault[Any]], ...] = (Down, Slow, Error, Unauthorized, Truncated, Hang)
