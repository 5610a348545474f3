"""The served copy of a repository: a bare repository that is read and committed to without a work tree."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.sources.git_command import IDENTITY, Git, GitError

REGULAR, EXECUTABLE, SYMLINK = "100644", "100755", "120000"
DEADLINE = 30.0  # seconds, of one operation on a served copy


@dataclass(frozen=True, slots=True)
class Served:
    """A bare repository ready to be served.

    `path` is its folder, `branch` the branch to follow, `commit` that branch's tip when it was opened, `revision_of`
    the commit of the user's repository that it stands on (empty where there is none).
    """

    path: Path
    branch: str
    commit: str
    revision_of: str


@dataclass(frozen=True, slots=True)
class Change:
    """One file of a new commit: its path, its Git mode, and its bytes (None removes it)."""

    path: str
    mode: str
    content: bytes | None


def tip(served: Served, *, deadline: float = DEADLINE) -> str:
    """Return the commit that the served branch points to now; somebody may have pushed since it was opened."""
    return Git.within(served.path, deadline).text("rev-parse", "--verify", f"refs/heads/{served.branch}")


def files(served: Served, prefix: str = "", *, deadline: float = DEADLINE) -> dict[str, bytes]:
    """Return path and content of each regular file below the folder `prefix`, at the branch's tip.

    Symbolic links and submodules are not regular files. Raises UsageError where the tree has no such folder.
    """
    git = Git.within(served.path, deadline)
    folder = require_folder(served, prefix, deadline=deadline)
    start = f"{folder}/" if folder else ""
    tree = {path: entry for path, entry in _tree(git, served.branch).items() if path.startswith(start)}
    blobs = {path: sha for path, (mode, sha) in tree.items() if mode in {REGULAR, EXECUTABLE}}
    wanted = "".join(f"{sha}\n" for sha in blobs.values()).encode()
    return dict(zip(blobs, _contents(git.run("cat-file", "--batch", stdin=wanted)), strict=True))


def require_folder(served: Served, path: str, *, deadline: float = DEADLINE) -> str:
    """Return `path` relative to the root, without `./`; raises UsageError where the tree has no such folder."""
    folder = _normal(path) if path.strip("./") else ""
    git = Git.within(served.path, deadline)
    try:
        kind = git.text("cat-file", "-t", f"refs/heads/{served.branch}:{folder}")
    except GitError:
        kind = ""
    if kind != "tree":
        raise UsageError(
            f"There is no folder {path} on branch {served.branch} of the repository.",
            hint="Give a folder relative to the repository's root, and commit or save it first.",
        )
    return folder


def commit_files(served: Served, changes: Mapping[str, str | None], message: str, *, deadline: float = DEADLINE) -> str:
    """Commit `changes` (path to new text, None removes the file) on top of the served branch and return the commit.

    A file that exists keeps its mode. Without changes the commit is empty: a new revision of the same tree. Raises
    UsageError for a path that leaves the repository or that is to be removed and does not exist, HarnessError when
    somebody else pushed at the same moment.
    """
    git = Git.within(served.path, deadline)
    known = _tree(git, served.branch)
    prepared = [_change(_normal(path), text, known) for path, text in changes.items()]
    return import_commit(git, served.branch, tip(served, deadline=deadline), prepared, message)


def restore(served: Served, commit: str, message: str, *, deadline: float = DEADLINE) -> str:
    """Commit the tree of an earlier `commit` again on top of the served branch, if it differs; return the new tip."""
    git = Git.within(served.path, deadline, environment=IDENTITY)
    head = tip(served, deadline=deadline)
    tree = git.text("rev-parse", "--verify", f"{commit}^{{tree}}")
    if tree == git.text("rev-parse", f"{head}^{{tree}}"):
        return head
    made = git.text("commit-tree", tree, "-p", head, "-m", message)
    git.run("update-ref", f"refs/heads/{served.branch}", made, head)
    return made


def empty_tree(served: Served, message: str, *, deadline: float = DEADLINE) -> str:
    """Commit the removal of every file and return the commit."""
    return commit_files(served, dict.fromkeys(_tree(Git.within(served.path, deadline), served.branch)), message)


def force_push(served: Served, commit: str | None, *, deadline: float = DEADLINE) -> None:
    """Move the served branch to `commit` whatever it held; "" moves it to a commit without history of the same tree.

    None deletes the branch.
    """
    git = Git.within(served.path, deadline)
    branch = f"refs/heads/{served.branch}"
    if commit is None:
        git.run("update-ref", "-d", branch)
        return
    made = commit or git.text("commit-tree", f"{branch}^{{tree}}", "-m", "a history without the past")
    git.run("update-ref", branch, made)


def expanded(served: Served, changes: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return `changes` with a removed folder (a name that ends with /) as the removal of every file in it."""
    flat: dict[str, str | None] = {}
    for path, text in changes.items():
        flat |= dict.fromkeys(files(served, path), None) if path.endswith("/") and text is None else {path: text}
    return flat


def export(served: Served, folder: Path, *, deadline: float = DEADLINE) -> None:
    """Write the tree at the served branch's tip to the empty folder `folder`."""
    with tempfile.TemporaryDirectory(prefix="fluxdrill-index-") as scratch:
        places = {"GIT_DIR": str(served.path), "GIT_WORK_TREE": str(folder), "GIT_INDEX_FILE": f"{scratch}/index"}
        git = Git.within(folder, deadline, environment=places)
        git.run("read-tree", f"refs/heads/{served.branch}")
        git.run("checkout-index", "--all")


def import_commit(git: Git, branch: str, parent: str, changes: Iterable[Change], message: str) -> str:
    """Write one commit to the bare repository that `git` stands in and return it; an empty `parent` makes it a root."""
    stream = b"".join(_stream(branch, parent, changes, message))
    try:
        git.run("fast-import", "--quiet", "--done", "--date-format=raw", stdin=stream)
    except GitError as error:
        raise HarnessError(
            f"The commit on {branch} failed: {error.stderr}.", hint="If somebody pushed meanwhile, run it again."
        ) from error
    return git.text("rev-parse", "--verify", f"refs/heads/{branch}")


def changes_of_folder(folder: Path) -> Iterator[Change]:
    """Yield every file below `folder` but what is in `.git`; raises UsageError where one cannot be read."""
    for parent, names, leaves in os.walk(folder, onerror=_unreadable):
        links = [name for name in names if (Path(parent) / name).is_symlink()]
        names[:] = sorted(name for name in names if name != ".git" and name not in links)
        for name in sorted(leaves + links):
            path = Path(parent) / name
            if name != ".git" and (path.is_symlink() or path.is_file()):
                yield _change_of_file(path, path.relative_to(folder).as_posix())


def _unreadable(error: OSError) -> None:
    raise UsageError(f"{error.filename} cannot be read: {error.strerror}.", hint="Make it readable, or remove it.")


def _change_of_file(path: Path, name: str) -> Change:
    if path.is_symlink():
        return Change(name, SYMLINK, os.fsencode(path.readlink()))
    try:
        content = path.read_bytes()
    except OSError as error:
        _unreadable(error)
        raise
    return Change(name, EXECUTABLE if path.stat().st_mode & 0o100 else REGULAR, content)


def _change(path: str, text: str | None, known: Mapping[str, tuple[str, str]]) -> Change:
    if text is None:
        if path not in known:
            raise UsageError(f"{path} cannot be removed: it is not in the repository.", hint="Look at the path.")
        return Change(path, REGULAR, None)
    mode = known.get(path, (REGULAR, ""))[0]
    return Change(path, mode if mode == EXECUTABLE else REGULAR, text.encode())


def _normal(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\0" in path or any(part in {"..", ".git"} for part in parts):
        raise UsageError(f"{path!r} is not a path inside the repository.", hint="Give one relative to its root.")
    return "/".join(parts)


def _tree(git: Git, branch: str) -> dict[str, tuple[str, str]]:
    """Return mode and object of each path of the branch's tip."""
    entries = git.run("ls-tree", "-r", "-z", "--full-tree", f"refs/heads/{branch}").split(b"\0")
    split = (entry.partition(b"\t") for entry in entries if entry)
    return {os.fsdecode(path): (about.split()[0].decode(), about.split()[2].decode()) for about, _, path in split}


def _contents(batch: bytes) -> Iterator[bytes]:
    """Split the output of `git cat-file --batch`: a line with the size, that many bytes, a line end."""
    at = 0
    while at < len(batch):
        line = batch.index(b"\n", at)
        size = int(batch[at:line].split()[2])
        yield batch[line + 1 : line + 1 + size]
        at = line + size + 2


def _stream(branch: str, parent: str, changes: Iterable[Change], message: str) -> Iterator[bytes]:
    """Yield the commit in the language of `git fast-import`."""
    who = f"{IDENTITY['GIT_COMMITTER_NAME']} <{IDENTITY['GIT_COMMITTER_EMAIL']}> {IDENTITY['GIT_COMMITTER_DATE']}"
    yield f"commit refs/heads/{branch}\ncommitter {who}\n".encode()
    yield _data(message.encode())
    if parent:
        yield f"from {parent}\n".encode()
    for change in changes:
        path = _quoted(change.path)
        if change.content is None:
            yield b"D " + path + b"\n"
        else:
            yield b"M " + change.mode.encode() + b" inline " + path + b"\n" + _data(change.content)
    yield b"done\n"


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _quoted(path: str) -> bytes:
    raw = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"' + raw + b'"'
