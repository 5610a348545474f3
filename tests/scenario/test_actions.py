from __future__ import annotations

from typing import Any

import pytest

from fluxdrill.scenario.actions import inverse


@pytest.mark.parametrize(
    ("obj", "merge", "undo"),
    [
        ({"spec": {"timeout": "60s"}}, {"spec": {"timeout": "4s"}}, {"spec": {"timeout": "60s"}}),
        ({"spec": {}}, {"spec": {"timeout": "4s"}}, {"spec": {"timeout": None}}),
        ({}, {"spec": {"timeout": "4s"}}, {"spec": None}),
        ({"data": {"a": "1"}}, {"data": None}, {"data": {"a": "1"}}),
    ],
    ids=["changed", "added", "added-whole", "removed"],
)
def test_the_inverse_of_a_patch_is_what_was_there(
    obj: dict[str, Any], merge: dict[str, Any], undo: dict[str, Any]
) -> None:
    assert inverse(obj, merge) == undo
