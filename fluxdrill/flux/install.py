"""Install Flux's API and identities: CRDs, namespace, ServiceAccounts and RBAC of the pinned distribution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from fluxdrill.cluster.kubeconfig import write_kubeconfig
from fluxdrill.flux import NAMESPACE
from fluxdrill.kube.api import Api
from fluxdrill.kube.tokens import service_account_token
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.toolchain.build import Tools
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS

LABELS = {"app.kubernetes.io/part-of": "flux", "app.kubernetes.io/instance": NAMESPACE}


def install_identities(api: Api, tools: Tools, *, labels: Mapping[str, str] | None = None) -> None:
    """Apply the namespace (with `labels` on top), one ServiceAccount per controller, and the distribution's own RBAC."""
    marked = {**LABELS, **(labels or {})}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": marked}})
    apply_all(api, (*_service_accounts(), *_rbac(tools)))


def install_crds(api: Api, tools: Tools) -> list[ObjectRef]:
    """Apply the CRDs of the pinned controllers and return their references; wait for them to be established."""
    definitions = [
        document
        for name in FLUX_CONTROLLERS
        for path in tools.manifests(f"{name}-crds")
        for document in _documents(path)
        if document["kind"] == "CustomResourceDefinition"
    ]
    apply_all(api, definitions)
    return [ObjectRef.of(document) for document in definitions]


def controller_kubeconfig(api: Api, name: str, *, path: Path, server: str, authority: Path) -> Path:
    """Write the kubeconfig of controller `name`: its own ServiceAccount's token, its own server address."""
    token = service_account_token(api, NAMESPACE, name)
    return write_kubeconfig(path, server=server, authority=authority, identity=token, namespace=NAMESPACE)


def _service_accounts() -> Iterator[Mapping[str, Any]]:
    for name in FLUX_CONTROLLERS:
        labels = {**LABELS, "app.kubernetes.io/component": name}
        metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _rbac(tools: Tools) -> Iterator[Mapping[str, Any]]:
    """Give the distribution's objects the names and namespace that `flux install` gives them."""
    documents = [one for path in tools.manifests("flux-rbac") for one in _documents(path)]
    own = {one["metadata"]["name"] for one in documents if one["kind"] == "ClusterRole"}
    for document in documents:
        if document["kind"].startswith("ClusterRole"):
            document["metadata"]["name"] += f"-{NAMESPACE}"
            if document.get("roleRef", {}).get("name") in own:
                document["roleRef"]["name"] += f"-{NAMESPACE}"
        elif document["kind"] != "Kustomization":
            document["metadata"]["namespace"] = NAMESPACE
        if document["kind"] != "Kustomization":
            yield document


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from (one for one in yaml.load_all(file, Loader=_LOADER) if one)


def apply_all(api: Api, objects: Iterable[KubeObject]) -> None:
    """Apply objects that need none of each other, some at a time; raises what the first that fails raises."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(api.apply, objects))


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # CRDs are large: the C loader saves a second
