"""The way to an API server: credentials, TLS, deadlines, and connections that are torn off."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.cluster.certificates import Authority
from fluxdrill.cluster.kubeconfig import write_kubeconfig as write_cluster_kubeconfig
from fluxdrill.errors import UsageError
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import (
    Cause,
    UnreachableError,
)
from fluxdrill.kube.transport import close_half_made
from tests.kube.conftest import TOKEN, write_kubeconfig
from tests.kube.scripted import ScriptedServer


def run(action: Callable[[], Any]) -> tuple[threading.Thread, list[Exception]]:
    """Run an action that must fail in a thread, and return where its error lands."""
    errors: list[Exception] = []

    def catch() -> None:
        try:
            action()
        except UnreachableError as error:
            errors.append(error)

    thread = threading.Thread(target=catch)
    thread.start()
    return thread, errors


@pytest.fixture
def mute(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A port on which connections are made by the kernel, and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_proxy_of_the_environment_is_not_asked_for_a_server_on_loopback(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Api.connect(write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{server.port}")) as api:
        assert api.livez()


def test_importing_the_api_does_not_load_the_official_client() -> None:
    code = "import sys, fluxdrill.kube.wait; sys.exit(any(name.startswith('kubernetes') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("content", ["", "{", '{"kind": "Config"}'])
def test_a_kubeconfig_that_cannot_be_used_is_a_usage_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "config").write_text(content)
    with pytest.raises(UsageError, match="cannot be used"):
        Api.connect(tmp_path / "config")


def test_a_missing_kubeconfig_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        Api.connect(tmp_path / "none")


def test_a_refused_connection_is_unreachable(api: Api, server: ScriptedServer) -> None:
    server.stop()
    with pytest.raises(UnreachableError, match=r"/version: connection refused") as caught:
        api.version()
    assert caught.value.cause is Cause.REFUSED
    assert TOKEN not in str(caught.value)


def test_a_silent_server_is_given_up_at_the_deadline(api: Api, server: ScriptedServer) -> None:
    server.freeze()
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="no answer in time") as caught:
        api.version(deadline=0.1)
    assert 0.1 <= time.monotonic() - started < 1
    assert caught.value.cause is Cause.TIMEOUT
    assert len(server.asked("/version")) == 1


def test_plain_text_where_tls_was_expected_is_a_tls_failure(server: ScriptedServer, tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", f"https://127.0.0.1:{server.port}")
    with Api.connect(path) as api, pytest.raises(UnreachableError) as caught:
        api.version()
    assert caught.value.cause is Cause.TLS


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{", Cause.RESET),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{", Cause.RESET),
        (b"", Cause.RESET),
    ],
    ids=["cut off", "broken JSON", "no answer at all"],
)
def test_half_an_answer_is_no_answer(
    mute: tuple[socket.socket, str], tmp_path: Path, answer: bytes, cause: Cause
) -> None:
    listener, address = mute
    with Api.connect(write_kubeconfig(tmp_path / "config", f"http://{address}")) as api:
        thread, errors = run(api.version)
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)
        thread.join(5)
    assert [error.cause for error in errors if isinstance(error, UnreachableError)] == [cause]


def test_an_answer_that_drips_is_cut_off_at_the_deadline(mute: tuple[socket.socket, str], tmp_path: Path) -> None:
    listener, address = mute
    with Api.connect(write_kubeconfig(tmp_path / "config", f"http://{address}")) as api:
        thread, errors = run(lambda: api.version(deadline=0.2))
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n")
            for _ in range(50):
                if not thread.is_alive():
                    break
                thread.join(0.02)
                connection.sendall(b" ")
        thread.join(5)
    assert [error.cause for error in errors if isinstance(error, UnreachableError)] == [Cause.TIMEOUT]


@pytest.mark.parametrize("scheme", ["http", "https"], ids=["waiting for an answer", "in the TLS handshake"])
def test_close_ends_a_request_that_hangs(mute: tuple[socket.socket, str], tmp_path: Path, scheme: str) -> None:
    listener, address = mute
    api = Api.connect(write_kubeconfig(tmp_path / "config", f"{scheme}://{address}"), deadline=60)
    thread, errors = run(api.version)
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(1)  # the request, or the TLS greeting, is on its way
        started = time.monotonic()
        api.close()
        thread.join(5)
    assert time.monotonic() - started < 1
    assert [error.cause for error in errors if isinstance(error, UnreachableError)] == [Cause.CLOSED]


def test_a_closed_api_answers_nothing_more_but_its_sibling_does(api: Api) -> None:
    with api.sibling() as twin:
        api.close()
        with pytest.raises(UnreachableError, match="closed by fluxdrill"):
            api.version()
        assert twin.livez()


def test_reset_breaks_what_hangs_and_lets_the_next_call_through(api: Api, server: ScriptedServer) -> None:
    server.freeze()
    thread, errors = run(lambda: api.request("GET", "/version", deadline=30))
    server.until(lambda: server.asked("/version"))
    api.reset_connections()
    thread.join(5)
    assert [error.cause for error in errors if isinstance(error, UnreachableError)] == [Cause.RESET]
    server.thaw()
    assert api.livez()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority of its own."""
    return Authority(tmp_path / "pki")


@pytest.fixture
def tls_server(server: ScriptedServer, authority: Authority) -> ScriptedServer:
    """A server that speaks TLS and wants a client certificate."""
    server.stop()
    pair = authority.server("server")
    server.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.files.certificate)
    server.tls.load_cert_chain(pair.certificate, pair.key)
    server.tls.verify_mode = ssl.CERT_REQUIRED
    server.start()
    return server


def test_a_client_certificate_is_shown_and_no_key_is_left_on_the_disk(
    tls_server: ScriptedServer, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    identity = authority.client("admin", common_name="admin")
    url = f"https://127.0.0.1:{tls_server.port}"
    path = write_cluster_kubeconfig(
        tmp_path / "config", server=url, authority=authority.files.certificate, identity=identity
    )
    with Api.connect(path) as api, Api.connect(path) as other, api.sibling() as twin:
        assert list((tmp_path / "temporary").iterdir()) == []
        assert all(one.version()["major"] == "1" for one in (api, other, twin))


def test_a_server_of_another_authority_is_not_trusted(tls_server: ScriptedServer, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    url = f"https://127.0.0.1:{tls_server.port}"
    path = write_cluster_kubeconfig(
        tmp_path / "config", server=url, authority=other.files.certificate, identity=other.client("a", common_name="a")
    )
    with Api.connect(path) as api, pytest.raises(UnreachableError) as caught:
        api.version()
    assert caught.value.cause is Cause.TLS


def test_a_peer_that_resets_before_the_handshake_leaves_no_socket_open() -> None:
    """CPython raises out of wrap_socket without closing what it made; a warning of that kind is an error here."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(ConnectionResetError) as caught:
            ssl.create_default_context().wrap_socket(connection, server_hostname="x")
        made = [
            entry.locals["self"] for entry in caught.traceback if isinstance(entry.locals.get("self"), ssl.SSLSocket)
        ]
        assert made, "this Python closes it by itself: close_half_made can go"
        close_half_made(caught.value)
        assert {one.fileno() for one in made} == {-1}
