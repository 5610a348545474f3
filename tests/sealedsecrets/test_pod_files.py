"""A program sees a ServiceAccount's files as in a pod; the machine it runs on never does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from fluxdrill.process import run
from fluxdrill.sealedsecrets import pod_files

FOLDER = pod_files.MOUNT_POINT / pod_files.SERVICE_ACCOUNT


def trace(root: Path) -> tuple[bool, bool]:
    """What of it the machine itself has: the folder, and a mount of `root`."""
    return FOLDER.exists(), str(root) in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("user", [0, 1000], ids=["as root", "in a user namespace"])
def test_the_program_reads_the_files_and_the_machine_does_not_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int
) -> None:
    if user == 0 and os.geteuid() != 0:
        pytest.skip("mounting without a user namespace needs root")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    authority = tmp_path / "ca.crt"
    authority.write_text("a certificate")
    pod_files.write_files(tmp_path / "pod", token="a token", authority=authority, namespace="here")
    before = trace(tmp_path)
    names = [str(FOLDER / name) for name in ("token", "ca.crt", "namespace")]
    done = run(pod_files.within(tmp_path / "pod", [str(shutil.which("cat")), *names]), deadline=20)
    assert (done.returncode, done.text) == (0, "a tokena certificatehere"), done.stderr
    assert trace(tmp_path) == before == (before[0], False)


def test_a_folder_that_is_not_there_stops_the_program_before_it_starts(tmp_path: Path) -> None:
    done = run(pod_files.within(tmp_path / "none", [str(shutil.which("echo")), "started"]), deadline=20)
    assert done.returncode != 0
    assert "started" not in done.text
