"""The three answers of each predicate; every one also where it must not be met."""

from __future__ import annotations

from typing import Any

import pytest

from fluxdrill.errors import UsageError
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import (
    Answer,
    Predicate,
    Verdict3,
    absent,
    all_current,
    all_of,
    condition,
    handled,
    present,
    ready,
)
from fluxdrill.model.refs import ObjectRef
from tests.kube.objects import cm_ref, config_map, ks_ref, kustomization, view_of

READY = kustomization(ready="True")
FAILING = kustomization(ready="False", reason="BuildFailed", message="no such path")
STALLED = kustomization(ready="False", reason="InvalidCELExpression", message="bad", stalled=True)


def test_ready_is_met_by_a_ready_condition_about_this_generation() -> None:
    assert ready(ks_ref()).judge(view_of(READY)).answer is Answer.MET


@pytest.mark.parametrize(
    "obj",
    [
        None,
        kustomization(),
        FAILING,
        kustomization(ready="Unknown"),
        kustomization(ready="True", generation=2, observed=1),
    ],
    ids=["missing", "not looked at yet", "failing", "unknown", "about an older generation"],
)
def test_ready_is_not_met_yet_by_anything_less(obj: dict[str, Any] | None) -> None:
    verdict = ready(ks_ref()).judge(view_of(obj) if obj else view_of())
    assert (verdict.answer, verdict.blocking) == (Answer.NOT_YET, (ks_ref(),))


def test_ready_is_terminal_where_the_controller_has_given_up_and_says_why() -> None:
    verdict = ready(ks_ref()).judge(view_of(STALLED))
    assert verdict.answer is Answer.TERMINAL
    assert "InvalidCELExpression" in verdict.why


def test_all_current_counts_and_names_what_is_missing() -> None:
    refs = [ks_ref("a"), ks_ref("b"), ks_ref("c")]
    view = view_of(kustomization("a", ready="True"), kustomization("b", ready="False", reason="BuildFailed"))
    verdict = all_current(refs).judge(view)
    assert verdict.blocking == (ks_ref("b"), ks_ref("c"))
    assert verdict.why == "1 of 3 ready; Kustomization/flux-system/b is InProgress (BuildFailed) (and 1 more)"
    assert all_current(refs[:1]).judge(view).answer is Answer.MET


def test_all_current_follows_an_object_that_changes() -> None:
    predicate = ready(ks_ref())
    answers = [predicate.judge(view_of(obj)).answer for obj in (READY, FAILING, READY)]
    assert answers == [Answer.MET, Answer.NOT_YET, Answer.MET]


@pytest.mark.parametrize(
    "make", [lambda: all_current([]), all_of, lambda: Predicate(lambda _: Verdict3.met("nothing"))]
)
def test_a_wait_for_nothing_is_an_error(make: Any) -> None:
    with pytest.raises(UsageError, match="no object at all"):
        make()


def test_absent_is_met_by_a_missing_object_and_by_a_kind_that_is_not_served() -> None:
    assert absent(ks_ref()).judge(view_of()).answer is Answer.MET
    verdict = absent(ks_ref()).judge(view_of(absent=(GroupKind.of(ks_ref()),)))
    assert verdict.answer is Answer.MET
    assert "kind is not served" in verdict.why


def test_absent_is_not_met_while_the_object_is_there_and_says_what_holds_it() -> None:
    assert "nobody has asked" in absent(ks_ref()).judge(view_of(READY)).why
    leaving = kustomization()
    leaving["metadata"] |= {"deletionTimestamp": "2026-11-24T12:00:00Z", "finalizers": ["finalizers.fluxcd.io"]}
    verdict = absent(ks_ref()).judge(view_of(leaving))
    assert verdict.answer is Answer.NOT_YET
    assert "waits for finalizers.fluxcd.io" in verdict.why


def test_present_is_met_by_existence_alone() -> None:
    assert present(ks_ref()).judge(view_of(FAILING)).answer is Answer.MET
    assert present(ks_ref("other")).judge(view_of(FAILING)).answer is Answer.NOT_YET


def test_condition_is_met_by_type_status_and_reason() -> None:
    view = view_of(FAILING)
    assert condition(ks_ref(), "Ready", "False").judge(view).answer is Answer.MET
    assert condition(ks_ref(), "Ready", "False", "BuildFailed").judge(view).answer is Answer.MET


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (("Ready", "True"), "Ready=False (BuildFailed): no such path"),
        (("Ready", "False", "PruneFailed"), "Ready=False (BuildFailed)"),
        (("Healthy", "False"), "has no condition Healthy"),
    ],
)
def test_condition_is_not_met_by_another_type_status_or_reason(wanted: tuple[str, ...], why: str) -> None:
    verdict = condition(ks_ref(), *wanted).judge(view_of(FAILING))
    assert verdict.answer is Answer.NOT_YET
    assert why in verdict.why


def test_condition_is_not_met_by_an_older_generation_nor_by_nothing() -> None:
    old = kustomization(ready="False", generation=2, observed=1)
    assert "older generation" in condition(ks_ref(), "Ready", "False").judge(view_of(old)).why
    assert "does not exist" in condition(ks_ref(), "Ready", "False").judge(view_of()).why


def test_handled_is_met_by_the_very_token_only() -> None:
    view = view_of(kustomization(ready="True", handled="mine"))
    assert handled(ks_ref(), "mine").judge(view).answer is Answer.MET
    assert "took up request mine last, not yours" in handled(ks_ref(), "yours").judge(view).why
    assert "request none" in handled(ks_ref(), "mine").judge(view_of(READY)).why
    with pytest.raises(UsageError):
        handled(ks_ref(), "")


def test_all_of_is_met_only_when_all_are_and_terminal_when_one_is() -> None:
    one, other = ready(ks_ref("a")), present(cm_ref())
    a, b = kustomization("a", ready="True"), config_map()
    assert all_of(one, other).judge(view_of(a, b)).answer is Answer.MET
    assert all_of(one, other).judge(view_of(a)).answer is Answer.NOT_YET
    stalled = kustomization("a", ready="False", stalled=True)
    assert all_of(one, other).judge(view_of(stalled)).answer is Answer.TERMINAL
    assert all_of(one, other).refs == {ks_ref("a"), cm_ref()}


def test_a_custom_resource_without_conditions_is_not_taken_for_ready_where_its_kind_reports() -> None:
    sealed = {
        "apiVersion": "bitnami.com/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": "a", "namespace": "b", "generation": 1},
    }
    assert ready(ObjectRef.of(sealed)).judge(view_of(sealed)).answer is Answer.NOT_YET
