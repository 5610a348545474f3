"""Access to a scripted API server, and stores that live in milliseconds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.kube.api import Api
from fluxdrill.kube.watch import Pace, Rhythm, Store
from tests.kube.scripted import ScriptedServer

TOKEN = "the-token"


def write_kubeconfig(path: Path, url: str) -> Path:
    """Write a kubeconfig with a token for `url`."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "clusters": [{"name": "lab", "cluster": {"server": url}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
    }
    path.write_text(json.dumps(config))
    return path


def eventually(store: Store, condition: Callable[[], object], *, seconds: float = 5.0) -> None:
    """Wait until something is true of a store, re-checked when it changes."""
    memory = store._memory
    with memory.condition:
        assert memory.condition.wait_for(condition, timeout=seconds), "the store never came to that"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """An API server that a test scripts."""
    made = ScriptedServer()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def api(server: ScriptedServer, tmp_path: Path) -> Iterator[Api]:
    """Access to the scripted server."""
    path = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{server.port}")
    with Api.connect(path, deadline=5) as made:
        yield made


FAST = Rhythm(window=20, relist=30, first_pause=0.01, longest_pause=0.1, forbidden_after=0.05)
PACE = Pace(interval=0.05, deadline=0.2, while_down=0.01)


@pytest.fixture
def new_store(api: Api) -> Iterator[Callable[..., Store]]:
    """Make stores that beat in milliseconds and list for safety only when a test asks for it."""
    made: list[Store] = []

    def new(**options: Any) -> Store:
        store = Store(api, **{"rhythm": FAST, "pace": PACE, **options})
        made.append(store)
        return store

    yield new
    for store in made:
        store.close()


@pytest.fixture
def store(new_store: Callable[..., Store]) -> Store:
    """A store on the scripted server."""
    return new_store()
