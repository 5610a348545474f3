"""Our sealing against the real kubeseal, offline and both ways, for each scope."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.process import run
from fluxdrill.sealedsecrets.keys import SealingKey
from fluxdrill.sealedsecrets.placeholders import digest_of, digest_of_secret
from fluxdrill.sealedsecrets.sealing import Content, Scope, Target, seal_secret, unseal_secret
from fluxdrill.toolchain.build import ensure

pytestmark = [pytest.mark.live, pytest.mark.ci]

VALUES = {"password": b"correct horse", "blob": bytes(range(256))}
CONTENT = Content(VALUES, labels={"app": "db"})


@pytest.fixture(scope="module")
def kubeseal() -> Path:
    return ensure(["kubeseal"])[0]["kubeseal"]


def ask(kubeseal: Path, *arguments: str | Path, about: Any) -> tuple[int, str, str]:
    done = run([kubeseal, *arguments], deadline=20, stdin=json.dumps(about).encode())
    return done.returncode, done.text, done.stderr


def recovered(kubeseal: Path, folder: Path, key: SealingKey, document: Any) -> tuple[int, str, str]:
    """Open `document` with kubeseal and the private key alone."""
    file = folder / "key.pem"
    file.write_text(key.private_pem)
    return ask(kubeseal, "--recovery-unseal", "--recovery-private-key", file, about=document)


@pytest.mark.parametrize("scope", list(Scope))
def test_kubeseal_opens_what_we_seal(kubeseal: Path, tmp_path: Path, key: SealingKey, scope: Scope) -> None:
    document = seal_secret(Target("apps", "db", scope), CONTENT, certificate=key.certificate)
    code, text, error = recovered(kubeseal, tmp_path, key, document)
    assert code == 0, error
    secret = json.loads(text)
    assert digest_of_secret(secret) == digest_of(VALUES)
    assert (secret["metadata"]["name"], secret["metadata"]["labels"]) == ("db", {"app": "db"})


@pytest.mark.parametrize("scope", list(Scope))
def test_we_open_what_kubeseal_seals(kubeseal: Path, tmp_path: Path, key: SealingKey, scope: Scope) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.write_text(key.certificate_pem)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": "apps", "name": "db"},
        "stringData": {"password": "correct horse"},
    }
    code, text, error = ask(kubeseal, "--cert", certificate, "--scope", scope, "--format", "json", about=secret)
    assert code == 0, error
    document = json.loads(text)
    assert Target.of(document) == Target("apps", "db", scope)
    assert unseal_secret(document, [key.private]) == {"password": b"correct horse"}


def test_control_kubeseal_opens_neither_with_a_foreign_key_nor_after_a_move(
    kubeseal: Path, tmp_path: Path, key: SealingKey, other_key: SealingKey
) -> None:
    document = seal_secret(Target("apps", "db"), CONTENT, certificate=key.certificate)
    assert recovered(kubeseal, tmp_path, other_key, document)[0] != 0
    document["metadata"]["namespace"] = "elsewhere"
    assert recovered(kubeseal, tmp_path, key, document)[0] != 0
