"""Tokens of ServiceAccounts, as a kubelet would ask for them."""

from __future__ import annotations

from fluxdrill.errors import HarnessError
from fluxdrill.kube.api import Api

LIFETIME = 7 * 24 * 3600
"""Seconds a token is asked for; a lab is not meant to live longer."""


def service_account_token(api: Api, namespace: str, name: str) -> str:
    """Return a token of ServiceAccount `namespace`/`name`; raises ApiError, and HarnessError where none is given."""
    answer = api.request(
        "POST",
        f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
        body={
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": LIFETIME},
        },
    )
    token = answer.get("status", {}).get("token")
    if not isinstance(token, str):
        raise HarnessError(f"The API server gave no token for ServiceAccount {namespace}/{name}.")
    return token
