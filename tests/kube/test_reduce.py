"""What the store keeps of a Secret, for every Secret there can be."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fluxdrill.kube.reduce import LAST_APPLIED, Reducer

VALUES = st.binary(min_size=9).map(lambda raw: base64.b64encode(raw).decode())
KEYS = st.text("abcdefghijk.-_", min_size=1, max_size=8)


def secret(data: Any, **metadata: Any) -> dict[str, Any]:
    meta = {"name": "db", "namespace": "default", "uid": "u", **metadata}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": meta, "data": data}


@given(st.dictionaries(KEYS, VALUES, min_size=1))
def test_no_value_survives_and_every_key_does(data: dict[str, str]) -> None:
    annotations = {LAST_APPLIED: repr(data), "kept": "yes"}
    kept = Reducer()({**secret(data, annotations=annotations), "stringData": data})
    assert set(kept["digests"]) == set(data)
    assert set(kept) == {"apiVersion", "kind", "type", "metadata", "digests"}
    assert kept["metadata"]["annotations"] == {"kept": "yes"}
    assert not any(value in repr(kept) for value in data.values())


@given(VALUES, VALUES)
def test_equal_values_and_only_those_have_equal_digests(one: str, other: str) -> None:
    reduce = Reducer()
    assert (reduce.digest(one) == reduce.digest(other)) == (one == other)


def test_digests_can_be_compared_across_processes_only_with_a_common_key() -> None:
    assert Reducer(digest_key=b"k").digest("x") == Reducer(digest_key=b"k").digest("x")
    assert Reducer().digest("x") != Reducer().digest("x")


def test_a_secret_without_data_has_no_digests() -> None:
    assert Reducer()(secret(None))["digests"] == {}


def test_a_kind_of_that_name_in_another_group_is_left_alone() -> None:
    foreign = {**secret({"a": "b"}), "apiVersion": "example.org/v1"}
    assert Reducer()(foreign)["data"] == {"a": "b"}


def test_the_original_stays_as_it_is() -> None:
    obj = secret({"a": "b"}, managedFields=[{}])
    Reducer()(obj)
    assert obj["data"] == {"a": "b"}
    assert "managedFields" in obj["metadata"]
