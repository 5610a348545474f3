"""No secret in any text: known values and what looks like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxdrill.model.redaction import MASK, Redactor

secrets = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


@given(secrets, st.text(max_size=50), st.text(max_size=50))
def test_a_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    assert secret not in Redactor([secret])(f"{before}{secret}{after}").replace(MASK, "\0")


@given(st.lists(secrets, min_size=2, max_size=4))
def test_a_secret_that_contains_another_is_masked_whole(values: list[str]) -> None:
    joined = "".join(values)
    assert joined not in Redactor([*values, joined])(f"x {joined} y")


@pytest.mark.parametrize(
    "text",
    [
        "token eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJlLWhlcmU",
        "https://flux:hunter22@127.0.0.1/x.git",
        "Authorization: Basic Zmx1eDpodW50ZXIyMg==",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIabc cut off",
        "AGE-SECRET-KEY-1QQQQQQQQQQQQ",
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    masked = Redactor()(text)
    assert MASK in masked
    for part in ("eyJhbGci", "hunter22", "Zmx1", "MIIabc", "QQQQ"):
        assert part not in masked


def test_other_text_is_left_as_it_is() -> None:
    text = 'SealedSecret/flux-system/vars dry-run failed: Get "https://charts.test:443/index.yaml": Forbidden'
    assert Redactor(["unrelated-value"])(text) == text


def test_its_own_repr_shows_no_value() -> None:
    assert "hunter22" not in repr(Redactor(["hunter22"]))
