"""The flagship regression: the root-composition incident of August 2026, replayed from the public history it is in.

A root without a list of its files takes in every layer below it, then gets its list back: 90 objects leave it, and who
applied each of them last decides whether it is deleted. What must hold in every run is asserted; the coin toss is
reported, by name. Simulated are the foreign kinds, and health: no chart can be fetched (see docs/replay.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.model.refs import ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.pytest_plugin.plugin import start
from fluxdrill.repository.tree import ROOT
from suites.replay.conftest import Tell
from suites.replay.fates import LOST, SAVED, Fate, Sighting, as_text, deleted_by_flux
from suites.replay.incident import CHILDREN, EDITS, Stage
from suites.replay.replaying import Evidence, Last, Moment, Replay
from suites.sabotage import refused, without_writes

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("corpus"), pytest.mark.timeout(600)]

CONTROLS = (
    "test_control_nothing_is_deleted_when_the_children_applied_last_or_everything_was_guarded",
    "test_control_an_inventory_that_forgets_one_object_is_found_out",
    "test_control_labels_that_are_no_longer_the_roots_are_found_out",
    "test_control_a_deletion_that_is_hidden_from_the_audit_log_is_found_out",
    "test_control_a_pruned_object_that_never_was_the_roots_is_found_out",
    "test_control_an_object_that_nobody_followed_is_found_out",
    "test_control_a_deletion_beyond_the_90_is_found_out",
)

OWN, TAKEN_IN, LEAVING, RELEASES, UNSUBSTITUTED = 7, 97, 90, 22, 12
"""The incident's numbers (facts: recovery.md I01)."""
RUNS = 3

Begin = Callable[[LabSpec], Lab]


def spec() -> LabSpec:
    """Return a lab that keeps an audit log."""
    return LabSpec(cluster=ClusterOptions(audit=True))


def replayed(replay: Replay) -> Evidence:
    """Replay the incident as it was: the root, which applies every minute, applied last when the fix came."""
    replay.take_in(Stage.TAKEN_IN, last=Last.ROOT)
    return replay.fix()


@pytest.fixture(scope="module")
def incident(request: pytest.FixtureRequest) -> Evidence:
    """Replay the incident once, in a lab of its own that ends with it."""
    request.getfixturevalue("corpus")
    with start(request.config, spec()) as lab:
        return replayed(Replay(lab))


# What must hold in every run.


def by_name(evidence: Evidence) -> dict[str, Moment]:
    """Return the moments by name."""
    return {one.name: one for one in evidence.moments}


def grows_and_shrinks(evidence: Evidence) -> None:
    """Check the root's inventory: 7, then 97 of which 22 are releases, then 7; each object is one that Git declares."""
    moments = by_name(evidence)
    before, taken_in, fixed = (moments[stage].inventory for stage in (Stage.BEFORE, Stage.TAKEN_IN, Stage.FIXED))
    assert (len(before), len(taken_in), len(fixed)) == (OWN, TAKEN_IN, OWN)
    assert taken_in == evidence.diff.before
    assert fixed == evidence.diff.after
    assert sum(ref.kind == "HelmRelease" for ref in taken_in) == RELEASES
    assert len(taken_in - fixed) == LEAVING


def overwrite_each_other(evidence: Evidence) -> None:
    """Check that every object in question changed hands: the children's, then the root's, and unsubstituted with it."""
    moments = by_name(evidence)
    theirs, roots = (moments[f"{Stage.TAKEN_IN}, and {who} applied again"] for who in (Last.CHILDREN, Last.ROOT))
    assert theirs.owners.keys() == roots.owners.keys() == evidence.diff.leaving
    assert set(theirs.owners.values()) <= set(CHILDREN)
    assert set(roots.owners.values()) == {ROOT.name}
    assert (theirs.unsubstituted, roots.unsubstituted) == (0, UNSUBSTITUTED)


def every_fate_is_explained(evidence: Evidence) -> None:
    """Check that each of the 90 is lost or saved, for a reason that could be seen before."""
    told = evidence.told
    assert {one.ref for one in told} == evidence.diff.leaving
    assert len(told) == LEAVING
    assert [str(one) for one in told if one.fate is Fate.UNEXPLAINED] == []
    lost, saved = ({one.ref for one in told if one.fate in group} for group in (LOST, SAVED))
    assert lost | saved == evidence.diff.leaving
    assert not lost & saved


def nothing_else_is_deleted(evidence: Evidence) -> None:
    """Check that Flux deleted nothing but what left the root, and that others went only with a namespace of that."""
    assert deleted_by_flux(evidence.writes, since=evidence.since) <= evidence.diff.leaving
    kept = {ref: {one.uid for one in evidence.seen[ref]} for ref in evidence.diff.after}
    assert {ref: len(uids) for ref, uids in kept.items()} == dict.fromkeys(evidence.diff.after, 1)
    assert all(uid for uids in kept.values() for uid in uids)
    assert evidence.bystanders
    assert {one.fate for one in evidence.bystanders} <= {Fate.ADOPTED, Fate.WITH_NAMESPACE}


CHECKS = (grows_and_shrinks, overwrite_each_other, every_fate_is_explained, nothing_else_is_deleted)


def report(evidence: Evidence) -> str:
    """Return what a reader wants to know of one run."""
    lost = [one for one in evidence.bystanders if one.fate in LOST]
    parts = [
        *map(str, evidence.moments),
        as_text(evidence.told, title=f"{len(evidence.told)} objects left the root:"),
        as_text(lost, title="Beyond them:") if lost else "Beyond them nothing was lost.",
        *(f"Not Ready in the end: {name}: {why}" for name, why in sorted(evidence.refusals.items())),
        f"Simulated kinds: {', '.join(map(str, evidence.simulated))}.",
        *(f"Changed in the served copy ({name}): {why}" for name, why in EDITS.items()),
    ]
    return "\n".join(parts)


def test_the_root_takes_in_90_objects_of_its_children_and_lets_go_of_them(
    incident: Evidence, measured: Measured, tell_report: Tell
) -> None:
    """I01: without a list of its files the root grows from 7 to 97 objects, 22 of them releases; the list drops 90."""
    tell_report("Fate of every object", report(incident))
    measured("fix served until the root has pruned", incident.seconds, kind="other")
    grows_and_shrinks(incident)


def test_the_root_and_its_children_overwrite_each_other(incident: Evidence) -> None:
    """All 90 carry the label of whoever applied last; where that is the root, 12 hold a literal variable."""
    overwrite_each_other(incident)


def test_each_of_the_90_is_lost_or_saved_and_its_label_says_why(incident: Evidence) -> None:
    """Pruned is what carried the root's label when it looked; saved what a child, racing it, had taken back."""
    every_fate_is_explained(incident)


def test_nothing_but_what_left_the_root_is_deleted_save_what_lies_in_a_lost_namespace(incident: Evidence) -> None:
    """The root's own seven keep their identity."""
    nothing_else_is_deleted(incident)


@pytest.mark.nightly
@pytest.mark.timeout(2400)
def test_the_toss_falls_another_way_and_the_invariants_hold_in_every_run(
    request: pytest.FixtureRequest, tell_report: Tell
) -> None:
    """Several fresh labs: the distribution is reported, object by object, and what must hold is asserted in each."""
    runs: list[Evidence] = []
    for number in range(1, RUNS + 1):
        with start(request.config, spec()) as lab:
            runs.append(replayed(Replay(lab)))
        tell_report(f"Run {number} of {RUNS}", report(runs[-1]))
        for check in CHECKS:
            check(runs[-1])
    tell_report(f"Distribution over {RUNS} runs", distribution(runs))


def distribution(runs: list[Evidence]) -> str:
    """Return how often each object met which fate: first the numbers of each run, then what fell different ways."""
    fates: dict[ObjectRef, Counter[Fate]] = {}
    lines: list[str] = []
    for number, run in enumerate(runs, 1):
        counted = Counter(one.fate for one in run.told)
        lines.append(f"Run {number}: {', '.join(f'{count} {fate}' for fate, count in counted.most_common())}")
        for one in run.told:
            fates.setdefault(one.ref, Counter())[one.fate] += 1
    for ref, counted in sorted(fates.items()):
        shown = ", ".join(f"{count} x {fate}" for fate, count in counted.most_common())
        lines.append(f"  {'*' if len(counted) > 1 else ' '} {ref}: {shown}")
    return "\n".join(lines)


# Negative controls.


def test_control_nothing_is_deleted_when_the_children_applied_last_or_everything_was_guarded(
    start_lab: Begin, tell_report: Tell
) -> None:
    """The same fix, without the loss: who applied last decides, and `prune: disabled` does, also for the root's."""
    replay = Replay(start_lab(spec()))
    replay.take_in(Stage.TAKEN_IN, last=Last.CHILDREN)
    theirs = replay.fix()
    tell_report("The children applied last", report(theirs))
    is_harmless(theirs, Fate.ADOPTED)
    with refused():  # the rule that saved them was not the guard
        is_harmless(theirs, Fate.GUARDED)
    replay.take_in(Stage.GUARDED, last=Last.ROOT)
    guarded = replay.fix()
    tell_report("Everything was guarded, and the root applied last", report(guarded))
    is_harmless(guarded, Fate.GUARDED)


def is_harmless(evidence: Evidence, fate: Fate) -> None:
    """Check that all 90 left the root's inventory, that nothing was deleted, and that one rule saved them all."""
    every_fate_is_explained(evidence)
    assert by_name(evidence)[Stage.FIXED].inventory == evidence.diff.after
    assert deleted_by_flux(evidence.writes, since=evidence.since) == frozenset()
    assert {one.fate for one in evidence.told} == {fate}
    assert evidence.refusals == {}


def test_control_an_inventory_that_forgets_one_object_is_found_out(incident: Evidence) -> None:
    """Negative control: 96 are not 97."""
    taken_in = by_name(incident)[Stage.TAKEN_IN]
    short = replace(taken_in, inventory=taken_in.inventory - {max(incident.diff.leaving)})
    with refused():
        grows_and_shrinks(replace(incident, moments=(*incident.moments, short)))


def test_control_labels_that_are_no_longer_the_roots_are_found_out(incident: Evidence) -> None:
    """Negative control: one object that the root did not overwrite, and all of them substituted."""
    last = by_name(incident)[f"{Stage.TAKEN_IN}, and {Last.ROOT} applied again"]
    one = replace(last, owners={**last.owners, max(last.owners): CHILDREN[0]})
    for lie in (one, replace(last, unsubstituted=0)):
        with refused():
            overwrite_each_other(replace(incident, moments=(*incident.moments, lie)))


def pruned(evidence: Evidence) -> ObjectRef:
    """Return one of the pruned objects, in no pruned namespace."""
    found = [one.ref for one in evidence.told if one.fate is Fate.PRUNED and one.ref.namespace == "flux-system"]
    assert found, "nothing in flux-system was pruned"
    return found[0]


def test_control_a_deletion_that_is_hidden_from_the_audit_log_is_found_out(incident: Evidence) -> None:
    """Negative control: an object that is gone without anybody having deleted it has no fate."""
    with refused():
        every_fate_is_explained(replace(incident, writes=tuple(without_writes(incident.writes, {pruned(incident)}))))


def test_control_a_pruned_object_that_never_was_the_roots_is_found_out(incident: Evidence) -> None:
    """Negative control: a child's label all along, and deleted all the same."""
    ref = pruned(incident)
    relabelled = [replace(one, owner=CHILDREN[0]) for one in incident.seen[ref]]
    with refused():
        every_fate_is_explained(replace(incident, seen=seen_as(incident, ref, relabelled)))


def test_control_an_object_that_nobody_followed_is_found_out(incident: Evidence) -> None:
    """Negative control: 89 fates are not 90."""
    seen = {ref: found for ref, found in incident.seen.items() if ref != max(incident.diff.leaving)}
    with refused():
        every_fate_is_explained(replace(incident, seen=seen))


def test_control_a_deletion_beyond_the_90_is_found_out(incident: Evidence) -> None:
    """Negative control: one of the root's own seven, made anew behind our back; and one more in the audit log."""
    ref = max(incident.diff.after)
    first = incident.seen[ref][0]
    with refused():
        nothing_else_is_deleted(replace(incident, seen=seen_as(incident, ref, [first, replace(first, uid="another")])))
    deletion = next(one for one in incident.writes if one.verb == "delete" and one.at >= incident.since)
    with refused():
        nothing_else_is_deleted(replace(incident, writes=(*incident.writes, replace(deletion, ref=ref))))


def seen_as(evidence: Evidence, ref: ObjectRef, found: list[Sighting]) -> Mapping[ObjectRef, list[Sighting]]:
    """Return what was seen, with a lie about one object."""
    return {**evidence.seen, ref: found}
