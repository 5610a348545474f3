"""Each controller is who it is in a real cluster: taking one's rights away stops that one, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.bootstrap import GIT_REPOSITORY, ROOT
from fluxdrill.flux.operations import reconcile, request
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import ForbiddenError
from fluxdrill.kube.wait import Predicate, all_of, condition, present, ready, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS
from tests.cluster.workloads import holds
from tests.lab.fleet import Fleet
from tests.processes import process_of, wait_until

pytestmark = pytest.mark.live

GROUP = "rbac.authorization.k8s.io"
RECONCILER = ObjectRef(GROUP, "ClusterRoleBinding", "", f"cluster-reconciler-{NAMESPACE}")
CRDS = ObjectRef(GROUP, "ClusterRoleBinding", "", f"crd-controller-{NAMESPACE}")
NAME = f"system:serviceaccount:{NAMESPACE}:kustomize-controller"
Subjects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def fleet_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Fleet]]:
    """A lab for this module alone, with a repository that Flux has applied."""
    with Lab.start() as lab:
        fleet = Fleet(lab, tmp_path_factory.mktemp("fleet") / "work")
        wait_for(lab.store, ready(ROOT), deadline=60, what="the first reconcile")
        yield lab, fleet


def take_away(lab: Lab, *bindings: ObjectRef) -> dict[ObjectRef, Subjects]:
    """Take kustomize-controller out of the bindings; return the subjects that they had."""
    before = {ref: lab.api.get(ref)["subjects"] for ref in bindings}
    for ref, subjects in before.items():
        lab.api.patch(ref, {"subjects": [one for one in subjects if one["name"] != "kustomize-controller"]})
    wait_until(lambda: not may_create(lab))  # the API server's own view of the bindings lags a little
    return before


def may_create(lab: Lab) -> bool:
    """Ask the API server whether kustomize-controller may create ServiceAccounts."""
    what = {"namespace": "default", "verb": "create", "resource": "serviceaccounts"}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": NAME, "resourceAttributes": what}}  # fmt: skip
    answer = lab.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=review)
    return bool(answer["status"]["allowed"])


def give_back(lab: Lab, before: dict[ObjectRef, Subjects]) -> None:
    for ref, subjects in before.items():
        lab.api.patch(ref, {"subjects": subjects})


def account(name: str) -> str:
    """Return an object as YAML that the controllers' common role does not cover (it covers ConfigMaps)."""
    return f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: default}}\n"


def account_ref(name: str) -> ObjectRef:
    return ObjectRef("", "ServiceAccount", "default", name)


def applied(commit: str) -> Predicate:
    return holds(ROOT, lambda it: commit in str(it["status"].get("lastAppliedRevision")), f"{commit} applied")


def fetched(commit: str) -> Predicate:
    return holds(GIT_REPOSITORY, lambda it: commit in it["status"]["artifact"]["revision"], f"{commit} fetched")


@pytest.mark.ci
def test_without_its_binding_the_controller_is_forbidden_and_says_so_and_the_others_go_on(
    fleet_lab: tuple[Lab, Fleet],
) -> None:
    lab, fleet = fleet_lab
    with_rights = fleet.put("root/a.yaml", account("a"))
    wait_for(lab.store, all_of(applied(with_rights), present(account_ref("a"))), deadline=30, what="the control")
    before = take_away(lab, RECONCILER)
    try:
        without = fleet.put("root/b.yaml", account("b"))
        wait_for(lab.store, fetched(without), deadline=30, what="source-controller, which goes on")
        wait_for(lab.store, condition(ROOT, "Ready", "False"), deadline=30, what="the refusal", fail_fast=False)
        told = next(one for one in lab.api.get(ROOT)["status"]["conditions"] if one["type"] == "Ready")["message"]
        assert f'User "{NAME}" cannot' in told, told
        assert lab.store.get(account_ref("b")) is None
    finally:
        give_back(lab, before)
    wait_for(
        lab.store,
        all_of(applied(without), present(account_ref("b")), ready(ROOT)),
        deadline=60,
        what="the cure",
        fail_fast=False,
    )


def test_without_any_right_its_log_says_forbidden_and_it_handles_nothing(fleet_lab: tuple[Lab, Fleet]) -> None:
    lab, fleet = fleet_lab
    controller, other = lab.processes["kustomize-controller"], lab.processes["source-controller"]
    assert "forbidden" not in " ".join(other.tail())
    before = take_away(lab, RECONCILER, CRDS)
    try:
        token = request(lab.api, ROOT)
        wait_until(lambda: any(NAME in line and "forbidden" in line for line in controller.tail()), within=60)
        commit = fleet.put("root/c.yaml", account("c"))
        wait_for(lab.store, fetched(commit), deadline=30, what="source-controller, which goes on")
        assert lab.api.get(ROOT)["status"].get("lastHandledReconcileAt") != token
        assert "forbidden" not in " ".join(other.tail())
    finally:
        give_back(lab, before)
    wait_for(
        lab.store, all_of(applied(commit), present(account_ref("c"))), deadline=90, what="the cure", fail_fast=False
    )
    reconcile(lab.api, lab.store, ROOT, deadline=60)


@pytest.mark.parametrize("name", FLUX_CONTROLLERS)
def test_each_controller_has_its_own_account_and_its_own_address_of_the_api_server(
    fleet_lab: tuple[Lab, Fleet], name: str
) -> None:
    lab, _ = fleet_lab
    with Api.connect(lab.folder / "kubeconfig" / name) as api:
        who = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = api.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=who)
        assert answer["status"]["userInfo"]["username"] == f"system:serviceaccount:{NAMESPACE}:{name}"
        assert api.server == lab.proxy.server(name) != lab.cluster.server
        if name not in ("kustomize-controller", "helm-controller"):
            with pytest.raises(ForbiddenError):
                api.get(ObjectRef("", "Node", "", "simulated"))


def test_the_controllers_use_no_other_way_to_the_api_server(fleet_lab: tuple[Lab, Fleet]) -> None:
    lab, _ = fleet_lab
    api_port = int(lab.cluster.server.rpartition(":")[2])
    for name in FLUX_CONTROLLERS:
        told = Path(f"/proc/{process_of(lab.processes[name]).pid}/environ").read_bytes().split(b"\0")
        assert f"KUBECONFIG={lab.folder}/kubeconfig/{name}".encode() in told
        assert api_port not in remote_ports(process_of(lab.processes[name]).pid)
        assert int(lab.proxy.server(name).rpartition(":")[2]) in remote_ports(process_of(lab.processes[name]).pid)


def remote_ports(pid: int) -> set[int]:
    return {one.raddr.port for one in psutil.Process(pid).net_connections("tcp") if one.raddr}
