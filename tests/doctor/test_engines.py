"""Container engines: each line by given facts, and that the looks see real sockets, clients and folders."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fluxdrill.cluster import engine
from fluxdrill.cluster.engine import CLEAN_PATH, Engine
from fluxdrill.cluster.nodes import machine_groups
from fluxdrill.doctor import engines
from fluxdrill.doctor.engines import DATA, Engines, Silent
from fluxdrill.doctor.finding import Finding, Level
from fluxdrill.errors import HarnessError
from fluxdrill.process import DeadlineExceededError

OWN = Engine(Path("/run/own.sock"), own=True, version="20.10.24")
HOST = Engine(Path("/run/host.sock"), own=False, version="28.2.2")
NONE = Engines()
DEAD_OWN = Silent(Path("/run/own.sock"), own=True)
DEAD_HOST = Silent(Path("/run/host.sock"), own=False)
REFUSED = replace(DEAD_HOST, refused=True)
OK, WARN = Level.OK, Level.WARN


@pytest.mark.parametrize(
    ("found", "level", "bars", "said"),
    [
        (replace(NONE, engine=OWN), OK, False, "20.10.24 answers at unix:///run/own.sock (fluxdrill's own)"),
        (replace(NONE, engine=HOST), OK, False, "28.2.2 answers at unix:///run/host.sock (this machine's own)"),
        (replace(NONE, engine=HOST, root=False, missing=("dockerd",)), OK, False, "28.2.2 answers"),
        (NONE, OK, False, "a private one is started when a cluster wants it (`fluxdrill engine up` does it now)"),
        (replace(NONE, silent=(DEAD_HOST,)), OK, False, "a private one is started"),
        (replace(NONE, root=False), WARN, True, "and only root can start a private one. Run as root, or start the host's"),
        (replace(NONE, missing=("dockerd", "runc")), WARN, True, "a private one lacks dockerd, runc. Install the engine's package (on Debian: docker.io)"),
        (replace(NONE, lacking=("CAP_SYS_ADMIN",)), WARN, True, "this root lacks CAP_SYS_ADMIN to start a private one. Give this container its host's engine"),
        (replace(NONE, root=False, silent=(REFUSED,)), WARN, True, "this user may not use the one that is there. Run as root, or add this user to the group docker."),
    ],
)  # fmt: skip
def test_which_engine_would_be_used(found: Engines, level: Level, bars: bool, said: str) -> None:
    finding = engines.judge_engine(found)
    assert (finding.level, finding.bars_nodes) == (level, bars)
    assert said in finding.line


@pytest.mark.parametrize(
    ("finding", "level", "bars", "said"),
    [
        (engines.judge_sockets(NONE), OK, False, "no socket without an engine"),
        (engines.judge_sockets(replace(NONE, engine=OWN, wanted=OWN.address)), OK, False, "no socket without an engine"),
        (engines.judge_sockets(replace(NONE, silent=(DEAD_OWN,))), WARN, False, "Nobody answers at /run/own.sock. Run `fluxdrill engine down`."),
        (engines.judge_sockets(replace(NONE, silent=(DEAD_HOST,))), WARN, False, "Nobody answers at /run/host.sock. Start the host's engine again"),
        (engines.judge_sockets(replace(NONE, silent=(REFUSED,))), WARN, False, "This user may not use /run/host.sock. Add this user"),
        (engines.judge_sockets(replace(NONE, engine=OWN, wanted="tcp://elsewhere:1")), WARN, False, "DOCKER_HOST is tcp://elsewhere:1, which fluxdrill does not follow (it uses unix:///run/own.sock). Unset it"),
        (engines.judge_sockets(replace(NONE, wanted="tcp://elsewhere:1")), WARN, False, "(it uses none)"),
        (engines.judge_client(replace(NONE, client="Docker version 28 (/bin/docker)")), OK, False, "Docker version 28"),
        (engines.judge_client(NONE), WARN, True, "There is no docker client on PATH, which kind and k3d call. Install it"),
        (engines.judge_rights(NONE), OK, False, "root, CAP_SYS_RESOURCE can be granted"),
        (engines.judge_rights(replace(NONE, root=False)), OK, False, "not root, CAP_SYS_RESOURCE can be granted"),
        (engines.judge_rights(replace(NONE, clamped=True)), OK, False, "a private engine gets the clamping runtime"),
        (engines.judge_rights(replace(NONE, clamped=True, engine=OWN, runtime="clamp")), OK, False, "the engine has the clamping runtime"),
        (engines.judge_rights(replace(NONE, clamped=True, engine=OWN, runtime="runc")), WARN, True, "started without the clamping runtime. Run `fluxdrill engine down`, then"),
        (engines.judge_rights(replace(NONE, clamped=True, engine=HOST, runtime="runc")), WARN, False, "containers end with `unable to apply caps`. In that case end that engine"),
        (engines.judge_groups(NONE), OK, False, "version 1"),
        (engines.judge_groups(replace(NONE, groups=2)), WARN, True, "version 2, which fluxdrill's node image does not know yet. Use embedded labs, or kind by hand"),
        (engines.judge_groups(replace(NONE, groups=0)), WARN, True, "No control groups are mounted at /sys/fs/cgroup. Mount it"),
        (engines.judge_engine_disk(Path("/data"), DATA), OK, False, "4.0 GiB free for the engine's data at /data"),
        (engines.judge_engine_disk(Path("/data"), DATA // 2), WARN, True, "2.0 GiB are free for the engine's data at /data, and 4.0 GiB are needed. Free some"),
        (engines.judge_engine_disk(None, 0), WARN, False, "cannot be looked at from here. See that 4.0 GiB are free"),
        (engines.judge_engine_version(NONE), OK, False, "no engine answers yet"),
        (engines.judge_engine_version(replace(NONE, engine=OWN)), OK, False, "20.10.24, and the client on PATH talks to it"),
        (engines.judge_engine_version(replace(NONE, engine=replace(OWN, version="19.03.1"))), WARN, False, "The engine is 19.03.1; none older than 20.10 was tried. Install"),
        (engines.judge_engine_version(replace(NONE, engine=OWN, objection="client is too new.")), WARN, True, "does not get on with the engine (20.10.24): client is too new. Put a client"),
    ],
)  # fmt: skip
def test_each_line_by_what_was_found(finding: Finding, level: Level, bars: bool, said: str) -> None:
    assert (finding.level, finding.bars_nodes) == (level, bars)
    assert said in finding.line


@pytest.mark.parametrize(
    ("version", "expected"),
    [("v1.36.3", (1, 36, 3)), ("20.10.24+dfsg1", (20, 10, 24)), ("v1.32.4-dispatcher", (1, 32, 4)), ("devel", ())],
)
def test_a_versions_numbers(version: str, expected: tuple[int, ...]) -> None:
    assert engines.numbers(version) == expected


@pytest.mark.parametrize(("made", "expected"), [("", 0), ("memory", 1), ("cgroup.controllers", 2)])
def test_the_version_of_control_groups_is_read_from_their_files(tmp_path: Path, made: str, expected: int) -> None:
    if made:
        (tmp_path / made).mkdir()
    assert machine_groups(tmp_path) == expected


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime folder of its own, no engine of the host, and no DOCKER_HOST; short: a socket's path has a limit."""
    with tempfile.TemporaryDirectory(prefix="fluxdrill-doctor-") as name:
        monkeypatch.setenv("FLUXDRILL_RUNTIME", name)
        monkeypatch.setenv("FLUXDRILL_CACHE", f"{name}/cache")
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        for module in (engine, engines):
            monkeypatch.setattr(module, "HOST_SOCKET", Path(name) / "host.sock")
        (Path(name) / "engine").mkdir()
        yield Path(name)


def dead(path: Path) -> Path:
    """Leave a socket as an engine that was killed leaves it."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


def slam(server: socket.socket) -> None:
    """Close every connection at once, until `server` is shut down."""
    with suppress(OSError):
        while True:
            server.accept()[0].close()


def test_where_nothing_is_nothing_is_found(folder: Path) -> None:
    found = engines.look()
    assert (found.engine, found.silent, found.wanted, found.objection) == (None, (), "", "")
    assert found.data is not None
    assert found.data.is_dir()
    assert engines.engine_disk(found).subject == "engine disk"


def test_dead_sockets_of_both_engines_are_found(folder: Path) -> None:
    own, host = dead(folder / "engine" / "docker.sock"), dead(folder / "host.sock")
    found = engines.look()
    assert found.engine is None
    assert found.silent == (Silent(own, own=True), Silent(host, own=False))


@pytest.mark.skipif(shutil.which("docker", path=CLEAN_PATH) is None, reason="docker is missing: install its client")
def test_a_socket_that_is_listened_at_by_something_else_is_no_engine(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "host.sock"))
        server.listen()
        slams = threading.Thread(target=slam, args=(server,))
        slams.start()
        try:
            found = engines.look()
        finally:
            server.shutdown(socket.SHUT_RDWR)
            slams.join()
    assert found.engine is None
    assert found.silent == (Silent(folder / "host.sock", own=False),)


def test_a_client_that_is_not_on_path_is_not_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\necho Docker version 99\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engines.look().client == f"Docker version 99 ({client})"
    client.unlink()
    assert engines.look().client == ""


def test_the_programs_of_a_private_engine_that_are_missing_are_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (engine, engines):
        monkeypatch.setattr(module, "CLEAN_PATH", str(folder))
    found = engines.look()
    assert found.missing == engine.PROGRAMS
    assert not found.startable


def test_an_engine_that_hangs_is_said_with_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang() -> None:
        raise DeadlineExceededError("docker did not end within 10 s and was killed.")

    monkeypatch.setattr(engine, "find", hang)
    with pytest.raises(
        HarnessError, match=r"The container engine hangs: docker did not .* Run `fluxdrill engine down`"
    ):
        engines.look()


def test_a_client_that_does_not_get_on_with_the_engine_is_heard(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tmp_path / "docker"
    client.write_text('#!/bin/sh\necho "Error response from daemon: client version 9.9 is too new" >&2\nexit 1\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "find", lambda: OWN)
    assert engines.look().objection == "client version 9.9 is too new"


def test_what_an_engine_says_of_itself_counts_more_than_this_machine(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tmp_path / "docker"
    client.write_text(
        '#!/bin/sh\necho \'{"CgroupVersion": "2", "DefaultRuntime": "crun", "DockerRootDir": "/no/such/folder"}\'\n'
    )
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "find", lambda: HOST)
    found = engines.look()
    assert (found.groups, found.runtime, found.data, found.objection) == (2, "crun", None, "")
