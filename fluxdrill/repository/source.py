"""Turn SOURCE, whatever it is, into a bare repository ready to be served; the user's own repository is only read."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from fluxdrill.errors import FluxdrillError, RefusedError, UsageError
from fluxdrill.repository.addresses import SCP_LIKE, is_loopback, without_credentials
from fluxdrill.repository.served import (
    Served,
    changes_of_folder,
    commit_files,
    export,
    files,
    import_commit,
    require_folder,
    tip,
)
from fluxdrill.sources.git_command import Git, GitError

__all__ = ["Served", "commit_files", "export", "files", "open_source", "require_folder", "tip"]

DEFAULT_BRANCH = "main"
HEAD_COPY = "refs/fluxdrill/head"
NETWORK_VARIABLES = ("http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_FILE")


class Kind(StrEnum):
    """What SOURCE is."""

    WORK_TREE = "work tree"
    REPOSITORY = "bare repository"
    BUNDLE = "bundle"
    FOLDER = "folder"
    URL = "URL"


@dataclass(frozen=True, slots=True)
class _Origin:
    kind: Kind
    location: str
    shown: str
    """The location without credentials, for messages."""


def open_source(source: str, *, ref: str | None, into: Path, deadline: float, allow_network: bool = False) -> Served:
    """Make `into` a bare repository that serves SOURCE, within `deadline` seconds.

    SOURCE is a Git work tree (served as it stands on disk, with what is uncommitted or untracked and not ignored as one
    commit on top, unless a `ref` is named), a bare repository, a bundle, a folder without Git (its files as one commit),
    or an http(s) URL. `ref` is a branch, a tag or a commit; other refs than a branch are served as the default branch.

    Raises UsageError where SOURCE cannot be read, is empty, or has no such ref, and RefusedError for ssh and, unless
    `allow_network`, for every host but loopback. `into` is removed then.
    """
    ref = ref or None
    origin = _origin(source, allow_network=allow_network)
    if into.exists():
        raise UsageError(f"{into} exists already.", hint="Name a new folder for the served copy.")
    if origin.kind in {Kind.WORK_TREE, Kind.FOLDER} and into.resolve().is_relative_to(origin.location):
        raise UsageError("The served copy would lie in the folder it is made of.", hint="Put it somewhere else.")
    into.mkdir(parents=True)
    try:
        return _open(origin, ref, Git.within(into, deadline, environment=_network(origin, allow_network=allow_network)))
    except GitError as error:
        shutil.rmtree(into)
        raise UsageError(
            f"{origin.shown} cannot be read: {_first_line(error.stderr, origin)}.", hint="See whether git can clone it."
        ) from None
    except FluxdrillError:
        shutil.rmtree(into)
        raise


def _open(origin: _Origin, ref: str | None, git: Git) -> Served:
    git.run("init", "--quiet", "--bare", f"--initial-branch={DEFAULT_BRANCH}")
    if origin.kind is Kind.FOLDER:
        return _open_folder(origin, ref, git)
    refs, branch = _look(origin, git)
    if not refs and (origin.kind is not Kind.WORK_TREE or ref):
        raise UsageError(f"{origin.shown} is an empty repository.", hint="Make the first commit.")
    if refs:
        _fetch(origin, refs, git)
    if origin.kind is Kind.WORK_TREE and ref is None:
        return _open_work_tree(origin, branch, git)
    branch, commit = _resolve(origin, ref, branch, git)
    _settle(branch, commit, git)
    return Served(git.folder, branch, commit, commit)


def _open_folder(origin: _Origin, ref: str | None, git: Git) -> Served:
    if ref:
        raise UsageError(f"{origin.shown} is not a Git repository, so it has no {ref}.", hint="Leave the ref out.")
    changes = list(changes_of_folder(Path(origin.location)))
    if not changes:
        raise UsageError(f"{origin.shown} is an empty folder.", hint="Name the folder that holds the repository.")
    commit = import_commit(git, DEFAULT_BRANCH, "", changes, "Folder as it stands")
    return Served(git.folder, DEFAULT_BRANCH, commit, "")


def _open_work_tree(origin: _Origin, branch: str, git: Git) -> Served:
    """Commit what is on disk with an index of our own; objects go to the served copy only."""
    user = git.at(Path(origin.location))
    if _answer(user, "config", "--bool", "core.sparseCheckout") == "true":
        raise UsageError(f"{origin.shown} is a sparse checkout.", hint="Check out all of it, or name a ref.")
    head = _answer(git, "rev-parse", "--verify", "--quiet", HEAD_COPY)
    index = git.folder / "fluxdrill-index"
    places = {"GIT_DIR": str(git.folder), "GIT_WORK_TREE": origin.location, "GIT_INDEX_FILE": str(index)}
    _copy_excludes(user, git.folder)
    ours = git.at(Path(origin.location), places)
    if head:
        ours.run("read-tree", head)
    ours.run("add", "--all")
    tree = ours.text("write-tree")
    index.unlink()
    commit = head if head and tree == git.text("rev-parse", f"{head}^{{tree}}") else _commit_tree(git, tree, head)
    if not git.run("ls-tree", tree):
        raise UsageError(f"{origin.shown} has no files.", hint="Name the folder that holds the repository.")
    _settle(branch, commit, git)
    return Served(git.folder, branch, commit, head)


def _commit_tree(git: Git, tree: str, parent: str) -> str:
    above = ("-p", parent) if parent else ()
    return git.text("commit-tree", tree, *above, "-m", "Working tree as it stands")


def _copy_excludes(user: Git, into: Path) -> None:
    """Make the user's private ignore list (not part of the tree) hold for our index too."""
    excludes = user.folder / user.text("rev-parse", "--git-path", "info/exclude")
    if excludes.is_file():
        (into / "info").mkdir(exist_ok=True)
        shutil.copyfile(excludes, into / "info" / "exclude")


def _origin(source: str, *, allow_network: bool) -> _Origin:
    path = Path(source)
    if path.is_dir():
        return _folder(path.resolve())
    if path.is_file():
        return _bundle(path.resolve())
    if "://" in source or SCP_LIKE.match(source):
        return _url(source, allow_network=allow_network)
    raise UsageError(f"There is no {source}.", hint="Give a folder, a Git bundle or the URL of a repository.")


def _folder(path: Path) -> _Origin:
    if (path / ".git").exists():
        kind = Kind.WORK_TREE
    elif (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir():
        kind = Kind.REPOSITORY
    else:
        kind = Kind.FOLDER
    return _Origin(kind, str(path), str(path))


def _bundle(path: Path) -> _Origin:
    with path.open("rb") as file:
        if not re.match(rb"# v[23] git bundle\n", file.readline(64)):
            raise UsageError(f"{path} is not a Git bundle.", hint="Give a folder, or a file that git bundle made.")
    return _Origin(Kind.BUNDLE, str(path), str(path))


def _url(source: str, *, allow_network: bool) -> _Origin:
    parts = urlsplit(source)
    shown = without_credentials(source)
    if parts.scheme not in {"http", "https"} or SCP_LIKE.match(source):
        raise RefusedError(f"{shown} is not an http(s) URL.", hint="Clone it yourself and name the folder.")
    if not (allow_network or is_loopback(parts.hostname or "")):
        raise RefusedError(f"{shown} is not on this machine.", hint="Clone it yourself, or allow the network.")
    return _Origin(Kind.URL, source, shown)


def _network(origin: _Origin, *, allow_network: bool) -> dict[str, str]:
    if origin.kind is not Kind.URL:
        return {}
    passed = {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ} if allow_network else {}
    return {"GIT_ALLOW_PROTOCOL": "http:https", **passed}


def _look(origin: _Origin, git: Git) -> tuple[dict[str, str], str]:
    """Return the refs of `origin` and its default branch, without fetching anything."""
    lines = git.text("ls-remote", "--symref", origin.location).splitlines()
    pairs = [(value, name) for value, _, name in (line.partition("\t") for line in lines)]
    refs = {name: value for value, name in pairs if not value.startswith("ref: ")}
    named = next((value.removeprefix("ref: refs/heads/") for value, name in pairs if value.startswith("ref: ")), "")
    if origin.kind is Kind.WORK_TREE:
        named = _answer(git.at(Path(origin.location)), "symbolic-ref", "--quiet", "--short", "HEAD") or named
    return refs, named or _likely_branch(refs)


def _likely_branch(refs: dict[str, str]) -> str:
    """Guess the default branch where nothing names it: a bundle lists HEAD's commit but not its name."""
    heads = {name.removeprefix("refs/heads/"): value for name, value in refs.items() if name.startswith("refs/heads/")}
    at_head = [name for name, value in heads.items() if value == refs.get("HEAD", value)] or list(heads)
    return next((name for name in (DEFAULT_BRANCH, "master") if name in at_head), min(at_head, default=DEFAULT_BRANCH))


def _fetch(origin: _Origin, refs: dict[str, str], git: Git) -> None:
    specs = [f"+refs/{kind}/*:refs/{kind}/*" for kind in ("heads", "tags", "remotes")]
    head = [f"+HEAD:{HEAD_COPY}"] if "HEAD" in refs else []
    git.run("fetch", "--quiet", "--no-tags", "--update-shallow", "--update-head-ok", origin.location, *specs, *head)


def _resolve(origin: _Origin, ref: str | None, branch: str, git: Git) -> tuple[str, str]:
    """Return the branch to serve and the commit it is to point to."""
    heads = git.text("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads").splitlines()
    wanted = ref or branch
    if wanted in heads:
        return wanted, git.text("rev-parse", "--verify", f"refs/heads/{wanted}")
    name = HEAD_COPY if ref is None else wanted
    commit = "" if name.startswith("-") else _answer(git, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if not commit:
        raise UsageError(
            f"{origin.shown} has no ref {wanted}.", hint=f"Its branches are: {', '.join(sorted(heads)) or 'none'}."
        )
    return branch, commit


def _settle(branch: str, commit: str, git: Git) -> None:
    """Point the served branch at `commit`, make it the default, and drop what is neither branch nor tag."""
    git.run("update-ref", f"refs/heads/{branch}", commit)
    git.run("symbolic-ref", "HEAD", f"refs/heads/{branch}")
    for name in git.text("for-each-ref", "--format=%(refname)", "refs/remotes", "refs/fluxdrill").splitlines():
        git.run("update-ref", "--no-deref", "-d", name)


def _answer(git: Git, *arguments: str) -> str:
    """Return what git says, "" where it says no."""
    try:
        return git.text(*arguments)
    except GitError:
        return ""


def _first_line(stderr: str, origin: _Origin) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith(("fatal:", "error:"))] or stderr.splitlines()
    said = lines[0].removeprefix("fatal: ").removeprefix("error: ").rstrip(".") if lines else "git gave no reason"
    return said.replace(origin.location, origin.shown)
