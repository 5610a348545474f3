"""How a world stands: everything that a fault can change and its healing must bring back."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from fluxdrill.faults.objects import FINALIZER
from fluxdrill.faults.pushes import SCRATCH, commit_of
from fluxdrill.faults.storage import storage
from fluxdrill.faults.world import World
from fluxdrill.kube.api import Api
from fluxdrill.scenario.actions import hurry
from fluxdrill.scenario.bind import Baseline
from fluxdrill.scenario.checks import Check
from fluxdrill.scenario.converge import Rendering
from fluxdrill.scenario.looking import Looking
from fluxdrill.scenario.record import Result
from fluxdrill.sources.git_command import Git

MADE = (
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("", "ResourceQuota"),
)
"""Kinds of which faults make objects of their own."""
HOLDABLE = (("", "ConfigMap"), ("", "Namespace"), ("apps", "Deployment"))


def of_cluster(api: Api) -> dict[str, Any]:
    """Return what faults leave in the cluster, read from the API server itself."""
    bindings = api.list(api.resource("rbac.authorization.k8s.io", "ClusterRoleBinding")).items
    held = [one for kind in HOLDABLE for one in api.list(api.resource(*kind)).items]
    return {
        "alive": api.livez(deadline=5),
        "rights": {one["metadata"]["name"]: _subjects(one) for one in bindings},
        "made": sorted(one["metadata"]["name"] for kind in MADE for one in api.list(api.resource(*kind)).items),
        "held": [one["metadata"]["name"] for one in held if FINALIZER in (one["metadata"].get("finalizers") or ())],
        "placed": [one["metadata"]["name"] for one in held if one["metadata"]["name"].startswith("fluxdrill-")],
    }


def of_world(world: World) -> dict[str, Any]:
    """Return all of it: cluster, processes, proxy, Git and disk."""
    lab, served = world.own_lab, world.own_repository.served
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{lab.proxy.control}/proxies", timeout=5) as answer:
        ways = json.load(answer)
    return {
        **of_cluster(world.api),
        "processes": {name: str(process.state) for name, process in lab.processes.items()},
        "ways": {name: (way["enabled"], len(way["toxics"])) for name, way in ways.items()},
        "git": lab.git.fault,
        "tree": _tree(world),
        "tag": commit_of(served, "refs/tags/v1"),
        "scratch": commit_of(served, f"refs/heads/{SCRATCH}"),
        "mounted": storage(world).is_mount(),
        "snapshot": (lab.folder / "etcd-snapshot").exists(),
    }


def identities(world: World) -> dict[str, Any]:
    """Return pids, UIDs and the tip: what even a fault that heals completely may replace."""
    served = world.own_repository.served
    mine = "kustomize.toolkit.fluxcd.io/name"  # others come and go by themselves
    objects = [one for kind in HOLDABLE for one in world.api.list(world.api.resource(*kind), label_selector=mine).items]
    return {
        "pids": {name: process.identity for name, process in world.own_lab.processes.items()},
        "uids": sorted(one["metadata"]["uid"] for one in objects),
        "tip": commit_of(served, f"refs/heads/{served.branch}"),
    }


def converge(world: World) -> None:
    """Wait until Git, Flux's inventory and the live objects agree; Flux is asked to look at once."""
    rendering = Rendering(world)
    hurry(world, rendering.at_head()[1].nodes)
    found = Looking(world, rendering).wait(Check(converged=True, within=150, stays=0.5), Baseline())
    assert found.result is Result.DONE, found.why


def _tree(world: World) -> str:
    served = world.own_repository.served
    return Git.within(served.path, 10).text("rev-parse", f"refs/heads/{served.branch}^{{tree}}")


def _subjects(binding: dict[str, Any]) -> list[str]:
    return sorted(f"{one['kind']}/{one.get('namespace', '')}/{one['name']}" for one in binding.get("subjects") or ())
