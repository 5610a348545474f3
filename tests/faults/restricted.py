"""Access to a lab without the right to do something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fluxdrill.cluster.kubeconfig import write_kubeconfig
from fluxdrill.faults.world import World
from fluxdrill.kube.api import Api
from fluxdrill.kube.tokens import service_account_token
from fluxdrill.model.refs import ObjectRef

RBAC = "rbac.authorization.k8s.io"
NAME = "restricted"
Rule = dict[str, list[str]]
READ: Rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}
NOTES: Rule = {"apiGroups": [""], "resources": ["namespaces", "configmaps"], "verbs": ["create", "patch", "delete"]}
"""Enough to note a fault in the cluster (and, since RBAC knows no exceptions, to touch ConfigMaps)."""
ASK: Rule = {
    "apiGroups": ["source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io"],
    "resources": ["*"],
    "verbs": ["patch"],
}
"""Enough to ask Flux for a reconcile."""


@contextmanager
def restricted(world: World, folder: Path, *rules: Rule) -> Iterator[Api]:
    """Yield access to the lab with `rules` and no other right."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": "default"}}
    head: dict[str, Any] = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": NAME}}
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": "default"}
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": NAME}
    made = [
        account,
        {**head, "kind": "ClusterRole", "rules": list(rules)},
        {**head, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]},
    ]
    for one in made:
        world.api.apply(one)
    token = service_account_token(world.api, "default", NAME)
    cluster = world.own_lab.cluster
    kubeconfig = write_kubeconfig(
        folder / "restricted", server=cluster.server, authority=cluster.authority, identity=token
    )
    with Api.connect(kubeconfig) as api:
        yield api
    for one in reversed(made):
        world.api.delete(ObjectRef.of(one))
