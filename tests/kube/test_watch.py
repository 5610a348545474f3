"""The store against a misbehaving API server: it notices, it recovers, it never pretends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fluxdrill.errors import UsageError
from fluxdrill.kube.api import Api
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.view import Following
from fluxdrill.kube.watch import CRD, Pace, Rhythm, Store
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Change, Seen
from tests.kube.conftest import FAST, PACE, eventually
from tests.kube.objects import cm_ref, config_map, crd_of, crd_ref, ks_ref, kustomization
from tests.kube.scripted import CONFIG_MAPS, CRDS, KUSTOMIZATIONS, SECRETS, ScriptedServer

MAPS = GroupKind("", "ConfigMap")
KS = GroupKind.of(KUSTOMIZATIONS)
NewStore = Callable[..., Store]


def following(store: Store, kind: GroupKind) -> Following:
    return store.view().part(kind).following


def followed(store: Store, server: ScriptedServer, kind: GroupKind = MAPS) -> None:
    """Follow a kind and wait until its watch is open."""
    store.follow(kind)
    resource = next(one for one in server.served if GroupKind.of(one) == kind)
    server.await_watch(resource)
    eventually(store, lambda: following(store, kind) is Following.LIVE)


def lists(server: ScriptedServer, resource: Any = CONFIG_MAPS) -> int:
    return len(server.asked(resource.path(), watch=False))


def watches(server: ScriptedServer, resource: Any = CONFIG_MAPS) -> int:
    return len(server.asked(resource.path(), watch=True))


def data_of(store: Store, name: str = "settings") -> Any:
    return (store.get(cm_ref(name)) or {}).get("data")


def test_what_exists_is_listed_and_what_happens_is_seen(store: Store, server: ScriptedServer) -> None:
    server.put(config_map("old"))
    followed(store, server)
    server.put(config_map("new", colour="red"))
    server.remove(cm_ref("old"))
    eventually(store, lambda: [obj["metadata"]["name"] for obj in store.list(MAPS)] == ["new"])
    assert store.get(cm_ref("old")) is None
    assert [(one.ref.name, one.kind, one.seen) for one in store.timeline.transitions] == [
        ("old", Change.ADDED, Seen.LIST),
        ("new", Change.ADDED, Seen.WATCH),
        ("old", Change.DELETED, Seen.WATCH),
    ]


def test_following_twice_makes_one_watch(store: Store, server: ScriptedServer) -> None:
    followed(store, server)
    store.follow(CONFIG_MAPS)
    store.follow(cm_ref(), "default")
    server.put(config_map())
    eventually(store, lambda: store.get(cm_ref()))
    assert (lists(server), watches(server)) == (1, 1)


def test_one_namespace_can_be_followed_alone_but_not_widened(store: Store, server: ScriptedServer) -> None:
    server.put(config_map("here", "mine"))
    server.put(config_map("there", "other"))
    store.follow(MAPS, "mine")
    eventually(store, lambda: store.view().part(MAPS, "mine").objects)
    assert [obj["metadata"]["name"] for obj in store.list(MAPS, "mine")] == ["here"]
    assert server.asked("/namespaces/mine/configmaps")
    with pytest.raises(UsageError, match="single namespaces"):
        store.follow(MAPS)


def test_a_watch_that_the_server_ends_goes_on_where_it_was(store: Store, server: ScriptedServer) -> None:
    followed(store, server)
    made = server.put(config_map())
    eventually(store, lambda: store.get(cm_ref()))
    server.end_watches()
    server.await_watch(CONFIG_MAPS, 2)
    assert server.asked("/configmaps", watch=True)[-1].query["resourceVersion"] == made["metadata"]["resourceVersion"]
    server.put(config_map(colour="red"))
    eventually(store, lambda: data_of(store) == {"colour": "red"})
    assert lists(server) == 1
    assert not store.losses


def test_a_bookmark_moves_the_position_and_nothing_else(store: Store, server: ScriptedServer) -> None:
    followed(store, server)
    server.put(kustomization())  # another kind moves the server's version on
    server.bookmark(CONFIG_MAPS)
    server.end_watches()
    server.await_watch(CONFIG_MAPS, 2)
    assert server.asked("/configmaps", watch=True)[-1].query["resourceVersion"] == str(server.version)
    assert not store.list(MAPS)


def test_a_version_too_old_for_a_watch_is_answered_by_a_new_list(store: Store, server: ScriptedServer) -> None:
    followed(store, server)
    server.put(config_map("unseen"), shown=False)
    server.compact()
    server.end_watches()
    eventually(store, lambda: store.get(cm_ref("unseen")))
    assert lists(server) == 2
    assert [loss.why for loss in store.losses if loss.what == "ConfigMap"] == ["the watched version is too old"]
    assert following(store, MAPS) is Following.LIVE


def test_a_version_too_old_in_the_middle_of_a_watch_is_answered_by_a_new_list(
    store: Store, server: ScriptedServer
) -> None:
    followed(store, server)
    server.put(config_map("unseen"), shown=False)
    error = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    server.emit(CONFIG_MAPS, {"type": "ERROR", "object": error})
    eventually(store, lambda: store.get(cm_ref("unseen")))
    assert lists(server) == 2


def test_an_error_in_the_middle_of_a_watch_is_survived(store: Store, server: ScriptedServer) -> None:
    followed(store, server)
    server.emit(CONFIG_MAPS, {"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is away"}})
    server.await_watch(CONFIG_MAPS, 2)
    assert [loss.why for loss in store.losses] == ["etcd is away (500)"]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_errors_of_the_server_are_asked_again_with_growing_pauses(
    store: Store, server: ScriptedServer, status: int
) -> None:
    server.script(status, path="/configmaps", times=3)
    server.put(config_map())
    store.follow(MAPS)
    eventually(store, lambda: store.get(cm_ref()))
    assert lists(server) == 4


def test_retry_after_is_kept_to(store: Store, server: ScriptedServer) -> None:
    server.script(429, path="/configmaps", times=1, headers={"Retry-After": "1"})
    started = time.monotonic()
    store.follow(MAPS)
    eventually(store, lambda: following(store, MAPS) is Following.LIVE)
    assert time.monotonic() - started >= 1


def test_a_server_that_ends_every_watch_at_once_is_not_flooded(new_store: NewStore, server: ScriptedServer) -> None:
    store = new_store(rhythm=replace(FAST, first_pause=0.2, longest_pause=0.2))
    server.script(200, path="/configmaps", watch=True, text="")
    started = time.monotonic()
    store.follow(MAPS)
    server.until(lambda: watches(server) >= 3)
    assert time.monotonic() - started > 0.2
    assert not store.losses


def test_a_silent_server_is_a_gap_and_its_end_is_caught_up_with(store: Store, server: ScriptedServer) -> None:
    followed(store, server)
    server.freeze()
    eventually(store, lambda: store.view().gap)
    assert following(store, MAPS) is Following.STALE
    assert not store.view().decidable([MAPS])
    server.put(config_map())
    server.thaw()
    eventually(store, lambda: store.view().decidable([MAPS]))
    assert store.get(cm_ref()) is not None
    (gap,) = store.gaps
    assert gap.why == "no answer in time"
    assert gap.end is not None
    assert gap.last_heard is not None
    assert gap.last_heard.monotonic < gap.start.monotonic < gap.end.monotonic


def test_a_server_that_is_away_and_back_is_a_gap_from_the_first_broken_connection_on(
    store: Store, server: ScriptedServer
) -> None:
    followed(store, server)
    before = store.clock.now()
    server.stop()
    eventually(store, lambda: store.view().gap)
    seen = store.clock.now()
    server.put(config_map())
    server.start()
    eventually(store, lambda: store.view().decidable([MAPS]))
    assert store.get(cm_ref()) is not None
    (gap,) = store.gaps
    assert before.monotonic <= gap.start.monotonic <= seen.monotonic
    assert any(loss.what == "ConfigMap" for loss in store.losses)
    assert gap.seconds is not None


def test_a_long_pause_is_cut_short_when_the_server_is_back(new_store: NewStore, server: ScriptedServer) -> None:
    store = new_store(rhythm=replace(FAST, first_pause=60, longest_pause=60))
    followed(store, server)
    server.stop()
    eventually(store, lambda: store.view().gap)
    server.put(config_map())
    server.start()
    eventually(store, lambda: store.get(cm_ref()), seconds=10)


def test_without_a_heartbeat_that_says_so_a_long_pause_is_kept_to(new_store: NewStore, server: ScriptedServer) -> None:
    store = new_store(rhythm=replace(FAST, first_pause=60, longest_pause=60))
    server.script(503, path="/configmaps", times=1)
    store.follow(MAPS)
    eventually(store, lambda: store.view().part(MAPS).why)
    beats = len(server.asked("/livez"))
    server.until(lambda: len(server.asked("/livez")) >= beats + 3)
    assert lists(server) == 1


@pytest.mark.parametrize(("status", "silent"), [(500, True), (429, False), (403, False)])
def test_only_a_server_that_calls_itself_unfit_is_taken_for_away(
    store: Store, server: ScriptedServer, status: int, silent: bool
) -> None:
    eventually(store, lambda: store.view().heard)
    server.script(status, path="/livez")
    asked = len(server.asked("/livez"))
    server.until(lambda: len(server.asked("/livez")) >= asked + 3)
    assert [gap.why for gap in store.gaps] == (["answers 500"] if silent else [])


def test_a_watch_on_a_dead_connection_is_given_up(new_store: NewStore, server: ScriptedServer) -> None:
    # The scripted server never ends a watch by itself: as if the network had swallowed the end.
    store = new_store(rhythm=replace(FAST, window=0, grace=0.1))
    followed(store, server)
    server.put(config_map("unseen"), shown=False)
    eventually(store, lambda: store.get(cm_ref("unseen")))
    assert {loss.why for loss in store.losses} == {"no answer in time"}
    assert not store.gaps


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


def test_a_refusal_that_lasts_is_the_truth_and_a_short_one_is_not(store: Store, server: ScriptedServer) -> None:
    script = server.script(403, path="/configmaps", times=2, message="configmaps is forbidden")
    store.follow(MAPS)
    eventually(store, lambda: following(store, MAPS) is Following.LIVE)
    script.times = float("inf")
    server.compact()
    server.version += 1
    server.compact()
    server.end_watches()
    eventually(store, lambda: following(store, MAPS) is Following.FORBIDDEN)
    assert store.view().part(MAPS).why == "configmaps is forbidden"
    script.times = 0
    eventually(store, lambda: following(store, MAPS) is Following.LIVE)


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


def test_an_object_made_anew_under_its_name_while_nobody_watched_is_two_transitions(
    store: Store, server: ScriptedServer
) -> None:
    server.put(config_map())
    followed(store, server)
    server.stop()
    eventually(store, lambda: store.view().gap)
    again = config_map()
    again["metadata"]["uid"] = "another"
    server.put(again)
    server.start()
    eventually(store, lambda: len(store.timeline.of(cm_ref())) == 3)
    assert [(one.kind, one.uid) for one in store.timeline.of(cm_ref())] == [
        (Change.ADDED, "uid-settings"),
        (Change.DELETED, "uid-settings"),
        (Change.ADDED, "another"),
    ]


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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_watch_thread_that_dies_is_not_mistaken_for_silence(store: Store, server: ScriptedServer) -> None:
    followed(store, server)
    server.emit(CONFIG_MAPS, {"type": "ADDED", "object": {"kind": "ConfigMap", "metadata": {"resourceVersion": "1"}}})
    eventually(store, lambda: following(store, MAPS) is Following.BROKEN)
    assert not store.view().decidable([MAPS])


def test_close_ends_all_threads_also_while_the_server_hangs(new_store: NewStore, server: ScriptedServer) -> None:
    before = set(threading.enumerate())
    store = new_store(pace=replace(PACE, deadline=60))
    followed(store, server)
    server.freeze()
    store.follow(KS)  # hangs in its first list
    store._heart.hurry()  # hangs in a beat
    beats = len(server.asked("/livez"))
    server.until(lambda: server.asked("/kustomizations") and len(server.asked("/livez")) > beats)
    started = time.monotonic()
    store.close()
    assert time.monotonic() - started < 1
    assert not {one for one in set(threading.enumerate()) - before if one.name.startswith("fluxdrill")}
    with pytest.raises(UsageError, match="closed"):
        store.follow(MAPS)


def test_close_leaves_the_callers_own_connections_alone(new_store: NewStore, api: Api) -> None:
    new_store().close()
    assert api.livez()


def test_the_default_rhythm_is_the_designed_one() -> None:
    assert (Rhythm().window, Rhythm().grace, Rhythm().relist) == (30, 5, 45)
    assert (Pace().interval, Pace().deadline) == (2, 1)
