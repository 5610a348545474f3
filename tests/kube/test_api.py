"""Access to an API server: what is sent, how answers and silence become results and errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    GoneError,
    NotFoundError,
    UnknownKindError,
    UnreachableError,
)
from fluxdrill.kube.stream import EventType
from fluxdrill.model.refs import ObjectRef
from tests.kube.conftest import TOKEN
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


def test_the_credentials_of_the_kubeconfig_are_sent(api: Api, server: ScriptedServer) -> None:
    assert api.version()["gitVersion"] == "v1.36.3"
    sent = {key.lower(): value for key, value in server.requests[-1].headers.items()}
    assert sent["authorization"] == f"Bearer {TOKEN}"


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
