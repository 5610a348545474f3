"""What goes wrong in a build is told in one sentence with a remedy, and leaves no entry behind."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fluxdrill.errors import ExitCode, HarnessError
from fluxdrill.toolchain.build import ensure
from fluxdrill.toolchain.catalog import Binary, Catalog, FileSet
from fluxdrill.toolchain.golang import explain, require_go
from fluxdrill.toolchain.store import Origin, entry, locate
from tests.toolchain.wrapper import go_mod, script

MODULE, VERSION = "example.invalid/remote", "v1.0.0"


@pytest.fixture
def remote(hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileSet:
    """A file set of a module that only a proxy has; no proxy, no checksum database, an empty module cache."""
    for name, value in {"GOPROXY": "off", "GONOSUMDB": "*", "GOMODCACHE": str(tmp_path / "modcache")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GOFLAGS", raising=False)
    (hello.folder / "go.mod").write_text(f"module example.invalid/wrapper\n\ngo 1.21\n\nrequire {MODULE} {VERSION}\n")
    return FileSet("remote-crds", hello.folder, MODULE, ("config/**/*.yaml",))


def file_proxy(folder: Path) -> str:
    """Write a module proxy as a folder and return its address."""
    place = folder / MODULE / "@v"
    place.mkdir(parents=True)
    mod = f"module {MODULE}\n\ngo 1.21\n"
    (place / f"{VERSION}.info").write_text(f'{{"Version": "{VERSION}"}}')
    (place / f"{VERSION}.mod").write_text(mod)
    with zipfile.ZipFile(place / f"{VERSION}.zip", "w") as archive:
        archive.writestr(f"{MODULE}@{VERSION}/go.mod", mod)
        archive.writestr(f"{MODULE}@{VERSION}/config/crd/one.yaml", "kind: One\n")
        archive.writestr(f"{MODULE}@{VERSION}/other.txt", "not wanted\n")
    return folder.as_uri()


@contextmanager
def http_proxy(status: int) -> Iterator[str]:
    """Serve a module proxy that answers everything with `status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def failure(*items: Binary | FileSet) -> HarnessError:
    """Return the error of an `ensure` of `items`; none of them is there afterwards, not even in part."""
    binaries = tuple(one for one in items if isinstance(one, Binary))
    with pytest.raises(HarnessError) as caught:
        ensure(catalog=Catalog(binaries, tuple(one for one in items if isinstance(one, FileSet))))
    assert all(locate(one).origin is Origin.MISSING for one in items)
    assert not [left for one in items for left in entry(one).parent.glob("*")]
    return caught.value


def test_files_of_a_module_are_fetched_once_and_only_those_wanted(
    remote: FileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", file_proxy(tmp_path / "proxy"))
    catalog = Catalog((), (remote,))
    tools, built = ensure(catalog=catalog)
    assert [one.item for one in built] == [remote]
    assert [path.relative_to(tools.files["remote-crds"]).as_posix() for path in tools.manifests("remote-crds")] == [
        "config/crd/one.yaml"
    ]
    monkeypatch.setenv("GOPROXY", "off")
    assert ensure(catalog=catalog) == (tools, [])


def test_a_module_without_the_wanted_files_is_an_error(
    remote: FileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", file_proxy(tmp_path / "proxy"))
    none = FileSet("none", remote.folder, MODULE, ("nowhere/*.yaml",))
    assert failure(none).problem == f"{MODULE} {VERSION} has no files ('nowhere/*.yaml',)."


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refused_module_is_told_with_its_name(remote: FileSet, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with http_proxy(status) as address:
        monkeypatch.setenv("GOPROXY", address)
        error = failure(remote)
    assert f"Fetching {MODULE} {VERSION} failed: The Go module proxy refuses a module" in error.problem
    assert f"{MODULE}@{VERSION}" in error.problem or f"{MODULE}/@v/{VERSION}" in error.problem
    assert "a refusal is final" in error.hint


def test_an_unreachable_proxy_is_told_as_such(remote: FileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_proxy(200) as address:
        pass  # its port is free again
    monkeypatch.setenv("GOPROXY", address)
    error = failure(remote)
    assert "The Go module proxy cannot be reached" in error.problem
    assert "goes on where it stopped" in error.hint


def test_a_module_that_does_not_match_its_checksum_is_refused(
    remote: FileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", file_proxy(tmp_path / "proxy"))
    wrong = "h1:" + "A" * 43 + "="
    (remote.folder / "go.sum").write_text(f"{MODULE} {VERSION} {wrong}\n{MODULE} {VERSION}/go.mod {wrong}\n")
    error = failure(remote)
    assert "does not match its checksum" in error.problem
    assert error.hint.startswith("Do not switch the check off")


def test_a_build_whose_go_sum_lacks_a_module_is_told_as_such(
    remote: FileSet, hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOPROXY", file_proxy(tmp_path / "proxy"))
    (hello.folder / "go.mod").write_text(go_mod())
    (hello.folder / "hello" / "main.go").write_text(f'package main\n\nimport _ "{MODULE}"\n\nfunc main() {{}}\n')
    (hello.folder / "hello" / "go.mod").write_text(f"module {hello.package}\n\ngo 1.21\n\nrequire {MODULE} {VERSION}\n")
    assert "go.mod and go.sum do not fit together" in failure(hello).problem


def test_a_go_that_is_too_old_and_may_not_fetch_another_is_told_before_any_build(
    hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = script(tmp_path / "bin" / "go", '[ "$1" = env ] || exit 9', "echo go1.20.3", "echo local")
    monkeypatch.setenv("PATH", str(old.parent), prepend=os.pathsep)
    error = failure(hello)
    assert error.problem == "Go 1.20.3 is too old: the pinned modules need 1.21."
    assert error.hint.startswith("Install Go 1.21 or newer")


@pytest.mark.parametrize(
    ("setting", "may"), [("auto", True), ("go1.20.3+auto", True), ("local", False), ("path", False)]
)
def test_an_old_go_is_taken_only_where_it_may_fetch_a_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, may: bool
) -> None:
    old = script(tmp_path / "bin" / "go", "echo go1.20.3", f"echo {setting}")
    monkeypatch.setenv("PATH", str(old.parent), prepend=os.pathsep)
    monkeypatch.delenv("GOTOOLCHAIN", raising=False)
    if may:
        assert require_go("1.26.0").version == "go1.20.3"
    else:
        with pytest.raises(HarnessError, match=r"Go 1\.20\.3 is too old"):
            require_go("1.26.0")


def test_the_real_go_refuses_a_module_of_the_future(hello: Binary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOTOOLCHAIN", "local")
    (hello.folder / "hello" / "go.mod").write_text(f"module {hello.package}\n\ngo 1.999\n")
    assert "Go is too old for a pinned module" in failure(hello).problem


def test_a_go_that_does_not_work_is_told(hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = script(tmp_path / "bin" / "go", "echo no such luck >&2", "exit 1")
    monkeypatch.setenv("PATH", str(broken.parent), prepend=os.pathsep)
    with pytest.raises(HarnessError, match=r"Asking .*/go for its version failed: no such luck"):
        ensure(catalog=Catalog((hello,)))


def _a_file(tmp_path: Path) -> str:
    (tmp_path / "file").touch()
    return str(tmp_path / "file")


@pytest.mark.parametrize("place", [lambda _: "/proc/fluxdrill", _a_file], ids=["proc", "file"])
def test_a_cache_that_cannot_be_written_is_told_with_the_variable_to_set(
    hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: object
) -> None:
    assert callable(place)
    folder = place(tmp_path)
    monkeypatch.setenv("FLUXDRILL_CACHE", folder)
    with pytest.raises(HarnessError) as caught:
        ensure(catalog=Catalog((hello,)))
    assert caught.value.problem.startswith(f"The cache folder {folder} cannot be written: ")
    assert "FLUXDRILL_CACHE" in caught.value.hint
    assert caught.value.exit_code is ExitCode.HARNESS_ERROR


FULL = """
import os, subprocess, sys
from pathlib import Path
cache = Path(os.environ["FLUXDRILL_CACHE"])
cache.mkdir()
if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(cache)]).returncode:
    sys.exit(77)
from fluxdrill.toolchain.build import ensure
from fluxdrill.toolchain.catalog import Binary, Catalog
from fluxdrill.errors import HarnessError
hello = Binary("hello", Path(sys.argv[1]), "example.invalid/hello", ("--version",))
try:
    ensure(catalog=Catalog((hello,)))
except HarnessError as error:
    print(error.problem, error.hint, sep="\\n")
print(sorted(path.name for path in cache.rglob("*") if path.is_file()))
"""


def test_a_full_disk_is_told_as_such_and_nothing_is_left_on_it(hello: Binary) -> None:
    # the mount is seen by that one process only and ends with it
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    done = subprocess.run(
        [*namespace, sys.executable, "-c", FULL, str(hello.folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("a small file system cannot be mounted here: allow user namespaces or run as root")
    problem, hint, left = done.stdout.splitlines()
    assert "The disk is full" in problem
    assert "no space left on device" in problem
    assert hint.startswith("Free about 12 GB")
    assert left == "['build.lock']"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("write /c/b001: no space left on device", "The disk is full"),
        ("write /c/b001: disk quota exceeded", "The disk is full"),
        ("go: x@v1: reading https://p/x.mod: 403 Forbidden", "The Go module proxy refuses a module"),
        ("verifying x@v1: checksum mismatch\n\tdownloaded: h1:a\n\tgo.sum: h1:b", "does not match its checksum"),
        ('verifying x@v1: Get "https://sum": dial tcp: lookup sum: no such host', "cannot be reached"),
        ('Get "https://p/x.mod": net/http: TLS handshake timeout', "cannot be reached"),
        ("mkdir /c: permission denied", "A cache folder cannot be written"),
        ("open /c/x: read-only file system", "A cache folder cannot be written"),
        ("go: go.mod requires go >= 1.99 (running go 1.26.8; GOTOOLCHAIN=local)", "Go is too old"),
        ("compile: signal: killed", "The build was killed"),
        ("a\nb\nc\nd\ne", "b / c / d / e"),
        ("", "go said nothing"),
    ],
)
def test_what_go_says_becomes_one_sentence(said: str, problem: str) -> None:
    error = explain(said, what="Building x v1")
    assert error.problem.startswith("Building x v1 failed: ")
    assert problem in error.problem
    assert "\n" not in error.problem
    assert error.hint


def test_the_error_quotes_no_more_of_go_than_a_line() -> None:
    noise = hashlib.sha256(b"").hexdigest() * 100
    assert len(explain(f"403 Forbidden {noise}", what="Building x").problem) < 500
