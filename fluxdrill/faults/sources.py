"""Faults of the Git server: down, slow, or answering wrongly."""

from __future__ import annotations

import socket
from typing import Annotated, Any, ClassVar

from pydantic import Field

from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State, Where
from fluxdrill.faults.world import World
from fluxdrill.model.capabilities import Capability
from fluxdrill.sources.faults import ServerFault
from fluxdrill.sources.server import Server

GIT = frozenset({Capability.GIT_FAULTS})


class _Server(Fault[Args]):
    """A fault of one of the lab's own servers: the Git server, unless a subclass serves something else."""

    where = Where.HOST
    needs = GIT
    rights: ClassVar[str] = "the lab's own servers"
    serves: ClassVar[str] = "Git"

    @property
    def takes(self) -> frozenset[str]:
        """The server."""
        return frozenset({f"{self.serves.lower()}-server"})

    def server(self, world: World) -> Server:
        """Return the server."""
        return world.own_lab.git

    def fault(self) -> ServerFault:
        """Return the switch's position."""
        raise NotImplementedError

    def prepare(self, world: World) -> State:
        """See that the server is in order."""
        if (fault := self.server(world).fault) is not None:
            raise NotInjectedError(f"The {self.serves} server {fault} already.")
        return {}

    def inject(self, world: World, state: State) -> None:
        """Turn it on."""
        del state
        self.server(world).fault = self.fault()

    def observe(self, world: World, state: State) -> Probe:
        """A request of a client met it."""
        del state
        server = self.server(world)

        def ask() -> tuple[bool, str]:
            if server.fault is None:
                return False, f"the {self.serves} server is in order"
            return server.bitten > 0, f"{server.bitten} requests met it"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Turn it off."""
        del state
        if world.lab is not None:
            self.server(world).heal()


class Down(_Server):
    """Connections are refused."""

    name = "git.down"

    def fault(self) -> ServerFault:
        """Return the switch's position."""
        return ServerFault.down()

    def observe(self, world: World, state: State) -> Probe:
        """A connection to its port is refused."""
        del state
        server = world.own_lab.host, self.server(world).port

        def ask() -> tuple[bool, str]:
            with socket.socket() as connection:
                connection.settimeout(2)
                refused = connection.connect_ex(server) != 0
            return refused, f"a connection to the {self.serves} server is {'refused' if refused else 'accepted'}"

        return Probe(ask)


class Delay(Args):
    """How slow."""

    seconds: Annotated[float, Field(gt=0, le=120)] = 5.0


class Slow(_Server):
    """Each request waits before it is answered."""

    name = "git.slow"
    arguments = Delay

    def fault(self) -> ServerFault:
        """Return the switch's position."""
        assert isinstance(self.args, Delay)
        return ServerFault.slow(self.args.seconds)


class Status(Args):
    """Which server error."""

    status: Annotated[int, Field(ge=500, le=599)] = 503


class Error(_Server):
    """Each request is answered with a server error."""

    name = "git.error"
    arguments = Status

    def fault(self) -> ServerFault:
        """Return the switch's position."""
        assert isinstance(self.args, Status)
        return ServerFault.server_error(self.args.status)


class Unauthorized(_Server):
    """Each request is answered with 401: the credentials were revoked."""

    name = "git.unauthorized"

    def fault(self) -> ServerFault:
        """Return the switch's position."""
        return ServerFault.unauthorized()


class Truncated(_Server):
    """Each answer is cut in the middle."""

    name = "git.truncated"

    def fault(self) -> ServerFault:
        """Return the switch's position."""
        return ServerFault.truncated()


class Hang(_Server):
    """Each request is accepted and not answered."""

    name = "git.hang"

    def fault(self) -> ServerFault:
        """Return the switch's position."""
        return ServerFault.hang()


FAULTS: tuple[type[Fault[Any]], ...] = (Down, Slow, Error, Unauthorized, Truncated, Hang)
