"""Faults of the Git source: the server, and what people push to it."""

from __future__ import annotations

import socket
from typing import Annotated, Any, ClassVar

from pydantic import Field

from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State, Where
from fluxdrill.faults.world import World
from fluxdrill.flux.bootstrap import GIT_REPOSITORY
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.model.capabilities import Capability
from fluxdrill.repository.served import empty_tree, expanded, force_push, restore
from fluxdrill.repository.source import commit_files
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

    def inject(self, world: World, state: State) -> None:
        """Turn it on."""
        del state
        world.own_lab.git.fault = self.fault()

    def observe(self, world: World, state: State) -> Probe:
        """A request of a client met it."""
        del state
        git = world.own_lab.git

        def ask() -> tuple[bool, str]:
            bitten = git.bitten if git.fault is not None else 0
            return bitten > 0, f"{bitten} requests met it"

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


class _Pushed(Fault[Args]):
    """A fault that consists in what the branch holds."""

    where = Where.HOST
    needs = GIT
    rights: ClassVar[str] = "to push to the lab's own Git server"

    @property
    def takes(self) -> frozenset[str]:
        """The branch."""
        return frozenset({"git-branch"})

    def prepare(self, world: World) -> State:
        """Note the branch's tip."""
        return {"tip": world.own_repository.revision.rpartition(":")[2]}

    def observe(self, world: World, state: State) -> Predicate | Probe:
        """Flux has fetched the new tip, and not the old one."""
        tip, wanted = state["tip"], world.own_repository.revision

        def judge(view: View) -> Verdict3:
            obj = view.get(GIT_REPOSITORY) or {}
            found = ((obj.get("status") or {}).get("artifact") or {}).get("revision", "")
            if found == wanted and not wanted.endswith(tip):
                return Verdict3.met(f"Flux fetched {found}")
            return Verdict3.not_yet(f"Flux has {found or 'nothing'}, not {wanted}", GIT_REPOSITORY)

        return Predicate(judge, frozenset([GIT_REPOSITORY]))

    def heal(self, world: World, state: State) -> None:
        """Commit the old tree again on top, as `git revert` does."""
        if world.repository is not None:
            restore(world.repository.served, state["tip"], f"revert: {self.name}")


class Files(Args):
    """The changes of a commit: path to new text, null removes; a path that ends with / is a whole folder."""

    files: Annotated[dict[str, str | None], Field(min_length=1)]
    message: str = "a bad commit"


class Commit(_Pushed):
    """A commit that breaks something; healing reverts it."""

    name = "git.commit"
    arguments = Files

    def inject(self, world: World, state: State) -> None:
        """Push it."""
        del state
        assert isinstance(self.args, Files)
        served = world.own_repository.served
        commit_files(served, expanded(served, self.args.files), self.args.message)


class EmptyTree(_Pushed):
    """A commit that removes every file; healing reverts it."""

    name = "git.empty-tree"

    def inject(self, world: World, state: State) -> None:
        """Push it."""
        del state
        empty_tree(world.own_repository.served, "remove everything")


class ForcePush(_Pushed):
    """The branch is moved to a commit without history; healing moves it back."""

    name = "git.force-push"
    arguments = Files

    def inject(self, world: World, state: State) -> None:
        """Push it."""
        assert isinstance(self.args, Files)
        served = world.own_repository.served
        force_push(served, "")  # no parent: the history is another one
        commit_files(served, expanded(served, self.args.files), self.args.message)
        if world.own_repository.revision.endswith(state["tip"]):
            raise NotInjectedError("The forced commit is the old one: its files change nothing.")

    def heal(self, world: World, state: State) -> None:
        """Move the branch back."""
        if world.repository is not None:
            force_push(world.repository.served, state["tip"])


class BranchDeleted(_Pushed):
    """The branch that Flux follows is deleted; healing pushes it again."""

    name = "git.branch-deleted"

    def inject(self, world: World, state: State) -> None:
        """Delete it."""
        force_push(world.own_repository.served, None)
        state["requests"] = len(world.own_lab.git.requests)

    def observe(self, world: World, state: State) -> Probe:
        """It is gone on the server, and somebody has asked since."""
        git, served = world.own_lab.git, world.own_repository.served

        def ask() -> tuple[bool, str]:
            gone = not (served.path / "refs" / "heads" / served.branch).exists()
            asked = len(git.requests) - state.get("requests", len(git.requests))
            return gone and asked > 0, f"the branch is {'gone' if gone else 'there'}, {asked} requests since"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Push it again."""
        if world.repository is not None:
            force_push(world.repository.served, state["tip"])


FAULTS: tuple[type[Fault[Any]], ...] = (
    Down, Slow, Error, Unauthorized, Truncated, Hang, Commit, EmptyTree, ForcePush, BranchDeleted,
)  # fmt: skip
