"""Seal and open single values and whole SealedSecrets, without the controller.

The format is that of sealed-secrets 0.36 (read in its `pkg/crypto`): two bytes with the length of what follows, a fresh
32-byte key encrypted with RSA-OAEP (SHA-256) under a label that names the scope, then the value with AES-256-GCM and a
nonce of zeros (each key is used once).
"""

from __future__ import annotations

import base64
import binascii
import secrets
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fluxdrill.errors import FluxdrillError, UsageError
from fluxdrill.model.refs import KubeObject, ObjectRef

GROUP = "bitnami.com"
API_VERSION = f"{GROUP}/v1alpha1"
KIND = "SealedSecret"

_SESSION_KEY = 32
_NONCE = bytes(12)


class UnsealError(FluxdrillError):
    """None of the keys opens a value, for this name and scope."""


class Scope(StrEnum):
    """Where a sealed value may be opened; the words are kubeseal's."""

    STRICT = "strict"
    NAMESPACE_WIDE = "namespace-wide"
    CLUSTER_WIDE = "cluster-wide"

    @property
    def annotations(self) -> dict[str, str]:
        """What marks a SealedSecret of this scope."""
        return {} if self is Scope.STRICT else {f"sealedsecrets.bitnami.com/{self}": "true"}


@dataclass(frozen=True, slots=True)
class Target:
    """The Secret that a value is sealed for."""

    namespace: str
    name: str
    scope: Scope = Scope.STRICT

    @property
    def label(self) -> bytes:
        """What the value is bound to."""
        match self.scope:
            case Scope.CLUSTER_WIDE:
                return b""
            case Scope.NAMESPACE_WIDE:
                return self.namespace.encode()
            case _:
                return f"{self.namespace}/{self.name}".encode()

    @classmethod
    def of(cls, document: KubeObject) -> Target:
        """Return what a SealedSecret, or a Secret to be sealed, is for: cluster-wide wins over namespace-wide."""
        annotations = document["metadata"].get("annotations") or {}
        marked = (Scope.CLUSTER_WIDE, Scope.NAMESPACE_WIDE)
        scope = next((one for one in marked if one.annotations.items() <= annotations.items()), Scope.STRICT)
        ref = ObjectRef.of(document)
        return cls(ref.namespace, ref.name, scope)


@dataclass(frozen=True, slots=True)
class Content:
    """What a Secret holds: its values, its type, and the metadata that its SealedSecret's template carries."""

    values: Mapping[str, bytes] = field(repr=False)
    type: str = "Opaque"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def seal(value: bytes, *, certificate: x509.Certificate, namespace: str, name: str, scope: Scope = Scope.STRICT) -> str:
    """Return `value` sealed for one key of Secret `namespace`/`name`, as it stands in `spec.encryptedData`.

    Raises UsageError where the certificate holds no RSA key.
    """
    return _seal(value, certificate, Target(namespace, name, scope))


def unseal(
    sealed: str, *, keys: Iterable[rsa.RSAPrivateKey], namespace: str, name: str, scope: Scope = Scope.STRICT
) -> bytes:
    """Return the value that `sealed` holds; the keys are tried in their order. Raises UnsealError where none opens it."""
    target = Target(namespace, name, scope)
    wrapped, body = _split(sealed, target)
    for key in keys:
        try:
            return AESGCM(key.decrypt(wrapped, _oaep(target.label))).decrypt(_NONCE, body, None)
        except (ValueError, InvalidTag):
            continue
    raise UnsealError(
        f"No key opens a value of SealedSecret {namespace}/{name} ({scope}).",
        hint="It was sealed for another name or scope, or its key is not among those given.",
    )


def seal_secret(target: Target, content: Content, *, certificate: x509.Certificate) -> dict[str, Any]:
    """Return a SealedSecret document that becomes Secret `target` with `content`."""
    sealed = {key: _seal(value, certificate, target) for key, value in content.values.items()}
    metadata: dict[str, Any] = {"name": target.name, "namespace": target.namespace}
    template = {**metadata, "annotations": {**content.annotations, **target.scope.annotations}, "labels": dict(content.labels)}  # fmt: skip
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {**metadata, "annotations": target.scope.annotations},
        "spec": {"encryptedData": sealed, "template": {"metadata": template, "type": content.type}},
    }


def unseal_secret(document: KubeObject, keys: Iterable[rsa.RSAPrivateKey]) -> dict[str, bytes]:
    """Return the values of a SealedSecret document; raises UnsealError where one does not open."""
    target, keys = Target.of(document), list(keys)
    if "data" in document["spec"]:
        raise UnsealError(
            f"SealedSecret {target.namespace}/{target.name} uses the deprecated field data.", hint="Seal it again."
        )
    sealed: Mapping[str, str] = document["spec"].get("encryptedData") or {}
    return {
        key: unseal(value, keys=keys, namespace=target.namespace, name=target.name, scope=target.scope)
        for key, value in sealed.items()
    }


def _seal(value: bytes, certificate: x509.Certificate, target: Target) -> str:
    public = certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise UsageError("The certificate has no RSA key.", hint="Take the sealing certificate of the controller.")
    session = secrets.token_bytes(_SESSION_KEY)
    wrapped = public.encrypt(session, _oaep(target.label))
    body = AESGCM(session).encrypt(_NONCE, value, None)
    return base64.b64encode(struct.pack(">H", len(wrapped)) + wrapped + body).decode()


def _oaep(label: bytes) -> padding.OAEP:
    return padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=label)


def _split(sealed: str, target: Target) -> tuple[bytes, bytes]:
    """Return the wrapped key and the encrypted value."""
    try:
        raw = base64.b64decode(sealed, validate=True)
        (length,) = struct.unpack_from(">H", raw)
    except (binascii.Error, ValueError, struct.error):
        raise UnsealError(
            f"A value of SealedSecret {target.namespace}/{target.name} is no sealed value.", hint="Seal it again."
        ) from None
    return raw[2 : 2 + length], raw[2 + length :]
