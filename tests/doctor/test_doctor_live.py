"""The command as a person runs it: its lines, its exit code, and what it says where engine or client are missing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxdrill.cluster.engine import HOST_SOCKET

pytestmark = pytest.mark.live
COMMAND = [sys.executable, "-c", "from fluxdrill.cli import main; main()", "doctor"]
UNPRIVILEGED = ["unshare", "--user", "--map-user=1000"]
"""Runs a program as a user without any rights, who sees the same files."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the command printed, as subject -> (level, text), and how it ended."""

    code: int
    lines: dict[str, tuple[str, str]]

    def levels(self, level: str) -> set[str]:
        return {subject for subject, (found, _) in self.lines.items() if found == level}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A runtime folder of its own; short: a socket's path has a limit."""
    with tempfile.TemporaryDirectory(prefix="fluxdrill-doctor-") as name:
        yield Path(name)


def doctor(*words: str, prefix: Sequence[str] = (), **environment: str) -> Said:
    done = subprocess.run(
        [*prefix, *COMMAND, *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    rows = [(line[:4].strip(), *line[6:].split(": ", 1)) for line in done.stdout.splitlines()]
    return Said(done.returncode, {subject: (level, text) for level, subject, text in rows})


def test_the_command_tells_lines_data_and_exit_code_alike(folder: Path) -> None:
    said = doctor("--json", str(folder / "found.json"))
    assert said.code == (1 if said.levels("fail") else 0)
    data = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert data["possible"] == {name: said.lines[name][0] == "ok" for name in ("embedded labs", "kind/k3d")}
    told = {one["subject"]: (one["level"], f"{one['text']} {one['fix']}".rstrip()) for one in data["findings"]}
    assert told == said.lines
    assert len(said.lines) == 26


def test_a_machine_where_no_lab_can_run_ends_with_one(folder: Path) -> None:
    (folder / "file").touch()
    said = doctor(FLUXDRILL_RUNTIME=str(folder / "file"))
    assert said.code == 1
    assert said.levels("fail") >= {"runtime folder", "embedded labs"}
    assert "Set FLUXDRILL_RUNTIME elsewhere." in said.lines["runtime folder"][1]


def test_a_dead_engines_socket_is_named_with_its_fix_and_is_no_failure(folder: Path) -> None:
    well = doctor(FLUXDRILL_RUNTIME=str(folder))
    assert "Nobody answers" not in well.lines["engine socket"][1]
    (folder / "engine").mkdir()
    path = folder / "engine" / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    said = doctor(FLUXDRILL_RUNTIME=str(folder))
    assert said.lines["engine socket"] == ("warn", f"Nobody answers at {path}. Run `fluxdrill engine down`.")
    assert str(path) not in said.lines["engine"][1]
    assert (said.code, said.levels("fail")) == (well.code, well.levels("fail"))


def test_without_a_docker_client_kind_is_not_possible_and_embedded_labs_are_as_before(folder: Path) -> None:
    before = doctor()
    for name in ("git", "go"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    said = doctor(PATH=str(folder))
    assert said.lines["docker client"][0] == "warn"
    assert "Install it" in said.lines["docker client"][1]
    level, text = said.lines["kind/k3d"]
    assert level == "warn"
    assert text.startswith("not possible here because: ")
    assert "There is no docker client on PATH" in text
    assert said.lines["embedded labs"] == before.lines["embedded labs"]
    assert said.code == before.code


@pytest.mark.skipif(
    subprocess.run([*UNPRIVILEGED, "true"], capture_output=True, check=False).returncode != 0,
    reason="user namespaces are not allowed here: allow them (kernel.unprivileged_userns_clone)",
)
def test_a_user_without_rights_is_told_who_can_start_an_engine(folder: Path) -> None:
    before = doctor(FLUXDRILL_RUNTIME=str(folder))
    said = doctor(FLUXDRILL_RUNTIME=str(folder), prefix=UNPRIVILEGED)
    assert "(without what root uses, which only root sees)" in said.lines["inotify"][1]
    assert said.code == before.code
    if HOST_SOCKET.exists():
        return  # whether this user may use it is the machine's affair
    level, text = said.lines["engine"]
    assert level == "warn"
    assert "only root can start a private one. Run as root" in text
    assert said.lines["kind/k3d"][0] == "warn"
    assert said.lines["embedded labs"] == before.lines["embedded labs"]
