"""A lab with a worker, a repository that keeps a web server with a volume there, and probes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.cluster.images.components import find
from fluxdrill.cluster.nodes import NodesInDocker
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.wait import all_current, all_of, ready, wait_for
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.lab.providers.nodes import nodes_of
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.pytest_plugin.plugin import start
from suites.nodes.probes import LOOP, Answer, FromHere, from_first_good, inside, now, since_then, until_both
from suites.ordering.links import Fleet, Link, config

NAMESPACE = "nodes"
PORT = 30080
ADDRESS = "10.96.77.77"
"""Of the web server's Service."""
STANDIN = find("standin").reference
SERVE = "test -s /data/born || hostname > /data/born; trap 'exit 0' TERM; httpd -f -p 8080 -h /data & wait $!"
WEB, PROBE = (ObjectRef("apps", "Deployment", NAMESPACE, name) for name in ("web", "probe"))
DATA = ObjectRef("", "PersistentVolumeClaim", NAMESPACE, "data")
NOTE = ObjectRef("", "ConfigMap", "default", "note")
POD = GroupKind("", "Pod")


@dataclass(frozen=True, slots=True)
class Nodes:
    """The lab, its cluster with the name of its worker, and the repository; `web` serves what its volume holds."""

    lab: Lab
    fleet: Fleet
    cluster: NodesInDocker
    worker: str

    def pod(self, owner: ObjectRef) -> ObjectRef:
        """Return the only pod of a Deployment that is not about to end."""
        found = [
            one
            for one in self.lab.api.list(self.lab.api.resource("", "Pod"), namespace=owner.namespace).items
            if one["metadata"]["name"].startswith(f"{owner.name}-") and "deletionTimestamp" not in one["metadata"]
        ]
        (one,) = found
        return ObjectRef.of(one)

    def identity(self) -> dict[str, str]:
        """Return what must outlive any fault: the identities of workload, claim and volume, and what the volume holds."""
        claim = self.lab.api.get(DATA)
        return {
            "web": self.lab.api.get(WEB)["metadata"]["uid"],
            "claim": claim["metadata"]["uid"],
            "volume": claim["spec"]["volumeName"],
            "born": self.born(),
        }

    def born(self) -> str:
        """Return what the volume says: the name of the pod that was the first to write on it."""
        said = self.cluster.kubectl("exec", "-n", NAMESPACE, "deployment/web", "--", "cat", "/data/born")
        assert said.returncode == 0, said.stderr
        return said.text.strip()

    def push(self, text: str) -> str:
        """Commit a change and return its revision; Flux finds it by itself."""
        return self.fleet.commit({"note/objects.yaml": config(NOTE.name, says=text)}, text)

    def recovered(self, *, deadline: float = 240) -> None:
        """Wait until Flux has applied the newest revision and the workloads are Available."""
        wanted = all_of(self.fleet.ready(), all_current([WEB, PROBE]))
        wait_for(self.lab.store, wanted, deadline=deadline, what="Flux and the workloads to recover", fail_fast=False)

    def node_ready(self, name: str) -> Any:
        """Return the predicate that a node is Ready."""
        return ready(ObjectRef("", "Node", "", name))

    @contextmanager
    def probed(self) -> Iterator[Probed]:
        """Ask the web server from this machine and from a pod for the time of the block.

        It begins when both get an answer, and ends when both get one again.
        """
        address = address_of(self.lab.api.get(ObjectRef("", "Node", "", self.cluster.control_plane)))
        probe, since = self.pod(PROBE), now()
        probed = Probed([], [])
        with FromHere(address, PORT) as here:
            until_both(lambda: (here.answers, inside(self.lab.api, probe, since=since)))
            yield probed
            ended = now()
            until_both(lambda: (since_then(here.answers, ended), inside(self.lab.api, probe, since=ended)))
        probed.outside += from_first_good(here.answers)
        probed.inside += from_first_good(inside(self.lab.api, probe, since=since))


@dataclass(slots=True)
class Probed:
    """The answers of both probes; filled when their block has ended."""

    outside: list[Answer]
    inside: list[Answer]


def address_of(node: KubeObject) -> str:
    """Return the address of a node in the cluster's network."""
    return next(str(one["address"]) for one in node["status"]["addresses"] if one["type"] == "InternalIP")


def deployment(ref: ObjectRef, *command: str, **spec: Any) -> KubeObject:
    """Return a Deployment of one pod that runs `command` in the stand-in image; `spec` is merged into that of its pod."""
    labels = {"app": ref.name}
    container = {"name": "main", "image": STANDIN, "command": list(command), **spec.pop("container", {})}
    pod = {"terminationGracePeriodSeconds": 2, "containers": [container], **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "spec": {
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def objects() -> list[KubeObject]:
    """Return the web server with its volume and Service, and the probe, which is on the control plane's node."""
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    serving = {"readinessProbe": {"httpGet": {"path": "/born", "port": 8080}, "periodSeconds": 1}}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": DATA.name}}]
    # its data is on its node: it waits for that to come back, however long
    patient = [
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 600}
        for key in ("not-ready", "unreachable")
    ]
    apart = {
        "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
    }
    meta = {"namespace": NAMESPACE}
    ports = [{"port": 80, "targetPort": 8080, "nodePort": PORT}]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {**meta, "name": DATA.name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**meta, "name": WEB.name},
            # by its address the probe needs nobody that answers for names
            "spec": {"type": "NodePort", "clusterIP": ADDRESS, "selector": {"app": WEB.name}, "ports": ports},
        },
        deployment(WEB, "sh", "-c", SERVE, container={**mount, **serving}, volumes=volumes, tolerations=patient),
        deployment(PROBE, "sh", "-c", LOOP, ADDRESS, **apart),
    ]


@pytest.fixture(scope="package")
def nodes(request: pytest.FixtureRequest) -> Iterator[Nodes]:
    """One cluster of two nodes for all of these suites; each test leaves it as it found it."""
    with start(request.config, LabSpec(cluster=ClusterOptions(workers=1))) as lab:
        text = "\n---\n".join(map(json.dumps, objects()))
        note = Link("note", ("workloads",), config(NOTE.name, says="nothing yet"))
        fleet = Fleet(lab, Link("workloads", text=text), note, name="nodes")
        for kind in (POD, GroupKind("", "Node")):
            lab.store.follow(kind)
        fleet.bootstrap()
        cluster = nodes_of(lab)
        (worker,) = set(cluster.nodes()) - {cluster.control_plane}
        made = Nodes(lab, fleet, cluster, worker)
        made.recovered()
        yield made
