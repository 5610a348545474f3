from __future__ import annotations

import base64
import gzip
import http.client
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.sources.faults import FaultKind, ServerFault
from fluxdrill.sources.git import GitServer
from tests.sources.git_client import commit, git, start_git, wait_until

LS_REFS = b"0014command=ls-refs\n0000"
LS_REFS_TYPE = "application/x-git-upload-pack-request"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two bare repositories, the first with the branches main and next."""
    work, root = tmp_path / "work", tmp_path / "root"
    for folder in (work, root):
        folder.mkdir()
    git(work, "init", "--quiet", "--initial-branch=main")
    commit(work, "a.yaml", "a: 1\n")
    git(work, "branch", "next")
    git(root, "clone", "--quiet", "--bare", str(work), "fleet.git")
    git(root, "clone", "--quiet", "--bare", str(work), "other.git")
    return root


@pytest.fixture
def server(root: Path) -> Iterator[GitServer]:
    with GitServer(root) as server:
        yield server


def ls_remote(server: GitServer, name: str = "fleet.git") -> str:
    return git(Path.cwd(), "ls-remote", f"{server.url}/{name}")


def fails(server: GitServer, name: str = "fleet.git") -> str:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        ls_remote(server, name)
    return str(caught.value.stderr)


def post(server: GitServer, body: bytes, headers: dict[str, str], *, chunked: bool = False) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    content = iter([body[:7], body[7:]]) if chunked else body
    connection.request("POST", "/fleet.git/git-upload-pack", content, headers, encode_chunked=chunked)
    with connection.getresponse() as answer:
        found = answer.status, answer.read()
    connection.close()
    return found


def raw(server: GitServer, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(4096), b""))


def test_clone_push_and_fetch_reach_the_served_repository(server: GitServer, root: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", f"{server.url}/fleet.git", "one")
    git(tmp_path, "clone", "--quiet", f"{server.url}/fleet.git", "two")
    pushed = commit(tmp_path / "one", "b.yaml", "b: 1\n")
    git(tmp_path / "one", "push", "--quiet", "origin", "main")
    assert git(root / "fleet.git", "rev-parse", "main") == pushed
    git(tmp_path / "two", "fetch", "--quiet")
    assert git(tmp_path / "two", "rev-parse", "origin/main") == pushed


def test_every_branch_is_served_and_one_can_be_cloned_alone(server: GitServer, tmp_path: Path) -> None:
    assert {line.split()[1] for line in ls_remote(server).splitlines()} == {
        "HEAD",
        "refs/heads/main",
        "refs/heads/next",
    }
    git(tmp_path, "clone", "--quiet", "--depth=1", "--single-branch", "--branch=next", f"{server.url}/fleet.git", "one")
    assert (tmp_path / "one" / "a.yaml").read_text() == "a: 1\n"


def test_a_push_whose_body_is_chunked_arrives_whole(server: GitServer, root: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", f"{server.url}/fleet.git", "one")
    pushed = commit(tmp_path / "one", "noise", base64.b64encode(os.urandom(300_000)).decode())
    push = start_git(
        tmp_path / "one", "-c", "http.postBuffer=65536", "push", "--quiet", "origin", "main", GIT_TRACE_CURL="1"
    )
    _, trace = push.communicate(timeout=30)
    assert "transfer-encoding: chunked" in trace.lower()
    assert push.returncode == 0, trace
    assert git(root / "fleet.git", "rev-parse", "main") == pushed


def test_gzipped_and_chunked_bodies_get_the_answer_of_a_plain_one(server: GitServer) -> None:
    headers = {"Content-Type": LS_REFS_TYPE, "Git-Protocol": "version=2"}
    status, plain = post(server, LS_REFS, headers)
    assert status == 200
    assert b"refs/heads/next" in plain
    packed = gzip.compress(LS_REFS)
    assert post(server, packed, {**headers, "Content-Encoding": "gzip"}) == (200, plain)
    assert post(server, packed, {**headers, "Content-Encoding": "gzip"}, chunked=True) == (200, plain)
    assert post(server, LS_REFS, headers, chunked=True) == (200, plain)


def test_protocol_version_2_is_spoken_only_when_asked_for(server: GitServer) -> None:
    trace = {"GIT_TRACE_PACKET": "1"}
    for version, said in (("2", True), ("0", False)):
        client = start_git(
            Path.cwd(), "-c", f"protocol.version={version}", "ls-remote", f"{server.url}/fleet.git", **trace
        )
        _, packets = client.communicate(timeout=30)
        assert client.returncode == 0
        assert ("version 2" in packets) is said


def test_with_a_user_only_the_right_credentials_pass(root: Path) -> None:
    with GitServer(root, user="flux", password="s3cret") as server:
        assert "Authentication failed" in fails(server) or "could not read" in fails(server)
        for login, passes in (("flux:s3cret", True), ("flux:wrong", False), ("other:s3cret", False)):
            url = server.url.replace("://", f"://{login}@") + "/fleet.git"
            client = start_git(Path.cwd(), "ls-remote", url)
            client.communicate(timeout=30)
            assert (client.returncode == 0) is passes
        shown = repr(server.requests)
        assert "s3cret" not in shown
        assert base64.b64encode(b"flux:s3cret").decode() not in shown
        assert {record.status for record in server.requests} == {200, 401}


@pytest.mark.parametrize("header", ["Basic !!!", "Basic", "Bearer Zmx1eDpzM2NyZXQ=", ""])
def test_a_malformed_authorization_header_is_refused(root: Path, header: str) -> None:
    with GitServer(root, user="flux", password="s3cret") as server:
        assert post(server, LS_REFS, {"Content-Type": LS_REFS_TYPE, "Authorization": header})[0] == 401


def test_the_log_names_method_path_status_and_fault(server: GitServer) -> None:
    ls_remote(server)
    server.fault = ServerFault.server_error(502)
    fails(server)
    first, last = server.requests[0], server.requests[-1]
    assert (first.method, first.path, first.status, first.fault) == ("GET", "/fleet.git/info/refs", 200, None)
    assert (last.method, last.path, last.status, last.fault) == ("GET", "/fleet.git/info/refs", 502, FaultKind.STATUS)
    assert first.at <= last.at
    assert first.at.utcoffset() is not None


def test_down_refuses_connections_and_healing_opens_the_same_port(server: GitServer) -> None:
    before = server.url
    server.fault = ServerFault.down()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)
    assert "Failed to connect" in fails(server)
    assert server.requests == ()
    server.heal()
    assert "refs/heads/main" in ls_remote(server)
    assert server.url == before


def test_another_fault_after_down_opens_the_port_again(server: GitServer) -> None:
    server.fault = ServerFault.down()
    server.fault = ServerFault.server_error(500)
    assert "500" in fails(server)


def test_slow_delays_the_answer_and_healing_ends_the_delay_at_once(server: GitServer) -> None:
    server.fault = ServerFault.slow(600)
    client = start_git(Path.cwd(), "ls-remote", f"{server.url}/fleet.git")
    wait_until(lambda: server.bitten == 1)
    with pytest.raises(subprocess.TimeoutExpired):
        client.wait(0.3)
    server.heal()
    out, _ = client.communicate(timeout=10)
    assert client.returncode == 0
    assert "refs/heads/main" in out


def test_slow_ends_by_itself_after_its_seconds(server: GitServer) -> None:
    server.fault = ServerFault.slow(0.2)
    assert "refs/heads/main" in ls_remote(server)
    assert server.bitten == len(server.requests) > 0


def test_a_server_error_reaches_the_client_until_healed(server: GitServer) -> None:
    server.fault = ServerFault.server_error(503)
    assert "503" in fails(server)
    assert server.bitten == 1
    server.heal()
    assert "refs/heads/main" in ls_remote(server)
    assert server.bitten == 1


def test_revoked_credentials_are_refused_though_they_are_right(root: Path) -> None:
    with GitServer(root, user="flux", password="s3cret") as server:
        url = server.url.replace("://", "://flux:s3cret@") + "/fleet.git"
        server.fault = ServerFault.unauthorized()
        with pytest.raises(subprocess.CalledProcessError):
            git(Path.cwd(), "ls-remote", url)
        assert server.bitten > 0
        server.heal()
        assert "refs/heads/main" in git(Path.cwd(), "ls-remote", url)


def test_a_truncated_answer_breaks_the_clone_until_healed(server: GitServer, tmp_path: Path) -> None:
    server.fault = ServerFault.truncated(only="fleet.git/git-upload-pack")
    with pytest.raises(subprocess.CalledProcessError):
        git(tmp_path, "clone", "--quiet", f"{server.url}/fleet.git", "one")
    assert server.bitten > 0
    server.heal()
    git(tmp_path, "clone", "--quiet", f"{server.url}/fleet.git", "one")


def test_a_truncated_answer_is_shorter_than_it_says(server: GitServer) -> None:
    server.fault = ServerFault.truncated()
    with pytest.raises(http.client.IncompleteRead) as caught:
        post(server, LS_REFS, {"Content-Type": LS_REFS_TYPE, "Git-Protocol": "version=2"})
    assert len(caught.value.partial) > 0


def test_a_hanging_request_is_answered_only_when_healed(server: GitServer) -> None:
    server.fault = ServerFault.hang()
    client = start_git(Path.cwd(), "ls-remote", f"{server.url}/fleet.git")
    wait_until(lambda: server.bitten == 1)
    with pytest.raises(subprocess.TimeoutExpired):
        client.wait(0.3)
    server.heal()
    out, _ = client.communicate(timeout=10)
    assert "refs/heads/main" in out


def test_stopping_ends_hanging_requests_without_an_answer_and_leaves_no_thread(root: Path) -> None:
    before = set(threading.enumerate())
    with GitServer(root) as server:
        server.fault = ServerFault.hang()
        clients = [start_git(Path.cwd(), "ls-remote", f"{server.url}/fleet.git") for _ in range(3)]
        wait_until(lambda: server.bitten == 3)
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) == before
    assert [record.status for record in server.requests] == [0, 0, 0]
    for client in clients:
        client.communicate(timeout=10)
        assert client.returncode != 0


def test_stopping_ends_a_connection_that_says_nothing(root: Path) -> None:
    before = set(threading.enumerate())
    with GitServer(root) as server, socket.create_connection(("127.0.0.1", server.port), timeout=5):
        wait_until(lambda: len(threading.enumerate()) > len(before) + 1)
        server.stop()
        wait_until(lambda: set(threading.enumerate()) == before)  # one that has stopped is still listed for a moment


def test_a_fault_for_one_repository_leaves_the_others_alone(server: GitServer) -> None:
    server.fault = ServerFault.server_error(500, only="fleet.git")
    assert "500" in fails(server)
    assert "refs/heads/main" in ls_remote(server, "other.git")
    assert server.bitten == 1


@pytest.mark.parametrize(
    ("only", "path", "concerned"),
    [
        ("", "/fleet.git/info/refs", True),
        ("fleet.git", "/fleet.git/info/refs", True),
        ("/fleet.git/", "/fleet.git", True),
        ("fleet", "/fleet.git/info/refs", False),
        ("fleet.git/git-upload-pack", "/fleet.git/git-receive-pack", False),
    ],
)
def test_the_scope_of_a_fault_is_whole_path_segments(only: str, path: str, concerned: bool) -> None:
    assert ServerFault.hang(only=only).concerns(path) is concerned


def test_impossible_faults_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="not a server error"):
        ServerFault.server_error(404)
    with pytest.raises(UsageError, match="delay"):
        ServerFault.slow(0)


def slow_hook(root: Path, note: Path) -> None:
    hook = root / "fleet.git" / "hooks" / "pre-receive"
    hook.write_text(f'#!/bin/sh\necho $$ > "{note}.new"\nmv "{note}.new" "{note}"\nexec sleep 600\n')
    hook.chmod(0o755)


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def push_in_background(server: GitServer, tmp_path: Path) -> subprocess.Popen[str]:
    git(tmp_path, "clone", "--quiet", f"{server.url}/fleet.git", "one")
    commit(tmp_path / "one", "b.yaml", "b: 1\n")
    return start_git(tmp_path / "one", "push", "--quiet", "origin", "main")


def test_a_backend_past_its_deadline_is_killed_with_its_children(root: Path, tmp_path: Path) -> None:
    slow_hook(root, tmp_path / "pid")
    with GitServer(root, deadline=2) as server:
        client = push_in_background(server, tmp_path)
        _, said = client.communicate(timeout=20)
        assert "504" in said
        wait_until(lambda: not runs(int((tmp_path / "pid").read_text())))


def test_stopping_kills_running_backends_with_their_children(root: Path, tmp_path: Path) -> None:
    slow_hook(root, tmp_path / "pid")
    with GitServer(root) as server:
        client = push_in_background(server, tmp_path)
        wait_until((tmp_path / "pid").exists)
        assert runs(int((tmp_path / "pid").read_text()))
    wait_until(lambda: not runs(int((tmp_path / "pid").read_text())))
    client.communicate(timeout=10)
    assert client.returncode != 0


@pytest.mark.parametrize("path", ["nothing.git", "../work", "%2e%2e/work", "fleet.git/../../work"])
def test_what_is_not_below_the_root_is_not_found(server: GitServer, path: str) -> None:
    answer = raw(server, f"GET /{path}/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.split()[1] in {b"403", b"404", b"400", b"500"}
    assert b"refs/heads" not in answer


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (b"Content-Length: many\r\n", b""),
        (b"Content-Length: -1\r\n", b""),
        (b"Transfer-Encoding: chunked\r\n", b"zz\r\nabc\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nabcdef\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"\r\n"),
    ],
)
def test_a_malformed_body_is_answered_with_400(server: GitServer, headers: bytes, body: bytes) -> None:
    answer = raw(server, b"POST /fleet.git/git-upload-pack HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"Content-Length: 99\r\n\r\nshort", b"Transfer-Encoding: chunked\r\n\r\n9\r\nshort"])
def test_a_client_that_leaves_in_the_middle_of_its_body_is_logged_without_answer(
    server: GitServer, sent: bytes
) -> None:
    assert raw(server, b"POST /fleet.git/git-upload-pack HTTP/1.1\r\nHost: x\r\n" + sent) == b""
    wait_until(lambda: [record.status for record in server.requests] == [0])


def test_a_server_is_started_once_and_has_a_url_only_while_it_runs(root: Path) -> None:
    server = GitServer(root)
    with pytest.raises(HarnessError, match="does not run"):
        _ = server.url
    with server, pytest.raises(HarnessError, match="once"):
        server.start()
    server.stop()
    with pytest.raises(HarnessError, match="does not run"):
        server.fault = ServerFault.down()
    with pytest.raises(HarnessError, match="once"):
        server.start()


def test_a_missing_folder_is_a_usage_error_and_leaves_no_port(tmp_path: Path) -> None:
    server = GitServer(tmp_path / "nothing")
    with pytest.raises(UsageError, match="no folder"):
        server.start()
    with pytest.raises(HarnessError, match="does not run"):
        _ = server.port


def test_a_server_listens_on_the_one_address_it_is_given_and_nowhere_else(root: Path) -> None:
    with GitServer(root, host="127.0.0.2") as server:
        assert server.url == f"http://127.0.0.2:{server.port}"
        assert "refs/heads/main" in ls_remote(server)
        found = psutil.Process().net_connections(kind="tcp")  # of this process: others may have the port elsewhere
        listening = {
            one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN and one.laddr.port == server.port
        }
        assert listening == {"127.0.0.2"}


@pytest.mark.parametrize("host", ["", "0.0.0.0", "198.51.100.1"])
def test_a_server_listens_neither_everywhere_nor_where_this_machine_is_not(root: Path, host: str) -> None:
    server = GitServer(root, host=host)
    with pytest.raises(UsageError, match=r"is no one address of this machine"):
        server.start()
    with pytest.raises(HarnessError):
        _ = server.port
    server.stop()
