"""A lab reaches nothing outside: who wants to is refused, recorded, and told so in the object's own status."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from fluxdrill.flux import NAMESPACE
from fluxdrill.kube.errors import ApiError
from fluxdrill.kube.wait import absent, all_of, condition, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef

pytestmark = pytest.mark.live

SOURCE, IMAGE = "source.toolkit.fluxcd.io/v1", "image.toolkit.fluxcd.io/v1"
Document = dict[str, Any]


@pytest.fixture
def made(lab: Lab) -> Iterator[list[ObjectRef]]:
    """References of what a test makes; it is gone after the test."""
    refs: list[ObjectRef] = []
    yield refs
    for ref in refs:
        lab.api.delete(ref)
    wait_for(lab.store, all_of(*map(absent, refs)), deadline=30, what="the end of the test's objects")


def create(lab: Lab, made: list[ObjectRef], api_version: str, kind: str, **content: Any) -> ObjectRef:
    metadata = {"name": f"out-{secrets.token_hex(3)}", "namespace": NAMESPACE}
    made.append(
        ObjectRef.of(lab.api.create({"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}))
    )
    return made[-1]


def ssh_secret(lab: Lab, made: list[ObjectRef], host: str) -> str:
    key = ed25519.Ed25519PrivateKey.generate()
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    data = {"identity": key.private_bytes(*formats).decode(), "known_hosts": f"{host} {public.decode()}\n"}
    return create(lab, made, "v1", "Secret", stringData=data).name


def refused(lab: Lab, ref: ObjectRef) -> str:
    """Wait until `ref` is not ready and return its message."""
    wait_for(lab.store, condition(ref, "Ready", "False"), deadline=60, what=f"{ref} to be refused")
    found: list[Document] = lab.api.get(ref)["status"]["conditions"]
    return str(next(one["message"] for one in found if one["type"] == "Ready"))


def git_spec(url: str, **more: Any) -> Document:
    return {"url": url, "interval": "1m", "timeout": "20s", **more}


@pytest.mark.ci
def test_every_kind_of_source_is_refused_and_its_host_recorded(lab: Lab, made: list[ObjectRef]) -> None:
    wanted = {
        create(lab, made, SOURCE, "GitRepository", spec=git_spec("https://git.invalid/a.git")): "git.invalid:443",
        create(lab, made, SOURCE, "HelmRepository", spec=git_spec("https://charts.invalid")): "charts.invalid:443",
        create(lab, made, SOURCE, "OCIRepository", spec=git_spec("oci://oci.invalid/ab")): "oci.invalid:443",
        create(lab, made, SOURCE, "Bucket", spec={"interval": "1m", "bucketName": "abc", "endpoint": "s3.invalid", "timeout": "20s", "secretRef": {"name": bucket_secret(lab, made)}}): "s3.invalid:443",
        create(lab, made, IMAGE, "ImageRepository", spec={"interval": "1m", "image": "images.invalid/ab"}): "images.invalid:443",
    }  # fmt: skip
    for ref in wanted:
        assert "403" in (message := refused(lab, ref)) or "Forbidden" in message, f"{ref}: {message}"
    assert set(wanted.values()) <= set(lab.outside.hosts())


def bucket_secret(lab: Lab, made: list[ObjectRef]) -> str:
    return create(lab, made, "v1", "Secret", stringData={"accesskey": "a", "secretkey": "b"}).name


@pytest.mark.ci
def test_an_ssh_source_asks_the_proxy_by_name_and_dials_nobody(lab: Lab, made: list[ObjectRef]) -> None:
    spec = git_spec("ssh://git@ssh.invalid/a.git", secretRef={"name": ssh_secret(lab, made, "ssh.invalid")})
    message = refused(lab, create(lab, made, SOURCE, "GitRepository", spec=spec))
    assert "socks connect" in message, message
    assert "no such host" not in message
    assert ("ssh.invalid", 22, "socks") in [(one.host, one.port, one.protocol) for one in lab.outside.wanted]


def test_an_ssh_source_on_loopback_is_dialled_so_the_test_can_tell(lab: Lab, made: list[ObjectRef]) -> None:
    with listener() as (port, visited):
        host = f"[127.0.0.1]:{port}"
        spec = git_spec(f"ssh://git@127.0.0.1:{port}/a.git", secretRef={"name": ssh_secret(lab, made, host)})
        message = refused(lab, create(lab, made, SOURCE, "GitRepository", spec=spec))
        assert visited.is_set()
    assert "socks" not in message
    assert not [one for one in lab.outside.wanted if one.port == port]


def test_the_api_server_dials_no_service_or_pod_but_asks_the_proxy(lab: Lab, made: list[ObjectRef]) -> None:
    name = f"hook.out-{secrets.token_hex(3)}.test"
    spec = {"ports": [{"port": 443}]}
    service = create(lab, made, "v1", "Service", spec=spec)
    hook = {
        "name": name,
        "clientConfig": {"service": {"namespace": NAMESPACE, "name": service.name}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        "objectSelector": {"matchLabels": {"hooked": "yes"}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
    }
    metadata = {"name": name}
    hooks = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": metadata, "webhooks": [hook]}  # fmt: skip
    made.append(ObjectRef.of(lab.api.create(hooks)))
    with pytest.raises(ApiError, match=r"failed calling webhook.*Forbidden"):
        ask_until_refused(lab)
    assert f"{service.name}.{NAMESPACE}.svc:443" in lab.outside.hosts()


def ask_until_refused(lab: Lab) -> None:
    """Ask for an object until it is refused: the API server takes up a webhook within a second or two."""
    metadata = {"name": "hooked", "namespace": NAMESPACE, "labels": {"hooked": "yes"}}
    for _ in range(2000):
        lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, dry_run=True)


@contextmanager
def listener() -> Iterator[tuple[int, threading.Event]]:
    """Listen on loopback; the event tells that somebody connected."""
    visited = threading.Event()

    def accept(server: socket.socket) -> None:
        with server.accept()[0]:
            visited.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        thread = threading.Thread(target=accept, args=(server,))
        thread.start()
        yield server.getsockname()[1], visited
        thread.join()
