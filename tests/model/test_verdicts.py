from __future__ import annotations

import itertools

import pytest

from fluxdrill.errors import ExitCode
from fluxdrill.model.verdicts import Verdict, merge

WORST_FIRST = (Verdict.HARNESS_ERROR, Verdict.INVALID, Verdict.UNKNOWN, Verdict.DEVIATED, Verdict.PASS)


@pytest.mark.parametrize(("one", "other"), list(itertools.product(Verdict, Verdict)))
def test_two_verdicts_are_merged_to_the_worse(one: Verdict, other: Verdict) -> None:
    assert merge([one, other]) is min(one, other, key=WORST_FIRST.index)


def test_nothing_judged_is_invalid() -> None:
    assert merge([]) is Verdict.INVALID


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Verdict.PASS, ExitCode.PASS),
        (Verdict.DEVIATED, ExitCode.FAILED),
        (Verdict.UNKNOWN, ExitCode.FAILED),
        (Verdict.INVALID, ExitCode.FAILED),
        (Verdict.HARNESS_ERROR, ExitCode.HARNESS_ERROR),
    ],
)
def test_only_a_pass_ends_with_zero(verdict: Verdict, code: ExitCode) -> None:
    assert verdict.exit_code is code
