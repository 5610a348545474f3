"""Builds by the real Go: once, under a key of all their inputs, whole or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from fluxdrill.errors import HarnessError
from fluxdrill.process import run
from fluxdrill.toolchain.build import ensure
from fluxdrill.toolchain.catalog import Binary, Catalog
from fluxdrill.toolchain.golang import find_go
from fluxdrill.toolchain.store import Origin, entry, locate
from tests.processes import line, lives, wait_until
from tests.toolchain.wrapper import Recorded, go_mod, script, silent_about_version, wrapper

BUILDER = """
import sys
from pathlib import Path
from fluxdrill.toolchain.build import ensure
from fluxdrill.toolchain.catalog import Binary, Catalog

class Spoken:
    def update(self, text):
        print("update", text, flush=True)

    def note(self, text):
        print("note", text, flush=True)

hello = Binary("hello", Path(sys.argv[1]), "example.invalid/hello", ("--version",), ("main.Version={version}",))
_, built = ensure(progress=Spoken(), catalog=Catalog((hello,)))
print("built", len(built), flush=True)
"""


def builder(hello: Binary, **environment: str) -> subprocess.Popen[str]:
    """Start another process that builds `hello` and prints what it is told and how much it built."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(hello.folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def test_a_missing_program_is_built_once_and_then_found(hello: Binary) -> None:
    first, again = Recorded(), Recorded()
    tools, built = ensure(progress=first, catalog=Catalog((hello,)))
    assert [one.path for one in built] == [tools["hello"]]
    assert run([tools["hello"]], deadline=20).text == "hello version v1.2.3\n"
    made = tools["hello"].stat().st_mtime_ns

    tools, built = ensure(progress=again, catalog=Catalog((hello,)))
    assert (built, tools["hello"].stat().st_mtime_ns) == ([], made)
    assert (again.updates, again.notes) == ([], [])


def test_a_build_shows_a_bar_that_grows_and_a_line_that_stays(hello: Binary, monkeypatch: pytest.MonkeyPatch) -> None:
    # two packages of its own, as all others may be compiled already
    inner = hello.folder / "hello" / "inner"
    inner.mkdir()
    (inner / "inner.go").write_text(f'package inner\n\nconst Text = "{hello.folder}"\n')
    main = hello.folder / "hello" / "main.go"
    main.write_text(
        'package main\n\nimport "example.invalid/hello/inner"\n\nvar Version = ""\n\n'
        "func main() { println(inner.Text, Version) }\n"
    )
    told = Recorded()
    ensure(progress=told, catalog=Catalog((hello,)))
    counts = [int(found[1]) for text in told.updates if (found := re.search(r"\] (\d+)/\d+ packages  ", text))]
    assert counts == sorted(set(counts))
    assert len(counts) >= 2
    assert told.updates[0] == "[1/1] hello: resolving packages"
    assert [note[: len("built hello v1.2.3 in ")] for note in told.notes] == ["built hello v1.2.3 in "]


def test_what_was_built_and_with_which_go_is_recorded_and_nothing_else_is_left(hello: Binary, cache: Path) -> None:
    tools, _ = ensure(catalog=Catalog((hello,)))
    go = find_go()
    assert go is not None
    record = json.loads((tools["hello"].parent / "build.json").read_text())
    assert (record["version"], record["go"]) == ("v1.2.3", go.version)
    assert sorted(path.name for path in cache.rglob("*") if path.is_file()) == ["build.json", "build.lock", "hello"]


def _edit_go_mod(folder: Path) -> None:
    (folder / "go.mod").write_text(go_mod() + "\n// another comment\n")


def _add_go_sum(folder: Path) -> None:
    (folder / "go.sum").write_text("")


def _edit_go_sum(folder: Path) -> None:
    (folder / "go.sum").write_text("example.invalid/other v1.0.0 h1:AAAA=\n")


@pytest.mark.parametrize("change", [_edit_go_mod, _add_go_sum, _edit_go_sum])
def test_a_change_of_the_pins_changes_the_key(hello: Binary, change: Callable[[Path], None]) -> None:
    before = entry(hello)
    change(hello.folder)
    assert entry(hello) != before


def test_an_unrelated_file_does_not_change_the_key(hello: Binary) -> None:
    before = entry(hello)
    (hello.folder / "README.md").write_text("notes\n")
    assert entry(hello) == before


def test_another_package_or_linker_flag_changes_the_key(hello: Binary) -> None:
    keys = {
        entry(hello),
        entry(dataclasses.replace(hello, stamps=())),
        entry(dataclasses.replace(hello, stamps=("main.Version={bare}",))),
        entry(dataclasses.replace(hello, package=f"{hello.package}/cmd")),
    }
    assert len(keys) == 4


def test_another_go_changes_the_key(hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure(catalog=Catalog((hello,)))
    before = entry(hello)
    other = script(tmp_path / "bin" / "go", "echo go1.99.1", "echo local")
    monkeypatch.setenv("PATH", str(other.parent), prepend=os.pathsep)
    assert entry(hello).name == before.name.rpartition("-")[0] + "-go1.99.1"
    assert locate(hello).origin is Origin.MISSING


def test_two_versions_of_a_program_live_side_by_side(cache: Path, tmp_path: Path) -> None:
    old, new = wrapper(tmp_path / "old", "v1.2.3"), wrapper(tmp_path / "new", "v1.3.0")
    paths = [ensure(catalog=Catalog((one,)))[0]["hello"] for one in (old, new)]
    assert [run([path], deadline=20).text.split()[-1] for path in paths] == ["v1.2.3", "v1.3.0"]
    assert locate(old).path == paths[0]


def test_an_entry_that_lost_its_program_is_built_anew(hello: Binary) -> None:
    tools, _ = ensure(catalog=Catalog((hello,)))
    tools["hello"].unlink()
    tools, built = ensure(catalog=Catalog((hello,)))
    assert (len(built), tools["hello"].is_file()) == (1, True)


def test_two_processes_at_once_build_once_and_both_have_it(hello: Binary, cache: Path) -> None:
    cache.mkdir()
    with ExitStack() as stack:
        with FileLock(cache / "build.lock"):
            both = [stack.enter_context(builder(hello)) for _ in range(2)]
            for one in both:
                assert line(one.stdout) == "note Another fluxdrill builds the toolchain; waiting for it."
        # from here on nothing holds them back
        words = [one.communicate(timeout=60)[0].splitlines()[-1] for one in both]
    assert sorted(words) == ["built 0", "built 1"]
    assert [one.returncode for one in both] == [0, 0]
    assert locate(hello).origin is Origin.CACHE


def test_a_killed_build_leaves_no_process_and_no_entry_and_the_next_one_sweeps(
    hello: Binary, cache: Path, tmp_path: Path
) -> None:
    shelf = entry(hello).parent
    # with a compile cache of its own Go has all of its library before it: the kill comes in the middle
    with builder(hello, GOCACHE=str(tmp_path / "gocache")) as process:
        while "packages" not in line(process.stdout).removesuffix("resolving packages"):
            assert process.poll() is None
        children = [one.pid for one in psutil.Process(process.pid).children(recursive=True)]
        assert children, "Go is at work"
        os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(lives, children)), within=30)
    (partial,) = shelf.iterdir()
    assert partial.name.startswith(".partial-")
    # Go did not go on to the end, and its own temporary files are in the folder that will be swept
    assert [path.name for path in partial.iterdir()] == [".scratch"]
    assert locate(hello).origin is Origin.MISSING

    _, built = ensure(catalog=Catalog((hello,)))
    assert (len(built), list(shelf.iterdir())) == (1, [entry(hello)])


def test_go_ends_with_the_process_that_runs_it(hello: Binary, tmp_path: Path) -> None:
    # one that downloads for long and says nothing, so that no broken pipe ends it
    os.mkfifo(tmp_path / "pid")
    busy = f'[ "$1" = env ] || {{ echo $$ > {tmp_path}/pid; exec sleep 60; }}'
    go = script(tmp_path / "bin" / "go", busy, "echo go1.99.1", "echo local")
    with builder(hello, PATH=f"{go.parent}{os.pathsep}{os.environ['PATH']}") as process:
        pid = int((tmp_path / "pid").read_text())
        assert lives(pid)
        process.kill()
    wait_until(lambda: not lives(pid))


def test_a_program_that_does_not_compile_leaves_nothing_and_says_what_go_said(hello: Binary, cache: Path) -> None:
    (hello.folder / "hello" / "main.go").write_text("package main\n\nfunc main() { missing() }\n")
    with pytest.raises(HarnessError, match=r"Building hello v1\.2\.3 failed: .*undefined: missing"):
        ensure(catalog=Catalog((hello,)))
    assert list(entry(hello).parent.iterdir()) == []


def test_go_of_a_wrong_environment_does_not_reach_the_build(hello: Binary, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GOOS": "plan9", "GOARCH": "386", "GOFLAGS": "-nonsense", "GOWORK": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    tools, _ = ensure(catalog=Catalog((hello,)))
    assert run([tools["hello"]], deadline=20).returncode == 0


def test_the_version_is_read_from_the_build_information_where_no_flag_prints_it(
    hello: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, _ = ensure(catalog=Catalog((hello,)))
    monkeypatch.setenv("FLUXDRILL_BIN", str(tools["hello"].parent))
    assert locate(silent_about_version(hello)).origin is Origin.EXTERNAL


def own(folder: Path, source: str) -> Binary:
    """Return a program of our own: its source lies in the module's folder."""
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text("module example.invalid/own\n\ngo 1.21\n")
    (folder / "main.go").write_text(source)
    return Binary("own", folder, "example.invalid/own", own_version="v0.1.0")


def test_a_program_of_our_own_is_built_again_when_its_source_changes(tmp_path: Path, cache: Path) -> None:
    one = own(tmp_path / "own", 'package main\n\nfunc main() { println("one") }\n')
    first = ensure(catalog=Catalog((one,)))[0]["own"]
    assert ensure(catalog=Catalog((one,)))[1] == []
    other = own(tmp_path / "own", 'package main\n\nfunc main() { println("two") }\n')
    second = ensure(catalog=Catalog((other,)))[0]["own"]
    assert (first != second, run([second], deadline=10).stderr) == (True, "two")
