"""Access to an API server: what is sent, how answers and silence become results and errors."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import (
    ApiError,
    Cause,
    ConflictError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    UnknownKindError,
    UnreachableError,
)
from fluxdrill.kube.stream import EventType
from fluxdrill.model.refs import ObjectRef
from tests.kube.conftest import TOKEN, write_kubeconfig
from tests.kube.scripted import CONFIG_MAPS, KUSTOMIZATIONS, ScriptedServer

APPS = ObjectRef(KUSTOMIZATIONS.group, "Kustomization", "flux-system", "apps")
SETTINGS = ObjectRef("", "ConfigMap", "default", "settings")
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "db", "namespace": "default"},
    "stringData": {"password": "hunter2"},
}


def config_map(name: str = "settings") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


def kustomization(name: str = "apps") -> dict[str, Any]:
    meta = {"name": name, "namespace": "flux-system"}
    return {"apiVersion": KUSTOMIZATIONS.api_version, "kind": "Kustomization", "metadata": meta}


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


def test_the_credentials_of_the_kubeconfig_are_sent(api: Api, server: ScriptedServer) -> None:
    assert api.version()["gitVersion"] == "v1.36.3"
    sent = {key.lower(): value for key, value in server.requests[-1].headers.items()}
    assert sent["authorization"] == f"Bearer {TOKEN}"


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


def test_a_list_joins_its_pages_and_completes_its_items(api: Api, server: ScriptedServer) -> None:
    server.page = 2
    for name in ("a", "b", "c", "d", "e"):
        server.put(config_map(name))
    items, version = api.list(CONFIG_MAPS)
    assert [item["metadata"]["name"] for item in items] == ["a", "b", "c", "d", "e"]
    assert {(item["apiVersion"], item["kind"]) for item in items} == {("v1", "ConfigMap")}
    assert version == str(server.version)
    assert len(server.asked("/configmaps")) == 3


def test_a_list_passes_its_selector_on_to_every_page(api: Api, server: ScriptedServer) -> None:
    server.page = 1
    server.put(config_map("a"))
    server.put(config_map("b"))
    api.list(CONFIG_MAPS, namespace="default", label_selector="app=x")
    asked = server.asked("/namespaces/default/configmaps")
    assert [one.query["labelSelector"] for one in asked] == ["app=x", "app=x"]


def test_a_list_can_be_made_at_an_exact_version(api: Api, server: ScriptedServer) -> None:
    before = server.put(config_map("a"))
    server.put(config_map("b"))
    items, _ = api.list(CONFIG_MAPS, at=before["metadata"]["resourceVersion"])
    assert [item["metadata"]["name"] for item in items] == ["a"]


def test_get_finds_an_object_by_reference_and_by_resource(api: Api, server: ScriptedServer) -> None:
    server.put(config_map())
    assert api.get(SETTINGS) == api.get(CONFIG_MAPS, namespace="default", name="settings")


def test_a_missing_object_is_named_in_the_error(api: Api) -> None:
    with pytest.raises(NotFoundError, match=r"ConfigMap/default/settings: .*not found") as caught:
        api.get(SETTINGS)
    assert (caught.value.status, caught.value.reason, caught.value.ref) == (404, "NotFound", SETTINGS)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, ForbiddenError), (403, ForbiddenError), (404, NotFoundError), (409, ConflictError), (410, GoneError),
     (422, ApiError), (500, ApiError), (503, ApiError)],
)  # fmt: skip
def test_each_status_has_its_error(api: Api, server: ScriptedServer, status: int, expected: type[ApiError]) -> None:
    server.script(status, path="/configmaps", message="because")
    with pytest.raises(expected, match="because") as caught:
        api.get(SETTINGS)
    assert type(caught.value) is expected
    assert isinstance(caught.value, HarnessError)


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_server_is_not_asked_again_behind_the_callers_back(
    api: Api, server: ScriptedServer, status: int
) -> None:
    server.script(status, path="/version", headers={"Retry-After": "7"})
    with pytest.raises(ApiError) as caught:
        api.version()
    assert caught.value.retry_after == 7
    assert len(server.asked("/version")) == 1


def test_the_data_of_a_secret_is_never_in_an_error(api: Api, server: ScriptedServer) -> None:
    causes = [{"field": "data[password]", "message": 'Invalid value: "hunter2"'}]
    for method, path in (("PATCH", "/secrets"), ("POST", "/secrets")):
        server.script(422, method=method, path=path, message='"hunter2" is invalid', details={"causes": causes})
    db = ObjectRef("", "Secret", "default", "db")
    actions: list[Callable[[], Any]] = [
        lambda: api.apply(SECRET),
        lambda: api.create(SECRET),
        lambda: api.patch(db, {"stringData": {"password": "hunter2"}}),
    ]
    for action in actions:
        with pytest.raises(ApiError, match=r"withheld.*data\[password\]") as caught:
            action()
        assert "hunter2" not in str(caught.value) + repr(caught.value) + str(vars(caught.value))


def test_the_servers_own_words_about_other_kinds_are_kept(api: Api, server: ScriptedServer) -> None:
    server.script(422, method="PATCH", path="/configmaps", message='"hunter2" is invalid')
    with pytest.raises(ApiError, match='"hunter2" is invalid'):
        api.apply(config_map())


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


def test_livez_is_true_for_a_living_server_also_without_permission(api: Api, server: ScriptedServer) -> None:
    assert api.livez()
    server.script(403, path="/livez")
    assert api.livez()


def test_livez_is_false_for_an_ill_a_silent_and_a_dead_server(api: Api, server: ScriptedServer) -> None:
    server.script(500, path="/livez", times=1)
    assert not api.livez()
    server.freeze()
    assert not api.livez(0.05)
    server.thaw()
    server.stop()
    assert not api.livez()


def test_both_forms_of_discovery_find_the_same(api: Api, server: ScriptedServer) -> None:
    by_aggregation = api.discovery.all()
    server.aggregated = False
    assert api.sibling().discovery.all() == by_aggregation
    assert KUSTOMIZATIONS in by_aggregation


def test_a_known_kind_is_not_looked_up_again(api: Api, server: ScriptedServer) -> None:
    api.resource("", "ConfigMap")
    asked = len(server.requests)
    api.resource("", "Secret")
    assert len(server.requests) == asked


def test_an_unknown_kind_is_looked_up_once_more_and_then_an_error(api: Api, server: ScriptedServer) -> None:
    api.resource("", "ConfigMap")
    with pytest.raises(UnknownKindError, match=r"serves no kind Widget in example\.org"):
        api.resource("example.org", "Widget")
    assert len(server.asked("/apis")) == 2


def test_a_kind_that_has_appeared_is_found_by_the_look_up_on_a_miss(api: Api, server: ScriptedServer) -> None:
    server.served.remove(KUSTOMIZATIONS)
    with pytest.raises(UnknownKindError):
        api.get(APPS)
    server.served.append(KUSTOMIZATIONS)
    server.put(kustomization())
    assert api.get(APPS)["metadata"]["name"] == "apps"


def test_one_broken_group_does_not_hide_the_others(api: Api, server: ScriptedServer) -> None:
    server.aggregated = False
    server.script(503, path="/apis/apiextensions.k8s.io/v1")
    assert api.resource(KUSTOMIZATIONS.group, "Kustomization") == KUSTOMIZATIONS


def test_apply_is_server_side_and_forces_by_default(api: Api, server: ScriptedServer) -> None:
    api.apply(config_map())
    api.apply(config_map(), force=False, dry_run=True, field_manager="me")
    sent = [(one.method, one.headers["Content-Type"], one.query) for one in server.asked("/settings")]
    assert sent == [
        ("PATCH", "application/apply-patch+yaml", {"fieldManager": "fluxdrill", "force": "true"}),
        ("PATCH", "application/apply-patch+yaml", {"fieldManager": "me", "force": "false", "dryRun": "All"}),
    ]


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        ("merge", "application/merge-patch+json"),
        ("json", "application/json-patch+json"),
        ("strategic", "application/strategic-merge-patch+json"),
    ],
)
def test_each_kind_of_patch_has_its_content_type(
    api: Api, server: ScriptedServer, kind: Any, content_type: str
) -> None:
    api.patch(SETTINGS, [], kind=kind, subresource="status")
    assert server.requests[-1].headers["Content-Type"] == content_type
    assert server.requests[-1].path == "/api/v1/namespaces/default/configmaps/settings/status"


def test_delete_names_the_very_object_and_how_to_propagate(api: Api, server: ScriptedServer) -> None:
    server.put(config_map())
    api.delete(SETTINGS, propagation="Foreground", uid="uid-settings")
    assert server.requests[-1].body["propagationPolicy"] == "Foreground"
    assert server.requests[-1].body["preconditions"] == {"uid": "uid-settings"}


def test_a_namespaced_object_without_a_namespace_is_a_usage_error(api: Api) -> None:
    with pytest.raises(UsageError, match="no namespace"):
        api.get(ObjectRef("", "ConfigMap", "", "settings"))


def test_a_watch_yields_what_happens_and_ends_with_the_server(api: Api, server: ScriptedServer) -> None:
    with api.watch(CONFIG_MAPS, resource_version=str(server.version)) as stream:
        server.put(config_map())
        server.bookmark(CONFIG_MAPS)
        server.remove(SETTINGS)
        server.end_watches()
        seen = [(event.type, event.resource_version) for event in stream]
    assert [type_ for type_, _ in seen] == [EventType.ADDED, EventType.DELETED, EventType.BOOKMARK]
    assert server.requests[-1].query["timeoutSeconds"] == "30"


def test_a_watch_that_breaks_is_no_end_but_an_error(api: Api, server: ScriptedServer) -> None:
    stream = api.watch(CONFIG_MAPS, resource_version=str(server.version))
    server.put(config_map())
    events = iter(stream)
    next(events)
    assert server.http is not None
    server.http.cut()
    with pytest.raises(UnreachableError, match="connection lost"):
        next(events)


def test_a_watch_that_falls_silent_is_given_up(api: Api, server: ScriptedServer) -> None:
    server.freeze()
    with pytest.raises(UnreachableError, match="no answer in time"):
        api.watch(CONFIG_MAPS, resource_version="1", timeout_seconds=0, grace=0.05)


def test_a_version_too_old_is_gone_as_an_answer_and_as_an_event(api: Api, server: ScriptedServer) -> None:
    stream = api.watch(CONFIG_MAPS, resource_version=str(server.version))
    server.emit(CONFIG_MAPS, {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}})
    with pytest.raises(GoneError):
        list(stream)
    server.compact()
    with pytest.raises(GoneError):
        api.watch(CONFIG_MAPS, resource_version="1")
