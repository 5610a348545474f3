"""What the tests of the store share."""

from __future__ import annotations

from typing import Any

from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.view import Following
from fluxdrill.kube.watch import Store
from tests.kube.conftest import eventually
from tests.kube.objects import cm_ref
from tests.kube.scripted import CONFIG_MAPS, KUSTOMIZATIONS, ScriptedServer

MAPS = GroupKind("", "ConfigMap")
KS = GroupKind.of(KUSTOMIZATIONS)


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
