"""Addresses in a repository: where they lead, without the credentials some carry."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

SCP_LIKE = re.compile(r"^[\w.-]+@(?P<host>[\w.-]+):")
USERINFO = re.compile(r"://[^/?#\s]*@")
GETTER = re.compile(r"^git::", re.IGNORECASE)


def without_credentials(url: str) -> str:
    """Return `url` without user and password."""
    return USERINFO.sub("://", url)


def host_of(address: str) -> str:
    """Return the host of a URL, of `git@host:path` or of `host/path`; "" where there is none."""
    plain = GETTER.sub("", address)
    if "://" in plain:
        return urlsplit(plain).hostname or ""
    scp = SCP_LIKE.match(plain)
    return scp["host"] if scp else re.split(r"[:/]", plain, maxsplit=1)[0]


def is_ssh(address: str) -> bool:
    """Tell whether `address` is reached over ssh."""
    plain = GETTER.sub("", address).lower()
    return plain.startswith(("ssh://", "git+ssh://")) or bool(SCP_LIKE.match(plain))


def is_loopback(host: str) -> bool:
    """Tell whether `host` is this machine by its name alone, without asking a resolver."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_in_cluster(host: str) -> bool:
    """Tell whether `host` is a Service's name."""
    return host.endswith((".svc", ".svc.cluster.local", ".svc.cluster.local."))
