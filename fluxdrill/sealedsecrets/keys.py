"""Sealing keys: a certificate that everybody may have and a private key that the controller opens with.

sealed-secrets 0.36 finds its keys as TLS Secrets in its own namespace by the label `sealedsecrets.bitnami.com/
sealed-secrets-key=active`, whatever they are called, and reads them when it starts.
"""

from __future__ import annotations

import base64
import secrets
import string
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fluxdrill.errors import UsageError
from fluxdrill.model.refs import KubeObject, ObjectRef

KEY_LABEL = "sealedsecrets.bitnami.com/sealed-secrets-key"
KEY_PREFIX = "sealed-secrets-key"
LIFETIME = timedelta(days=3650)
"""How long the controller's own certificates are valid (`--key-ttl`); it opens with expired ones too."""

_ALPHABET = string.ascii_lowercase + string.digits


class KeyState(StrEnum):
    """The value of the label: a compromised key is kept, but not read at start."""

    ACTIVE = "active"
    COMPROMISED = "compromised"


@dataclass(frozen=True, slots=True)
class SealingKey:
    """One key pair; its `repr` does not show the private key."""

    private: rsa.RSAPrivateKey = field(repr=False)
    certificate: x509.Certificate

    @classmethod
    def generate(cls, *, size: int = 2048, not_before: datetime | None = None, lifetime: timedelta = LIFETIME) -> Self:
        """Make a key pair as the controller does: `size` in bits, self-signed, valid from `not_before` (now)."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=size)
        start = not_before or datetime.now(UTC)
        nobody = x509.Name([])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(nobody)
            .issuer_name(nobody)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(private, hashes.SHA256())
        )
        return cls(private, certificate)

    @classmethod
    def of_secret(cls, secret: KubeObject) -> Self:
        """Read a key Secret; raises UsageError where it holds no RSA key with its certificate."""
        data = secret.get("data") or {}
        try:
            private = serialization.load_pem_private_key(base64.b64decode(data["tls.key"]), password=None)
            certificate = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
        except (KeyError, ValueError, UnsupportedAlgorithm):
            raise _no_key(secret) from None
        if not isinstance(private, rsa.RSAPrivateKey):
            raise _no_key(secret)
        return cls(private, certificate)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, in hex: safe to print."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def certificate_pem(self) -> str:
        """What kubeseal takes as `--cert`."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def private_pem(self) -> str:
        """What kubeseal takes as `--recovery-private-key`, in the controller's own format (PKCS #1)."""
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ).decode()

    def as_secret(self, namespace: str, *, name: str = "", state: KeyState = KeyState.ACTIVE) -> dict[str, Any]:
        """Return the TLS Secret that a controller in `namespace` finds; without a `name` it gets one like the controller's."""
        name = name or KEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(5))
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace, "labels": {KEY_LABEL: state.value}},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": _encoded(self.certificate_pem), "tls.key": _encoded(self.private_pem)},
        }


def _no_key(secret: KubeObject) -> UsageError:
    return UsageError(f"{ObjectRef.of(secret)} holds no sealing key.", hint="It needs tls.key (RSA) and tls.crt.")


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
