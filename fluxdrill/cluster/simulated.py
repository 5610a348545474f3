"""Simulated pods and claims: kwok plays the kubelet of one node, scripted by annotations.

On a pod, `fluxdrill.dev/behaviour` is one of `Behaviour` (default: ready, and complete for the pods of a Job) and
`fluxdrill.dev/after` a Go duration ("20s") from its start until that shows, to the second: never earlier, up to 1 s
later. On a claim, `fluxdrill.dev/claim: pending` keeps it unbound and `fluxdrill.dev/after` delays the binding. What is
misspelt never becomes ready or bound. Volumes are names only: nothing is stored anywhere. Stages are those of kwok 0.8.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any

NODE_NAME = "simulated"
BEHAVIOUR = "fluxdrill.dev/behaviour"
AFTER = "fluxdrill.dev/after"
CLAIM = "fluxdrill.dev/claim"
STORAGE_CLASS = "standard"
PROVISIONER = "simulated.fluxdrill.dev"
RESTART_MILLISECONDS = 10_000
"""From one crash to the next: the kubelet's first back-off."""

Document = dict[str, Any]


class Behaviour(StrEnum):
    """What a simulated pod does, as the value of its annotation."""

    READY = "ready"
    NEVER_READY = "never-ready"
    CRASH_LOOP = "crash-loop"
    IMAGE_PULL_ERROR = "image-pull-error"
    OOM_KILL = "oom-kill"
    COMPLETE = "complete"
    FAIL = "fail"


def told(behaviour: Behaviour) -> Document:
    """Return the patch by which a pod, or a template of pods, is told how to behave."""
    return {"metadata": {"annotations": {BEHAVIOUR: str(behaviour)}}}


def objects() -> list[Document]:
    """Return what a cluster needs for simulated pods: the node, and the default storage class with its driver."""
    return [_node(), _storage_class(), _driver()]


def write_stages(path: Path) -> Path:
    """Write kwok's configuration: every stage that a simulated node, pod or claim goes through."""
    documents = [*_node_stages(), *_pod_stages(), *_claim_stages()]
    path.write_text("\n---\n".join(json.dumps(one) for one in documents), encoding="utf-8")  # JSON is YAML
    return path


def _node() -> Document:
    # large enough that scheduling is never the story
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
    labels = {"kubernetes.io/hostname": NODE_NAME, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE_NAME, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"allocatable": capacity, "capacity": capacity},
    }


def _storage_class() -> Document:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def _driver() -> Document:
    # without it the controller-manager would wait in vain for somebody to attach each volume to the node
    metadata = {"name": PROVISIONER}
    return {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": metadata, "spec": {"attachRequired": False}}  # fmt: skip


def _stage(name: str, kind: str, *when: Document, steps: list[Document], delay: Document | None = None) -> Document:
    spec: Document = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": list(when)},
        "steps": steps,
    }
    if delay is not None:
        spec["delay"] = delay
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _is(query: str, *values: str) -> Document:
    return {"jq": {"key": query, "operator": "In", "values": list(values)}}


def _status(template: str) -> Document:
    return {"patch": {"root": "status", "subresource": "status", "template": template}}


def _delay(since: str) -> Document:
    # reckoned from a fixed moment: a change of the object in between must not start the time anew;
    # Kubernetes cuts that moment to the second, and never too early is worth more than up to 1 s too late
    due = f"{since} + duration('1s') + duration(self.metadata.annotations['{AFTER}']) - Now()"
    given = f"has(self.metadata.annotations) && '{AFTER}' in self.metadata.annotations"
    return {"durationFrom": {"cel": {"expression": f"({given}) ? ({due}) : duration('0s')"}}}


_LIVES = _is('.metadata | has("deletionTimestamp")', "false")
_GOES = _is('.metadata | has("deletionTimestamp")', "true")
_PHASE = '.status.phase // "Pending"'
_BEGUN = '.status | has("containerStatuses")'
_WAITING = "any(.status.containerStatuses[]?; .state.waiting)"
_READY = 'any(.status.conditions[]?; .type == "Ready" and .status == "True")'
_BEHAVES = (
    f'.metadata.annotations["{BEHAVIOUR}"] // '
    'if any(.metadata.ownerReferences[]?; .kind == "Job") then "complete" else "ready" end'
)
# kwok takes what is no duration for zero
_TIMED = _is(f'.metadata.annotations["{AFTER}"] // "0s" | test("^([0-9.]+(ms|s|m|h))+$")', "true")


def _node_stages() -> list[Document]:
    # also after the controller-manager gave the node up, as a kubelet that is back would
    return [_stage("node-ready", "Node", _is(_READY, "false"), steps=[_status(_NODE_READY)])]


def _pod_stages() -> list[Document]:
    running = (_LIVES, _is(_PHASE, "Running"))
    failing = _is(_BEHAVES, Behaviour.CRASH_LOOP, Behaviour.OOM_KILL)
    pulls = _is(f'({_BEHAVES}) == "{Behaviour.IMAGE_PULL_ERROR}"', "false")
    fresh = (_LIVES, _is(_PHASE, "Pending"), _is(_BEGUN, "false"))
    after = _delay("self.status.startTime")
    restarts = {"durationMilliseconds": RESTART_MILLISECONDS}
    return [
        _stage("pod-start", "Pod", *fresh, pulls, steps=[_status(_STARTED)]),
        _stage("pod-pull-error", "Pod", *fresh, _is(_BEHAVES, Behaviour.IMAGE_PULL_ERROR), steps=[_PULL_EVENT, _status(_PULL_ERROR)]),
        _stage("pod-pulled", "Pod", _LIVES, _is(_PHASE, "Pending"), _is(_WAITING, "true"), pulls, steps=[_status(_STARTED)]),
        _stage("pod-ready", "Pod", *running, _is(_READY, "false"), _TIMED, _is(_BEHAVES, Behaviour.READY), steps=[_status(_SERVING)], delay=after),
        _stage("pod-complete", "Pod", *running, _TIMED, _is(_BEHAVES, Behaviour.COMPLETE), steps=[_status(_COMPLETED)], delay=after),
        _stage("pod-fail", "Pod", *running, _TIMED, _is(_BEHAVES, Behaviour.FAIL), steps=[_status(_FAILED)], delay=after),
        _stage("pod-crash", "Pod", *running, _TIMED, failing, _is(_WAITING, "false"), steps=[_status(_CRASHED)], delay=after),
        _stage("pod-crash-again", "Pod", *running, failing, _is(_WAITING, "true"), steps=[_status(_CRASHED)], delay=restarts),
        _stage("pod-delete", "Pod", _GOES, steps=[{"delete": True}]),
    ]  # fmt: skip


def _claim_stages() -> list[Document]:
    """Provision a volume for every claim of our class that is not told to stay pending; binding is Kubernetes' own."""
    ours = _is(".spec.storageClassName", STORAGE_CLASS)
    unbound = _is('.spec | has("volumeName")', "false")
    binds = _is(f'.metadata.annotations["{CLAIM}"] // "bound"', "bound")
    after = _delay("timestamp(self.metadata.creationTimestamp)")
    free = (_is(".status.phase", "Released"), _is(".spec.persistentVolumeReclaimPolicy", "Delete"))
    return [
        _stage("claim-provision", "PersistentVolumeClaim", _LIVES, ours, unbound, binds, _TIMED, steps=[{"apply": {"template": _VOLUME}}], delay=after),
        _stage("volume-delete", "PersistentVolume", _LIVES, ours, *free, steps=[{"delete": True}]),
    ]  # fmt: skip


_NODE_READY = """\
phase: Running
addresses:
- {type: InternalIP, address: {{ NodeIP | Quote }}}
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ Now | Quote }}
  lastTransitionTime: {{ Now | Quote }}
{{ end }}
nodeInfo:
  {architecture: amd64, operatingSystem: linux, kubeletVersion: simulated, containerRuntimeVersion: simulated,
   kernelVersion: simulated, kubeProxyVersion: simulated, osImage: simulated, bootID: "", machineID: "", systemUUID: ""}
"""


def _conditions(*, ready: bool) -> str:
    word, reason = ('"True"', '""') if ready else ('"False"', "ContainersNotReady")
    rest = f"status: {word}, reason: {reason}, lastTransitionTime: {{{{ Now | Quote }}}}"
    return f"conditions:\n- {{type: Ready, {rest}}}\n- {{type: ContainersReady, {rest}}}\n"


_INITIALIZED = '- {type: Initialized, status: "True", lastTransitionTime: {{ Now | Quote }}}\n'


def _containers(state: str, *, ready: bool = False, restarts: str = "0", last: str = "{}") -> str:
    return _CONTAINERS % {"state": state, "ready": str(ready).lower(), "restarts": restarts, "last": last}


_CONTAINERS = """\
{{ $root := . }}
{{ $begun := or .status.startTime Now }}
containerStatuses:
{{ range $index, $item := .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: %(ready)s
  restartCount: %(restarts)s
  state: {%(state)s}
  lastState: %(last)s
{{ end }}
"""

_INIT_CONTAINERS = """\
{{ if .spec.initContainers }}
initContainerStatuses:
{{ range .spec.initContainers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: true
  restartCount: 0
{{ if eq (or .restartPolicy "") "Always" }}
  started: true
  state: {running: {startedAt: {{ $begun | Quote }}}}
{{ else }}
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $begun | Quote }}, finishedAt: {{ $begun | Quote }}}}
{{ end }}
{{ end }}
{{ end }}
"""

_ADDRESSES = """\
hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
{{ with PodIPsWith .spec.nodeName (or .spec.hostNetwork false) .metadata.uid .metadata.name .metadata.namespace }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
"""

_RUNNING = "running: {startedAt: {{ $begun | Quote }}}"
_BACKOFF = "waiting: {reason: CrashLoopBackOff, message: back-off restarting failed container}"
_UNPULLED = "waiting: {reason: ImagePullBackOff, message: simulated - the image cannot be pulled}"


def _ended(code: str, reason: str) -> str:
    times = "startedAt: {{ $begun | Quote }}, finishedAt: {{ Now | Quote }}"
    return f"terminated: {{exitCode: {code}, reason: {reason}, {times}}}"


_STARTED = (
    _conditions(ready=False)
    + _INITIALIZED
    + _containers(_RUNNING)
    + _INIT_CONTAINERS
    + _ADDRESSES
    + "phase: Running\nstartTime: {{ $begun | Quote }}\n"
)
_SERVING = _conditions(ready=True) + _containers(_RUNNING, ready=True)
_COMPLETED = _conditions(ready=False) + _containers(_ended("0", "Completed")) + "phase: Succeeded\n"
_FAILED = _conditions(ready=False) + _containers(_ended("1", "Error")) + "phase: Failed\n"
_OOM = f'{{{{ if eq (index $root.metadata.annotations "{BEHAVIOUR}") "{Behaviour.OOM_KILL}" }}}}'
_CRASHED = _conditions(ready=False) + _containers(
    _BACKOFF,
    restarts="{{ add 1 (index $root.status.containerStatuses $index).restartCount }}",
    last="{" + _ended(_OOM + "137{{ else }}1{{ end }}", _OOM + "OOMKilled{{ else }}Error{{ end }}") + "}",
)
_PULL_ERROR = (
    _conditions(ready=False)
    + _INITIALIZED
    + _containers(_UNPULLED)
    + "phase: Pending\nstartTime: {{ $begun | Quote }}\n"
)
_PULL_EVENT = {
    "event": {"type": "Warning", "reason": "Failed", "message": "Failed to pull image: simulated, it cannot be pulled"}
}

_VOLUME = f"""\
apiVersion: v1
kind: PersistentVolume
metadata:
  name: pvc-{{{{ .metadata.uid }}}}
  annotations: {{pv.kubernetes.io/provisioned-by: {PROVISIONER}}}
spec:
  accessModes:
  {{{{ YAML .spec.accessModes 2 }}}}
  capacity:
  {{{{ YAML .spec.resources.requests 2 }}}}
  persistentVolumeReclaimPolicy: Delete
  storageClassName: {STORAGE_CLASS}
  volumeMode: {{{{ .spec.volumeMode | default "Filesystem" | Quote }}}}
  claimRef:
    apiVersion: v1
    kind: PersistentVolumeClaim
    name: {{{{ .metadata.name | Quote }}}}
    namespace: {{{{ .metadata.namespace | Quote }}}}
    uid: {{{{ .metadata.uid | Quote }}}}
  csi: {{driver: {PROVISIONER}, volumeHandle: {{{{ .metadata.uid | Quote }}}}}}
"""
