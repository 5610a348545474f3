"""Who owns a lab, and what happens to labs whose owner is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from fluxdrill.cluster import leases
from fluxdrill.cluster.leases import (
    LAB_VARIABLE,
    Lease,
    find_lease,
    labs_folder,
    marker,
    open_lease,
    orphans,
    reap,
    remove,
)
from fluxdrill.cluster.reaper import Reaper
from fluxdrill.errors import HarnessError, RefusedError, UsageError
from fluxdrill.process import run
from tests.processes import line, lives, python, running, wait_until

SLEEP = python("print('up')\nimport time\ntime.sleep(60)")
OWNER = """
import os, subprocess, sys
from fluxdrill.cluster import leases
from fluxdrill.cluster.reaper import Reaper
lease = leases.open_lease()
reaper = Reaper(lease.lab_id) if sys.argv[1:] == ["reaper"] else None
part = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, **leases.marker(lease.lab_id)})
print(lease.lab_id, part.pid, flush=True)
input()
"""


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    """Programs that end with the test."""
    with ExitStack() as stack:
        yield stack


def part_of(lab_id: str, processes: ExitStack) -> int:
    process = processes.enter_context(running(SLEEP, env=marker(lab_id)))
    assert line(process.stdout) == "up"
    return process.pid


def owned(processes: ExitStack, *arguments: str) -> tuple[subprocess.Popen[str], str, int]:
    """Start an owner of a lab with one process; return the owner, the lab's id and the process's pid."""
    owner = processes.enter_context(running([*python(OWNER), *arguments]))
    lab_id, pid = line(owner.stdout).split()
    return owner, lab_id, int(pid)


def test_a_lab_with_a_living_owner_is_left_alone(runtime: Path, processes: ExitStack) -> None:
    _, lab_id, pid = owned(processes)
    assert find_lease(lab_id).alive
    assert reap() == []
    assert lives(pid)
    assert (labs_folder() / lab_id).is_dir()


def test_a_lab_whose_owner_was_killed_is_removed_with_its_processes(runtime: Path, processes: ExitStack) -> None:
    owner, lab_id, pid = owned(processes)
    owner.kill()
    owner.wait()
    assert not find_lease(lab_id).alive
    assert [(one.lab_id, one.processes, one.folder) for one in reap()] == [(lab_id, 1, True)]
    assert not lives(pid)
    assert not (labs_folder() / lab_id).exists()


def test_a_zombie_owns_nothing(runtime: Path, processes: ExitStack) -> None:
    owner, lab_id, _ = owned(processes)
    owner.kill()  # nobody has waited for it: the pid is still there
    wait_until(lambda: not lives(owner.pid))
    assert Path(f"/proc/{owner.pid}").exists()
    assert not find_lease(lab_id).alive


def test_a_reused_pid_is_not_the_owner(runtime: Path) -> None:
    lease = open_lease()
    assert lease.alive
    assert not replace(lease, owner_started=lease.owner_started - 1).alive
    assert not replace(lease, owner=1).alive


def test_reaping_twice_and_at_once_is_safe(runtime: Path, processes: ExitStack) -> None:
    owner, _, _ = owned(processes)
    owner.kill()
    owner.wait()
    code = "from fluxdrill.cluster.leases import reap\nprint(len(reap()))"
    rivals = [processes.enter_context(running(python(code))) for _ in range(3)]
    assert [one.wait(20) for one in rivals] == [0, 0, 0]
    assert sum(int(line(one.stdout)) for one in rivals) >= 1
    assert reap() == []


def test_a_half_made_folder_goes_with_its_maker_only(runtime: Path, processes: ExitStack) -> None:
    maker = processes.enter_context(running(SLEEP))
    mine, theirs, nobody = (labs_folder() / f".new-{pid}-lab-0" for pid in (os.getpid(), maker.pid, "x"))
    for folder in (mine, theirs, nobody):
        folder.mkdir(parents=True)
    reap()
    assert (mine.exists(), theirs.exists(), nobody.exists()) == (True, True, False)
    maker.kill()
    maker.wait()
    reap()
    assert (mine.exists(), theirs.exists()) == (True, False)


def test_processes_without_a_folder_are_orphans(runtime: Path, processes: ExitStack) -> None:
    pid = part_of("lab-gone", processes)
    assert orphans() == ["lab-gone"]
    assert [(one.processes, one.folder) for one in reap()] == [(1, False)]
    assert not lives(pid)


def test_a_folder_without_a_lease_is_an_orphan(runtime: Path) -> None:
    (labs_folder() / "lab-torn").mkdir(parents=True)
    (labs_folder() / "lab-cut").mkdir()
    (labs_folder() / "lab-cut" / "lease.json").write_text("")
    assert orphans() == ["lab-cut", "lab-torn"]
    assert leases.leases() == []


def test_labs_of_another_runtime_folder_are_never_touched(
    runtime: Path, tmp_path: Path, processes: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path / "other"))
    pid = part_of("lab-other", processes)
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(runtime))
    assert reap() == []
    assert lives(pid)
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path / "other"))
    assert [one.lab_id for one in reap()] == ["lab-other"]


def test_removing_one_lab_leaves_the_other(runtime: Path, processes: ExitStack) -> None:
    one, two = open_lease(), open_lease()
    first, second = part_of(one.lab_id, processes), part_of(two.lab_id, processes)
    remove(one.lab_id)
    assert (lives(first), lives(second)) == (False, True)
    assert [lease.lab_id for lease in leases.leases()] == [two.lab_id]
    remove(two.lab_id)


def test_a_paused_process_is_removed_too(runtime: Path, processes: ExitStack) -> None:
    process = processes.enter_context(running(SLEEP, env=marker("lab-a")))
    line(process.stdout)
    process.send_signal(signal.SIGSTOP)
    remove("lab-a")
    assert not lives(process.pid)


def test_what_is_mounted_in_a_lab_is_taken_off_and_not_deleted_into(runtime: Path, tmp_path: Path) -> None:
    lease = open_lease()
    treasure, inside = tmp_path / "treasure", Path(lease.folder) / "mnt" / "deep"
    treasure.mkdir()
    (treasure / "gold").touch()
    inside.mkdir(parents=True)
    if os.getuid() != 0 or run(["mount", "--bind", treasure, inside], deadline=10).returncode != 0:
        pytest.skip("a bind mount needs root: run this test as root, or in a user namespace (unshare -Urm)")
    remove(lease.lab_id)
    assert (treasure / "gold").exists()
    assert not Path(lease.folder).exists()
    assert str(inside) not in Path("/proc/self/mounts").read_text()


def test_a_newer_lease_with_more_in_it_still_protects_its_lab(runtime: Path) -> None:
    lease = open_lease()
    path = Path(lease.folder) / "lease.json"
    path.write_text(json.dumps({**asdict(lease), "colour": "blue"}))
    assert orphans() == []
    remove(lease.lab_id)


def test_a_lab_has_a_private_folder_below_the_runtime_folder(runtime: Path) -> None:
    lease = open_lease(kept=True)
    assert Path(lease.folder) == runtime / "labs" / lease.lab_id
    assert Path(lease.folder).stat().st_mode & 0o777 == 0o700
    assert (
        find_lease(lease.lab_id)
        == lease
        == Lease(lease.lab_id, os.getpid(), lease.owner_started, lease.folder, kept=True)
    )
    remove(lease.lab_id)


def test_an_unknown_lab_is_said_with_the_known_ones(runtime: Path) -> None:
    lease = open_lease()
    with pytest.raises(UsageError, match=rf"There is no lab 'lab-x'. Known labs: {lease.lab_id}"):
        find_lease("lab-x")
    remove(lease.lab_id)
    with pytest.raises(UsageError, match="Known labs: none"):
        find_lease("lab-x")


def test_a_runtime_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path / "file"))
    with pytest.raises(HarnessError, match=r"cannot be made: Not a directory\. Set FLUXDRILL_RUNTIME elsewhere"):
        open_lease()


def test_a_runtime_folder_of_somebody_else_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(RefusedError, match="belongs to another user"):
        open_lease()


def test_a_relative_runtime_folder_is_the_same_for_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLUXDRILL_RUNTIME", "here")
    assert marker("lab-a") == {LAB_VARIABLE: str(tmp_path / "here" / "labs" / "lab-a")}


def test_the_reaper_removes_the_lab_of_a_killed_run(runtime: Path, processes: ExitStack) -> None:
    owner, lab_id, pid = owned(processes, "reaper")
    owner.kill()
    owner.wait()
    wait_until(lambda: not (labs_folder() / lab_id).exists())
    assert not lives(pid)


def test_a_dismissed_reaper_touches_nothing(runtime: Path) -> None:
    lease = open_lease()
    reaper = Reaper(lease.lab_id)
    reaper.dismiss()
    reaper.dismiss()
    assert Path(lease.folder).is_dir()
    remove(lease.lab_id)


def test_a_reaper_tries_itself_where_the_run_could_not_remove_the_lab(runtime: Path) -> None:
    lease = open_lease()

    def fail() -> None:
        with Reaper(lease.lab_id):
            raise HarnessError("it would not go")

    with pytest.raises(HarnessError, match="it would not go"):
        fail()
    assert not Path(lease.folder).exists()


def test_the_reaper_survives_the_interrupt_that_ends_the_run(runtime: Path, processes: ExitStack) -> None:
    owner, lab_id, _ = owned(processes, "reaper")
    reapers = [one for one in _children(owner.pid) if "fluxdrill.cluster.reaper" in one]
    assert len(reapers) == 1
    owner.send_signal(signal.SIGINT)
    owner.wait()
    wait_until(lambda: not (labs_folder() / lab_id).exists())


def _children(pid: int) -> list[str]:
    return [" ".join(one.cmdline()) for one in psutil.Process(pid).children()]
