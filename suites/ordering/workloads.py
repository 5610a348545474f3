"""Workloads of simulated pods, scripted by annotations (see `fluxdrill.cluster.simulated`), and releases, as YAML."""

from __future__ import annotations

import json
from typing import Any

from fluxdrill.cluster.simulated import AFTER, BEHAVIOUR, Behaviour
from fluxdrill.flux import NAMESPACE
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.profile import RELEASE_TIMEOUT


def deployment(name: str, behaviour: Behaviour = Behaviour.READY, *, after: str = "0s", **spec: Any) -> str:
    """Return a Deployment of one pod that behaves so from `after` (a Go duration) on."""
    selector = {"matchLabels": {"app": name}}
    body = {"replicas": 1, "selector": selector, "template": _template(name, behaviour, after), **spec}
    return _yaml("apps/v1", "Deployment", name, body)


def job(name: str, behaviour: Behaviour = Behaviour.COMPLETE) -> str:
    """Return a Job of one pod that is tried once."""
    template = _template(name, behaviour, "0s", restartPolicy="Never")
    return _yaml("batch/v1", "Job", name, {"backoffLimit": 0, "template": template})


def deployment_ref(name: str) -> ObjectRef:
    """Return the reference of a Deployment."""
    return ObjectRef("apps", "Deployment", "default", name)


def job_ref(name: str) -> ObjectRef:
    """Return the reference of a Job."""
    return ObjectRef("batch", "Job", "default", name)


def chart(objects: str, *, folder: str = "chart") -> dict[str, str]:
    """Return the files of a chart that renders `objects` as they are."""
    return {
        f"{folder}/Chart.yaml": "{apiVersion: v2, name: chart, version: 1.0.0}\n",
        f"{folder}/templates/objects.yaml": objects,
    }


def release(name: str, repository: str, **install: bool) -> str:
    """Return a HelmRelease of the chart in the folder `chart` of a GitRepository."""
    source = {"kind": "GitRepository", "name": repository, "namespace": NAMESPACE}
    chart = {"spec": {"chart": "./chart", "sourceRef": source}}
    document = {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"interval": "1h", "timeout": RELEASE_TIMEOUT, "chart": chart, "install": install},
    }
    return json.dumps(document) + "\n"


def release_ref(name: str) -> ObjectRef:
    """Return the reference of a HelmRelease."""
    return ObjectRef("helm.toolkit.fluxcd.io", "HelmRelease", "default", name)


def _template(name: str, behaviour: Behaviour, after: str, **spec: Any) -> dict[str, Any]:
    metadata = {"annotations": {BEHAVIOUR: behaviour, AFTER: after}, "labels": {"app": name}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main", "image": "simulated"}], **spec}}


def _yaml(version: str, kind: str, name: str, spec: dict[str, Any]) -> str:
    meta = {"name": name, "namespace": "default"}
    return json.dumps({"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}) + "\n"
