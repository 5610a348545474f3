"""The sealed-secrets controller of a lab, as a process, with what its Helm chart gives it: CRD, identity, rights.

Rights are those of the chart of sealed-secrets 0.36 with its default values. The order is that of a restore: namespace,
key, then CRD and controller, and Flux after that; a controller that starts without a key would make one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fluxdrill.cluster.embedded import http_ready
from fluxdrill.cluster.ports import HOST, PortBlock
from fluxdrill.cluster.supervised import Supervised
from fluxdrill.kube.api import Api
from fluxdrill.kube.tokens import service_account_token
from fluxdrill.model.refs import ObjectRef
from fluxdrill.sealedsecrets import pod_files
from fluxdrill.sealedsecrets.keys import KEY_PREFIX, SealingKey
from fluxdrill.toolchain.build import Tools

NAME = "sealed-secrets-controller"
"""Of the process, the program, the ServiceAccount, and of the Deployment where kubeseal looks for it."""
NAMESPACE = "sealed-secrets-system"
CRD = ObjectRef("apiextensions.k8s.io", "CustomResourceDefinition", "", "sealedsecrets.bitnami.com")

_RBAC = "rbac.authorization.k8s.io"
_ROLE = "sealed-secrets-key-admin"
_CLUSTER_ROLE = "secrets-unsealer"
_KEY_RULES = (
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [KEY_PREFIX], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "list"]},
)
_UNSEAL_RULES = (
    {"apiGroups": ["bitnami.com"], "resources": ["sealedsecrets"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["bitnami.com"], "resources": ["sealedsecrets/status"], "verbs": ["update"]},
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "create", "update", "delete", "watch"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
)


@dataclass(frozen=True, slots=True)
class ControllerHome:
    """What the controller's process needs of its lab: folder, programs, its own address of the API server."""

    folder: Path
    lab_id: str
    tools: Tools
    server: str
    authority: Path
    proxy: Mapping[str, str]


class SealedSecretsController:
    """The controller and the sealing key that was made for it; `url` is where it serves its certificate."""

    def __init__(self, home: ControllerHome, ports: PortBlock) -> None:
        self._home = home
        self.key = SealingKey.generate()
        port, metrics = ports.take(), ports.take()
        self.url = f"http://{HOST}:{port}"
        host, _, api_port = home.server.removeprefix("https://").rpartition(":")
        argv = [
            str(home.tools[NAME]),
            "--update-status",
            "--log-format=json",
            f"--key-prefix={KEY_PREFIX}",
            "--key-size=2048",  # for a key it makes itself: 4096 bits take seconds
            f"--listen-addr={HOST}:{port}",
            f"--listen-metrics-addr={HOST}:{metrics}",
        ]
        env = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": api_port, "POD_NAMESPACE": NAMESPACE}
        self.process = Supervised(
            NAME,
            pod_files.within(self._files, argv),
            lab_id=home.lab_id,
            log=home.folder / "logs" / f"{NAME}.log",
            env={**env, **home.proxy},
            ready=http_ready(f"{self.url}/healthz"),
        )

    @property
    def _files(self) -> Path:
        return self._home.folder / "pod" / NAME

    def install(self, api: Api) -> None:
        """Apply namespace, key, CRD, ServiceAccount and rights, and write the files that the process finds."""
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        api.apply(self.key.as_secret(NAMESPACE))
        for document in [*definitions(self._home.tools), *_identity()]:
            api.apply(document)
        token = service_account_token(api, NAMESPACE, NAME)
        pod_files.write_files(self._files, token=token, authority=self._home.authority, namespace=NAMESPACE)


def definitions(tools: Tools) -> Iterator[dict[str, Any]]:
    """Yield the CRDs of the pinned version."""
    for path in tools.manifests("sealed-secrets-crds"):
        yield from (one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one)


def _identity() -> Iterator[dict[str, Any]]:
    yield _object("v1", "ServiceAccount", NAME, NAMESPACE)
    yield _object(f"{_RBAC}/v1", "Role", _ROLE, NAMESPACE, rules=list(_KEY_RULES))
    yield _object(f"{_RBAC}/v1", "RoleBinding", _ROLE, NAMESPACE, **_bound("Role", _ROLE))
    yield _object(f"{_RBAC}/v1", "ClusterRole", _CLUSTER_ROLE, rules=list(_UNSEAL_RULES))
    yield _object(f"{_RBAC}/v1", "ClusterRoleBinding", NAME, **_bound("ClusterRole", _CLUSTER_ROLE))


def _bound(kind: str, role: str) -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    return {"roleRef": {"apiGroup": _RBAC, "kind": kind, "name": role}, "subjects": [subject]}


def _object(api_version: str, kind: str, name: str, namespace: str = "", **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
