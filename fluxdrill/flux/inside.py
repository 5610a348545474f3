"""Flux inside a cluster: the six controllers as Deployments, as `flux install` makes them, with our images.

The manifests are those of the pinned controllers and of the distribution (Flux 2.9.2), built by kustomize; ours on top are
the images, which nobody pulls, and a proxy that is not there, so that nothing leads outside.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from fluxdrill.cluster.images.components import find
from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.controllers import Pace, common_flags
from fluxdrill.flux.install import LABELS, apply_all, install_crds, install_identities
from fluxdrill.kube.api import Api
from fluxdrill.kube.wait import WaitResult, all_current, wait_for
from fluxdrill.kube.watch import Store
from fluxdrill.model.refs import KubeObject, ObjectRef, Resource
from fluxdrill.repository.kustomize import CLOSED, FILE_NAMES, KustomizeBuilder
from fluxdrill.toolchain.build import Tools
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS

CRDS_DEADLINE = 60.0
AVAILABLE_DEADLINE = 180.0
DEPLOYMENTS = tuple(ObjectRef("apps", "Deployment", NAMESPACE, name) for name in FLUX_CONTROLLERS)
_CRDS = Resource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
_SERVICE = ObjectRef("", "Service", "default", "kubernetes")
_CONTAINER = "/spec/template/spec/containers/0"


@dataclass(frozen=True, slots=True)
class InsideOptions:
    """How Flux is installed.

    `labels` go onto its namespace (a lab's marker), `pace` is how fast the controllers retry (None: as the distribution
    has it), `reachable` are hosts outside the cluster that they may talk to. `proxy` is the environment of what answers
    for all other hosts (default: nobody). `servers` are addresses of the API server (https://HOST:PORT) by controller;
    one without uses the cluster's own.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    pace: Pace | None = None
    reachable: tuple[str, ...] = ()
    proxy: Mapping[str, str] = field(default_factory=dict)
    servers: Mapping[str, str] = field(default_factory=dict)


def install(api: Api, store: Store, tools: Tools, options: InsideOptions | None = None) -> WaitResult:
    """Install all of Flux and return once every controller is Available; the nodes must have its images.

    `tools` has kustomize. Raises what `wait_for` raises: a controller that does not come up is named with its reason.
    """
    options = options or InsideOptions()
    install_identities(api, tools, labels=options.labels)
    store.follow(_CRDS)
    definitions = install_crds(api, tools)
    wait_for(store, all_current(definitions), deadline=CRDS_DEADLINE, what="Flux CRDs established")
    return deploy(api, store, tools, options)


def deploy(api: Api, store: Store, tools: Tools, options: InsideOptions) -> WaitResult:
    """Make the controllers' Deployments and return once every one is Available: CRDs, accounts and rights are there."""
    for kind in (DEPLOYMENTS[0], ObjectRef("", "Pod", NAMESPACE, "")):
        store.follow(kind)
    apply_all(api, manifests(tools, options, api_address=api.get(_SERVICE)["spec"]["clusterIP"]))
    return wait_for(store, all_current(DEPLOYMENTS), deadline=AVAILABLE_DEADLINE, what="Flux controllers Available")


def manifests(tools: Tools, options: InsideOptions, *, api_address: str) -> list[KubeObject]:
    """Return the Deployments and Services; `api_address` is the address by which pods reach the API server.

    Raises BuildError where kustomize does not build them.
    """
    patches = {path.parent.name: str(path) for path in tools.manifests("flux-patches")}
    kustomization = {
        "namespace": NAMESPACE,
        "labels": [{"pairs": LABELS}],
        "resources": [str(path) for name in FLUX_CONTROLLERS for path in tools.manifests(f"{name}-manager")],
        "images": [_image(name) for name in FLUX_CONTROLLERS],
        "patches": [
            *({"path": patches[name], "target": _target(name)} for name in FLUX_CONTROLLERS),
            *({"patch": _ours(name, options, api_address), "target": _target(name)} for name in FLUX_CONTROLLERS),
        ],
    }
    with TemporaryDirectory(prefix="fluxdrill-flux-") as folder:
        Path(folder, FILE_NAMES[0]).write_text(yaml.safe_dump(kustomization), encoding="utf-8")
        return list(yaml.safe_load_all(KustomizeBuilder(tools["kustomize"])(Path(folder))))


def _target(name: str) -> dict[str, str]:
    return {"kind": "Deployment", "name": name}


def _image(name: str) -> dict[str, str]:
    repository, _, tag = find(name).reference.rpartition(":")
    return {"name": f"fluxcd/{name}", "newName": repository, "newTag": tag}


def _ours(name: str, options: InsideOptions, api_address: str) -> str:
    """Return what is ours on the distribution's Deployment, as a JSON patch."""
    labels = {"app.kubernetes.io/component": name, **LABELS}
    flags = common_flags(name, options.pace) if options.pace else []
    if options.pace and not options.pace.leases:
        flags.append("--enable-leader-election=false")
    environment = {**nowhere((api_address, *options.reachable), options.proxy), **_server(options.servers.get(name))}
    added: dict[str, Any] = {
        "/metadata/labels/app.kubernetes.io~1component": name,
        **{f"/spec/template/metadata/labels/{key.replace('/', '~1')}": value for key, value in labels.items()},
        f"{_CONTAINER}/imagePullPolicy": "Never",
        # by the distribution's ten seconds a controller that is up in two would be Ready after ten
        f"{_CONTAINER}/readinessProbe/periodSeconds": 1,
    }
    operations = [
        *added.items(),
        *((f"{_CONTAINER}/args/-", flag) for flag in flags),
        *((f"{_CONTAINER}/env/-", {"name": key, "value": value}) for key, value in environment.items()),
    ]
    return json.dumps([{"op": "add", "path": path, "value": value} for path, value in operations])


def _server(url: str | None) -> dict[str, str]:
    """Return the environment by which a client in a pod finds the API server at `url`; empty for the usual way."""
    host, _, port = (url or "").removeprefix("https://").rpartition(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port} if url else {}


def nowhere(reachable: Iterable[str], proxy: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a program in a pod that reaches the cluster, `reachable` hosts and nothing else.

    For all other hosts it asks the `proxy` of that environment, or nobody.
    """
    direct = ",".join(("127.0.0.1", "localhost", ".svc", ".cluster.local", ".cluster.local.", *reachable))
    closed = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), CLOSED)
    values = {**{name: value for name, value in (proxy or closed).items() if name.isupper()}, "NO_PROXY": direct}
    return values | {name.lower(): value for name, value in values.items()}
