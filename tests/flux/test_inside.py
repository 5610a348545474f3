"""What is applied to bring Flux into a cluster: the distribution's own manifests, and what is ours on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fluxdrill.cluster.images.components import find
from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.controllers import Pace
from fluxdrill.flux.inside import DEPLOYMENTS, InsideOptions, manifests
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.toolchain.build import ensure
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS

pytestmark = [pytest.mark.live, pytest.mark.ci]  # kustomize is a program of the toolchain

API_ADDRESS = "192.0.2.1"


def rendered(options: InsideOptions) -> dict[ObjectRef, KubeObject]:
    objects = manifests(ensure(["kustomize"])[0], options, api_address=API_ADDRESS)
    return {ObjectRef.of(one): one for one in objects}


def container(objects: Mapping[ObjectRef, KubeObject], name: str) -> dict[str, Any]:
    found = objects[ObjectRef("apps", "Deployment", NAMESPACE, name)]
    (one,) = found["spec"]["template"]["spec"]["containers"]
    return dict(one)


def test_six_deployments_and_the_three_services_that_others_call() -> None:
    services = {"source-controller", "notification-controller", "webhook-receiver"}
    wanted = {*DEPLOYMENTS, *(ObjectRef("", "Service", NAMESPACE, name) for name in services)}
    assert set(rendered(InsideOptions())) == wanted


@pytest.mark.parametrize("name", FLUX_CONTROLLERS)
def test_a_controller_has_our_image_its_own_account_and_no_rights_on_its_node(name: str) -> None:
    objects = rendered(InsideOptions())
    one = container(objects, name)
    assert (one["image"], one["imagePullPolicy"]) == (find(name).reference, "Never")
    assert one["securityContext"].items() >= {"runAsNonRoot": True, "readOnlyRootFilesystem": True}.items()
    pod = objects[ObjectRef("apps", "Deployment", NAMESPACE, name)]["spec"]["template"]
    assert pod["spec"]["serviceAccountName"] == name
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == name


def test_its_arguments_are_the_distributions_unless_a_pace_is_given() -> None:
    plain, fast = rendered(InsideOptions()), rendered(InsideOptions(pace=Pace(requeue=1, jitter_percent=0)))
    for name in FLUX_CONTROLLERS:
        before, after = container(plain, name)["args"], container(fast, name)["args"]
        events = "--events-addr=http://notification-controller.flux-system.svc.cluster.local./"
        assert (events in before) == (name != "notification-controller")
        assert {"--watch-all-namespaces", "--enable-leader-election"} <= set(before)
        assert not any(one.startswith("--requeue-dependency") for one in before)
        assert after[: len(before)] == before
    assert "--requeue-dependency=1s" in container(fast, "kustomize-controller")["args"]
    address = "--storage-adv-addr=source-controller.$(RUNTIME_NAMESPACE).svc.cluster.local."
    assert address in container(plain, "source-controller")["args"]


def test_a_controller_goes_through_a_proxy_that_is_not_there_except_to_what_it_may_reach() -> None:
    for reachable in ((), ("192.0.2.7",)):
        objects = rendered(InsideOptions(reachable=reachable))
        for name in FLUX_CONTROLLERS:
            environment = {one["name"]: one.get("value") for one in container(objects, name)["env"]}
            assert environment["HTTPS_PROXY"] == environment["http_proxy"] == "http://127.0.0.1:1"
            direct = str(environment["NO_PROXY"]).split(",")
            assert {API_ADDRESS, ".svc", ".cluster.local."} <= set(direct)
            assert ("192.0.2.7" in direct) == bool(reachable)
