"""What a lab's Flux is made of: the distribution's own RBAC, and an identity and an address per controller."""

from __future__ import annotations

import base64
import json

import pytest

from fluxdrill.flux import NAMESPACE
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS

pytestmark = [pytest.mark.live, pytest.mark.ci]

RBAC = "rbac.authorization.k8s.io"


def test_every_controller_has_its_own_account_token_and_api_address(lab: Lab) -> None:
    servers, subjects = set(), set()
    for name in FLUX_CONTROLLERS:
        config = json.loads((lab.folder / "kubeconfig" / name).read_text(encoding="utf-8"))
        servers.add(config["clusters"][0]["cluster"]["server"])
        payload = config["users"][0]["user"]["token"].split(".")[1]
        subjects.add(json.loads(base64.urlsafe_b64decode(payload + "=="))["sub"])
    assert subjects == {f"system:serviceaccount:{NAMESPACE}:{name}" for name in FLUX_CONTROLLERS}
    assert len(servers) == len(FLUX_CONTROLLERS)
    assert lab.cluster.server not in servers


def test_only_kustomize_and_helm_controller_are_cluster_admin_as_in_the_distribution(lab: Lab) -> None:
    binding = lab.api.get(ObjectRef(RBAC, "ClusterRoleBinding", "", f"cluster-reconciler-{NAMESPACE}"))
    assert {one["name"] for one in binding["subjects"]} == {"kustomize-controller", "helm-controller"}
    assert binding["roleRef"]["name"] == "cluster-admin"


def test_the_controllers_own_role_is_bound_to_all_of_them(lab: Lab) -> None:
    binding = lab.api.get(ObjectRef(RBAC, "ClusterRoleBinding", "", f"crd-controller-{NAMESPACE}"))
    assert {one["name"] for one in binding["subjects"]} >= set(FLUX_CONTROLLERS)
    assert lab.api.get(ObjectRef(RBAC, "ClusterRole", "", binding["roleRef"]["name"]))["rules"]


def test_no_secret_of_a_lab_is_readable_by_others(lab: Lab) -> None:
    loose = [
        path
        for path in lab.folder.rglob("*")
        if path.is_file() and path.suffix == ".key" and path.stat().st_mode & 0o077
    ]
    loose += [path for path in (lab.folder / "kubeconfig").iterdir() if path.stat().st_mode & 0o077]
    assert loose == []
    assert lab.folder.stat().st_mode & 0o077 == 0
