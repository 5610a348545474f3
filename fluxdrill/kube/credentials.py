"""What the official client makes of a kubeconfig: credentials and TLS, with no key left on the disk."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from urllib3.util import create_urllib3_context

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CONNECTIONS = 16
_LOADING = threading.Lock()


class CredentialsError(Exception):
    """A kubeconfig that cannot be used; the text quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """An ApiClient of the official client, and the TLS settings that it would read from files (None: no TLS)."""

    client: Any
    tls: ssl.SSLContext | None

    def again(self) -> Credentials:
        """Return the same credentials with an ApiClient of its own, thus with a connection pool of its own."""
        return Credentials(type(self.client)(configuration=self.client.configuration), self.tls)


def load(kubeconfig: Path, context: str | None) -> Credentials:
    """Read a kubeconfig, which is never written to; raises CredentialsError."""
    # Imported late: the official package loads hundreds of modules that a dry run does not need.
    import yaml  # noqa: PLC0415
    from kubernetes import client, config  # noqa: PLC0415

    settings = client.Configuration()
    settings.connection_pool_maxsize = _CONNECTIONS
    settings.no_proxy = ",".join(part for part in (settings.no_proxy, *_LOOPBACK) if part)
    try:
        # The official client writes keys into temporary files and deletes them only at an orderly exit. It keeps one
        # table of them per process, hence the lock; a file that it misses later it writes again.
        with _LOADING, TemporaryDirectory(prefix="fluxdrill-") as folder:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                str(kubeconfig),
                context=context,
                client_configuration=settings,
                persist_config=False,
                temp_file_path=folder,
            )
            return Credentials(client.ApiClient(configuration=settings), _tls(settings))
    except yaml.YAMLError:  # its text quotes the file, which holds keys
        raise CredentialsError("it is not YAML") from None
    except (config.ConfigException, OSError) as error:
        raise CredentialsError(str(error)) from error


def _tls(settings: Any) -> ssl.SSLContext | None:
    if not settings.host.startswith("https"):
        return None
    made = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if settings.verify_ssl else ssl.CERT_NONE)
    if settings.ssl_ca_cert:
        made.load_verify_locations(settings.ssl_ca_cert)
    elif settings.verify_ssl:
        made.load_default_certs()
    if settings.cert_file:
        made.load_cert_chain(settings.cert_file, settings.key_file)
    return made
