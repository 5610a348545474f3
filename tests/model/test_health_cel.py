"""Health expressions: the cases of fluxcd/pkg `runtime/cel/status_evaluator_test.go`, and where cel-python had to be taught."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxdrill.model.health_cel import (
    HealthChecks,
    HealthEvaluator,
    HealthExpressions,
    InvalidExpressionError,
    UnsupportedExpressionError,
)
from fluxdrill.model.kstatus_fields import MalformedError, Status

DATA = HealthExpressions(current="data.current", in_progress="data.inProgress", failed="data.failed")
LAGS = "has(status.observedGeneration) && metadata.generation != status.observedGeneration"
READY_TRUE = "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')"
READY_FALSE = "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'False')"
WITH_PROGRESS = HealthExpressions(in_progress=LAGS, failed=READY_FALSE, current=READY_TRUE)
WITHOUT_PROGRESS = HealthExpressions(failed=READY_FALSE, current=READY_TRUE)


@pytest.mark.parametrize(
    "expressions",
    [
        pytest.param(DATA, id="all expressions are present"),
        pytest.param(HealthExpressions("data.current"), id="inProgress and failed are optional"),
    ],
)
def test_valid_expressions_compile(expressions: HealthExpressions) -> None:
    assert HealthEvaluator(expressions).evaluate({"data": {"current": True, "inProgress": False, "failed": False}})


@pytest.mark.parametrize(
    ("expressions", "named"),
    [
        pytest.param(HealthExpressions(""), "`current` is missing", id="current is required"),
        pytest.param(HealthExpressions("data."), "`current` does not parse", id="current is invalid"),
        pytest.param(
            HealthExpressions("data.current", in_progress="data."), "`inProgress`", id="inProgress is invalid"
        ),
        pytest.param(HealthExpressions("data.current", failed="data."), "`failed`", id="failed is invalid"),
    ],
)
def test_invalid_expressions_are_refused(expressions: HealthExpressions, named: str) -> None:
    with pytest.raises(InvalidExpressionError, match=named):
        HealthEvaluator(expressions)


def data(*, current: bool, in_progress: bool, failed: bool) -> dict[str, Any]:
    return {"data": {"current": current, "inProgress": in_progress, "failed": failed}}


GOOD = data(current=True, in_progress=False, failed=False)
SECOND_GENERATION = {"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}


@pytest.mark.parametrize(
    ("expressions", "obj", "expected"),
    [
        pytest.param(
            HealthExpressions("true"),
            SECOND_GENERATION,
            Status.IN_PROGRESS,
            id="observed generation exists and is different",
        ),
        pytest.param(
            HealthExpressions("data.currentt", "data.inProgress", "data.failed"),
            GOOD,
            Status.UNKNOWN,
            id="an error in current is an error",
        ),
        pytest.param(
            HealthExpressions("data.current", "data.inProgresss", "data.failed"),
            GOOD,
            Status.UNKNOWN,
            id="an error in inProgress is an error",
        ),
        pytest.param(
            HealthExpressions("data.current", "data.inProgress", "data.failedd"),
            GOOD,
            Status.UNKNOWN,
            id="an error in failed is an error",
        ),
        pytest.param(
            DATA, data(current=False, in_progress=False, failed=False), Status.IN_PROGRESS, id="all false: in progress"
        ),
        pytest.param(
            DATA, data(current=True, in_progress=True, failed=True), Status.IN_PROGRESS, id="all true: in progress"
        ),
        pytest.param(
            DATA, data(current=True, in_progress=False, failed=True), Status.FAILED, id="current and failed: failed"
        ),
        pytest.param(DATA, GOOD, Status.CURRENT, id="only current: current"),
        pytest.param(WITH_PROGRESS, {}, Status.UNKNOWN, id="no status, with inProgress"),
        pytest.param(WITHOUT_PROGRESS, {}, Status.UNKNOWN, id="no status, without inProgress"),
        pytest.param(WITH_PROGRESS, {"status": {}}, Status.UNKNOWN, id="no conditions, with inProgress"),
        pytest.param(WITHOUT_PROGRESS, {"status": {}}, Status.UNKNOWN, id="no conditions, without inProgress"),
        pytest.param(
            WITH_PROGRESS, {"status": {"conditions": []}}, Status.FAILED, id="empty conditions, with inProgress"
        ),
        pytest.param(
            WITHOUT_PROGRESS, {"status": {"conditions": []}}, Status.FAILED, id="empty conditions, without inProgress"
        ),
        pytest.param(WITH_PROGRESS, SECOND_GENERATION, Status.IN_PROGRESS, id="generation lags, with inProgress"),
        pytest.param(WITHOUT_PROGRESS, SECOND_GENERATION, Status.IN_PROGRESS, id="generation lags, without inProgress"),
        pytest.param(
            HealthExpressions("status.observedGeneration == '2'"),
            {"metadata": {"generation": 2}, "status": {"observedGeneration": "2"}},
            Status.CURRENT,
            id="observed generation that is no integer is left to the expressions",
        ),
        pytest.param(
            HealthExpressions("metadata.generation == '2'"),
            {"metadata": {"generation": "2"}, "status": {"observedGeneration": 2}},
            Status.CURRENT,
            id="generation that is no integer is left to the expressions",
        ),
        pytest.param(HealthExpressions("data.current"), None, Status.NOT_FOUND, id="no object"),
        pytest.param(HealthExpressions("1"), {}, Status.UNKNOWN, id="no boolean"),
        pytest.param(HealthExpressions("data.current"), {"data": {"current": "yes"}}, Status.UNKNOWN, id="no boolean"),
    ],
)
def test_evaluation(expressions: HealthExpressions, obj: dict[str, Any] | None, expected: Status) -> None:
    result = HealthEvaluator(expressions).evaluate(obj)
    assert result.status is expected
    assert (result.reason == "CELError") is (expected is Status.UNKNOWN)


STATUS: dict[str, Any] = {"one": 1, "float": 1.0, "text": "1", "nothing": None, "list": [1, "a"]}
OBJECT = {"metadata": {"labels": {"tier": "web"}}, "status": STATUS}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("status.one == status.float", Status.CURRENT),
        ("status.one < 1.5", Status.CURRENT),
        ("status.one > 1.5", Status.IN_PROGRESS),
        ("status.one == 1u", Status.CURRENT),
        ("status.one == status.text", Status.IN_PROGRESS),
        ("status.one != status.text", Status.CURRENT),
        ("status.text < 2", Status.UNKNOWN),
        ("status.nothing == null", Status.CURRENT),
        ("status.one == null", Status.IN_PROGRESS),
        ("'a' in status.list", Status.CURRENT),
        ("'b' in status.list", Status.IN_PROGRESS),
        ("'tier' in metadata.labels", Status.CURRENT),
        ("'a' in status.text", Status.UNKNOWN),
        ("status.list == [1.0, 'a']", Status.CURRENT),
        ("status.list[0] == 1", Status.CURRENT),
        ("status.list[-1] == 'a'", Status.UNKNOWN),
        ("status.list[9] == 'a'", Status.UNKNOWN),
        ("has(status.nothing)", Status.CURRENT),
        ("has(status.missing)", Status.IN_PROGRESS),
        ("!has(spec.missing)", Status.UNKNOWN),
        ("!has(status.missing.deeper)", Status.UNKNOWN),
        ("has(status.text.deeper)", Status.IN_PROGRESS),
        ("!has(status.list.deeper)", Status.UNKNOWN),
        ("size(status.nothing) == 0", Status.UNKNOWN),
        ("size(status.list) == 2", Status.CURRENT),
        ("status.text[0] != 'x'", Status.UNKNOWN),
        ("status.one + 1.5 > 2", Status.UNKNOWN),
        ("status.one + 1 == 2", Status.CURRENT),
        ("status.text + 'x' == '1x'", Status.CURRENT),
        ("status.text + 'x' < '2'", Status.CURRENT),
        ("true >= status.one", Status.UNKNOWN),
        ("timestamp('2026-08-07T12:00:00Z') - duration('1h') < timestamp('2026-08-07T12:00:00Z')", Status.CURRENT),
        ("has(status)", Status.UNKNOWN),
        ("spec.missing == 1 || true", Status.CURRENT),
        ("spec.missing == 1 && false", Status.IN_PROGRESS),
        ("status.list.exists(e, e == 'a')", Status.CURRENT),
        ("status.list.all(e, e == 'a')", Status.IN_PROGRESS),
        ("'a'.lowerAscii() == 'a'", Status.UNKNOWN),
    ],
)
def test_expressions_mean_what_they_mean_to_flux(expression: str, expected: Status) -> None:
    assert HealthEvaluator(HealthExpressions(expression)).evaluate(OBJECT).status is expected


def test_a_number_beyond_64_bits_is_unknown() -> None:
    evaluator = HealthEvaluator(HealthExpressions("status.one == 1"))
    assert evaluator.evaluate(OBJECT).status is Status.CURRENT
    assert evaluator.evaluate({"status": STATUS | {"big": 2**70}}).status is Status.UNKNOWN


def test_optional_syntax_is_our_limit_and_not_called_invalid() -> None:
    with pytest.raises(UnsupportedExpressionError):
        HealthEvaluator(HealthExpressions("status.?ready.orValue(false)"))


def test_an_error_never_shows_a_value_of_the_object() -> None:
    secret = {"data": {"password": "hunter2"}, "status": {"list": ["hunter2"]}}
    for expression in ("nope.x", "data.nope", "status.list.x == 1", "status.list[7]", "data.password < 1", "data"):
        result = HealthEvaluator(HealthExpressions(expression)).evaluate(secret)
        assert result.status is Status.UNKNOWN
        assert "hunter2" not in result.message


def test_the_error_names_what_is_missing() -> None:
    assert "'nope'" in HealthEvaluator(HealthExpressions("nope.x")).evaluate({}).message
    assert "'nope'" in HealthEvaluator(HealthExpressions("data.nope")).evaluate({"data": {}}).message


def test_the_recursion_limit_of_the_process_is_left_alone() -> None:
    limit = sys.getrecursionlimit()
    HealthEvaluator(HealthExpressions("true"))
    assert sys.getrecursionlimit() == limit


SEALED = {"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "current": "status.ok", "failed": "!status.ok"}


def owner(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "Kustomization", "spec": {"healthCheckExprs": list(entries)}}


def test_the_checks_of_a_kustomization_apply_to_the_kind_they_name_whatever_its_version() -> None:
    checks = HealthChecks.of(owner(SEALED))
    sealed = {"apiVersion": "bitnami.com/v1", "kind": "SealedSecret", "status": {"ok": False}}
    found = checks.evaluate(sealed)
    assert found is not None
    assert found.status is Status.FAILED
    assert checks.evaluate(sealed | {"kind": "Other"}) is None
    assert checks.evaluate(sealed | {"apiVersion": "example.org/v1"}) is None


def test_a_check_without_kind_is_for_the_whole_group_unless_one_names_the_kind() -> None:
    group = {"apiVersion": "bitnami.com/v1", "current": "true"}
    checks = HealthChecks.of(owner(SEALED, group))
    other = checks.evaluate({"apiVersion": "bitnami.com/v1", "kind": "Other"})
    named = checks.evaluate({"apiVersion": "bitnami.com/v1", "kind": "SealedSecret", "status": {"ok": False}})
    assert (other and other.status, named and named.status) == (Status.CURRENT, Status.FAILED)


def test_an_owner_without_checks_covers_nothing() -> None:
    assert HealthChecks.of({"kind": "Kustomization"}).evaluate({"apiVersion": "v1", "kind": "Secret"}) is None


def test_checks_of_the_wrong_shape_or_without_current_are_refused() -> None:
    with pytest.raises(MalformedError):
        HealthChecks.of({"spec": {"healthCheckExprs": "true"}})
    with pytest.raises(InvalidExpressionError):
        HealthChecks.of(owner({"apiVersion": "bitnami.com/v1", "kind": "SealedSecret"}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=8,
)
EVALUATORS = [HealthEvaluator(one) for one in (DATA, WITH_PROGRESS, HealthExpressions("status.list[0] < data.one"))]


@given(st.dictionaries(st.sampled_from(["status", "data", "metadata", "a b", "kind"]), json_values))
@settings(max_examples=150, deadline=None)
def test_no_json_object_makes_an_evaluation_raise(obj: dict[str, Any]) -> None:
    for evaluator in EVALUATORS:
        assert evaluator.evaluate(obj).status in Status
