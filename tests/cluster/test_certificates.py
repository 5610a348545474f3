"""The certificates of a lab: they verify as a chain, for the names they should, and their keys are private."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fluxdrill.cluster.certificates import Authority, KeyPair


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def server_context(server: KeyPair, trusted: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(trusted))
    context.load_cert_chain(server.certificate, server.key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(trusted: Path, client: KeyPair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(trusted))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, object]:
    """Return the client's certificate as the server sees it; raises SSLError where either refuses."""
    ours, theirs = socket.socketpair()
    seen: list[dict[str, object]] = []

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as served:
                seen.append(dict(served.getpeercert() or {}))
                served.sendall(b"welcome")
        except (ssl.SSLError, OSError):
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as talk:
            if talk.recv(16) != b"welcome":
                raise ssl.SSLError("the server refused the client")
    finally:
        ours.close()
        thread.join(10)
    return seen[0]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "kubernetes.default.svc"])
def test_both_sides_verify_each_other_under_the_strict_rules(authority: Authority, name: str) -> None:
    server = authority.server("apiserver")
    client = authority.client("admin", common_name="fluxdrill:admin", groups=("system:masters", "ops"))
    ca = authority.files.certificate
    seen = shake_hands(server_context(server, ca), client_context(ca, client), name)
    subject = sorted(pair for part in seen["subject"] for pair in part)  # type: ignore[attr-defined]
    assert subject == [
        ("commonName", "fluxdrill:admin"),
        ("organizationName", "ops"),
        ("organizationName", "system:masters"),
    ]


def test_another_labs_authority_is_not_trusted(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    server, client = authority.server("apiserver"), authority.client("admin", common_name="a")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(
            server_context(server, authority.files.certificate), client_context(other.files.certificate), "localhost"
        )
    foreign = other.client("admin", common_name="a")
    ca = authority.files.certificate
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shake_hands(server_context(server, ca), client_context(ca, foreign), "localhost")
    assert client.certificate.read_bytes() != foreign.certificate.read_bytes()


def test_a_name_that_is_not_in_the_certificate_is_refused(authority: Authority) -> None:
    ca = authority.files.certificate
    client = authority.client("admin", common_name="a")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(server_context(authority.server("s"), ca), client_context(ca, client), "example.test")


def test_a_client_certificate_serves_no_host(authority: Authority) -> None:
    ca = authority.files.certificate
    client = authority.client("admin", common_name="localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server_context(client, ca), client_context(ca, client), "localhost")


def test_private_keys_are_for_their_owner_only(authority: Authority) -> None:
    pairs = [authority.files, authority.server("s"), authority.client("c", common_name="c"), authority.signing_key("t")]
    assert {stat.S_IMODE(pair.key.stat().st_mode) for pair in pairs} == {0o600}
    assert not any(b"PRIVATE" in pair.certificate.read_bytes() for pair in pairs)


def test_a_signing_keys_public_part_belongs_to_its_private_part(authority: Authority) -> None:
    pair = authority.signing_key("service-account")
    private = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    assert private.public_key().public_bytes(encoding, form) == pair.certificate.read_bytes()


def test_a_certificate_is_never_written_over(authority: Authority) -> None:
    authority.server("apiserver")
    with pytest.raises(FileExistsError):
        authority.server("apiserver")


def test_only_the_authority_may_issue(authority: Authority) -> None:
    def may_issue(pair: KeyPair) -> bool:
        loaded = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        usage = loaded.extensions.get_extension_for_class(x509.KeyUsage).value
        return usage.key_cert_sign and loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca

    assert may_issue(authority.files)
    assert not may_issue(authority.server("s"))
