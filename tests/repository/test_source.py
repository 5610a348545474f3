from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxdrill.errors import HarnessError, RefusedError, UsageError
from fluxdrill.repository.source import Served, commit_files, export, files, open_source, require_folder, tip
from fluxdrill.sources.faults import ServerFault
from fluxdrill.sources.git import GitServer
from tests.sources.git_client import commit, git

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "elysium.bundle"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A work tree with two commits on main, one on next, and the tag v1 at the first."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "--quiet", "--initial-branch=main")
    commit(work, "clusters/a.yaml", "a: 1\n")
    git(work, "tag", "v1")
    commit(work, "clusters/b.yaml", "b: 1\n")
    git(work, "checkout", "--quiet", "-b", "next")
    commit(work, "clusters/next.yaml", "n: 1\n")
    git(work, "checkout", "--quiet", "main")
    return work


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "served" / "fleet.git"


def opened(source: str | Path, into: Path, ref: str | None = None, **options: bool) -> Served:
    served = open_source(str(source), ref=ref, into=into, deadline=30, **options)
    git(served.path, "fsck", "--strict")
    assert git(served.path, "rev-parse", "HEAD", f"refs/heads/{served.branch}").split() == [served.commit] * 2
    return served


def refuses(source: str | Path, into: Path, ref: str | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        open_source(str(source), ref=ref, into=into, deadline=30)
    assert caught.value.hint
    assert not into.exists()
    return caught.value.problem


def fingerprint(folder: Path) -> str:
    """Content, names and times of everything below `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path} {path.lstat().st_mtime_ns} {path.lstat().st_mode}".encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def test_a_clean_work_tree_is_served_at_its_own_commit(work: Path, into: Path) -> None:
    served = opened(work, into)
    head = git(work, "rev-parse", "HEAD")
    assert served == Served(into, "main", head, head)
    assert set(files(served)) == {"clusters/a.yaml", "clusters/b.yaml"}
    assert git(into, "rev-parse", "next") == git(work, "rev-parse", "next")


def test_a_dirty_work_tree_is_served_as_it_stands_in_one_commit_on_top(work: Path, into: Path) -> None:
    (work / ".gitignore").write_text("*.log\n")
    (work / ".git" / "info" / "exclude").write_text("private.yaml\n")
    (work / "clusters" / "a.yaml").write_text("a: 2\n")
    (work / "clusters" / "b.yaml").unlink()
    (work / "staged.yaml").write_text("s: 1\n")
    git(work, "add", "staged.yaml")
    for name in ("staged.yaml", "new.yaml", "noise.log", "private.yaml"):
        (work / name).write_text("s: 2\n")
    served = opened(work, into)
    assert served.revision_of == git(work, "rev-parse", "HEAD")
    assert git(into, "rev-parse", f"{served.commit}^") == served.revision_of
    assert files(served) == {
        ".gitignore": b"*.log\n",
        "clusters/a.yaml": b"a: 2\n",
        "new.yaml": b"s: 2\n",
        "staged.yaml": b"s: 2\n",
    }


def test_serving_a_dirty_work_tree_changes_nothing_in_it(work: Path, into: Path) -> None:
    (work / "clusters" / "a.yaml").write_text("a: 2\n")
    (work / "new.yaml").write_text("n: 1\n")
    before = fingerprint(work)
    opened(work, into)
    assert fingerprint(work) == before


def test_the_same_dirty_work_tree_gives_the_same_commit_twice(work: Path, into: Path, tmp_path: Path) -> None:
    (work / "new.yaml").write_text("n: 1\n")
    assert opened(work, into).commit == opened(work, tmp_path / "again").commit


def test_a_linked_work_tree_is_served_like_the_main_one(work: Path, into: Path, tmp_path: Path) -> None:
    git(work, "worktree", "add", "--quiet", str(tmp_path / "linked"), "next")
    (tmp_path / "linked" / "new.yaml").write_text("n: 1\n")
    served = opened(tmp_path / "linked", into)
    assert served.branch == "next"
    assert "new.yaml" in files(served)


def test_a_detached_work_tree_is_served_as_main(work: Path, into: Path) -> None:
    git(work, "checkout", "--quiet", "--detach", "v1")
    served = opened(work, into)
    assert (served.branch, served.commit) == ("main", git(work, "rev-parse", "v1"))


def test_a_work_tree_before_its_first_commit_is_served_as_a_root_commit(tmp_path: Path, into: Path) -> None:
    work = tmp_path / "fresh"
    work.mkdir()
    git(work, "init", "--quiet", "--initial-branch=trunk")
    assert "no files" in refuses(work, into)
    (work / "a.yaml").write_text("a: 1\n")
    served = opened(work, into)
    assert (served.branch, served.revision_of, files(served)) == ("trunk", "", {"a.yaml": b"a: 1\n"})


def test_a_shallow_clone_is_served(work: Path, into: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", work.as_uri(), "shallow")
    assert opened(tmp_path / "shallow", into).commit == git(work, "rev-parse", "main")


def test_a_sparse_checkout_is_refused_since_it_would_look_like_deleted_files(work: Path, into: Path) -> None:
    git(work, "sparse-checkout", "set", "nothing")
    assert "sparse" in refuses(work, into)
    assert opened(work, into, ref="main").branch == "main"


@pytest.mark.parametrize(("ref", "branch", "name"), [("next", "next", "next"), ("v1", "main", "v1")])
def test_a_ref_is_served_without_what_is_uncommitted(work: Path, into: Path, ref: str, branch: str, name: str) -> None:
    (work / "new.yaml").write_text("n: 1\n")
    served = opened(work, into, ref=ref)
    assert (served.branch, served.commit) == (branch, git(work, "rev-parse", name))


def test_a_commit_is_served_as_the_default_branch(work: Path, into: Path) -> None:
    first = git(work, "rev-parse", "v1")
    served = opened(work, into, ref=first[:12])
    assert (served.branch, served.commit, served.revision_of) == ("main", first, first)


@pytest.mark.parametrize("ref", ["nothing", "deadbeef" * 5, "--all", "refs/fluxdrill/other"])
def test_an_unknown_ref_is_a_usage_error_that_names_the_branches(work: Path, into: Path, ref: str) -> None:
    assert f"has no ref {ref}" in refuses(work, into, ref)


def test_a_bare_repository_is_copied_with_all_branches(work: Path, into: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(work), "bare.git")
    served = opened(tmp_path / "bare.git", into)
    assert served.commit == git(work, "rev-parse", "main")
    assert git(into, "for-each-ref", "--format=%(refname)").split() == [
        "refs/heads/main",
        "refs/heads/next",
        "refs/tags/v1",
    ]


def test_a_folder_without_git_becomes_one_commit_of_all_its_files(tmp_path: Path, into: Path) -> None:
    folder = tmp_path / "plain"
    (folder / "sub" / ".git").mkdir(parents=True)
    (folder / "sub" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / "sub" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "sub" / "run.sh").chmod(0o755)
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "noise.log").write_bytes(b"\xff\x00\n")
    (folder / 'odd "name\\\n.yaml').write_text("o: 1\n")
    (folder / "link").symlink_to("sub")
    served = opened(folder, into)
    assert (served.branch, served.revision_of) == ("main", "")
    assert files(served) == {
        ".gitignore": b"*.log\n",
        "noise.log": b"\xff\x00\n",
        'odd "name\\\n.yaml': b"o: 1\n",
        "sub/run.sh": b"#!/bin/sh\n",
    }
    listed = git(into, "ls-tree", "-r", "HEAD").splitlines()
    assert any(line.startswith("100755") and line.endswith("sub/run.sh") for line in listed)
    assert any(line.startswith("120000") and line.endswith("link") for line in listed)


def test_a_folder_inside_a_work_tree_is_served_as_a_folder(work: Path, into: Path) -> None:
    assert set(files(opened(work / "clusters", into))) == {"a.yaml", "b.yaml"}


def test_a_bundle_is_served(work: Path, into: Path, tmp_path: Path) -> None:
    git(work, "bundle", "create", "--quiet", str(tmp_path / "x.bundle"), "--all")
    assert opened(tmp_path / "x.bundle", into).commit == git(work, "rev-parse", "main")


def test_a_bundle_of_one_branch_without_head_is_served_as_that_branch(work: Path, into: Path, tmp_path: Path) -> None:
    git(work, "bundle", "create", "--quiet", str(tmp_path / "x.bundle"), "next")
    assert opened(tmp_path / "x.bundle", into).branch == "next"


def test_a_url_on_loopback_is_cloned(work: Path, into: Path, tmp_path: Path) -> None:
    first = opened(work, tmp_path / "root" / "fleet.git")
    with GitServer(tmp_path / "root") as server:
        assert opened(f"{server.url}/fleet.git", into).commit == first.commit


def test_a_url_that_fails_is_a_usage_error_without_its_password(tmp_path: Path, into: Path) -> None:
    (tmp_path / "root").mkdir()
    with GitServer(tmp_path / "root") as server:
        url = server.url.replace("://", "://flux:s3cret@") + "/nothing.git"
        said = refuses(url, into)
        assert server.url in said
        assert "s3cret" not in said


def test_a_server_that_hangs_ends_at_the_deadline(tmp_path: Path, into: Path) -> None:
    (tmp_path / "root").mkdir()
    with GitServer(tmp_path / "root") as server:
        server.fault = ServerFault.hang()
        with pytest.raises(HarnessError, match="did not end within"):
            open_source(f"{server.url}/x.git", ref=None, into=into, deadline=1)
    assert not into.exists()


@pytest.mark.parametrize(
    "source",
    [
        "ssh://git@example.com/fleet.git",
        "git@example.com:fleet.git",
        "git://127.0.0.1/fleet.git",
        "https://example.com/fleet.git",
        "https://127.0.0.1.example.com/fleet.git",
        "https://localhost@example.com/fleet.git",
        "ext::sh -c true://x",
    ],
)
def test_what_would_leave_the_machine_is_refused(source: str, into: Path) -> None:
    with pytest.raises(RefusedError):
        open_source(source, ref=None, into=into, deadline=5)
    assert not into.exists()


def test_ssh_is_refused_also_where_the_network_is_allowed(into: Path) -> None:
    with pytest.raises(RefusedError, match="not an http"):
        open_source("ssh://git@example.com/x.git", ref=None, into=into, deadline=5, allow_network=True)


def empty_bare(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--bare", "empty.git")
    return tmp_path / "empty.git"


def not_a_bundle(tmp_path: Path) -> Path:
    (tmp_path / "x.bundle").write_text("hello\n")
    return tmp_path / "x.bundle"


def half_a_bundle(tmp_path: Path) -> Path:
    work = tmp_path / "other"
    work.mkdir()
    git(work, "init", "--quiet")
    commit(work, "a", "a\n" * 1000)
    git(work, "bundle", "create", "--quiet", str(tmp_path / "x.bundle"), "--all")
    whole = (tmp_path / "x.bundle").read_bytes()
    (tmp_path / "x.bundle").write_bytes(whole[: len(whole) - 40])
    return tmp_path / "x.bundle"


def empty_folder(tmp_path: Path) -> Path:
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    return tmp_path / "empty"


def broken_repository(tmp_path: Path) -> Path:
    (tmp_path / "broken" / ".git").mkdir(parents=True)
    return tmp_path / "broken"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda tmp_path: tmp_path / "nothing", "There is no"),
        (empty_bare, "empty repository"),
        (not_a_bundle, "not a Git bundle"),
        (half_a_bundle, "cannot be read"),
        (empty_folder, "empty folder"),
        (broken_repository, "cannot be read"),
    ],
)
def test_an_unusable_source_is_a_usage_error_and_leaves_nothing(make, said: str, tmp_path: Path, into: Path) -> None:  # type: ignore[no-untyped-def]
    assert said in refuses(make(tmp_path), into)


def test_without_git_on_path_the_error_says_so(work: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(work))
    assert "no git on PATH" in refuses(work, into)


def test_the_users_git_configuration_and_environment_are_not_used(
    work: Path, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = opened(work, tmp_path / "plain")
    (tmp_path / ".gitconfig").write_text('[url "nowhere"]\n\tinsteadOf = /\n[core]\n\texcludesFile = ~/none\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert opened(work, into).commit == plain.commit


def test_a_copy_that_exists_or_lies_in_its_source_is_refused(work: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        open_source(str(work), ref=None, into=tmp_path, deadline=5)
    assert "would lie in" in refuses(work, work / "served.git")


@pytest.fixture
def served(work: Path, into: Path) -> Iterator[Served]:
    (work / "run.sh").write_text("#!/bin/sh\n")
    (work / "run.sh").chmod(0o755)
    yield opened(work, into)
    git(into, "fsck", "--strict")


def test_commit_files_adds_changes_and_removes_on_top_of_the_branch(served: Served) -> None:
    new = commit_files(served, {"clusters/a.yaml": None, "run.sh": "#!/bin/bash\n", "x/ü y.yaml": "y: 1\n"}, "A change")
    assert tip(served) == new != served.commit
    assert git(served.path, "rev-parse", f"{new}^") == served.commit
    assert git(served.path, "log", "-1", "--format=%s|%an", new) == "A change|fluxdrill"
    assert files(served) == {"clusters/b.yaml": b"b: 1\n", "run.sh": b"#!/bin/bash\n", "x/ü y.yaml": b"y: 1\n"}
    assert git(served.path, "ls-tree", new, "run.sh").startswith("100755")


def test_commit_files_stands_on_what_was_pushed_meanwhile(served: Served) -> None:
    first = commit_files(served, {"one.yaml": "1\n"}, "one")
    second = commit_files(served, {"two.yaml": "2\n"}, "two")
    assert git(served.path, "rev-parse", f"{second}^") == first
    assert {"one.yaml", "two.yaml"} <= set(files(served))


def test_no_changes_make_a_new_revision_of_the_same_tree(served: Served) -> None:
    new = commit_files(served, {}, "again")
    assert new != served.commit
    assert git(served.path, "rev-parse", f"{new}^{{tree}}") == git(
        served.path, "rev-parse", f"{served.commit}^{{tree}}"
    )


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", ".git/config", "a/.git/x", "", "a\0b"])
def test_a_path_outside_the_repository_is_refused(served: Served, path: str) -> None:
    with pytest.raises(UsageError, match="not a path inside"):
        commit_files(served, {path: "x"}, "bad")
    assert tip(served) == served.commit


def test_removing_what_is_not_there_is_refused(served: Served) -> None:
    with pytest.raises(UsageError, match="cannot be removed"):
        commit_files(served, {"nothing.yaml": None}, "bad")


def test_files_of_a_folder_are_only_those_below_it(served: Served) -> None:
    assert set(files(served, "./clusters/")) == {"clusters/a.yaml", "clusters/b.yaml"}
    assert require_folder(served, "./clusters/") == "clusters"
    assert require_folder(served, "./") == ""


@pytest.mark.parametrize("path", ["nothing", "cluster", "clusters/a.yaml", "run.sh"])
def test_a_path_that_is_no_folder_of_the_tree_is_a_usage_error(served: Served, path: str) -> None:
    for reads in (require_folder, files):
        with pytest.raises(UsageError, match="no folder"):
            reads(served, path)


def test_export_writes_the_tree_and_leaves_no_index(served: Served, tmp_path: Path) -> None:
    commit_files(served, {"one.yaml": "1\n"}, "one")
    (tmp_path / "tree").mkdir()
    export(served, tmp_path / "tree")
    found = {
        path.relative_to(tmp_path / "tree").as_posix() for path in (tmp_path / "tree").rglob("*") if path.is_file()
    }
    assert found == set(files(served))
    assert os.access(tmp_path / "tree" / "run.sh", os.X_OK)
    assert not list(served.path.glob("*index*"))


def test_the_corpus_is_served_by_branch_and_by_an_old_commit(into: Path, tmp_path: Path) -> None:
    if not CORPUS.is_file():
        pytest.skip("the corpus is not beside this checkout")
    served = opened(CORPUS, into)
    assert require_folder(served, "clusters/kyrion") == "clusters/kyrion"
    old = git(into, "log", "-1", "--skip=100", "--format=%H", served.commit)
    earlier = opened(CORPUS, tmp_path / "earlier", ref=old)
    assert (earlier.branch, earlier.commit) == (served.branch, old)
