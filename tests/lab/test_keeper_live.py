"""Labs for hand use, through the real command line: up, list, down, reap."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fluxdrill.cluster.leases import Lease, find_lease, labs_folder, leases, open_lease, remove
from fluxdrill.kube.api import Api
from fluxdrill.model.refs import ObjectRef
from fluxdrill.process import Completed, run
from tests.processes import lives, running, wait_until

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("runtime")]

FLUX_SYSTEM = ObjectRef("", "Namespace", "", "flux-system")


def fluxdrill(*arguments: str) -> Completed:
    """Run the command line in this test's runtime folder."""
    code = "import sys; from fluxdrill.cli import main; sys.argv[0] = 'fluxdrill'; main()"
    environment = {**os.environ, "COLUMNS": "400", "TERM": "dumb"}
    return run([sys.executable, "-c", code, *arguments], deadline=90, env=environment)


def up() -> Lease:
    done = fluxdrill("up")
    assert done.returncode == 0, done.stderr
    found = re.search(r"export KUBECONFIG=(\S+)", done.text)
    assert found is not None, done.text
    with Api.connect(Path(found[1])) as api:
        assert api.get(FLUX_SYSTEM)["metadata"]["labels"]["fluxdrill.dev/lab"] in done.text
    return find_lease(Path(found[1]).parent.parent.name)


def processes_of(lease: Lease) -> list[int]:
    """Return the pids that the lab's folder is named to, found without fluxdrill's own search."""
    word = str(lease.folder).encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if word in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def nothing_left(lease: Lease) -> Callable[[], bool]:
    return lambda: not processes_of(lease) and not Path(lease.folder).exists() and not lives(lease.owner)


@pytest.mark.ci
def test_a_lab_that_was_put_up_works_is_listed_and_goes_down_without_a_trace() -> None:
    lease = up()
    assert len(processes_of(lease)) == 12
    listed = fluxdrill("list").text
    assert re.search(rf"{lease.lab_id} +pid {lease.owner} +kept +{lease.folder}/kubeconfig/admin", listed), listed
    assert fluxdrill("reap").text == "Nothing to remove.\n"
    assert lives(lease.owner)
    done = fluxdrill("down", lease.lab_id)
    assert (done.returncode, done.text) == (0, f"Lab {lease.lab_id} is gone.\n")
    assert nothing_left(lease)()
    assert fluxdrill("list").text == "There is no lab.\n"


def test_the_lab_of_a_killed_keeper_is_removed_by_its_reaper() -> None:
    lease = up()
    os.kill(lease.owner, signal.SIGKILL)
    wait_until(nothing_left(lease), within=20)


def test_the_lab_of_a_killed_keeper_and_reaper_is_listed_as_gone_and_reaped() -> None:
    lease = up()
    for one in psutil.Process(lease.owner).children():
        if "fluxdrill.cluster.reaper" in one.cmdline():
            one.kill()
    os.kill(lease.owner, signal.SIGKILL)
    wait_until(lambda: not lives(lease.owner))
    assert re.search(rf"{lease.lab_id} +gone: run `fluxdrill reap`", fluxdrill("list").text)
    done = fluxdrill("reap")
    assert re.fullmatch(rf"Removed {lease.lab_id}: 12 processes, its folder\.\n", done.text), done.text
    assert nothing_left(lease)()
    assert fluxdrill("reap").text == "Nothing to remove.\n"


def test_a_paused_keeper_goes_down_too(monkeypatch: pytest.MonkeyPatch) -> None:
    lease = up()
    os.kill(lease.owner, signal.SIGSTOP)
    code = "import fluxdrill.lab.keeper as keeper, sys; keeper.DOWN_DEADLINE = 1; keeper.down(sys.argv[1])"
    assert run([sys.executable, "-c", code, lease.lab_id], deadline=60).returncode == 0
    assert nothing_left(lease)()


def test_a_kept_lab_ends_by_itself_when_its_time_is_over() -> None:
    reading, writing = os.pipe()
    with running([sys.executable, "-c", _KEEPER, str(writing)], fds=(writing,)) as keeper:
        os.close(writing)
        with os.fdopen(reading) as told:
            assert '"ready": "lab-' in told.read()
        (lease,) = leases()
        assert keeper.wait(30) == 0
        assert nothing_left(lease)()


_KEEPER = "import sys; from fluxdrill.lab.keeper import main; main(int(sys.argv[1]), 0.0003)"


def test_down_refuses_the_lab_of_a_living_run_and_an_unknown_one() -> None:
    lease = open_lease()
    done = fluxdrill("down", lease.lab_id)
    assert (done.returncode, done.text) == (4, "")
    assert f"{lease.lab_id} belongs to a run that lives (pid {os.getpid()})" in done.stderr
    assert (labs_folder() / lease.lab_id).is_dir()
    assert "There is no kept lab." in fluxdrill("down", "all").text
    remove(lease.lab_id)
    done = fluxdrill("down", "lab-none")
    assert done.returncode == 4
    assert "There is no lab 'lab-none'" in done.stderr


def test_a_lab_that_does_not_start_is_told_with_the_reason_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "etcd").write_text(
        "#!/bin/sh\necho etcd Version: 3.6.14\n[ $# -lt 2 ] || { echo no space left >&2; exit 9; }\n"
    )
    (broken / "etcd").chmod(0o755)
    monkeypatch.setenv("FLUXDRILL_BIN", str(broken))
    done = fluxdrill("up")
    assert done.returncode == 3, done.text + done.stderr
    assert "etcd ended while starting (exit code 9)" in done.stderr
    assert "no space left" in done.stderr
    wait_until(lambda: not list(labs_folder().glob("*")))
