"""The doctor says what is found, and for everything that can be wrong it says so and what to do."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from fluxdrill.cluster import leases, ports
from fluxdrill.lab import doctor
from fluxdrill.lab.doctor import Finding, examine
from tests.processes import line, python, running

GIB = 2**30
pytestmark = pytest.mark.usefixtures("runtime", "bin_only")


@pytest.fixture
def bin_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with the real git and go and nothing else; what a test takes out of it is not there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "go"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLUXDRILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def find(word: str) -> Finding:
    """Return the one finding about `word`."""
    (found,) = [one for one in examine() if word.lower() in one.text.lower()]
    return found


def program(path: Path, output: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)


def test_every_finding_says_something_and_a_bad_one_ends_with_what_to_do() -> None:
    found = examine()
    assert len(found) == 12
    assert all(one.text for one in found)
    assert all(". " in one.text and one.text.endswith(".") for one in found if not one.ok)


def test_only_what_a_lab_needs_is_required() -> None:
    optional = [one.text for one in examine() if not one.required]
    assert len(optional) == 3
    assert optional[1:] == [
        "There is no Chromium. Install it for the tests of the HTML report.",
        "There is no Node.js. Install it for the Azure Blob emulator.",
    ]


def test_chromium_and_node_are_found_by_any_of_their_names(bin_only: Path) -> None:
    program(bin_only / "google-chrome", "")
    program(bin_only / "node", "")
    assert find("Chromium at") == Finding(ok=True, required=False, text=f"Chromium at {bin_only}/google-chrome")
    assert find("Node.js at").ok


def test_another_system_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("Linux").ok
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert not find("Darwin").ok
    assert "Labs run on Linux only" in find("Darwin").text


def test_an_old_python_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("Python 3").ok
    monkeypatch.setattr(sys, "version_info", (3, 10, 9))
    assert "is too old. Install Python 3.11 or newer." in find("Python 3").text
    assert not find("Python 3").ok


def test_git_is_found_with_its_http_backend(bin_only: Path) -> None:
    assert find("git version").ok
    program(bin_only / "git", "/nowhere")
    assert find("http-backend") == Finding(
        ok=False,
        required=True,
        text="This git has no http-backend. Install the package that has it (git-daemon on Alpine and Fedora).",
    )


def test_no_git_is_said(bin_only: Path) -> None:
    (bin_only / "git").unlink()
    assert find("git on PATH") == Finding(ok=False, required=True, text="There is no git on PATH. Install git.")


def test_without_programs_and_go_go_is_asked_for(bin_only: Path, empty_cache: Path) -> None:
    (bin_only / "go").unlink(missing_ok=True)
    found = find("Go is missing")
    assert not found.ok
    assert found.required
    assert "Install Go 1." in found.text


def test_without_programs_a_too_old_go_is_said(bin_only: Path, empty_cache: Path) -> None:
    (bin_only / "go").unlink(missing_ok=True)
    (bin_only / "go").write_text("#!/bin/sh\necho go1.19.1\necho local\n")
    (bin_only / "go").chmod(0o755)
    found = find("Go 1.19.1 is too old")
    assert not found.ok
    assert "Install Go 1." in found.text


def test_without_programs_a_fitting_go_will_build_them(bin_only: Path, empty_cache: Path) -> None:
    (bin_only / "go").unlink(missing_ok=True)
    (bin_only / "go").write_text("#!/bin/sh\necho go1.99.0\necho local\n")
    (bin_only / "go").chmod(0o755)
    found = find("Go 1.99.0 will get")
    assert found.ok
    assert "missing programs and file sets on first use" in found.text


def usage(free: float) -> Callable[[object], Any]:
    return lambda _: SimpleNamespace(free=int(free * GIB))


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize(("free", "ok"), [(11.9, False), (12.1, True)])
def test_a_cold_build_needs_twelve_gib_of_disk(free: float, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", usage(free))
    found = find(f"{free} GiB")
    assert found.ok is ok
    assert ok or "12.0 GiB are needed. Free some" in found.text


@pytest.mark.parametrize(("free", "ok"), [(1.9, False), (2.1, True)])
def test_built_programs_need_two(free: float, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_missing", list)
    monkeypatch.setattr(shutil, "disk_usage", usage(free))
    assert find(f"{free} GiB").ok is ok


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLUXDRILL_CACHE", str(tmp_path / "file" / "cache"))
    found = find("cannot be written: Not a directory")
    assert not found.ok
    assert "Set FLUXDRILL_CACHE" in found.text


@pytest.mark.parametrize(("free", "ok"), [(1.9, False), (2.1, True)])
def test_a_lab_needs_two_gib_of_memory(free: float, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_cgroup_rooms", lambda: iter([]))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(free * GIB)))
    found = find("of memory")
    assert found.ok is ok
    assert ok or "Close something" in found.text


def test_a_containers_own_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 * GIB))
    monkeypatch.setattr(doctor, "_cgroup_rooms", lambda: iter([GIB]))
    assert not find("of memory").ok


def test_inotify_instances_in_use_are_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = (
        "import ctypes, sys\nlibc = ctypes.CDLL(None)\nprint(sum(libc.inotify_init() >= 0 for _ in range(5)))\ninput()"
    )
    with running(python(hold)) as holder:
        assert line(holder.stdout) == "5"
        assert doctor._inotify_used(str(holder.pid)) == 5
        assert doctor._inotify_used() >= 5
    assert find("inotify instances").ok
    monkeypatch.setattr(doctor, "_inotify_used", lambda: 10_000_000)
    found = find("inotify instances")
    assert not found.ok
    assert "Raise fs.inotify.max_user_instances with sysctl." in found.text


@pytest.fixture
def one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "FIRST", 31900)
    monkeypatch.setattr(ports, "BLOCKS", 1)


@pytest.mark.usefixtures("one_block")
def test_no_free_block_of_ports_is_said() -> None:
    assert find("block of ports").ok
    with socket.create_server(("127.0.0.1", 31905)):
        found = find("block of ports")
    assert not found.ok
    assert "Run `fluxdrill list` and `reap`." in found.text


def test_a_runtime_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("runtime folder").ok
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path / "file"))
    found = find("cannot be made: Not a directory")
    assert not found.ok
    assert "Set FLUXDRILL_RUNTIME elsewhere." in found.text


def test_looking_leaves_no_lab_behind(runtime: Path) -> None:
    examine()
    assert list((runtime / "labs").iterdir()) == []


def test_leftovers_of_killed_runs_are_named_and_a_living_lab_is_not_one(runtime: Path) -> None:
    lease = leases.open_lease()
    assert find("killed runs") == Finding(ok=True, required=False, text="nothing is left of killed runs; 1 labs run")
    (leases.labs_folder() / "lab-dead").mkdir()
    assert find("killed runs") == Finding(
        ok=False, required=False, text="1 labs of killed runs are left (lab-dead). Run `fluxdrill reap`."
    )
    leases.remove(lease.lab_id)
    assert os.environ["FLUXDRILL_RUNTIME"] == str(runtime)
