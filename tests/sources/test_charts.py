from __future__ import annotations

import base64
import hashlib
import http.client
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
import yaml

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.sources.charts import ChartServer, IndexFault
from fluxdrill.sources.faults import FaultKind, ServerFault
from fluxdrill.sources.standin import package

ARCHIVE = package("1.0.0")
FILE = "standin-1.0.0.tgz"


@pytest.fixture
def server() -> Iterator[ChartServer]:
    with ChartServer() as server:
        server.publish("standin", "1.0.0", ARCHIVE)
        yield server


def get(
    server: ChartServer, path: str, *, method: str = "GET", timeout: float = 10, **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request(method, f"/{path}", headers=headers)
        with connection.getresponse() as answer:
            return answer.status, answer.read()
    finally:
        connection.close()


def versions(server: ChartServer, name: str = "standin") -> list[str]:
    status, body = get(server, "index.yaml")
    assert status == 200
    return [entry["version"] for entry in yaml.safe_load(body)["entries"].get(name, [])]


def test_the_index_leads_to_each_archive_and_tells_its_digest(server: ChartServer) -> None:
    server.publish("standin", "1.1.0", package("1.1.0"))
    (old, new) = yaml.safe_load(get(server, "index.yaml")[1])["entries"]["standin"]
    assert (old["version"], new["version"]) == ("1.0.0", "1.1.0")
    status, body = get(server, old["urls"][0])
    assert (status, body) == (200, ARCHIVE)
    assert old["digest"] == hashlib.sha256(body).hexdigest()


def test_an_empty_repository_has_an_index_without_entries() -> None:
    with ChartServer() as server:
        assert yaml.safe_load(get(server, "index.yaml")[1])["entries"] == {}


def test_what_is_not_there_is_not_found_and_nothing_can_be_written(server: ChartServer) -> None:
    assert get(server, "standin-9.9.9.tgz")[0] == 404
    assert get(server, "../charts.py")[0] == 404
    assert get(server, FILE, method="POST")[0] == 405


@pytest.mark.parametrize(("name", "version"), [("../a", "1.0.0"), ("a", "1/0"), ("", "1.0.0"), ("a", "")])
def test_a_chart_whose_name_is_no_file_name_is_refused(server: ChartServer, name: str, version: str) -> None:
    with pytest.raises(UsageError, match="names no chart"):
        server.publish(name, version, b"")


def test_only_the_right_credentials_are_let_in_where_there_are_any() -> None:
    with ChartServer(user="flux", password="right") as server:
        server.publish("standin", "1.0.0", ARCHIVE)
        assert get(server, FILE)[0] == 401
        wrong, right = (base64.b64encode(f"flux:{word}".encode()).decode() for word in ("wrong", "right"))
        assert get(server, FILE, Authorization=f"Basic {wrong}")[0] == 401
        assert get(server, FILE, Authorization=f"Basic {right}") == (200, ARCHIVE)


@pytest.mark.parametrize(
    ("fault", "status"),
    [(ServerFault.server_error(503), 503), (ServerFault.unauthorized(), 401)],
    ids=["5xx", "401"],
)
def test_a_status_fault_is_answered_until_it_is_healed(server: ChartServer, fault: ServerFault, status: int) -> None:
    server.fault = fault
    assert get(server, "index.yaml")[0] == status
    assert server.bitten == 1
    server.heal()
    assert versions(server) == ["1.0.0"]


def test_a_fault_of_one_file_leaves_the_others_alone(server: ChartServer) -> None:
    server.fault = ServerFault.server_error(500, only=FILE)
    assert get(server, FILE)[0] == 500
    assert versions(server) == ["1.0.0"]


def test_a_server_that_is_down_refuses_and_comes_back_at_the_same_port(server: ChartServer) -> None:
    port = server.port
    server.fault = ServerFault.down()
    with pytest.raises(ConnectionRefusedError):
        get(server, "index.yaml")
    server.heal()
    assert server.port == port
    assert versions(server) == ["1.0.0"]


def test_a_truncated_answer_breaks_off_in_the_middle(server: ChartServer) -> None:
    server.fault = ServerFault.truncated()
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(server, FILE)
    assert 0 < len(caught.value.partial) < len(ARCHIVE)


def test_a_slow_answer_comes_late_and_whole(server: ChartServer) -> None:
    server.fault = ServerFault.slow(0.3)
    with pytest.raises(TimeoutError):
        get(server, FILE, timeout=0.1)
    assert get(server, FILE) == (200, ARCHIVE)


def test_a_hanging_server_answers_once_it_is_healed(server: ChartServer) -> None:
    server.fault = ServerFault.hang()
    found: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: found.append(get(server, FILE)))
    client.start()
    with pytest.raises(TimeoutError):  # a second client, so that the first has had its time too
        get(server, FILE, timeout=0.3)
    assert found == []
    server.heal()
    client.join(10)
    assert found == [(200, ARCHIVE)]


def test_a_version_vanishes_and_comes_back(server: ChartServer) -> None:
    server.withdraw("standin", "1.0.0")
    assert versions(server) == []
    assert get(server, FILE)[0] == 404
    server.publish("standin", "1.0.0", ARCHIVE)
    assert versions(server) == ["1.0.0"]
    assert get(server, FILE) == (200, ARCHIVE)


def test_an_index_may_promise_an_archive_that_has_vanished(server: ChartServer) -> None:
    server.withdraw("standin", "1.0.0", archive_only=True)
    assert versions(server) == ["1.0.0"]
    assert get(server, FILE)[0] == 404


def test_what_was_never_served_cannot_vanish(server: ChartServer) -> None:
    with pytest.raises(UsageError, match="is not served"):
        server.withdraw("standin", "2.0.0")


def test_a_stale_index_hides_what_came_after_and_tells_it_when_healed(server: ChartServer) -> None:
    server.index_fault = IndexFault.STALE
    server.publish("standin", "2.0.0", package("2.0.0"))
    assert versions(server) == ["1.0.0"]
    assert get(server, "standin-2.0.0.tgz")[0] == 200
    server.index_fault = None
    assert versions(server) == ["1.0.0", "2.0.0"]


def test_a_malformed_index_is_no_yaml_and_a_missing_one_is_not_found(server: ChartServer) -> None:
    server.index_fault = IndexFault.MALFORMED
    status, body = get(server, "index.yaml")
    assert status == 200
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(body)
    server.index_fault = IndexFault.MISSING
    assert get(server, "index.yaml")[0] == 404


def test_each_folder_is_a_repository_of_its_own(server: ChartServer) -> None:
    server.publish("app", "2.0.0", b"archive", folder="shop")
    entries = yaml.safe_load(get(server, "shop/index.yaml")[1])["entries"]
    assert list(entries) == ["app"]
    assert get(server, f"shop/{entries['app'][0]['urls'][0]}") == (200, b"archive")
    assert versions(server) == ["1.0.0"]
    assert get(server, "bar/index.yaml")[0] == 404
    server.withdraw("app", "2.0.0", folder="shop")
    assert yaml.safe_load(get(server, "shop/index.yaml")[1])["entries"] == {}
    server.fault = ServerFault.server_error(503, only="shop")
    assert get(server, "shop/index.yaml")[0] == 503
    assert versions(server) == ["1.0.0"]


@pytest.mark.parametrize("folder", ["../up", "a/b", "/", "Big"])
def test_a_folder_that_is_none_is_refused(server: ChartServer, folder: str) -> None:
    with pytest.raises(UsageError, match="names no chart"):
        server.publish("app", "1.0.0", b"", folder=folder)


def test_a_name_is_missing_from_the_index_once_its_last_version_is_withdrawn(server: ChartServer) -> None:
    server.publish("other", "1.0.0", b"")
    server.withdraw("standin", "1.0.0")
    assert list(yaml.safe_load(get(server, "index.yaml")[1])["entries"]) == ["other"]


def test_a_digest_moves_with_the_archive_of_a_version(server: ChartServer) -> None:
    server.publish("standin", "1.0.0", b"another")
    (entry,) = yaml.safe_load(get(server, "index.yaml")[1])["entries"]["standin"]
    assert entry["digest"] == hashlib.sha256(b"another").hexdigest()
    assert get(server, FILE) == (200, b"another")


def test_a_huge_index_is_a_valid_one_of_100_mib_that_takes_no_memory_to_serve(server: ChartServer) -> None:
    true = get(server, "index.yaml")[1]
    server.index_fault = IndexFault.HUGE
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    tracemalloc.start()
    try:
        connection.request("GET", "/index.yaml")
        with connection.getresponse() as answer:
            assert answer.read(len(true)) == true
            sizes = [len(true)]
            while block := answer.read(1 << 20):
                sizes.append(len(block))
                last = block
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        connection.close()
    assert 99 << 20 < sum(sizes) <= (100 << 20) + len(true)
    assert {line[:1] for line in last.split(b"\n")[1:-1]} == {b"#"}
    assert last.endswith(b"\n")
    assert peak < 20 << 20
    server.index_fault = None
    assert get(server, "index.yaml")[1] == true


def test_requests_are_kept_with_the_fault_they_met(server: ChartServer) -> None:
    versions(server)
    server.fault = ServerFault.server_error()
    get(server, FILE)
    kept = [(one.method, one.path, one.status, one.fault) for one in server.requests]
    assert kept == [("GET", "/index.yaml", 200, None), ("GET", f"/{FILE}", 503, FaultKind.STATUS)]


def test_a_server_that_has_stopped_holds_nothing_and_refuses_faults() -> None:
    with ChartServer() as server:
        port = server.port
    assert not [one for one in threading.enumerate() if str(port) in one.name]
    with pytest.raises(HarnessError):
        server.fault = ServerFault.hang()
