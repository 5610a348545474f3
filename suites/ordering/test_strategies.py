"""The guide's ways out of trouble: what they really do to running workloads, on small repositories of one test."""

from __future__ import annotations

import json

import pytest

from fluxdrill.flux.operations import request, resume, suspend
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.wait import absent, condition, present, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef
from suites.ordering.conftest import Keep, Make, Unique
from suites.ordering.links import Link, config, kustomization
from suites.ordering.seen import failed, has_data, never, uid
from suites.ordering.workloads import chart, release, release_ref
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_the_same_drift_is_repaired_where_nothing_is_suspended",)

OWNER = "kustomize.toolkit.fluxcd.io/name"


def out(name: str) -> ObjectRef:
    """Return the ConfigMap of that name."""
    return ObjectRef("", "ConfigMap", "default", name)


def is_not_repaired(lab: Lab, name: str, *, seconds: float = 5) -> None:
    """Watch that the deleted ConfigMap of the link `name` does not come back."""
    never(lab, present(out(name)), seconds=seconds, what=f"a repair of {name}")


def test_s43_a_suspended_link_neither_repairs_nor_follows_until_it_is_resumed(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """S43: no drift is repaired and no commit taken while apps is suspended, even when asked; resuming does both."""
    infra, apps = unique("infra"), unique("apps")
    fleet = make_fleet(Link(infra), Link(apps, (infra,)))
    fleet.wait_ready()
    suspend(lab.api, kustomization(apps))
    lab.api.delete(out(apps))
    wait_for(lab.store, absent(out(apps)), deadline=10, what="the drift")
    moved = fleet.change({f"{apps}/objects.yaml": config(apps, x="fixed")}, "the fix")
    request(lab.api, kustomization(apps))
    wait_for(lab.store, at_revision([kustomization(infra)], moved), deadline=30, what="the link before it")
    is_not_repaired(lab, apps)
    resume(lab.api, kustomization(apps))
    wait_for(lab.store, at_revision([kustomization(apps)], moved), deadline=30, what="the resumed link")
    wait_for(lab.store, has_data(out(apps), x="fixed"), deadline=5, what="the fix")


def test_control_the_same_drift_is_repaired_where_nothing_is_suspended(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Negative control of S43: the same deletion and the same commit, only without the suspension."""
    apps = unique("apps")
    fleet = make_fleet(Link(apps))
    fleet.wait_ready()
    before = uid(lab, out(apps))
    lab.api.delete(out(apps))
    wait_for(lab.store, absent(out(apps)), deadline=10, what="the drift")
    request(lab.api, kustomization(apps))
    with refused():
        is_not_repaired(lab, apps, seconds=10)
    fleet.change({f"{apps}/objects.yaml": config(apps, x="fixed")}, "the fix")
    wait_for(lab.store, has_data(out(apps), x="fixed"), deadline=30, what="the repair")
    assert uid(lab, out(apps)) != before


@pytest.mark.parametrize(
    ("writer", "survives"),
    [("a-controller", True), pytest.param("kubectl-edit", False, marks=(pytest.mark.ci, pytest.mark.core))],
)
def test_s12_an_object_that_exists_already_is_taken_over_and_no_conflict_is_told(
    lab: Lab, make_fleet: Make, unique: Unique, writer: str, *, survives: bool
) -> None:
    """S12, corrected: server-side apply takes ownership; fields of kubectl go, fields of other writers stay."""
    name = unique("taken")
    before = json.loads(config(name, ours="by-hand", theirs="extra"))
    lab.api.create(before, field_manager=writer)
    was = uid(lab, out(name))
    make_fleet(Link(name, text=config(name, ours="from-git"))).wait_ready()
    theirs = {"theirs": "extra"} if survives else {}
    wait_for(lab.store, has_data(out(name), ours="from-git", **theirs), deadline=10, what="the value from Git")
    after = lab.api.get(out(name))
    assert after["metadata"]["uid"] == was
    assert after["metadata"]["labels"][OWNER] == name
    reasons = {c.reason for one in lab.store.timeline.of(kustomization(name)) for c in one.conditions}
    assert "ReconciliationFailed" not in reasons


@pytest.mark.parametrize("refuses", [False, True], ids=["by-default", "take-ownership-disabled"])
def test_s12_a_helm_install_takes_over_what_exists_too_unless_that_is_switched_off(
    lab: Lab, make_fleet: Make, unique: Unique, left: Keep, *, refuses: bool
) -> None:
    """S12, corrected once more: helm-controller 1.6 adopts; only `disableTakeOwnership` brings Helm's refusal back."""
    name = unique("exists")
    lab.api.create(json.loads(config(name, by="hand")))
    was = uid(lab, left(out(name)))
    fleet = make_fleet(Link(unique("releases"), spec={"wait": False}))
    fleet.change(
        {
            **chart(config(name, by="helm")),
            f"{fleet.links[0].name}/objects.yaml": release(name, fleet.name, disableTakeOwnership=refuses),
        },
        "a release of what exists",
    )
    ref = release_ref(name)
    if refuses:
        told = failed(ref, "InstallFailed", "invalid ownership metadata")
        wait_for(lab.store, told, deadline=60, what="the refusal", fail_fast=False)
    else:
        wait_for(lab.store, condition(ref, "Ready", "True"), deadline=60, what="the release")
    wait_for(lab.store, has_data(out(name), by="hand" if refuses else "helm"), deadline=5, what="the object")
    assert uid(lab, out(name)) == was
