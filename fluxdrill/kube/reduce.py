"""What the store keeps of an object: never a Secret's data, nothing that is only weight."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from fluxdrill.model.refs import group_of

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Reducer:
    """Makes the stored form of an object.

    Of a Secret only metadata, type and `digests` (key name to digest) are left. The digests are keyed: equal values
    have equal digests under one key, and nobody without the key can guess a short password from its digest. By
    default the key is random and dies with the process; give the same `digest_key` to compare across processes.
    """

    def __init__(self, *, digest_key: bytes | None = None) -> None:
        self._key = digest_key or secrets.token_bytes(32)

    def __call__(self, obj: Mapping[str, Any], *, keep_managed_fields: bool = False) -> dict[str, Any]:
        """Return the stored form of `obj`, which stays as it is."""
        group, kind = group_of(str(obj.get("apiVersion", ""))), obj["kind"]
        if (group, kind) == ("", "Secret"):
            return self._secret(obj)
        meta = obj["metadata"]
        if not keep_managed_fields and "managedFields" in meta:
            meta = {key: value for key, value in meta.items() if key != "managedFields"}
        if (group, kind) == ("apiextensions.k8s.io", "CustomResourceDefinition"):
            return {**obj, "metadata": meta, "spec": _without_schemas(obj["spec"])}
        return {**obj, "metadata": meta}

    def digest(self, value: str) -> str:
        """Return the digest of one value of a Secret, as the API shows it (base64)."""
        return f"hmac-sha256:{hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()}"

    def _secret(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
        # kubectl apply keeps the whole Secret, data included, in this annotation.
        annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key != LAST_APPLIED}
        kept = {key: obj[key] for key in ("apiVersion", "kind", "type", "immutable") if key in obj}
        digests = {key: self.digest(value or "") for key, value in (obj.get("data") or {}).items()}
        return {**kept, "metadata": {**meta, "annotations": annotations}, "digests": digests}


def _without_schemas(spec: Mapping[str, Any]) -> dict[str, Any]:
    versions = [{"name": one["name"], "served": one["served"], "storage": one["storage"]} for one in spec["versions"]]
    return {**spec, "versions": versions}
