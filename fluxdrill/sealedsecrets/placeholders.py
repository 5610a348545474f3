"""Seal the placeholders of a repository's served copy: no key and no sealed value has to be committed for a lab.

A placeholder is the value `SEALED-BY-LAB` in `encryptedData` of a SealedSecret, plain and on one line with its key. It
is replaced by a made-up value, sealed with the lab's key; nothing else in the file changes.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from cryptography import x509

from fluxdrill.errors import UsageError
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.repository.served import Served, commit_files, files
from fluxdrill.sealedsecrets.sealing import KIND, Target, seal

PLACEHOLDER = "SEALED-BY-LAB"
_DOCUMENTS = re.compile(r"^(?=---(?:\s|$))", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Planted:
    """The values that were made up for one Secret; a repository may be asked for them, a report only for the digest."""

    secret: ObjectRef
    values: Mapping[str, str] = field(repr=False)

    @property
    def digest(self) -> str:
        """What `digest_of` says about the Secret, if it holds exactly these values."""
        return digest_of({key: value.encode() for key, value in self.values.items()})


def digest_of(values: Mapping[str, bytes]) -> str:
    """Return a SHA-256 of names and values; equal for equal Secrets, and it tells nothing else of random values."""
    parts = (f"{key}:{len(values[key])}:".encode() + values[key] for key in sorted(values))
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def digest_of_secret(secret: KubeObject) -> str:
    """Return `digest_of` what a live Secret holds."""
    data: Mapping[str, str] = secret.get("data") or {}
    return digest_of({key: base64.b64decode(value) for key, value in data.items()})


def seal_placeholders(served: Served, certificate: x509.Certificate) -> tuple[Planted, ...]:
    """Commit the served copy with every placeholder sealed, and return the values; without one there is no commit.

    Raises UsageError where a file with placeholders is not YAML, or a placeholder does not stand in line with its key.
    """
    sealer = _Sealer(certificate)
    found = {path: text for path, text in _texts(served) if PLACEHOLDER in text}
    sealed = {path: sealer.file(path, text) for path, text in found.items()}
    changed = {path: text for path, text in sealed.items() if text != found[path]}
    if changed:
        commit_files(served, changed, "Placeholders sealed with this lab's key")
    return tuple(sealer.planted)


class _Sealer:
    """Replaces placeholders and remembers by what."""

    def __init__(self, certificate: x509.Certificate) -> None:
        self._certificate = certificate
        self.planted: list[Planted] = []

    def file(self, path: str, text: str) -> str:
        try:
            return "".join(self._document(part) for part in _DOCUMENTS.split(text))
        except yaml.YAMLError:
            raise UsageError(f"{path} holds {PLACEHOLDER} and is not YAML.", hint="Correct it.") from None

    def _document(self, text: str) -> str:
        document = yaml.safe_load(text)
        if not isinstance(document, dict) or document.get("kind") != KIND:
            return text
        wanted = [key for key, value in _encrypted(document).items() if value == PLACEHOLDER]
        values = {key: f"made-up-{secrets.token_hex(12)}" for key in wanted}  # good as a name, a label, part of a URL
        target = Target.of(document)
        for key, value in values.items():
            text = self._replaced(text, key, value, target)
        if values:
            self.planted.append(Planted(ObjectRef("", "Secret", target.namespace, target.name), values))
        return text

    def _replaced(self, text: str, key: str, value: str, target: Target) -> str:
        where = {"namespace": target.namespace, "name": target.name}
        sealed = seal(value.encode(), certificate=self._certificate, scope=target.scope, **where)
        line = re.compile(rf"""^(\s+(["']?){re.escape(key)}\2:\s+)(["']?){PLACEHOLDER}\3(?=\s|$)""", re.MULTILINE)
        text, times = line.subn(lambda match: f"{match[1]}{sealed}", text)
        if times != 1:
            raise UsageError(
                f"The placeholder for {key} in SealedSecret {target.namespace}/{target.name} cannot be replaced.",
                hint=f"Write it as one line, `{key}: {PLACEHOLDER}`.",
            )
        return text


def _encrypted(document: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = document.get("spec")
    found = spec.get("encryptedData") if isinstance(spec, dict) else None
    return found if isinstance(found, dict) else {}


def _texts(served: Served) -> Iterator[tuple[str, str]]:
    for path, content in files(served).items():
        if path.endswith((".yaml", ".yml")):
            yield path, content.decode("utf-8", "replace")
