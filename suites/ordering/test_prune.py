"""What leaves Git leaves the cluster: what `prune` and `deletionPolicy` delete, and what they do not (Flux 2.9)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from fluxdrill.flux.operations import reconcile, resume, suspend
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.errors import ApiError
from fluxdrill.kube.wait import absent, all_of, present, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef
from suites.ordering.conftest import Keep, Make, Put, Unique
from suites.ordering.links import ENTRY, Link, config, kustomization
from suites.ordering.seen import failed, has_data, holds, inventory, never, uid
from suites.sabotage import fake_ready, refused

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_nothing_is_pruned_while_pruning_is_off",
    "test_control_a_ready_that_a_person_wrote_prunes_nothing_and_is_found_out",
)

GUARD = "kustomize.toolkit.fluxcd.io/prune"
HELD = "fluxdrill.dev/held"
OWNER = "kustomize.toolkit.fluxcd.io/name"


def out(name: str) -> ObjectRef:
    """Return the ConfigMap of that name."""
    return ObjectRef("", "ConfigMap", "default", name)


def guarded(name: str, **metadata: Any) -> str:
    """Return a ConfigMap that carries the guard, or other metadata."""
    made = json.loads(config(name))
    made["metadata"].update(metadata or {"annotations": {GUARD: "disabled"}})
    return json.dumps(made) + "\n"


def listed(*names: str) -> str:
    """Return a kustomization.yaml that lists files."""
    return json.dumps({"resources": [f"{name}.yaml" for name in names]}) + "\n"


def is_pruned(lab: Lab, name: str, orphan: str, revision: str, *, deadline: float = 5) -> None:
    """Wait until the link `name` is Ready at `revision`, and the orphan gone soon after."""
    wait_for(lab.store, at_revision([kustomization(name)], revision), deadline=30, what="the new revision")
    wait_for(lab.store, absent(out(orphan)), deadline=deadline, what="the orphan to be gone")


@pytest.mark.core
@pytest.mark.ci
def test_s17_an_orphan_is_removed_and_its_neighbour_keeps_its_identity(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """S17: what is no longer built is deleted before the Kustomization is Ready; the rest is not touched."""
    name, orphan = unique("stays"), unique("orphan")
    fleet = make_fleet(Link(name, text=f"{config(name)}---\n{config(orphan)}"))
    fleet.wait_ready()
    before = uid(lab, out(name))
    assert lab.api.get(out(orphan))
    moved = fleet.change({f"{name}/objects.yaml": config(name)}, "drop one")
    is_pruned(lab, name, orphan, moved)
    assert uid(lab, out(name)) == before


def test_control_a_ready_that_a_person_wrote_prunes_nothing_and_is_found_out(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Negative control of S17: "Ready at that revision" alone is believed; the orphan that is still there is not missed."""
    name, orphan = unique("stays"), unique("orphan")
    fleet = make_fleet(Link(name, text=f"{config(name)}---\n{config(orphan)}"))
    fleet.wait_ready()
    suspend(lab.api, kustomization(name))
    moved = fleet.change({f"{name}/objects.yaml": config(name)}, "drop one")
    fake_ready(lab, kustomization(name), revision=moved)
    with refused():
        is_pruned(lab, name, orphan, moved, deadline=2)
    resume(lab.api, kustomization(name))
    is_pruned(lab, name, orphan, moved, deadline=20)


def test_control_nothing_is_pruned_while_pruning_is_off(lab: Lab, make_fleet: Make, unique: Unique, left: Keep) -> None:
    """Negative control of S17: with `prune: false` the orphan stays, is forgotten, and later pruning leaves it too."""
    name, orphan = unique("off"), unique("orphan")
    link = Link(name, text=f"{config(name)}---\n{config(orphan)}", spec={"prune": False})
    fleet = make_fleet(link)
    fleet.wait_ready()
    left(out(orphan))
    fleet.change({f"{name}/objects.yaml": config(name)}, "drop one")
    fleet.wait_ready()
    forgotten = holds(kustomization(name), lambda obj: orphan not in inventory(obj), "has forgotten it")
    wait_for(lab.store, forgotten, deadline=5, what="the inventory")
    fleet.change(fleet.files(replace(link, text=config(name), spec={"prune": True})), "prune again")
    fleet.wait_ready()
    never(lab, absent(out(orphan)), seconds=3, what="the orphan to be pruned")


def test_the_guard_counts_on_the_living_object_and_not_in_the_commit_that_removes_it(
    lab: Lab, make_fleet: Make, unique: Unique, left: Keep
) -> None:
    """`prune: disabled` protects what carried it before; written in the same commit as the removal it is too late."""
    name, early, late, by_hand = unique("guards"), unique("early"), unique("late"), unique("by-hand")
    files = {f"{name}/{one}.yaml": config(one) for one in (late, by_hand)}
    fleet = make_fleet(Link(name, text=config(name)))
    fleet.change(
        {**files, f"{name}/{early}.yaml": guarded(early), f"{name}/kustomization.yaml": listed(early, late, by_hand)},
        "three more",
    )
    fleet.change({f"{name}/objects.yaml": None}, "which is not listed")
    fleet.wait_ready()
    for one in (early, by_hand):
        left(out(one))
    lab.api.patch(out(by_hand), {"metadata": {"annotations": {GUARD: "disabled"}}}, field_manager="a-person")
    kept = {one: uid(lab, out(one)) for one in (early, by_hand)}
    fleet.change(
        {f"{name}/kustomization.yaml": json.dumps({"resources": []}), f"{name}/{late}.yaml": guarded(late)},
        "unlist all three, and guard one of them only now",
    )
    fleet.wait_ready()
    wait_for(lab.store, absent(out(late)), deadline=5, what="the one guarded too late to be gone")
    never(lab, absent(out(early)), seconds=3, what="a guarded one to be pruned")
    assert {one: uid(lab, out(one)) for one in kept} == kept


GUARDS = {"prune": "disabled", "reconcile": "disabled", "ssa": "Ignore"}
"""Annotations of kustomize.toolkit.fluxcd.io, each of which keeps the object that carries it."""


def test_each_guard_on_the_living_object_keeps_it_and_has_it_forgotten(
    lab: Lab, make_fleet: Make, unique: Unique, left: Keep
) -> None:
    """`prune`, `reconcile` and `ssa` guard alike, set by a person too; the object without any goes with the commit."""
    name, bare = unique("guards"), unique("bare")
    kept = {guard: unique(f"by-{guard}") for guard in GUARDS}
    fleet = make_fleet(Link(name, text="---\n".join(map(config, (name, bare, *kept.values())))))
    fleet.wait_ready()
    before = {one: uid(lab, left(out(one))) for one in kept.values()}
    for guard, value in GUARDS.items():
        annotations = {f"kustomize.toolkit.fluxcd.io/{guard}": value}
        lab.api.patch(out(kept[guard]), {"metadata": {"annotations": annotations}}, field_manager="a-person")
    fleet.change({f"{name}/objects.yaml": config(name)}, "drop all but one")
    fleet.wait_ready()
    wait_for(lab.store, absent(out(bare)), deadline=5, what="the one without a guard to be gone")
    assert {one: uid(lab, out(one)) for one in before} == before
    assert inventory(lab.api.get(kustomization(name))) == {name}


def test_an_empty_path_prunes_everything_and_is_ready_and_a_missing_one_prunes_nothing(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """No guard against an empty source; Git has no empty folders, so removing the last file is a missing path."""
    empty, wrong, vanished = unique("empty"), unique("wrong"), unique("vanished")
    fleet = make_fleet(Link(empty), Link(wrong), Link(vanished))
    fleet.wait_ready()
    kept = {one: uid(lab, out(one)) for one in (wrong, vanished)}
    mistyped = fleet.files(Link(wrong, spec={"path": f"./{wrong}-typo"}))
    emptied = fleet.change(
        {
            f"{empty}/objects.yaml": None,
            f"{empty}/README.md": "nothing here\n",
            f"{ENTRY}/{wrong}.yaml": mistyped[f"{ENTRY}/{wrong}.yaml"],
            f"{vanished}/objects.yaml": None,
        },
        "empty one, mistype one, remove the only file of one",
    )
    wait_for(lab.store, at_revision([kustomization(empty)], emptied), deadline=30, what="the empty one to be Ready")
    wait_for(lab.store, absent(out(empty)), deadline=5, what="everything of it to be gone")
    for name in (wrong, vanished):
        missing = failed(kustomization(name), "ArtifactFailed", "kustomization path not found")
        wait_for(lab.store, missing, deadline=30, what=f"the path of {name} to be missed")
    never(lab, absent(out(wrong)), seconds=4, what="what was at a missing path to go, some retries long")
    assert {one: uid(lab, out(one)) for one in kept} == kept
    fleet.change({**fleet.files(Link(wrong)), **fleet.files(Link(vanished)), **fleet.files(Link(empty))}, "put back")
    fleet.wait_ready()
    assert {one: uid(lab, out(one)) for one in kept} == kept


@pytest.mark.proves("flux.md 8.2", "without its file the root adopts what lies below, unsubstituted")
def test_without_its_kustomization_file_the_root_takes_over_what_lies_below_and_unsubstituted(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """The August incident: a generated list takes in every nested layer; putting the file back prunes what it took."""
    name = unique("layer")
    layer = f"{ENTRY}/{name}-layer"
    spec = {"path": f"./{layer}", "postBuild": {"substitute": {"X": "put-in"}}}
    link = Link(name, spec=spec)
    fleet = make_fleet()
    fleet.links = (link,)
    child = fleet.files(link)[f"{ENTRY}/{name}.yaml"]
    own = {f"{ENTRY}/kustomization.yaml": listed(name)}
    fleet.change(
        {
            **own,
            f"{ENTRY}/{name}.yaml": child,
            f"{layer}/kustomization.yaml": listed("objects"),
            f"{layer}/objects.yaml": config(name, x="${X}"),
        },
        "a layer below the root",
    )
    fleet.wait_ready()
    wait_for(lab.store, has_data(out(name), x="put-in"), deadline=10, what="the value")
    suspend(lab.api, kustomization(name))  # or the two would overwrite each other, and who is last is chance
    taken = fleet.change({f"{ENTRY}/kustomization.yaml": None}, "lose the root's list")
    wait_for(lab.store, at_revision([fleet.root], taken), deadline=30, what="the root to be Ready all the same")
    wait_for(lab.store, has_data(out(name), x="${X}"), deadline=10, what="the literal text")
    assert lab.api.get(out(name))["metadata"]["labels"][OWNER] == fleet.name
    fleet.change(own, "put the list back")
    wait_for(lab.store, absent(out(name)), deadline=30, what="the root to prune what it took")
    resume(lab.api, kustomization(name))
    wait_for(lab.store, has_data(out(name), x="put-in"), deadline=30, what="its owner to make it anew")


def test_an_object_moved_up_the_chain_is_adopted_and_moved_down_is_made_anew(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """The old owner prunes only what still carries its labels: who applies first decides, and `dependsOn` decides that."""
    up, down, rises, sinks = unique("up"), unique("down"), unique("rises"), unique("sinks")
    fleet = make_fleet(
        Link(up, text=f"{config(up)}---\n{config(sinks)}"),
        Link(down, (up,), text=f"{config(down)}---\n{config(rises)}"),
    )
    fleet.wait_ready()
    before = {one: uid(lab, out(one)) for one in (rises, sinks)}
    fleet.change(
        {
            f"{up}/objects.yaml": f"{config(up)}---\n{config(rises)}",
            f"{down}/objects.yaml": f"{config(down)}---\n{config(sinks)}",
        },
        "swap the two",
    )
    fleet.wait_ready()
    after = {one: uid(lab, out(one)) for one in (rises, sinks)}
    assert after[rises] == before[rises]
    assert after[sinks] != before[sinks]


POLICIES: dict[str, tuple[dict[str, Any], bool]] = {
    "mirrored": ({}, False),
    "mirrored-off": ({"prune": False}, True),
    "delete": ({"prune": False, "deletionPolicy": "Delete"}, False),
    "orphan": ({"deletionPolicy": "Orphan"}, True),
    "waiting": ({"deletionPolicy": "WaitForTermination"}, False),
    "suspended": ({}, True),
}
"""Spec, and whether the objects survive the Kustomization."""


def test_what_survives_a_kustomization_is_what_its_deletion_policy_says(
    lab: Lab, make_fleet: Make, unique: Unique, left: Keep
) -> None:
    """MirrorPrune follows `prune`; Delete, WaitForTermination and Orphan overrule it; a suspended one deletes nothing."""
    names = {policy: unique(policy) for policy in POLICIES}
    links = [Link(names[policy], spec=spec) for policy, (spec, _) in POLICIES.items()]
    fleet = make_fleet(*links)
    fleet.wait_ready()
    for policy, (_, survives) in POLICIES.items():
        if survives:
            left(out(names[policy]))
    suspend(lab.api, kustomization(names["suspended"]))
    fleet.change({f"{ENTRY}/{one.name}.yaml": None for one in links}, "remove them all")
    wait_for(lab.store, all_of(*(absent(one.ref) for one in links)), deadline=40, what="all of them to be gone")
    lost = [out(names[policy]) for policy, (_, survives) in POLICIES.items() if not survives]
    kept = [out(names[policy]) for policy, (_, survives) in POLICIES.items() if survives]
    wait_for(lab.store, all_of(*map(absent, lost)), deadline=10, what="what is not kept to be gone")
    wait_for(lab.store, all_of(*map(present, kept)), deadline=10, dwell=3, what="the rest to stay")


def test_only_wait_for_termination_outlives_an_object_that_does_not_end(
    lab: Lab, make_fleet: Make, unique: Unique, left: Keep
) -> None:
    """A finalizer holds the object: Delete lets go at once, WaitForTermination stays until the object is gone."""
    waits, goes = unique("waits"), unique("goes")
    held = {name: guarded(name, finalizers=[HELD]) for name in (waits, goes)}
    fleet = make_fleet(
        Link(waits, text=held[waits], spec={"deletionPolicy": "WaitForTermination"}),
        Link(goes, text=held[goes], spec={"deletionPolicy": "Delete"}),
    )
    fleet.wait_ready()
    left(out(goes))
    left(out(waits))
    fleet.change({f"{ENTRY}/{one}.yaml": None for one in (waits, goes)}, "remove both")
    wait_for(lab.store, absent(kustomization(goes)), deadline=20, what="the one that does not wait to be gone")
    ending = holds(out(waits), lambda obj: "deletionTimestamp" in obj["metadata"], "is being deleted")
    wait_for(lab.store, ending, deadline=20, what="the held object to be asked to go")
    never(lab, absent(kustomization(waits)), seconds=4, what="the one that waits to be gone")
    lab.api.patch(out(waits), {"metadata": {"finalizers": None}})
    wait_for(lab.store, absent(kustomization(waits)), deadline=30, what="the one that waits to be gone at last")


def test_a_refused_deletion_is_told_and_tried_again_and_nothing_is_forgotten(
    lab: Lab, make_fleet: Make, unique: Unique, put: Put
) -> None:
    """PruneFailed, and since kustomize-controller 1.9 what could not be deleted stays in the inventory."""
    name, orphan = unique("refused"), unique("orphan")
    policy = _forbid_deletion_of(orphan)
    binding = {
        "apiVersion": policy["apiVersion"],
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": orphan},
        "spec": {"policyName": orphan, "validationActions": ["Deny"]},
    }
    put(policy)
    bound = put(binding)
    fleet = make_fleet(Link(name, text=f"{config(name)}---\n{config(orphan)}"))
    fleet.wait_ready()
    with pytest.raises(ApiError, match="it must stay"):  # the policy bites
        lab.api.delete(out(orphan))
    moved = fleet.change({f"{name}/objects.yaml": config(name)}, "drop one")
    refused = failed(kustomization(name), "PruneFailed", orphan, revision=moved)
    wait_for(lab.store, refused, deadline=30, what="the refusal")
    known = holds(kustomization(name), lambda obj: orphan in inventory(obj), "still has it")
    wait_for(lab.store, known, deadline=5, what="the inventory")
    lab.api.delete(bound)
    wait_for(lab.store, absent(out(orphan)), deadline=30, what="the orphan to be gone")
    fleet.wait_ready()


def _forbid_deletion_of(name: str) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{**rule, "resourceNames": [name]}]},
            "validations": [{"expression": "false", "message": "it must stay"}],
        },
    }


def test_s44_commenting_out_an_app_deletes_it_and_suspending_it_does_not(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """S44, corrected: a partial deployment by taking an app out of the list is a prune of that app."""
    root, out_, paused = unique("apps"), unique("commented"), unique("paused")
    fleet = make_fleet(Link(root))
    fleet.change(
        {
            f"{root}/objects.yaml": None,
            f"{root}/kustomization.yaml": json.dumps({"resources": [out_, paused]}),
            **{f"{root}/{one}/kustomization.yaml": listed("app") for one in (out_, paused)},
            f"{root}/{out_}/app.yaml": config(out_),
            f"{root}/{paused}/app.yaml": _inner(fleet.files(Link(paused)), paused),
            f"{paused}/objects.yaml": config(paused),
        },
        "two apps",
    )
    wait_for(lab.store, all_of(present(out(out_)), present(out(paused))), deadline=60, what="both apps")
    before = uid(lab, out(paused))
    suspended = _inner(fleet.files(Link(paused, spec={"suspend": True})), paused)
    fleet.change(
        {
            f"{root}/kustomization.yaml": json.dumps({"resources": [paused]}),
            f"{root}/{paused}/app.yaml": suspended,
        },
        "comment out one, suspend the other",
    )
    wait_for(lab.store, absent(out(out_)), deadline=30, what="the commented-out app to be gone")
    fleet.change({f"{paused}/objects.yaml": config(paused, x="not yet")}, "change the suspended one")
    never(lab, has_data(out(paused), x="not yet"), seconds=3, what="the suspended app to change")
    assert uid(lab, out(paused)) == before
    fleet.change({f"{root}/{paused}/app.yaml": _inner(fleet.files(Link(paused)), paused)}, "resume it in Git")
    wait_for(lab.store, has_data(out(paused), x="not yet"), deadline=40, what="the resumed app")


def _inner(files: dict[str, str], name: str) -> str:
    return files[f"{ENTRY}/{name}.yaml"]


@pytest.mark.parametrize("policy", ["MirrorPrune", "Orphan"])
def test_s45_deleting_a_kustomization_deletes_what_it_made_unless_it_is_an_orphan_and_the_parent_brings_it_back(
    lab: Lab, make_fleet: Make, unique: Unique, policy: str
) -> None:
    """S45, corrected: "keeps deployed resources" is true of Orphan only; back it comes at the parent's next reconcile."""
    name = unique("deleted")
    fleet = make_fleet(Link(name, spec={"deletionPolicy": policy}))
    fleet.wait_ready()
    before = uid(lab, out(name))
    lab.api.delete(kustomization(name))
    wait_for(lab.store, absent(kustomization(name)), deadline=20, what="the Kustomization to be gone")
    if policy == "Orphan":
        never(lab, absent(out(name)), seconds=3, what="what it made to go")
    else:
        wait_for(lab.store, absent(out(name)), deadline=10, what="what it made to be gone")
    never(lab, present(kustomization(name)), seconds=3, what="the parent before its interval (10 min here)")
    reconcile(lab.api, lab.store, fleet.root, deadline=30)
    fleet.wait_ready()
    wait_for(lab.store, present(out(name)), deadline=10, what="what it makes")
    assert (uid(lab, out(name)) == before) is (policy == "Orphan")
