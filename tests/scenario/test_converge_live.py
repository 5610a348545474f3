"""Convergence on a real lab: the three sets agree, and each way in which they can differ is told."""

from __future__ import annotations

import pytest

from fluxdrill.faults.world import World
from fluxdrill.flux.operations import reconcile
from fluxdrill.kube.wait import DeviatedTimeoutError
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.served import restore
from fluxdrill.scenario.bind import Baseline
from fluxdrill.scenario.checks import Check
from fluxdrill.scenario.converge import Rendering, compare
from fluxdrill.scenario.looking import Looking

pytestmark = [pytest.mark.live, pytest.mark.ci]

APPS = ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", "apps")
WEB = ObjectRef("", "ConfigMap", "shop", "web")
CONVERGED = Check(converged=True, within=60, stays=1)


@pytest.fixture(autouse=True)
def settled(world: World) -> Looking:
    """Wait until the world has converged."""
    looking = Looking(world, Rendering(world))
    looking.wait(CONVERGED, Baseline())
    return looking


def differences(world: World) -> list[str]:
    return [str(one) for one in compare(world.api, Rendering(world).at_head()[1]).differences]


def test_a_field_changed_by_hand_is_told_by_its_path_and_not_by_its_value(world: World) -> None:
    world.api.patch(WEB, {"data": {"greeting": "a secret word"}}, field_manager="kubectl-edit")
    assert differences(world) == ["ConfigMap/shop/web: differs from Git in data.greeting"]
    reconcile(world.api, world.store, APPS, deadline=30)


def test_what_flux_leaves_alone_is_named_and_not_counted_as_compared(world: World, settled: Looking) -> None:
    """Fields that nobody compared are no agreement: the report lists them."""
    world.api.patch(WEB, {"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}})
    world.api.patch(WEB, {"data": {"greeting": "another"}}, field_manager="kubectl-edit")
    try:
        settled.wait(CONVERGED, Baseline())
        assert settled.uncompared == ("the fields of ConfigMap/shop/web, which tells Flux to leave it alone",)
    finally:
        world.api.patch(WEB, {"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": None}}})
        reconcile(world.api, world.store, APPS, deadline=30)


def test_a_lost_object_is_told(world: World) -> None:
    world.api.delete(WEB)
    assert differences(world) == ["ConfigMap/shop/web: Git has it, and it is not in the cluster"]
    reconcile(world.api, world.store, APPS, deadline=30)


def test_ready_at_the_old_revision_is_not_converged(world: World, settled: Looking) -> None:
    """Everything is Ready, and a commit that Flux has not seen yet stands in Git."""
    source = world.own_lab.flux["source-controller"]
    repository = world.own_repository
    old = repository.revision.rpartition(":")[2]
    source.pause()
    try:
        repository.commit({"apps/README.md": "nothing that is rendered"}, "a commit nobody fetches")
        with pytest.raises(DeviatedTimeoutError, match="Ready at"):
            settled.wait(Check(converged=True, within=5, stays=1), Baseline())
    finally:
        source.resume()
        restore(repository.served, old, "as it was")


def test_an_object_that_git_does_not_know_is_told(world: World) -> None:
    """The inventory keeps what was removed from Git until it is applied."""
    repository = world.own_repository
    old = repository.revision.rpartition(":")[2]
    kustomize = world.own_lab.flux["kustomize-controller"]
    kustomize.pause()
    try:
        repository.commit(
            {"configs/kustomization.yaml": "kind: Kustomization\nresources: [widget.yaml]\n"}, "settings are gone"
        )
        assert "ConfigMap/shop/settings: the inventory of configs has it, and Git does not" in differences(world)
    finally:
        kustomize.resume()
        restore(repository.served, old, "as it was")
