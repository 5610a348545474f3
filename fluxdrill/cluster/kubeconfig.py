"""Write kubeconfig files."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from fluxdrill.cluster.certificates import KeyPair


def write_kubeconfig(
    path: Path, *, server: str, authority: Path, identity: KeyPair | str, namespace: str = "default"
) -> Path:
    """Write a kubeconfig for `server` (URL); `identity` is a client certificate or a bearer token. Mode 0600."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": _data(authority)}}],
        "users": [{"name": "lab", "user": _user(identity)}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": namespace}}],
        "current-context": "lab",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)  # JSON is YAML
    return path


def _user(identity: KeyPair | str) -> Mapping[str, str]:
    if isinstance(identity, str):
        return {"token": identity}
    return {"client-certificate-data": _data(identity.certificate), "client-key-data": _data(identity.key)}


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
