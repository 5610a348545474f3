"""The refusing proxy: every way out is refused and recorded, loopback is not touched."""

from __future__ import annotations

import http.server
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fluxdrill.process import run
from fluxdrill.sources.outside import Outside
from tests.processes import python

NAME = "outside.invalid"


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as proxy:
        yield proxy


@contextmanager
def connected(outside: Outside) -> Iterator[socket.socket]:
    host, _, port = outside.environment["HTTP_PROXY"].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        yield client


def talk(outside: Outside, request: bytes) -> bytes:
    with connected(outside) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(4096), b""))


def seen(outside: Outside) -> list[tuple[str, int, str]]:
    return [(one.host, one.port, one.protocol) for one in outside.wanted]


def fetch(url: str, environment: dict[str, str]) -> str:
    """Fetch as a program of its own that knows the proxy from its environment."""
    code = "import sys, urllib.request\nprint(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"
    done = run([*python(code), url], deadline=20, env=environment)
    return done.text + done.stderr


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"http://{NAME}/charts/index.yaml", (NAME, 80, "http")),
        (f"http://{NAME}:8080/", (NAME, 8080, "http")),
        (f"https://{NAME}/repo.git", (NAME, 443, "https")),
        (f"https://{NAME}:8443/", (NAME, 8443, "https")),
    ],
)
def test_a_program_gets_a_refusal_and_the_host_is_recorded(
    outside: Outside, url: str, expected: tuple[str, int, str]
) -> None:
    said = fetch(url, outside.environment)
    assert re.search(r"403:? Forbidden", said), "the proxy's answer, so that no name was looked up"
    assert seen(outside) == [expected]


@contextmanager
def greeting() -> Iterator[str]:
    """Serve "hello" on loopback and yield its URL."""

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_loopback_is_reached_past_the_proxy(outside: Outside) -> None:
    with greeting() as url:
        assert fetch(url, outside.environment) == "hello\n"
    assert seen(outside) == []


def test_without_no_proxy_loopback_would_be_refused_as_well(outside: Outside) -> None:
    with greeting() as url:
        assert re.search(r"403:? Forbidden", fetch(url, outside.environment | {"NO_PROXY": "", "no_proxy": ""}))
    assert [host for host, _, _ in seen(outside)] == ["127.0.0.1"]


def test_socks_by_name_is_refused_and_recorded(outside: Outside) -> None:
    with connected(outside) as client:
        client.sendall(b"\x05\x01\x00")
        assert client.recv(2) == b"\x05\x00"
        client.sendall(b"\x05\x01\x00\x03" + bytes([len(NAME)]) + NAME.encode() + (22).to_bytes(2, "big"))
        assert client.recv(10) == b"\x05\x02\x00\x01" + bytes(6), "not allowed by ruleset"
    assert seen(outside) == [(NAME, 22, "socks")]


@pytest.mark.parametrize(
    ("address", "host"), [(b"\x01\xc0\x00\x02\x09", "192.0.2.9"), (b"\x04" + bytes(15) + b"\x01", "::1")]
)
def test_socks_by_address_is_recorded_as_the_address(outside: Outside, address: bytes, host: str) -> None:
    answer = talk(outside, b"\x05\x01\x00" + b"\x05\x01\x00" + address + b"\x00\x50")
    assert answer[2:4] == b"\x05\x02"
    assert seen(outside) == [(host, 80, "socks")]


def test_a_large_request_still_gets_the_refusal(outside: Outside) -> None:
    body = b"x" * 500_000
    asked = f"POST http://{NAME}/ HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = talk(outside, asked.encode() + body)
    assert answer.startswith(b"HTTP/1.1 403 ")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert body == b"fluxdrill: labs reach no outside\n"


@pytest.mark.parametrize(
    "request_", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x05\x01", b"CONNECT x:y HTTP/1.1\r\n\r\n"]
)
def test_what_makes_no_sense_is_recorded_too(outside: Outside, request_: bytes) -> None:
    with connected(outside) as client:
        client.sendall(request_)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    assert seen(outside) == [("?", 0, "unknown")]


def test_a_connection_without_a_word_is_no_attempt(outside: Outside) -> None:
    with connected(outside) as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert seen(outside) == []


def test_hosts_are_counted_most_wanted_first(outside: Outside) -> None:
    for host in ("b.invalid", "a.invalid", "b.invalid"):
        talk(outside, f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
    assert list(outside.hosts().items()) == [("b.invalid:443", 2), ("a.invalid:443", 1)]
    first, second, _ = outside.wanted
    assert second.at.since(first.at) >= 0


def test_close_frees_the_port_and_may_come_twice() -> None:
    with Outside() as proxy:
        port = int(proxy.environment["HTTP_PROXY"].rpartition(":")[2])
    proxy.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    with Outside(port=port) as again:
        assert again.environment["HTTP_PROXY"] == f"http://127.0.0.1:{port}"


def test_the_environment_holds_both_spellings(outside: Outside) -> None:
    upper = {name: value for name, value in outside.environment.items() if name.isupper()}
    assert set(upper) == {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
    assert {name.lower(): value for name, value in upper.items()} == {
        name: value for name, value in outside.environment.items() if name.islower()
    }
    with pytest.raises(urllib.error.URLError):
        urllib.request.build_opener(urllib.request.ProxyHandler({"http": upper["HTTP_PROXY"]})).open(f"http://{NAME}/")
