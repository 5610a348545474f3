"""The verdict's rules; each false green of chaos.md section 7 that is a matter of judging has its test here."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from fluxdrill.model.verdicts import Verdict, merge
from fluxdrill.scenario.judge import judge
from fluxdrill.scenario.measure import falls, samples, spread
from fluxdrill.scenario.plan import Verb
from fluxdrill.scenario.record import Facts, Record, Result, read_runs, record_entry

FACTS = Facts(
    id="sample",
    title="a sample",
    proves=("C-21",),
    outcome="recovered",
    seed=1,
    affected=("ConfigMap/shop/web",),
    decoy=("Deployment/monitoring/watcher",),
    scope=("ConfigMap/shop/web", "Deployment/monitoring/watcher", "Kustomization/flux-system/apps"),
    silences=False,
    detect=10,
    recover=20,
    total=100,
    faults=("controllers.kill()",),
    lab="lab-1",
)
COURSE = (
    (Verb.STEADY, 0, 1),
    (Verb.INJECT, 2, 2.5),
    (Verb.OBSERVE, 2.5, 3),
    (Verb.SEE, 3, 4),
    (Verb.HEAL, 5, 6),
    (Verb.RECOVER, 6, 14),
    (Verb.DECOY, 14, 14),
    (Verb.CLEAN, 14, 15),
    (Verb.AFTER, 15, 16),
    (Verb.QUIET, 16, 19),
)
TRANSITION = {
    "type": "transition",
    "lab": "lab-1",
    "object": "ConfigMap/shop/web",
    "change": "deleted",
    "status": "NotFound",
    "t": 3.5,
}
BACK = {**TRANSITION, "change": "added", "status": "Current", "t": 12.0}
ENTRIES = [TRANSITION, BACK]


def course(**changes: Any) -> Any:
    """Return the records of a run that went well; `changes` replaces the result of a verb."""
    met = {Verb.SEE: 3.5, Verb.RECOVER: 13.0}
    return [
        Record(
            number=number,
            verb=verb,
            text=str(verb),
            cycle=0,
            fault=-1,
            result=changes.get(str(verb), Result.DONE),
            why="why",
            started=start,
            ended=end,
            met=met.get(verb),
        )
        for number, (verb, start, end) in enumerate(COURSE, 1)
    ]


def in_cycle(records: Any) -> Any:
    own = {Verb.INJECT, Verb.OBSERVE, Verb.SEE, Verb.HEAL, Verb.RECOVER}
    return [replace(one, cycle=1 if one.verb in own else 0) for one in records]


def verdict(facts: Facts = FACTS, entries: Any = ENTRIES, **changes: Any) -> Any:
    return judge(facts, in_cycle(course(**changes)), entries).verdict


def test_a_run_that_went_as_declared_passes() -> None:
    assert verdict() is Verdict.PASS


@pytest.mark.parametrize(
    ("step", "result", "wanted"),
    [
        ("steady", Result.MISSED, Verdict.INVALID),
        ("inject", Result.VOID, Verdict.INVALID),
        ("inject", Result.BROKE, Verdict.HARNESS_ERROR),
        ("observe", Result.MISSED, Verdict.INVALID),
        ("see", Result.MISSED, Verdict.DEVIATED),
        ("see", Result.VOID, Verdict.INVALID),
        ("see", Result.UNDECIDED, Verdict.UNKNOWN),
        ("heal", Result.BROKE, Verdict.HARNESS_ERROR),
        ("heal", Result.MISSED, Verdict.HARNESS_ERROR),
        ("recover", Result.MISSED, Verdict.DEVIATED),
        ("recover", Result.UNDECIDED, Verdict.UNKNOWN),
        ("recover", Result.SKIPPED, Verdict.UNKNOWN),
        ("decoy", Result.MISSED, Verdict.DEVIATED),
        ("clean", Result.BROKE, Verdict.HARNESS_ERROR),
        ("after", Result.MISSED, Verdict.DEVIATED),
        ("quiet", Result.MISSED, Verdict.DEVIATED),
    ],
)
def test_one_step_that_did_not_succeed_is_never_a_pass(step: str, result: Result, wanted: Verdict) -> None:
    changed: dict[str, Any] = {step: result}
    assert verdict(**changed) is wanted


@pytest.mark.parametrize("verb", [verb for verb, *_ in COURSE])
def test_a_step_that_was_never_taken_is_invalid(verb: Verb) -> None:
    kept = [one for one in in_cycle(course()) if one.verb is not verb]
    assert judge(FACTS, kept, ENTRIES).verdict in {Verdict.INVALID, Verdict.UNKNOWN}


def test_no_record_at_all_is_invalid() -> None:
    assert judge(FACTS, [], []).verdict is Verdict.INVALID
    assert merge([]) is Verdict.INVALID


def test_an_object_beyond_the_declared_ones_that_left_ready_is_a_deviation() -> None:
    other = {**TRANSITION, "object": "Kustomization/flux-system/apps", "change": "modified", "status": "False"}
    assert verdict(entries=[*ENTRIES, other]) is Verdict.DEVIATED


def test_an_unrelated_object_that_appears_and_goes_is_not_taken_for_one_of_ours() -> None:
    other = {**TRANSITION, "object": "ConfigMap/shop/unrelated"}
    assert verdict(entries=[*ENTRIES, other]) is Verdict.PASS


def test_a_watch_that_was_blind_leaves_the_blast_radius_unknown() -> None:
    blind = {"type": "watch-loss", "lab": "lab-1", "t": 4.0, "why": "cut"}
    assert verdict(entries=[*ENTRIES, blind]) is Verdict.UNKNOWN
    assert verdict(facts=replace(FACTS, silences=True), entries=[*ENTRIES, blind]) is Verdict.PASS


def test_a_watch_that_told_of_nothing_leaves_it_unknown() -> None:
    assert verdict(entries=[]) is Verdict.UNKNOWN


def test_another_labs_watch_does_not_count() -> None:
    assert verdict(entries=[{**one, "lab": "lab-2"} for one in ENTRIES]) is Verdict.UNKNOWN


@pytest.mark.parametrize("changes", [{"detect": 0.5}, {"recover": 5}, {"total": 5}], ids=str)
def test_a_budget_that_is_exceeded_is_a_deviation(changes: dict[str, Any]) -> None:
    assert verdict(facts=replace(FACTS, **changes)) is Verdict.DEVIATED


def test_recovery_counts_from_the_healing_and_to_the_moment_it_held() -> None:
    found = {(one.what, one.object): one.seconds for one in samples(FACTS, in_cycle(course()), ENTRIES)}
    assert found == {
        ("detection", ""): 1.0,
        ("recovery", ""): 7.0,
        ("detection", "ConfigMap/shop/web"): 1.0,
        ("recovery", "ConfigMap/shop/web"): 6.0,
    }


def test_what_heals_itself_counts_from_the_bite() -> None:
    found = samples(replace(FACTS, outcome="self-healed"), in_cycle(course()), ENTRIES)
    assert next(one.seconds for one in found if (one.what, one.object) == ("recovery", "")) == 10.0


def test_two_falls_of_one_object_are_one_recovery_of_the_last() -> None:
    again = [{**TRANSITION, "t": 4.5}, {**BACK, "t": 5.0}]
    found = samples(FACTS, in_cycle(course()), [TRANSITION, *again, {**TRANSITION, "t": 7.0}, BACK])
    own = [one for one in found if one.object and one.what == "recovery"]
    assert [one.seconds for one in own] == [6.0]


def waiting(t: float, on: str, status: str = "False") -> Any:
    return {
        "type": "transition",
        "lab": "lab-1",
        "object": "Kustomization/flux-system/apps",
        "status": status,
        "reason": "DependencyNotReady",
        "message": f"dependency '{on}' is not ready",
        "t": t,
    }


def test_waiting_for_a_dependency_that_takes_up_a_commit_is_no_fall() -> None:
    assert falls([waiting(1.0, "flux-system/infra")]) == []


def test_waiting_for_a_dependency_that_is_down_is_one_whichever_came_first() -> None:
    down = {"object": "Kustomization/flux-system/infra", "status": "False", "reason": "BuildFailed", "t": 2.0}
    for order in ([down, waiting(3.0, "flux-system/infra")], [waiting(1.0, "flux-system/infra"), down]):
        assert [fall.object for fall in falls(order)] == [
            "Kustomization/flux-system/infra",
            "Kustomization/flux-system/apps",
        ]


def test_a_percentile_needs_twenty_samples() -> None:
    assert spread(range(19)).p95 is None
    assert spread(range(20)).p95 is not None
    with pytest.raises(ValueError, match="no sample"):
        spread([])


def journal_of(records: Any, *, name: str = "sample") -> Any:
    """Return the entries of one run of a scenario, as a session writes them."""
    steps = [{"type": "step", "scenario": name, "lab": "lab-1", "t": 1, **record_entry(one)} for one in records]
    return [*steps, {"type": "scenario", "t": 0, **asdict(replace(FACTS, id=name))}]


def test_an_old_journal_gives_facts_and_records_back() -> None:
    records = in_cycle(course())
    (run,) = read_runs(journal_of(records))
    assert (run.facts, list(run.records)) == (FACTS, records)


def test_two_runs_of_one_scenario_and_those_of_another_are_kept_apart() -> None:
    records = in_cycle(course())
    told = {"type": "verdict", "scenario": "sample", "verdict": "pass"}
    entries = [*journal_of(records), *journal_of(records[:3], name="other"), told, *journal_of(records[:2])]
    assert [(run.scenario, len(run.records), run.told) for run in read_runs(entries)] == [
        ("sample", len(records), told), ("other", 3, None), ("sample", 2, None)
    ]  # fmt: skip


def test_a_run_that_was_killed_has_steps_and_no_facts() -> None:
    (run,) = read_runs(journal_of(in_cycle(course()))[:4])
    assert (run.facts, len(run.records)) == (None, 4)


def test_evidence_belongs_to_the_run_that_goes_on_or_has_just_ended() -> None:
    begun = {"type": "scenario-begun", "scenario": "sample"}
    one, two = ({"type": "evidence", "scenario": "sample", "why": why} for why in ("step", "verdict"))
    entries = journal_of(in_cycle(course()))
    found = read_runs([begun, one, *entries, two, begun, *entries])
    assert [run.evidence for run in found] == [(one, two), ()]


def test_a_gap_that_began_before_the_fault_and_reaches_into_it_counts_and_one_that_was_over_does_not() -> None:
    gap = {"type": "gap", "lab": "lab-1", "t": 1.0, "why": "refused", "end": None}
    assert verdict(entries=[*ENTRIES, gap]) is Verdict.UNKNOWN
    assert verdict(entries=[*ENTRIES, gap, {**gap, "end": 3.0}]) is Verdict.UNKNOWN
    assert verdict(entries=[*ENTRIES, gap, {**gap, "end": 1.5}]) is Verdict.PASS


def test_an_effect_that_was_seen_before_the_injection_returned_counts() -> None:
    found = samples(FACTS, in_cycle(course()), [{**TRANSITION, "t": 2.2}, BACK])
    assert {(one.what, one.seconds) for one in found if one.object} == {("detection", 0.0), ("recovery", 6.0)}


def test_a_watch_that_ended_with_its_declared_definition_is_no_blindness() -> None:
    facts = replace(FACTS, affected=(*FACTS.affected, "CustomResourceDefinition/widgets.fleet.fluxdrill.dev"))
    lost = {"type": "watch-loss", "lab": "lab-1", "t": 4.0, "what": "Widget.fleet.fluxdrill.dev", "why": "404"}
    assert verdict(facts=facts, entries=[*ENTRIES, lost]) is Verdict.PASS
    assert verdict(facts=facts, entries=[*ENTRIES, {**lost, "what": "Gadget.other.dev"}]) is Verdict.UNKNOWN
    assert verdict(entries=[*ENTRIES, lost]) is Verdict.UNKNOWN
