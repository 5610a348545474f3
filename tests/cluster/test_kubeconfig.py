"""Kubeconfig files: what the official client reads out of them, and who may read them."""

from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import config

from fluxdrill.cluster.certificates import Authority
from fluxdrill.cluster.kubeconfig import write_kubeconfig

SERVER = "https://127.0.0.1:1"
load: Any = config.new_client_from_config
contexts: Any = config.list_kube_config_contexts


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def test_the_official_client_takes_a_certificate_out_of_it(authority: Authority, tmp_path: Path) -> None:
    pair = authority.client("admin", common_name="admin")
    path = write_kubeconfig(
        tmp_path / "new" / "admin", server=SERVER, authority=authority.files.certificate, identity=pair
    )
    settings = load(str(path), persist_config=False).configuration
    assert settings.host == SERVER
    assert Path(settings.cert_file).read_bytes() == pair.certificate.read_bytes()
    assert Path(settings.key_file).read_bytes() == pair.key.read_bytes()
    assert Path(settings.ssl_ca_cert).read_bytes() == authority.files.certificate.read_bytes()


def test_the_official_client_takes_a_token_out_of_it(authority: Authority, tmp_path: Path) -> None:
    path = write_kubeconfig(
        tmp_path / "c", server=SERVER, authority=authority.files.certificate, identity="abc", namespace="flux-system"
    )
    settings = load(str(path), persist_config=False).configuration
    assert list(settings.api_key.values()) == ["Bearer abc"]
    assert settings.cert_file is None
    assert contexts(str(path))[1]["context"]["namespace"] == "flux-system"


def test_it_needs_no_other_file_and_only_its_owner_may_read_it(authority: Authority, tmp_path: Path) -> None:
    pair = authority.client("admin", common_name="admin")
    path = write_kubeconfig(tmp_path / "c", server=SERVER, authority=authority.files.certificate, identity=pair)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    user = yaml.safe_load(path.read_text())["users"][0]["user"]
    assert base64.b64decode(user["client-key-data"]) == pair.key.read_bytes()


def test_writing_again_replaces_the_identity(authority: Authority, tmp_path: Path) -> None:
    for token in ("a-long-first-token", "second"):
        path = write_kubeconfig(tmp_path / "c", server=SERVER, authority=authority.files.certificate, identity=token)
    assert yaml.safe_load(path.read_text())["users"][0]["user"] == {"token": "second"}
