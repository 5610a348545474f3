"""What a failed test is recorded to say: its own words first, what pytest adds to them apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fluxdrill.errors import HarnessError
from fluxdrill.pytest_plugin.recording import message_of


def said(fail: Callable[[], Any], *, longrepr: str = "the whole traceback") -> str:
    call = pytest.CallInfo.from_call(fail, "call")
    report = pytest.TestReport("id", ("f", 1, "t"), {}, "failed", longrepr, "call")
    return message_of(call, report)


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


def test_an_assertion_speaks_for_itself_without_how_its_values_came_about() -> None:
    assert said(raising(AssertionError("2 are not Ready\nassert False\n +  where False = x"))) == "2 are not Ready"


def test_an_assertion_without_words_keeps_what_pytest_says() -> None:
    assert said(raising(AssertionError("assert 1 == 2"))) == "assert 1 == 2"
    assert said(raising(AssertionError())) == "the whole traceback"


def test_our_own_errors_come_with_their_hint_and_others_with_their_type() -> None:
    assert said(raising(HarnessError("It broke.", hint="Mend it."))).split("\n")[0].startswith("It broke.")
    assert said(raising(ValueError("bad"))) == "ValueError: bad"
    assert said(lambda: pytest.fail("not at all")) == "not at all"


def test_a_report_without_an_error_keeps_its_text() -> None:
    assert said(lambda: None) == "the whole traceback"
