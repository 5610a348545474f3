"""What every lab needs of a machine: each line by given facts, and that the looks see what is there."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from fluxdrill.cluster import leases, ports
from fluxdrill.cluster.containers import Docker, Owned
from fluxdrill.doctor import machine
from fluxdrill.doctor.finding import GIB, Finding, Level, fail, guarded, ok, warn
from fluxdrill.errors import HarnessError

pytestmark = pytest.mark.usefixtures("runtime", "bin_only")
HERE = Path("/cache")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLUXDRILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def program(path: Path, *lines: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("finding", "level", "said"),
    [
        (machine.judge_system("Linux", "x86_64"), Level.OK, "Linux x86_64"),
        (machine.judge_system("Darwin", "arm64"), Level.FAIL, "This is Darwin arm64. Labs run on Linux only"),
        (machine.judge_python((3, 11, 0)), Level.OK, "Python 3.11.0"),
        (machine.judge_python((3, 10, 9)), Level.FAIL, "Python 3.10.9 is too old. Install Python 3.11 or newer."),
        (machine.judge_git("git version 2.39.5", backend=True), Level.OK, "2.39.5, with http-backend"),
        (machine.judge_git("git version 2.39.5", backend=False), Level.FAIL, "no http-backend. Install the package"),
        (machine.judge_git("", backend=False), Level.FAIL, "There is no git on PATH. Install git."),
        (machine.judge_disk(12 * GIB, 12 * GIB, HERE), Level.OK, "12.0 GiB free at /cache"),
        (machine.judge_disk(11 * GIB, 12 * GIB, HERE), Level.FAIL, "12.0 GiB are needed. Free some, or point FLUXDRILL_CACHE"),
        (machine.judge_memory([64 * GIB, 2 * GIB]), Level.OK, "2.0 GiB of memory free"),
        (machine.judge_memory([64 * GIB, GIB]), Level.FAIL, "a lab needs 2.0 GiB. Close something"),
        (machine.judge_memory([GIB]), Level.FAIL, "1.0 GiB of memory are free"),
        (machine.judge_leftovers([], [], 2), Level.OK, "nothing is left of killed runs; 2 labs run"),
        (machine.judge_leftovers(["lab-a", "lab-b"], [], 0), Level.WARN, "2 labs of killed runs are left (lab-a, lab-b). Run `fluxdrill reap`."),
        (machine.judge_leftovers(["lab-a"], ["lab-b-c"], 0), Level.WARN, "1 labs of killed runs are left (lab-a); 1 kind clusters of killed runs are left (lab-b-c). Run"),
        (machine.judge_extra("Node.js", "a test", "/bin/node"), Level.OK, "Node.js: /bin/node"),
        (machine.judge_extra("Node.js", "a test", None), Level.WARN, "There is no Node.js. Install it for a test."),
    ],
)  # fmt: skip
def test_each_line_by_what_was_found(finding: Finding, level: Level, said: str) -> None:
    assert finding.level is level
    assert said in finding.line


def test_git_is_found_with_its_http_backend_and_without(bin_only: Path) -> None:
    assert machine.git().level is Level.OK
    program(bin_only / "git", "/nowhere")
    assert machine.git().text == "This git has no http-backend."
    (bin_only / "git").unlink()
    assert machine.git().text == "There is no git on PATH."


@pytest.mark.usefixtures("empty_cache")
def test_without_programs_and_go_go_is_asked_for(bin_only: Path) -> None:
    (bin_only / "go").unlink(missing_ok=True)
    found = guarded("programs", machine.programs)
    assert found.level is Level.FAIL
    assert "Go is missing" in found.text
    assert found.fix.startswith("Install Go 1.")


@pytest.mark.usefixtures("empty_cache")
def test_without_programs_a_too_old_go_is_said(bin_only: Path) -> None:
    program(bin_only / "go", "go1.19.1", "local")
    with pytest.raises(HarnessError, match=r"Go 1\.19\.1 is too old.*Install Go 1\."):
        machine.programs()


@pytest.mark.usefixtures("empty_cache")
def test_without_programs_a_fitting_go_will_build_them(bin_only: Path) -> None:
    program(bin_only / "go", "go1.99.0", "local")
    found = machine.programs()
    assert found.level is Level.OK
    assert found.text.startswith("Go 1.99.0 will get ")


@pytest.mark.usefixtures("empty_cache")
def test_an_empty_cache_needs_more_disk_than_a_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=11 * GIB))
    assert machine.disk().level is Level.FAIL
    monkeypatch.setattr(machine, "missing_programs", list)
    assert machine.disk().level is Level.OK


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLUXDRILL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(HarnessError, match=r"cannot be written: Not a directory.*Set FLUXDRILL_CACHE"):
        machine.disk()


@pytest.mark.parametrize(
    ("limit", "used"),
    [
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ],
)
def test_a_groups_own_limit_is_read(tmp_path: Path, limit: str, used: str) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / limit).write_text("100\n")
    (tmp_path / used).write_text("30\n")
    assert list(machine.group_rooms(tmp_path)) == [70]


def test_a_group_without_a_limit_limits_nothing(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert list(machine.group_rooms(tmp_path)) == []


def test_no_free_block_of_ports_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "FIRST", 31900)
    monkeypatch.setattr(ports, "BLOCKS", 1)
    assert "(from 31900;" in machine.ports().text
    with socket.create_server(("127.0.0.1", 31905)), pytest.raises(HarnessError, match=r"Run `fluxdrill list`"):
        machine.ports()


def test_a_runtime_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.runtime().level is Level.OK
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path / "file"))
    with pytest.raises(HarnessError, match=r"cannot be made: Not a directory.*Set FLUXDRILL_RUNTIME elsewhere"):
        machine.runtime()


def test_looking_leaves_no_lab_behind(runtime: Path) -> None:
    machine.runtime()
    assert list((runtime / "labs").iterdir()) == []


def test_leftovers_of_killed_runs_are_named_and_a_living_lab_is_not_one() -> None:
    lease = leases.open_lease()
    assert machine.leftovers() == ok("leftovers", "nothing is left of killed runs; 1 labs run")
    (leases.labs_folder() / "lab-dead").mkdir()
    text = "1 labs of killed runs are left (lab-dead)."
    assert machine.leftovers() == warn("leftovers", text, fix="Run `fluxdrill reap`.")
    leases.remove(lease.lab_id)


def test_clusters_of_killed_runs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Owned("lab-1-b", "/labs/lab-1", owner=1, owner_started=0.0, expires=0.0)
    monkeypatch.setattr(leases, "clusters", lambda: [(Docker("unix:///nowhere"), gone)])
    assert machine.leftovers().text == "1 kind clusters of killed runs are left (lab-1-b)."


def test_a_browser_is_found_by_any_of_its_names(bin_only: Path) -> None:
    assert machine.chromium().level is Level.WARN
    program(bin_only / "google-chrome")
    assert machine.chromium() == ok("Chromium", f"{bin_only}/google-chrome")


def test_the_same_facts_give_the_same_line() -> None:
    assert machine.judge_git("", backend=False) == fail("git", "There is no git on PATH.", fix="Install git.")
