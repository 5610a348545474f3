"""Helpers for tests on kind and k3d clusters: what they need of the machine, and pods of the stand-in image."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fluxdrill.cluster import engine, leases
from fluxdrill.cluster.images.components import find
from fluxdrill.cluster.images.node import PROGRAMS
from fluxdrill.cluster.nodes import NodesInDocker, machine_groups
from fluxdrill.toolchain.catalog import PINNED
from fluxdrill.toolchain.store import Origin, locate

STANDIN = find("standin").reference
WEB = "mkdir -p /www; hostname > /www/index.html; echo serving as $(hostname); exec httpd -f -p 8080 -h /www"


def why_not(driver: str = "kind") -> str:
    """Return why no cluster can be made here by `driver`, "" where one can."""
    if os.geteuid() != 0:
        return "a private engine and the node image need root: run the tests as root"
    if machine_groups() == 2:
        return "the node images do not know cgroup v2 yet: run on a machine with cgroup v1"
    missing = [one for one in ("dockerd", "docker", "runc") if shutil.which(one, path=engine.CLEAN_PATH) is None]
    if missing:
        return f"{missing[0]} is missing: install the engine's package (on Debian: docker.io)"
    absent = [name for name in (driver, *PROGRAMS) if locate(PINNED.find(name)).origin is Origin.MISSING]
    return f"{absent[0]} is not built: run `fluxdrill images build`" if absent else ""


needs_kind = pytest.mark.skipif(bool(why_not()), reason=why_not())
needs_k3d = pytest.mark.skipif(bool(why_not("k3d")), reason=why_not("k3d"))


@contextmanager
def leased() -> Iterator[leases.Lease]:
    """Hand out a lab of its own; it ends with the block, and so does an engine that did not run before."""
    ran = engine.find() is not None
    one = leases.open_lease()
    try:
        yield one
    finally:
        leases.remove(one.lab_id)
        if not ran:
            engine.down()


def ask(cluster: NodesInDocker, *words: str, stdin: str | None = None, deadline: float = 120.0) -> str:
    """Return what kubectl printed, which must have gone well."""
    done = cluster.kubectl(*words, stdin=stdin.encode() if stdin is not None else None, deadline=deadline)
    assert done.returncode == 0, done.stderr
    return done.text


def apply(cluster: NodesInDocker, *objects: dict[str, Any]) -> None:
    """Apply objects."""
    ask(cluster, "apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def deployment(name: str, *, replicas: int = 2, volume: str = "") -> dict[str, Any]:
    """Return a Deployment of web servers, one a node, each telling its pod's name; `volume` is a claim at /data."""
    labels = {"app": name}
    container: dict[str, Any] = {
        "name": "web",
        "image": STANDIN,
        "command": ["sh", "-c", WEB],
        "readinessProbe": {"httpGet": {"path": "/index.html", "port": 8080}, "periodSeconds": 1},
    }
    spec: dict[str, Any] = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    spec["tolerations"] = [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
    spec["topologySpreadConstraints"] = [spread | {"labelSelector": {"matchLabels": labels}}]
    if volume:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": volume}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def service(name: str, *, app: str) -> dict[str, Any]:
    """Return a Service of the web servers called `app`."""
    spec = {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def claim(name: str) -> dict[str, Any]:
    """Return a claim of a small volume of the default class."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def pods(cluster: NodesInDocker, app: str) -> dict[str, str]:
    """Return the pods of `app` that are not about to end, by name with their nodes."""
    items = json.loads(ask(cluster, "get", "pods", "--selector", f"app={app}", "--output", "json"))["items"]
    return {
        one["metadata"]["name"]: one["spec"]["nodeName"] for one in items if "deletionTimestamp" not in one["metadata"]
    }


def answers(cluster: NodesInDocker, pod: str, host: str, *, times: int = 16) -> set[str]:
    """Return who answered `pod` at http://`host`/; a request without an answer is "none"."""
    loop = f"for i in $(seq {times}); do timeout 5 wget -q -O - http://{host}/ || echo none; done"
    return set(ask(cluster, "exec", pod, "--", "sh", "-c", loop).split())
