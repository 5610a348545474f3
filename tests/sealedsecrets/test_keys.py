"""Sealing keys, as the Secrets that the controller finds them by."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from fluxdrill.cluster.certificates import Authority
from fluxdrill.errors import UsageError
from fluxdrill.sealedsecrets.keys import KEY_LABEL, KeyState, SealingKey


def test_a_key_survives_as_a_secret(key: SealingKey) -> None:
    again = SealingKey.of_secret(key.as_secret("sealed-secrets-system"))
    assert again.fingerprint == key.fingerprint
    assert again.private.private_numbers() == key.private.private_numbers()


def test_the_secret_is_what_the_controller_looks_for(key: SealingKey) -> None:
    first, second = (key.as_secret("here") for _ in range(2))
    assert first["type"] == "kubernetes.io/tls"
    assert first["metadata"]["labels"] == {KEY_LABEL: "active"}
    assert first["metadata"]["name"].startswith("sealed-secrets-key")
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert base64.b64decode(first["data"]["tls.key"]).startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    named = key.as_secret("here", name="mine", state=KeyState.COMPROMISED)
    assert (named["metadata"]["name"], named["metadata"]["labels"][KEY_LABEL]) == ("mine", "compromised")


def test_the_certificate_says_when_the_key_began() -> None:
    start = datetime(2024, 9, 25, tzinfo=UTC)
    made = SealingKey.generate(not_before=start, lifetime=timedelta(days=30))
    assert made.certificate.not_valid_before_utc == start
    assert made.certificate.not_valid_after_utc == start + timedelta(days=30)


def test_no_text_of_a_key_shows_the_private_part(key: SealingKey) -> None:
    assert "private" not in repr(key)
    assert len(bytes.fromhex(key.fingerprint)) == 32


@pytest.mark.parametrize("missing", ["tls.key", "tls.crt"])
def test_a_secret_without_one_half_is_no_sealing_key(key: SealingKey, missing: str) -> None:
    secret = key.as_secret("here", name="half")
    del secret["data"][missing]
    with pytest.raises(UsageError, match="Secret/here/half holds no sealing key"):
        SealingKey.of_secret(secret)


def test_a_key_that_is_not_rsa_is_no_sealing_key(key: SealingKey, tmp_path: Path) -> None:
    pair = Authority(tmp_path).server("etcd")
    secret = key.as_secret("here")
    secret["data"]["tls.key"] = base64.b64encode(pair.key.read_bytes()).decode()
    with pytest.raises(UsageError, match="no sealing key"):
        SealingKey.of_secret(secret)


def test_a_broken_key_is_no_sealing_key_and_is_not_shown(key: SealingKey) -> None:
    secret = key.as_secret("here")
    pem = key.private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    secret["data"]["tls.key"] = base64.b64encode(pem[:300]).decode()
    with pytest.raises(UsageError) as found:
        SealingKey.of_secret(secret)
    assert pem[40:80].decode() not in str(found.value)
