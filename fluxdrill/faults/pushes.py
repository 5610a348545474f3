"""Faults that consist in what somebody pushes: a bad commit, another history, a branch that is gone, a tag that moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State, Where
from fluxdrill.faults.refs import Ref
from fluxdrill.faults.world import World
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.model.capabilities import Capability
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.served import DEADLINE, empty_tree, expanded, files, force_push, restore
from fluxdrill.repository.source import Served, commit_files
from fluxdrill.sources.git_command import Git, GitError

SCRATCH = "fluxdrill-scratch"
"""A branch that exists only while a commit for a tag is made."""


class _Pushed(Fault[Args]):
    """A fault that consists in what the branch holds."""

    where = Where.HOST
    needs = frozenset({Capability.GIT_FAULTS})
    rights: ClassVar[str] = "to push to the lab's own Git server"

    @property
    def takes(self) -> frozenset[str]:
        """The branch."""
        return frozenset({"git-branch"})

    def prepare(self, world: World) -> State:
        """Note the branch's tip."""
        served = world.own_repository.served
        commit = commit_of(served, f"refs/heads/{served.branch}")
        if not commit:
            raise NotInjectedError(f"The repository has no branch {served.branch}: there is nothing to hit.")
        return {"tip": commit}

    def observe(self, world: World, state: State) -> Predicate | Probe:
        """Flux has fetched the new tip, and not the old one."""
        repository = world.own_repository
        return fetched(repository.source, repository.revision, unlike=state["tip"])

    def heal(self, world: World, state: State) -> None:
        """Commit the old tree again on top, as `git revert` does."""
        if world.repository is not None:
            restore(world.repository.served, state["tip"], f"revert: {self.name}")


class Files(Args):
    """The changes of a commit: path to new text, null removes; a path that ends with / is a whole folder."""

    files: Annotated[Mapping[str, str | None], Field(min_length=1)]
    message: str = "a bad commit"


class Commit(_Pushed):
    """A commit that breaks something; healing reverts it."""

    name = "git.commit"
    arguments = Files

    def prepare(self, world: World) -> State:
        """Note the tip, and see that the commit changes something."""
        assert isinstance(self.args, Files)
        require_change(world.own_repository.served, self.args.files)
        return super().prepare(world)

    def inject(self, world: World, state: State) -> None:
        """Push it."""
        del state
        assert isinstance(self.args, Files)
        served = world.own_repository.served
        commit_files(served, expanded(served, self.args.files), self.args.message)


class EmptyTree(_Pushed):
    """A commit that removes every file; healing reverts it."""

    name = "git.empty-tree"

    def prepare(self, world: World) -> State:
        """Note the tip, and see that there is a file."""
        if not files(world.own_repository.served):
            raise NotInjectedError("The repository holds no file: there is nothing to remove.")
        return super().prepare(world)

    def inject(self, world: World, state: State) -> None:
        """Push it."""
        del state
        empty_tree(world.own_repository.served, "remove everything")


class ForcePush(Commit):
    """The branch is moved to a commit of another history; healing moves it back."""

    name = "git.force-push"

    def inject(self, world: World, state: State) -> None:
        """Push it."""
        force_push(world.own_repository.served, "")  # no parent: the history is another one
        super().inject(world, state)

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
        requests = world.own_lab.git.requests
        state["last"] = requests[-1].at.isoformat() if requests else ""

    def observe(self, world: World, state: State) -> Probe:
        """It is gone on the server, and somebody has asked since."""
        git, served = world.own_lab.git, world.own_repository.served

        def ask() -> tuple[bool, str]:
            if commit_of(served, f"refs/heads/{served.branch}"):
                return False, "the branch is there"
            asked = bool(git.requests) and git.requests[-1].at.isoformat() > state.get("last", "")
            return asked, f"the branch is gone and somebody {'asked' if asked else 'has not asked'} since"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Push it again."""
        if world.repository is not None:
            force_push(world.repository.served, state["tip"])


class OfTag(Files):
    """The tag, the GitRepository that follows it, and how the commit that it moves to differs."""

    tag: Annotated[str, Field(pattern=r"^[\w][\w.+-]*$")]
    source: Ref


class TagMoved(Fault[OfTag]):
    """A tag that a source follows is moved to another commit, as people should not do; healing moves it back."""

    name = "git.tag-moved"
    arguments = OfTag
    where = Where.HOST
    needs = frozenset({Capability.GIT_FAULTS})
    rights: ClassVar[str] = "to push to the lab's own Git server"

    @property
    def takes(self) -> frozenset[str]:
        """The tag."""
        return frozenset({f"git-tag/{self.args.tag}"})

    def prepare(self, world: World) -> State:
        """Note where the tag is, and see that the source has fetched it from there."""
        served = world.own_repository.served
        commit = commit_of(served, f"refs/tags/{self.args.tag}")
        if not commit:
            raise NotInjectedError(f"The repository has no tag {self.args.tag}: there is nothing to move.")
        found = artifact(world.store.view(), self.args.source)
        if found.rpartition(":")[2] != commit:
            raise NotInjectedError(f"{self.args.source} does not follow {self.args.tag}: it has {found or 'nothing'}.")
        return {"commit": commit}

    def inject(self, world: World, state: State) -> None:
        """Make a commit on top of the tag's, on no branch, and move the tag there."""
        served = world.own_repository.served
        scratch = replace(served, branch=SCRATCH)
        force_push(scratch, state["commit"])
        try:
            require_change(scratch, self.args.files)
            set_tag(served, self.args.tag, commit_files(scratch, expanded(scratch, self.args.files), self.args.message))
        finally:
            force_push(scratch, None)

    def observe(self, world: World, state: State) -> Predicate:
        """Flux has fetched the commit that the tag is at now, and not the old one."""
        now = commit_of(world.own_repository.served, f"refs/tags/{self.args.tag}")
        return fetched(self.args.source, f"{self.args.tag}@sha1:{now}", unlike=state["commit"])

    def heal(self, world: World, state: State) -> None:
        """Move it back."""
        if world.repository is not None:
            set_tag(world.repository.served, self.args.tag, state["commit"])


def set_tag(served: Served, name: str, commit: str | None) -> None:
    """Make or move a lightweight tag; None removes it."""
    how = ("-d", f"refs/tags/{name}") if commit is None else (f"refs/tags/{name}", commit)
    Git.within(served.path, DEADLINE).run("update-ref", *how)


def commit_of(served: Served, ref: str) -> str:
    """Return the commit that a full ref names; "" where there is no such ref."""
    try:
        return Git.within(served.path, DEADLINE).text("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    except GitError:
        return ""


def require_change(served: Served, changes: Mapping[str, str | None]) -> None:
    """Raise NotInjectedError where a commit of `changes` would change nothing, or remove what is not there."""
    have = files(served)
    if missing := [path for path, text in changes.items() if text is None and not _names(have, path)]:
        raise NotInjectedError(f"The repository has no {missing[0]}: there is nothing to remove.")
    if all(text is not None and have.get(path) == text.encode() for path, text in changes.items()):
        raise NotInjectedError("The commit would change nothing: the files are like that already.")


def _names(have: Mapping[str, bytes], path: str) -> bool:
    return any(one.startswith(path) for one in have) if path.endswith("/") else path in have


def artifact(view: View, source: ObjectRef) -> str:
    """Return the revision that a source has fetched; "" for none."""
    obj = view.get(source) or {}
    return str(((obj.get("status") or {}).get("artifact") or {}).get("revision", ""))


def fetched(source: ObjectRef, wanted: str, *, unlike: str) -> Predicate:
    """Met when `source` has fetched `wanted`, which is another commit than `unlike`."""

    def judge(view: View) -> Verdict3:
        found = artifact(view, source)
        if found == wanted and not wanted.endswith(unlike):
            return Verdict3.met(f"Flux fetched {found}")
        return Verdict3.not_yet(f"Flux has {found or 'nothing'}, Git has {wanted}", source)

    return Predicate(judge, frozenset([source]))


FAULTS: tuple[type[Fault[Any]], ...] = (Commit, EmptyTree, ForcePush, BranchDeleted, TagMoved)
