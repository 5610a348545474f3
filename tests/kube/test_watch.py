"""The store against a misbehaving API server: it notices, it recovers, it never pretends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from fluxdrill.errors import UsageError
from fluxdrill.kube.api import Api
from fluxdrill.kube.view import Following
from fluxdrill.kube.watch import Pace, Rhythm, Store
from fluxdrill.model.timeline import Change, Seen
from tests.kube.conftest import FAST, PACE, eventually
from tests.kube.helpers import KS, MAPS, data_of, followed, following, lists, watches
from tests.kube.objects import cm_ref, config_map, kustomization
from tests.kube.scripted import CONFIG_MAPS, ScriptedServer

NewStore = Callable[..., Store]


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
