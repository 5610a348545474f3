"""What the refusing proxy cannot catch: objects that tell a Flux controller to dial an address of their own.

Read in the sources of Flux 2.9.2: a `proxySecretRef` (or a Provider's `proxy`) replaces the proxy of the environment,
and the Providers `nats` and `azureeventhub` know no proxy at all. The lab's API server changes such objects as they
come: the own proxy is left out, so that the refusing one is asked and records the host, and such a Provider is
suspended. `fluxdrill.dev/confined` on the object says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CONFINED = "fluxdrill.dev/confined"
_GROUPS = ["source.toolkit.fluxcd.io", "image.toolkit.fluxcd.io", "notification.toolkit.fluxcd.io"]
_WITH_PROXY = ["gitrepositories", "ocirepositories", "buckets", "imagerepositories", "providers"]
_OWN_PROXY = "has(object.spec.proxySecretRef) || has(object.spec.proxy)"
_NO_PROXY = "object.spec.type in ['nats', 'azureeventhub'] && !(has(object.spec.suspend) && object.spec.suspend)"

Document = dict[str, Any]


def policies() -> list[Document]:
    """Return the admission policies of a lab with their bindings (MutatingAdmissionPolicy: Kubernetes 1.36 and newer)."""
    remove = [_remove("proxySecretRef"), _remove("proxy")]
    suspend = ["[JSONPatch{op: 'add', path: '/spec/suspend', value: true}]"]
    return [
        *_policy("fluxdrill-own-proxy", _WITH_PROXY, _OWN_PROXY, remove, why="its own proxy is left out"),
        *_policy("fluxdrill-no-proxy", ["providers"], _NO_PROXY, suspend, why="suspended, as it knows no proxy"),
    ]


def _remove(field: str) -> str:
    return f"has(object.spec.{field}) ? [JSONPatch{{op: 'remove', path: '/spec/{field}'}}] : []"


def _policy(name: str, resources: list[str], when: str, patches: Sequence[str], *, why: str) -> list[Document]:
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    rule = {"apiGroups": _GROUPS, "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": resources}
    note = f"Object{{metadata: Object.metadata{{annotations: {{'{CONFINED}': '{why}'}}}}}}"
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "dials-by-itself", "expression": when}],
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": note}},
            *({"patchType": "JSONPatch", "jsonPatch": {"expression": one}} for one in patches),
        ],
    }
    return [
        {**head, "kind": "MutatingAdmissionPolicy", "spec": spec},
        {**head, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": name}},
    ]
