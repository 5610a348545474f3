"""Values sealed by us open for exactly the name, namespace and scope they were sealed for, and with their key only."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxdrill.cluster.certificates import Authority
from fluxdrill.errors import UsageError
from fluxdrill.sealedsecrets.keys import SealingKey
from fluxdrill.sealedsecrets.sealing import (
    Content,
    Scope,
    Target,
    UnsealError,
    seal,
    seal_secret,
    unseal,
    unseal_secret,
)

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True)
MOVES = [("renamed", "apps", "other"), ("moved", "elsewhere", "db"), ("moved and renamed", "elsewhere", "other")]
ALLOWED = {Scope.STRICT: set(), Scope.NAMESPACE_WIDE: {"renamed"}, Scope.CLUSTER_WIDE: {name for name, _, _ in MOVES}}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=4000), NAMES, NAMES, st.sampled_from(Scope))
def test_what_was_sealed_opens_again(key: SealingKey, value: bytes, namespace: str, name: str, scope: Scope) -> None:
    sealed = seal(value, certificate=key.certificate, namespace=namespace, name=name, scope=scope)
    assert unseal(sealed, keys=[key.private], namespace=namespace, name=name, scope=scope) == value


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize(("move", "namespace", "name"), MOVES, ids=[move for move, _, _ in MOVES])
def test_a_scope_allows_exactly_its_moves(key: SealingKey, scope: Scope, move: str, namespace: str, name: str) -> None:
    sealed = seal(b"value", certificate=key.certificate, namespace="apps", name="db", scope=scope)
    if move in ALLOWED[scope]:
        assert unseal(sealed, keys=[key.private], namespace=namespace, name=name, scope=scope) == b"value"
    else:
        with pytest.raises(UnsealError):
            unseal(sealed, keys=[key.private], namespace=namespace, name=name, scope=scope)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_value_does_not_open_as_if_it_had_another_scope(key: SealingKey, scope: Scope) -> None:
    sealed = seal(b"value", certificate=key.certificate, namespace="apps", name="db", scope=scope)
    for other in set(Scope) - {scope}:
        with pytest.raises(UnsealError):
            unseal(sealed, keys=[key.private], namespace="apps", name="db", scope=other)


def test_a_value_opens_with_the_right_key_among_others_and_with_no_other(
    key: SealingKey, other_key: SealingKey
) -> None:
    sealed = seal(b"value", certificate=key.certificate, namespace="apps", name="db")
    assert unseal(sealed, keys=[other_key.private, key.private], namespace="apps", name="db") == b"value"
    for keys in ([other_key.private], []):
        with pytest.raises(UnsealError, match="No key opens"):
            unseal(sealed, keys=keys, namespace="apps", name="db")


def test_the_same_value_is_never_sealed_the_same_way_twice(key: SealingKey) -> None:
    sealed = {seal(b"value", certificate=key.certificate, namespace="apps", name="db") for _ in range(3)}
    assert len(sealed) == 3


def test_a_changed_byte_is_noticed(key: SealingKey) -> None:
    raw = bytearray(base64.b64decode(seal(b"value", certificate=key.certificate, namespace="apps", name="db")))
    raw[-1] ^= 1
    with pytest.raises(UnsealError):
        unseal(base64.b64encode(raw).decode(), keys=[key.private], namespace="apps", name="db")


@pytest.mark.parametrize("text", ["", "A", "SEALED-BY-LAB", "ä", base64.b64encode(b"\xff\xffshort").decode()])
def test_what_is_no_sealed_value_does_not_open(key: SealingKey, text: str) -> None:
    with pytest.raises(UnsealError):
        unseal(text, keys=[key.private], namespace="apps", name="db")


def test_a_certificate_without_an_rsa_key_is_refused(tmp_path: Any) -> None:
    certificate = x509.load_pem_x509_certificate(Authority(tmp_path).files.certificate.read_bytes())
    with pytest.raises(UsageError, match="no RSA key"):
        seal(b"value", certificate=certificate, namespace="apps", name="db")


@pytest.mark.parametrize("scope", list(Scope))
def test_a_sealed_secret_carries_its_scope_and_opens_as_a_whole(key: SealingKey, scope: Scope) -> None:
    target = Target("apps", "db", scope)
    content = Content({"user": b"me", "password": b"\0\xff"}, labels={"a": "b"}, annotations={"c": "d"})
    document = seal_secret(target, content, certificate=key.certificate)
    assert Target.of(document) == target
    template = document["spec"]["template"]
    assert Target.of({**document, "metadata": template["metadata"]}) == target
    assert template["metadata"]["labels"] == {"a": "b"}
    assert template["metadata"]["annotations"]["c"] == "d"
    assert unseal_secret(document, [key.private]) == content.values


def test_a_sealed_secret_with_one_value_of_a_foreign_key_does_not_open(key: SealingKey, other_key: SealingKey) -> None:
    document = seal_secret(Target("apps", "db"), Content({"a": b"1", "b": b"2"}), certificate=key.certificate)
    document["spec"]["encryptedData"]["b"] = seal(b"2", certificate=other_key.certificate, namespace="apps", name="db")
    with pytest.raises(UnsealError):
        unseal_secret(document, [key.private])


def test_the_deprecated_form_is_refused_and_not_taken_for_an_empty_secret(key: SealingKey) -> None:
    document = {"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": {"name": "a"}, "spec": {"data": "AA=="}}  # fmt: skip
    with pytest.raises(UnsealError, match="deprecated"):
        unseal_secret(document, [key.private])


def test_values_are_not_shown_by_repr() -> None:
    assert "hush" not in repr(Content({"a": b"hush"}))
