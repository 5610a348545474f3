"""Each fault as the tests use it: arguments, what makes it show, and a world in which it would hit nothing."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fluxdrill.faults import catalog
from fluxdrill.faults.controllers import OfController
from fluxdrill.faults.fault import Fault
from fluxdrill.faults.pushes import commit_of, fetched, set_tag
from fluxdrill.faults.storage import storage
from fluxdrill.faults.world import World
from fluxdrill.flux.bootstrap import GIT_REPOSITORY
from fluxdrill.flux.operations import request
from fluxdrill.kube.wait import wait_for
from fluxdrill.lab.serve import Copy, Repository
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.served import empty_tree, force_push
from fluxdrill.sources.faults import ServerFault

APPS = ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", "apps")
TAGGED = ObjectRef("source.toolkit.fluxcd.io", "GitRepository", "flux-system", "tagged")
WEB = "ConfigMap/shop/web"
SETTINGS = "configs/settings.yaml"
CHANGED = """apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {currency: CHF}
"""
KUSTOMIZE = {"controller": "kustomize-controller"}
SOURCE = {"controller": "source-controller"}

Blank = Callable[[World, Fault[Any]], AbstractContextManager[tuple[World, Fault[Any]]]]


@contextmanager
def _as_it_is(world: World) -> Iterator[None]:
    del world
    yield


@dataclass(frozen=True)
class Case:
    """`blank` makes a world, or a fault, of which `prepare` must say that it hits nothing."""

    arguments: Mapping[str, Any]
    blank: Blank
    provoke: Callable[[World], object] = lambda _: None
    around: Callable[[World], AbstractContextManager[None]] = _as_it_is


@contextmanager
def arguments(world: World, fault: Fault[Any], **changed: Any) -> Iterator[tuple[World, Fault[Any]]]:
    """Give the fault other arguments."""
    yield world, catalog.make(fault.name, {**fault.args.model_dump(mode="json"), **changed})


def of_missing_object(world: World, fault: Fault[Any]) -> AbstractContextManager[tuple[World, Fault[Any]]]:
    """Name an object that does not exist."""
    return arguments(world, fault, object="ConfigMap/shop/nobody")


def of_missing_namespace(world: World, fault: Fault[Any]) -> AbstractContextManager[tuple[World, Fault[Any]]]:
    """Name a namespace that does not exist."""
    return arguments(world, fault, namespace="nowhere")


def of_same_files(world: World, fault: Fault[Any]) -> AbstractContextManager[tuple[World, Fault[Any]]]:
    """Commit what is there already."""
    fleet = Path(__file__).resolve().parents[2] / "scenarios" / "repositories" / "fleet"
    return arguments(world, fault, files={SETTINGS: (fleet / SETTINGS).read_text(encoding="utf-8")})


def of_missing_file(world: World, fault: Fault[Any]) -> AbstractContextManager[tuple[World, Fault[Any]]]:
    """Remove what is not there."""
    return arguments(world, fault, files={"configs/nobody.yaml": None})


def of_missing_tag(world: World, fault: Fault[Any]) -> AbstractContextManager[tuple[World, Fault[Any]]]:
    """Move a tag that does not exist."""
    return arguments(world, fault, tag="v2")


@contextmanager
def of_nobody(world: World, fault: Fault[Any]) -> Iterator[tuple[World, Fault[Any]]]:
    """Name a controller that does not exist; a scenario file could not."""
    yield world, type(fault)(OfController.model_construct(controller="nobody"))


def of_paused(name: str) -> Blank:
    """Return a world in which the process `name` does not run."""

    @contextmanager
    def blank(world: World, fault: Fault[Any]) -> Iterator[tuple[World, Fault[Any]]]:
        process = world.own_lab.processes[name]
        process.pause()
        try:
            yield world, fault
        finally:
            process.resume()

    return blank


def of_broken(name: str) -> Blank:
    """Return a world in which the lab's server `name` fails already."""

    @contextmanager
    def blank(world: World, fault: Fault[Any]) -> Iterator[tuple[World, Fault[Any]]]:
        server = getattr(world.own_lab, name)
        server.fault = ServerFault.server_error(500, only="nobody")
        try:
            yield world, fault
        finally:
            server.heal()

    return blank


def ask_for_charts(world: World) -> None:
    """Have somebody ask for the index, who may be refused."""
    with suppress(OSError):
        urllib.request.urlopen(f"{world.own_lab.charts.url}/index.yaml", timeout=5).close()  # noqa: S310 - loopback


@contextmanager
def _other_repository(world: World, change: Callable[[Any], object]) -> Iterator[World]:
    own = world.own_repository
    served = replace(own.served, path=own.served.path.with_name("other.git"))
    shutil.copytree(own.served.path, served.path)
    try:
        change(served)
        yield replace(world, repository=Repository(world.own_lab, Copy(served, own.path, own.report)))
    finally:
        shutil.rmtree(served.path)


@contextmanager
def of_empty_tree(world: World, fault: Fault[Any]) -> Iterator[tuple[World, Fault[Any]]]:
    """Have a repository without a file."""
    with _other_repository(world, lambda served: empty_tree(served, "nothing")) as other:
        yield other, fault


@contextmanager
def of_no_branch(world: World, fault: Fault[Any]) -> Iterator[tuple[World, Fault[Any]]]:
    """Have a repository without the branch."""
    with _other_repository(world, lambda served: force_push(served, None)) as other:
        yield other, fault


@contextmanager
def of_no_artifact(world: World, fault: Fault[Any]) -> Iterator[tuple[World, Fault[Any]]]:
    """Hide the artifacts for a moment."""
    folder = storage(world) / "gitrepository"
    hidden = world.own_lab.folder / "hidden"
    folder.rename(hidden)
    try:
        yield world, fault
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        hidden.rename(folder)


@contextmanager
def of_no_snapshot(world: World, fault: Fault[Any]) -> Iterator[tuple[World, Fault[Any]]]:
    """Hide the snapshot that `snapshot` made."""
    copy = world.own_lab.folder / "etcd-snapshot"
    hidden = copy.rename(copy.with_name("hidden-snapshot"))
    try:
        yield world, fault
    finally:
        hidden.rename(copy)


@contextmanager
def of_a_snapshot(world: World, fault: Fault[Any]) -> Iterator[tuple[World, Fault[Any]]]:
    """Have a snapshot already."""
    with snapshot(world):
        yield world, fault


@contextmanager
def snapshot(world: World) -> Iterator[None]:
    """Take a snapshot, and remove it at the end."""
    fault = catalog.make("etcd.snapshot", {})
    state = fault.prepare(world)
    fault.inject(world, state)
    try:
        yield
    finally:
        fault.heal(world, state)


@contextmanager
def tagged(world: World) -> Iterator[None]:
    """Have a source that follows tag v1."""
    repository = world.own_repository
    commit = commit_of(repository.served, f"refs/heads/{repository.served.branch}")
    set_tag(repository.served, "v1", commit)
    spec = {"interval": "1s", "url": repository.url, "ref": {"tag": "v1"}, "secretRef": {"name": GIT_REPOSITORY.name}}
    meta = {"name": TAGGED.name, "namespace": TAGGED.namespace}
    world.api.apply({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": TAGGED.kind, "metadata": meta, "spec": spec})
    rule = fetched(TAGGED, f"v1@sha1:{commit}", unlike="nothing")
    wait_for(world.store, rule, deadline=30, what="the tag to be fetched")
    yield
    world.api.delete(TAGGED)
    set_tag(repository.served, "v1", None)


def look_again(world: World) -> None:
    """Have kustomize-controller do something."""
    request(world.api, APPS)


CASES: Mapping[str, Case] = {
    "controllers.kill": Case(KUSTOMIZE, of_nobody),
    "controllers.term": Case(KUSTOMIZE, of_paused("kustomize-controller")),
    "controllers.restart": Case(SOURCE, of_nobody),
    "controllers.pause": Case(SOURCE, of_paused("source-controller")),
    "controllers.revoke": Case(KUSTOMIZE, of_nobody),
    "apiserver.kill": Case({}, of_paused("kube-apiserver")),
    "apiserver.pause": Case({}, of_paused("kube-apiserver")),
    "apiserver.latency": Case({**KUSTOMIZE, "milliseconds": 500}, of_nobody),
    "apiserver.cut": Case(KUSTOMIZE, of_nobody),
    "apiserver.throttle": Case(KUSTOMIZE, of_nobody, provoke=look_again),
    "etcd.kill": Case({}, of_paused("etcd")),
    "etcd.snapshot": Case({}, of_a_snapshot),
    "etcd.restore": Case({}, of_no_snapshot, around=snapshot),
    "git.down": Case({}, of_broken("git")),
    "git.slow": Case({"seconds": 1}, of_broken("git")),
    "git.error": Case({"status": 502}, of_broken("git")),
    "git.unauthorized": Case({}, of_broken("git")),
    "git.truncated": Case({}, of_broken("git")),
    "git.hang": Case({}, of_broken("git")),
    "charts.down": Case({}, of_broken("charts"), provoke=ask_for_charts),
    "charts.error": Case({"status": 502}, of_broken("charts"), provoke=ask_for_charts),
    "git.commit": Case({"files": {SETTINGS: CHANGED}}, of_same_files),
    "git.empty-tree": Case({}, of_empty_tree),
    "git.force-push": Case({"files": {SETTINGS: CHANGED}}, of_missing_file),
    "git.branch-deleted": Case({}, of_no_branch),
    "git.tag-moved": Case(
        {"tag": "v1", "source": "GitRepository/flux-system/tagged", "files": {SETTINGS: CHANGED}},
        of_missing_tag,
        around=tagged,
    ),
    "objects.delete": Case({"object": WEB}, of_missing_object),
    "objects.edit": Case({"object": WEB, "merge": {"data": {"greeting": "bye"}}}, of_missing_object),
    "objects.finalizer": Case({"object": WEB}, of_missing_object),
    "objects.hold": Case({"object": WEB}, of_missing_object),
    "objects.namespace-terminating": Case({"namespace": "monitoring"}, of_missing_namespace),
    "objects.quota": Case({"namespace": "shop", "hard": {"count/configmaps": "1"}}, of_missing_namespace),
    "admission.deny": Case({"resources": ["configmaps"], "namespace": "shop"}, of_missing_namespace),
    "admission.hang": Case({"namespace": "shop", "seconds": 1}, of_missing_namespace),
    "storage.wipe": Case({}, of_no_artifact),
    "storage.corrupt": Case({}, of_no_artifact),
    "storage.full": Case({}, of_paused("source-controller")),
}

CI = frozenset(
    {
        "controllers.pause",
        "etcd.kill",
        "apiserver.cut",
        "git.error",
        "charts.error",
        "git.tag-moved",
        "objects.finalizer",
        "admission.deny",
        "storage.full",
    }
)
"""One of each family."""
