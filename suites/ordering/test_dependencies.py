"""dependsOn at its edges: circles, missing and suspended dependencies, readyExpr, and kinds that do not exist yet."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fluxdrill.flux.operations import resume, suspend
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.wait import DeviatedTimeoutError, all_of, condition, present, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.conditions import condition as condition_of
from fluxdrill.model.conditions import ready
from fluxdrill.model.refs import KubeObject, ObjectRef
from suites.ordering.conftest import Keep, Make
from suites.ordering.links import Link, config, kustomization
from suites.ordering.seen import inventory
from suites.ordering.workloads import chart, release, release_ref
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_kind_and_its_object_in_one_build_work",
    "test_control_a_dependency_that_a_person_calls_ready_ends_the_waiting",
)

Unique = Callable[[str], str]
WAITING = ("Ready", "False", "DependencyNotReady")


def told(lab: Lab, ref: ObjectRef) -> str:
    """Return the message of the Ready condition."""
    obj = lab.store.get(ref)
    found = ready(obj) if obj is not None else None
    return found.message if found is not None else ""


def waits(lab: Lab, *refs: ObjectRef, deadline: float = 30, dwell: float = 3) -> None:
    """Wait until all of `refs` wait for a dependency, and keep on waiting."""
    every = all_of(*(condition(ref, *WAITING) for ref in refs))
    what = f"{', '.join(ref.name for ref in refs)} to wait"
    wait_for(lab.store, every, deadline=deadline, dwell=dwell, what=what)


def is_stalled(obj: KubeObject | None) -> bool:
    found = condition_of(obj, "Stalled") if obj is not None else None
    return found is not None and found.status == "True"


def widget(name: str, group: str) -> tuple[str, str]:
    """Return a CRD and one object of its kind, as YAML."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }
    custom = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": name, "namespace": "default"}}
    return json.dumps(crd) + "\n", json.dumps(custom) + "\n"


@pytest.mark.ci
def test_s14_a_circle_waits_for_ever_without_ever_being_called_an_error(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """S14: each names the other as not ready; neither is Stalled. Only the tree in Git names it, with its members."""
    a, b = unique("circle-a"), unique("circle-b")
    fleet = make_fleet(Link(a, (b,)), Link(b, (a,)))
    waits(lab, kustomization(a), kustomization(b))
    assert f"'flux-system/{b}'" in told(lab, kustomization(a))
    assert f"'flux-system/{a}'" in told(lab, kustomization(b))
    assert not is_stalled(lab.store.get(kustomization(a)))
    assert fleet.tree.cycles() == ((kustomization(a), kustomization(b)),)


def test_a_missing_dependency_is_named_and_cured_by_its_arrival(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """A dependency that does not exist is DependencyNotReady with its name; a commit that adds it heals the rest."""
    late, early = unique("late"), unique("early")
    fleet = make_fleet(Link(early, (late,)))
    waits(lab, kustomization(early), dwell=0)
    assert late in told(lab, kustomization(early))
    added = fleet.change({**fleet.files(Link(late))}, "add the missing one")
    fleet.links = (*fleet.links, Link(late))
    wait_for(lab.store, at_revision([kustomization(early)], added), deadline=60, what=f"{early} to be Ready")


def test_a_suspended_upstream_still_satisfies_until_the_next_commit_and_not_after(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Flux 2.9: what was Ready when it was suspended satisfies its dependents until the revision moves on."""
    up, down = unique("up"), unique("down")
    fleet = make_fleet(Link(up), Link(down, (up,)))
    fleet.wait_ready()
    suspend(lab.api, kustomization(up))
    wait_for(
        lab.store,
        at_revision([kustomization(down)], fleet.revision),
        deadline=20,
        dwell=3,
        what=f"{down} to stay Ready",
    )
    moved = fleet.change({f"{down}/objects.yaml": config(down, x="2")}, "a commit that only the dependent needs")
    waits(lab, kustomization(down))
    resume(lab.api, kustomization(up))
    wait_for(
        lab.store, at_revision([kustomization(up), kustomization(down)], moved), deadline=60, what="both to catch up"
    )


def test_an_invalid_ready_expression_stalls_and_a_false_one_waits(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """ReadyExpr replaces the built-in check: invalid is terminal, false is DependencyNotReady, true lets pass."""
    up, bad, no, yes = (unique(name) for name in ("up", "bad", "no", "yes"))

    def by(expression: str) -> dict[str, object]:
        return {"dependsOn": [{"name": up, "readyExpr": expression}]}

    make_fleet(
        Link(up),
        Link(bad, spec=by("dep.status.")),
        Link(no, spec=by("dep.metadata.name == 'another'")),
        Link(yes, spec=by(f"dep.metadata.name == '{up}'")),
    )
    wait_for(lab.store, condition(kustomization(yes), "Ready", "True"), deadline=60, what="the true one to pass")
    stalled = condition(kustomization(bad), "Stalled", "True", "InvalidCELExpression")
    wait_for(lab.store, stalled, deadline=30, what="the invalid one to stall")
    waits(lab, kustomization(no))


def test_control_a_dependency_that_a_person_calls_ready_ends_the_waiting(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Negative control of every waiting: a faked Ready fools the controller, so the check must fail, and does."""
    up, down = unique("up"), unique("down")
    fleet = make_fleet(Link(up, text=config(up, namespace="nowhere")), Link(down, (up,)))
    waits(lab, kustomization(down))
    stop_and_fake_ready(lab, kustomization(up), revision=fleet.revision)
    wait_for(lab.store, present(ObjectRef("", "ConfigMap", "default", down)), deadline=15, what="the early write")
    with refused():
        waits(lab, kustomization(down), deadline=2, dwell=1)


@pytest.mark.ci
def test_s10_an_object_before_its_kind_writes_nothing_of_its_stage(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """S10: "no matches for kind", and not even the plain ConfigMap beside it is written; the CRD upstream cures it."""
    group, user, provider = f"{unique('w')}.test", unique("user"), unique("provider")
    crd, custom = widget(user, group)
    fleet = make_fleet(Link(user, text=f"{custom}---\n{config(user)}"))
    failed = condition(kustomization(user), "Ready", "False", "ReconciliationFailed")
    wait_for(lab.store, failed, deadline=30, what="the missing kind to be told")
    assert "no matches for kind" in told(lab, kustomization(user))
    sibling = ObjectRef("", "ConfigMap", "default", user)
    with pytest.raises(DeviatedTimeoutError):  # two more attempts long
        wait_for(lab.store, present(sibling), deadline=5, what="the plain object of the same stage")
    provides = Link(provider, text=crd)
    depends = Link(user, (provider,), text=f"{custom}---\n{config(user)}")
    fleet.links = (provides, depends)
    cured = fleet.change({**fleet.files(provides), **fleet.files(depends)}, "provide the kind upstream")
    wait_for(lab.store, at_revision([kustomization(user)], cured), deadline=60, what=f"{user} to be Ready")
    wait_for(lab.store, present(sibling), deadline=10, what="its sibling")


def test_s10_a_kind_from_a_release_of_the_same_build_never_comes_and_from_one_upstream_it_does(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """S10: the dry run fails before the release is written, so nothing would ever install the kind: no retry heals it."""
    group, name, upstream = f"{unique('w')}.test", unique("both"), unique("upstream")
    crd, custom = widget(name, group)
    fleet = make_fleet(Link(unique("other")))
    releases = release(name, fleet.name)
    together = Link(name, text=f"{releases}---\n{custom}")
    fleet.change({**chart(crd), **fleet.files(together)}, "a release and an object of its kind")
    failed = condition(kustomization(name), "Ready", "False", "ReconciliationFailed")
    wait_for(lab.store, failed, deadline=30, what="the missing kind to be told")
    assert "no matches for kind" in told(lab, kustomization(name))
    with pytest.raises(DeviatedTimeoutError):  # two more attempts long
        wait_for(lab.store, present(release_ref(name)), deadline=5, what="the release of the same build")
    fleet.links = (Link(upstream, text=releases), Link(name, (upstream,), text=custom))
    fleet.change({path: text for one in fleet.links for path, text in fleet.files(one).items()}, "the release upstream")
    fleet.wait_ready(deadline=60)


def test_control_a_kind_and_its_object_in_one_build_work(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """Negative control of S10: kustomize-controller applies CRDs first, so one build may hold both."""
    name = unique("both")
    crd, custom = widget(name, f"{unique('w')}.test")
    fleet = make_fleet(Link(name, text=f"{custom}---\n{crd}"))
    fleet.wait_ready()


def test_s11_a_missing_namespace_is_named(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """S11: the message names the namespace; the namespace in the same build cures it (it is applied first)."""
    name = unique("homeless")
    fleet = make_fleet(Link(name, text=config(name, namespace=name)))
    failed = condition(kustomization(name), "Ready", "False", "ReconciliationFailed")
    wait_for(lab.store, failed, deadline=30, what="the missing namespace to be told")
    assert f'namespaces "{name}" not found' in told(lab, kustomization(name))
    namespace = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    fleet.change({f"{name}/objects.yaml": f"{config(name, namespace=name)}---\n{namespace}\n"}, "bring the namespace")
    fleet.wait_ready()


@pytest.mark.proves("flux.md 4.1.10", "what a failed apply wrote before it failed is in no inventory: it stays")
def test_what_a_failed_apply_had_written_already_outlives_its_removal_from_git(
    lab: Lab, make_fleet: Make, unique: Unique, left: Keep
) -> None:
    """The namespace is applied in a stage of its own, the next stage fails: taken back in Git, the namespace stays."""
    name, early = unique("partial"), left(ObjectRef("", "Namespace", "", unique("early")))
    fleet = make_fleet(Link(name))
    fleet.wait_ready()
    namespace = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": early.name}})
    _, custom = widget(name, f"{unique('w')}.test")
    fleet.change(
        {f"{name}/objects.yaml": f"{config(name)}---\n{namespace}\n---\n{custom}"}, "one stage works, one fails"
    )
    failed = condition(kustomization(name), "Ready", "False", "ReconciliationFailed")
    wait_for(lab.store, failed, deadline=30, what="the missing kind to be told")
    wait_for(lab.store, present(early), deadline=10, what="the namespace of the stage before")
    back = fleet.change({f"{name}/objects.yaml": config(name)}, "take both back")
    wait_for(lab.store, at_revision([kustomization(name)], back), deadline=60, what="Ready without them")
    assert inventory(lab.api.get(kustomization(name))) == {name}
    assert "deletionTimestamp" not in lab.api.get(early)["metadata"]
