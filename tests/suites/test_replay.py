"""The rules of the replay: what is changed in the served copy, and which fate an object has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fluxdrill.model.ordering import Write
from fluxdrill.model.refs import ObjectRef
from suites.replay.fates import Fate, Sighting, Told, as_text, deleted_by_flux, tell
from suites.replay.incident import OVERLAYS, PATH, edited, without_remote_bases, without_waiting

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
REF = ObjectRef("", "ConfigMap", "space", "x")
SPACE = ObjectRef("", "Namespace", "", "space")
ROOTS, CHILDS = "root", "child"
USER = "system:serviceaccount:flux-system:kustomize-controller"


def seen(uid: str = "1", owner: str = ROOTS, *, guarded: bool = False, going: bool = False) -> Sighting:
    return Sighting(SINCE, uid, owner, guarded, going)


GONE = Sighting(SINCE)


def deletion(ref: ObjectRef = REF, *, user: str = USER, seconds: float = 1) -> Write:
    return Write(SINCE + timedelta(seconds=seconds), user, "delete", ref)


def told(*found: Sighting, writes: Iterable[Write] = ()) -> Told:
    (one,) = tell({REF: found}, writes, root=ROOTS, since=SINCE)
    return one


def test_what_carried_the_roots_label_and_was_deleted_is_pruned() -> None:
    one = told(seen(), GONE, writes=[deletion()])
    assert (one.fate, one.owner, one.again) == (Fate.PRUNED, ROOTS, "")


def test_what_a_child_makes_anew_after_that_is_pruned_and_told() -> None:
    one = told(seen(), GONE, seen("2", CHILDS), writes=[deletion()])
    assert (one.fate, one.again) == (Fate.PRUNED, CHILDS)
    assert "made anew by child" in str(one)


def test_what_was_replaced_between_two_looks_is_pruned_too() -> None:
    assert told(seen(), seen("2", CHILDS), writes=[deletion()]).fate is Fate.PRUNED


def test_a_label_that_changes_while_the_object_is_on_its_way_out_does_not_count() -> None:
    one = told(seen(), seen(going=True), seen(owner=CHILDS, going=True), GONE, writes=[deletion()])
    assert (one.fate, one.owner, one.why) == (Fate.PRUNED, ROOTS, "")


def test_what_was_adopted_between_look_and_deletion_is_pruned_and_says_so() -> None:
    one = told(seen(), seen(owner=CHILDS), GONE, writes=[deletion()])
    assert (one.fate, one.owner) == (Fate.PRUNED, CHILDS)
    assert "adopted between" in one.why


@pytest.mark.parametrize("found", [(seen(owner=CHILDS),), (seen(), seen(owner=CHILDS))], ids=["before", "meanwhile"])
def test_what_stays_with_another_label_is_saved_by_it(found: tuple[Sighting, ...]) -> None:
    assert told(*found).fate is Fate.ADOPTED


def test_what_was_guarded_when_the_revision_came_is_saved_by_that() -> None:
    assert told(seen(guarded=True)).fate is Fate.GUARDED
    assert told(seen(guarded=True), seen(owner=CHILDS)).fate is Fate.GUARDED


def test_what_goes_with_its_namespace_is_no_deletion_of_its_own() -> None:
    audited = replace(SPACE, namespace=SPACE.name)  # an audit log says of a Namespace that it lies in itself
    assert told(seen(owner=CHILDS), GONE, writes=[deletion(audited)]).fate is Fate.WITH_NAMESPACE


@pytest.mark.parametrize(
    ("found", "writes"),
    [
        ((GONE, seen()), ()),
        ((seen(), GONE), ()),
        ((seen(), GONE), (deletion(user="a-person"),)),
        ((seen(), GONE), (deletion(seconds=-1),)),
        ((seen(),), ()),
        ((seen(owner=""),), ()),
        ((seen(owner=CHILDS),), (deletion(),)),
        ((seen(owner=CHILDS), GONE), (deletion(),)),
        ((seen(guarded=True), GONE), (deletion(),)),
    ],
    ids=["came-later", "nobody", "a-person", "too-early", "left", "unlabelled", "stays", "not-the-roots", "guarded"],
)
def test_what_no_rule_explains_is_unexplained(found: tuple[Sighting, ...], writes: tuple[Write, ...]) -> None:
    one = told(*found, writes=writes)
    assert one.fate is Fate.UNEXPLAINED
    assert one.why


def test_only_flux_deletes_after_the_revision_count() -> None:
    writes = [deletion(), deletion(SPACE, user="a-person"), deletion(SPACE, seconds=-1)]
    assert deleted_by_flux(writes, since=SINCE) == {REF}


def test_the_text_counts_first_and_names_every_object() -> None:
    lines = as_text([told(seen(owner=CHILDS))], title="All:").splitlines()
    assert lines == ["All:", f"1 {Fate.ADOPTED}", f"  {REF}: {Fate.ADOPTED} (last label: child)"]


def test_remote_bases_are_left_out_and_nothing_else() -> None:
    text = "resources:\n  - a.yaml\n  - https://x.example/crd.yaml\n  - ../b\n  - 'https://y.example/z?ref=v1'\n"
    assert without_remote_bases(text) == "resources:\n  - a.yaml\n  - ../b\n"


def test_only_waiting_is_switched_off() -> None:
    text = "spec:\n  prune: true\n  wait: true\n  waits: true\n"
    assert without_waiting(text) == "spec:\n  prune: true\n  wait: false\n  waits: true\n"


def test_a_file_is_changed_only_where_an_edit_says_so() -> None:
    tree = {
        f"{PATH}/apps.yaml": b"spec:\n  wait: true\n",
        "apps/x.yaml": b"spec:\n  wait: true\n",
        "apps/kustomization.yaml": b"resources:\n- https://x.example/y\n- a.yaml\n",
        "apps/list.yaml": b"resources:\n- https://x.example/y\n",
        "README.md": b"wait: true",
    }
    assert edited(tree) == {
        f"{PATH}/apps.yaml": "spec:\n  wait: false\n",
        "apps/kustomization.yaml": "resources:\n- a.yaml\n",
    }


def test_guards_are_put_on_the_layers_alone() -> None:
    plain = {OVERLAYS[0]: b"resources: [a.yaml]\n", "apps/kustomization.yaml": b"resources: [b.yaml]\n"}
    assert edited(plain) == {}
    assert list(edited(plain, guarded=True)) == [OVERLAYS[0]]
    assert "prune: disabled" in str(edited(plain, guarded=True)[OVERLAYS[0]])
