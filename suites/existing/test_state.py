"""A cluster that is there already, as it stands: everything Flux manages is Ready, and if not, why and what helps.

Nothing is written. With `--lab-provider=existing` this looks at the cluster of a kubeconfig, otherwise at a lab with the
reference repository.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import networkx as nx
import pytest

from fluxdrill.errors import RefusedError
from fluxdrill.flux.advice.case import text as advised
from fluxdrill.flux.advice.collect import explain
from fluxdrill.flux.kinds import HELM_RELEASE, KUSTOMIZATION, RECONCILED
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.errors import UnknownKindError
from fluxdrill.lab.existing import Existing
from fluxdrill.model.conditions import dependencies, ready, suspended
from fluxdrill.model.kstatus import Status, flux_readiness, is_static
from fluxdrill.model.refs import KubeObject, ObjectRef
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_an_object_that_is_not_ready_is_named", "test_control_nothing_at_all_is_no_pass")

Objects = Sequence[KubeObject]
Seen = dict[GroupKind, Objects]


@pytest.fixture(scope="module")
def seen(existing: Existing) -> Seen:
    """Flux's objects by kind, as they are now; a kind that the cluster does not know is left out."""
    found: Seen = {}
    for kind in RECONCILED:
        with suppress(UnknownKindError):  # a controller that is not installed
            found[kind] = existing.api.list(existing.api.resource(kind.group, kind.kind)).items
    return found


def of(seen: Seen) -> Objects:
    """Return every object that a controller of Flux reports on."""
    return [one for objects in seen.values() for one in objects]


def settled(objects: Objects) -> None:
    """Check that there are objects, and that each is Ready; one that is not is named with its reason."""
    assert objects, "Flux manages nothing here: there is nothing to say about it"
    bad = [one for one in objects if not is_static(one) and not suspended(one) and not is_ready(one)]
    lines = [f"{ObjectRef.of(one)}: {words(one)}" for one in bad]
    assert not bad, f"{len(bad)} of {len(objects)} are not Ready:\n" + "\n".join(lines)


def is_ready(obj: KubeObject) -> bool:
    """Whether an object is Ready, about its newest generation."""
    return flux_readiness(obj).status is Status.CURRENT


def words(obj: KubeObject) -> str:
    """Return what an object says of itself."""
    found = ready(obj)
    return f"{found.reason}: {found.message}" if found is not None else "it says nothing yet"


@pytest.mark.ci
def test_everything_that_flux_manages_is_ready(seen: Seen) -> None:
    """Each object is Ready about what stands in its spec now; suspended ones are left out, and have a test of their own."""
    settled(of(seen))


def test_nothing_is_suspended(seen: Seen) -> None:
    """What is suspended drifts: somebody forgot to resume it, or it should not be in Git."""
    assert of(seen), "Flux manages nothing here"
    paused = [str(ObjectRef.of(one)) for one in of(seen) if suspended(one)]
    assert not paused, "suspended: " + ", ".join(paused)


@pytest.mark.parametrize("kind", [KUSTOMIZATION, HELM_RELEASE], ids=["Kustomizations", "HelmReleases"])
def test_every_dependency_exists_and_none_goes_in_a_circle(seen: Seen, kind: GroupKind) -> None:
    """A dependency that is missing, or that waits for its own dependent, blocks for ever."""
    objects = {ObjectRef.of(one): one for one in seen.get(kind, [])}
    edges = [(ref, before) for ref, one in objects.items() for before in dependencies(one)]
    missing = [f"{ref} -> {before}" for ref, before in edges if before not in objects]
    assert not missing, "these dependencies do not exist: " + ", ".join(missing)
    assert nx.is_directed_acyclic_graph(nx.DiGraph(edges)), "dependencies go in a circle"


def test_no_release_needs_anybody(existing: Existing, seen: Seen) -> None:
    """Each HelmRelease is as it should be, or the one thing that helps is said, as `fluxdrill explain hr` says it."""
    bad = [one for one in seen.get(HELM_RELEASE, []) if not suspended(one) and not is_ready(one)]
    assert not bad, "\n\n".join(advised(explain(existing.api, ObjectRef.of(one))) for one in bad)


@pytest.mark.ci
def test_whoever_looks_cannot_write(existing: Existing) -> None:
    """Each verb that could change something is refused before anything is sent."""
    if existing.lab:
        pytest.skip(f"this run may write to {existing.lab}: it was named twice")
    ref = ObjectRef("", "ConfigMap", "default", "fluxdrill-writes-nothing")
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ref.name, "namespace": ref.namespace}}
    writes: tuple[Callable[[], object], ...] = (
        lambda: existing.api.create(obj),
        lambda: existing.api.apply(obj),
        lambda: existing.api.patch(ref, {"data": {}}),
        lambda: existing.api.delete(ref),
    )
    for write in writes:
        with pytest.raises(RefusedError, match="open for reading only"):
            write()


@pytest.mark.ci
def test_control_an_object_that_is_not_ready_is_named(seen: Seen) -> None:
    """One object of the cluster, changed in memory to say that it failed: the check names it."""
    objects = of(seen)
    first = next(one for one in objects if not is_static(one) and not suspended(one))
    failed = {"type": "Ready", "status": "False", "reason": "BuildFailed", "message": "a lie"}
    lied = {**first, "status": {**first.get("status", {}), "conditions": [failed]}}
    with refused():
        settled([lied, *objects])


@pytest.mark.ci
def test_control_nothing_at_all_is_no_pass() -> None:
    """A cluster without Flux, or one whose objects cannot be seen, is no cluster in which everything is Ready."""
    with refused():
        settled([])
