from __future__ import annotations

import pytest

from fluxdrill.repository.addresses import host_of, is_in_cluster, is_loopback, is_ssh, without_credentials


@pytest.mark.parametrize(
    ("address", "host", "ssh"),
    [
        ("https://user:pw@example.com:8443/x.git", "example.com", False),
        ("ssh://git@example.com/x.git", "example.com", True),
        ("git@example.com:team/x.git", "example.com", True),
        ("git::https://example.com/x", "example.com", False),
        ("oci://example.com/charts", "example.com", False),
        ("github.com/team/x?ref=v1", "github.com", False),
        ("minio.example.com:9000", "minio.example.com", False),
    ],
)
def test_the_host_of_an_address_and_whether_it_is_ssh(address: str, host: str, ssh: bool) -> None:
    assert (host_of(address), is_ssh(address)) == (host, ssh)


def test_credentials_are_taken_out_of_urls_and_nothing_else() -> None:
    assert without_credentials("https://user:p@ss@example.com:1/x?ref=v1") == "https://example.com:1/x?ref=v1"
    assert without_credentials("git::https://token@example.com/x") == "git::https://example.com/x"
    assert without_credentials("https://example.com/a@b") == "https://example.com/a@b"
    assert without_credentials("git@example.com:x.git") == "git@example.com:x.git"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_known_by_name(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1.example.com", "localhost.example.com", "10.0.0.1", ""])
def test_other_hosts_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_a_service_is_in_the_cluster() -> None:
    assert is_in_cluster("registry.flux-system.svc")
    assert not is_in_cluster("svc.example.com")
