"""The store and single kinds: they come and go, are listed for safety, and are kept without what must not be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.view import Following
from fluxdrill.kube.watch import CRD, Store
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Change, Seen
from tests.kube.conftest import FAST, eventually
from tests.kube.helpers import KS, MAPS, data_of, followed, following
from tests.kube.objects import cm_ref, config_map, crd_of, crd_ref, ks_ref, kustomization
from tests.kube.scripted import CONFIG_MAPS, CRDS, KUSTOMIZATIONS, SECRETS, ScriptedServer

NewStore = Callable[..., Store]


def test_a_kind_that_is_not_served_is_picked_up_when_its_crd_is_established(
    store: Store, server: ScriptedServer
) -> None:
    server.served.remove(KUSTOMIZATIONS)
    store.follow(KS)
    eventually(store, lambda: following(store, KS) is Following.ABSENT)
    server.await_watch(CRDS)
    server.put(crd_of(KUSTOMIZATIONS, established=False))
    eventually(store, lambda: store.get(crd_ref(KUSTOMIZATIONS)))
    assert not server.asked("/kustomizations")
    server.served.append(KUSTOMIZATIONS)
    server.put(kustomization())
    server.put(crd_of(KUSTOMIZATIONS))
    eventually(store, lambda: store.get(ks_ref()))
    assert not store.losses


def test_a_kind_that_is_not_served_is_not_polled(new_store: NewStore, server: ScriptedServer) -> None:
    server.served.remove(KUSTOMIZATIONS)
    store = new_store()
    store.follow(KS)
    eventually(store, lambda: following(store, KS) is Following.ABSENT)
    asked, beats = len(server.asked("/apis")), len(server.asked("/livez"))
    server.until(lambda: len(server.asked("/livez")) >= beats + 3)
    assert len([one for one in server.asked("/apis") if one.path == "/apis"]) <= asked


def test_a_kind_whose_crd_is_deleted_is_emptied(store: Store, server: ScriptedServer) -> None:
    server.put(crd_of(KUSTOMIZATIONS))
    server.put(kustomization())
    followed(store, server, KS)
    server.await_watch(CRDS)
    server.served.remove(KUSTOMIZATIONS)
    server.remove(crd_ref(KUSTOMIZATIONS))
    eventually(store, lambda: following(store, KS) is Following.ABSENT)
    assert store.get(ks_ref()) is None
    assert store.timeline.of(ks_ref())[-1].kind is Change.DELETED
    assert not [loss for loss in store.losses if loss.why == "connection lost"]


def test_a_path_that_is_briefly_missing_empties_nothing(store: Store, server: ScriptedServer) -> None:
    # A server that has just started answers 404 for custom resources that it will serve in a moment.
    server.put(crd_of(KUSTOMIZATIONS))
    server.put(kustomization())
    followed(store, server, KS)
    server.script(404, path="/kustomizations", times=3)
    server.end_watches()
    server.await_watch(KUSTOMIZATIONS, 3)
    eventually(store, lambda: following(store, KS) is Following.LIVE)
    assert [one.kind for one in store.timeline.of(ks_ref())] == [Change.ADDED]


def safety(new_store: NewStore, server: ScriptedServer) -> Store:
    """Return a store that lists for safety whenever a watch ends."""
    store = new_store(rhythm=replace(FAST, relist=0.001))
    followed(store, server)
    return store


def test_the_safety_list_finds_and_records_what_the_watch_had_missed(
    new_store: NewStore, server: ScriptedServer
) -> None:
    server.put(config_map("changed"))
    server.put(config_map("removed"))
    store = safety(new_store, server)
    server.put(config_map("changed", colour="red"), shown=False)
    server.put(config_map("added"), shown=False)
    server.remove(cm_ref("removed"), shown=False)
    server.bookmark(CONFIG_MAPS)  # the watch claims to have come that far
    server.end_watches()
    eventually(store, lambda: len(store.missed) == 3 and store.get(cm_ref("added")))
    assert [(one.ref.name, one.change) for one in store.missed] == [
        ("added", Change.ADDED),
        ("changed", Change.MODIFIED),
        ("removed", Change.DELETED),
    ]
    assert data_of(store, "changed") == {"colour": "red"}
    assert store.get(cm_ref("removed")) is None
    assert {one.seen for one in store.timeline.of(cm_ref("added"))} == {Seen.LIST}


def test_what_happened_between_watch_and_safety_list_is_not_called_missed(
    new_store: NewStore, server: ScriptedServer
) -> None:
    store = safety(new_store, server)
    server.put(config_map("late"), shown=False)  # no bookmark: the watch makes no claim about it
    server.end_watches()
    eventually(store, lambda: store.get(cm_ref("late")))
    assert not store.missed


def test_a_compacted_past_accuses_nobody(new_store: NewStore, server: ScriptedServer) -> None:
    store = safety(new_store, server)
    server.put(config_map("unseen"), shown=False)
    server.script(410, path="/configmaps", watch=False).matches = lambda _, target: "Exact" in target
    server.end_watches()
    eventually(store, lambda: store.get(cm_ref("unseen")))
    assert not store.missed


def test_a_secret_is_stored_without_its_data(store: Store, server: ScriptedServer) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "db", "namespace": "default", "annotations": {"a": "b"}},
        "data": {"password": "aHVudGVyMg=="},
    }
    server.put(secret)
    followed(store, server, GroupKind.of(SECRETS))
    stored = store.get(ObjectRef("", "Secret", "default", "db"))
    assert stored is not None
    assert set(stored["digests"]) == {"password"}
    assert "aHVudGVyMg" not in repr(stored) + repr(store.timeline.to_records())


def test_managed_fields_are_kept_only_on_request(new_store: NewStore, server: ScriptedServer) -> None:
    made = config_map()
    made["metadata"]["managedFields"] = [{"manager": "kustomize-controller"}]
    server.put(made)
    lean, full = new_store(), new_store()
    lean.follow(MAPS)
    full.follow(MAPS, keep_managed_fields=True)
    for store in (lean, full):
        eventually(store, lambda store=store: store.get(cm_ref()))  # type: ignore[misc]
    assert "managedFields" not in (lean.get(cm_ref()) or {})["metadata"]
    assert (full.get(cm_ref()) or {})["metadata"]["managedFields"] == [{"manager": "kustomize-controller"}]


def test_a_crd_is_stored_without_its_schemas(store: Store, server: ScriptedServer) -> None:
    server.put(crd_of(KUSTOMIZATIONS))
    followed(store, server, CRD)
    stored = store.get(crd_ref(KUSTOMIZATIONS))
    assert stored is not None
    assert stored["spec"]["versions"] == [{"name": "v1", "served": True, "storage": True}]
