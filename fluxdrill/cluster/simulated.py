"""Simulated pods and claims: kwok plays the kubelet of one node, scripted by annotations.

On a pod, `fluxdrill.dev/behaviour` is one of `Behaviour` (default: ready, and complete for the pods of a Job) and
`fluxdrill.dev/after` a Go duration ("20s") until it shows. On a claim, `fluxdrill.dev/claim: pending` keeps it unbound
and `fluxdrill.dev/after` delays the binding. Stages are those of kwok 0.8.
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


def objects() -> list[Document]:
    """Return what a cluster needs for simulated pods: the node and the default storage class."""
    return [_node(), _storage_class()]


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


def _stage(name: str, kind: str, selector: list[str], *, steps: list[Document], delay: Document | None = None) -> Document:
    spec: Document = {
        "resourceRef": {"apiGroup": "v1", "kind": kind},
        "selector": {"matchExpressions": [{"cel": {"expression": one}} for one in selector]},
        "steps": steps,
    }
    if delay is not None:
        spec["delay"] = delay
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def _status(template: str) -> Document:
    return {"patch": {"root": "status", "subresource": "status", "template": template}}


def _node_stages() -> list[Document]:
    conditions = (
        "conditions:\n{{ range NodeConditions }}\n"
        "- {lastHeartbeatTime: {{ Now | Quote }}, lastTransitionTime: {{ Now | Quote }}, message: {{ .message | Quote }},"
        " reason: {{ .reason | Quote }}, status: {{ .status | Quote }}, type: {{ .type | Quote }}}\n{{ end }}\n"
        "addresses:\n- {address: {{ NodeIP | Quote }}, type: InternalIP}\n"
        "nodeInfo: {architecture: amd64, operatingSystem: linux, kubeletVersion: simulated, bootID: '', machineID: '',"
        " systemUUID: '', containerRuntimeVersion: simulated, kernelVersion: simulated, kubeProxyVersion: simulated,"
        " osImage: simulated}\nphase: Running\n"
    )
    fresh = "!has(self.status.phase) || self.status.phase != 'Running'"
    return [_stage("node-ready", "Node", [fresh], steps=[_status(conditions)])]


_LIVES = "!has(self.metadata.deletionTimestamp)"
_PENDING = "!has(self.status.phase) || self.status.phase == 'Pending'"
_RUNNING = "has(self.status.phase) && self.status.phase == 'Running'"
_STARTED = "has(self.status.containerStatuses)"
_NOT_READY = "!self.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')"
_ANNOTATED = f"has(self.metadata.annotations) && '{BEHAVIOUR}' in self.metadata.annotations"
_OF_JOB = "has(self.metadata.ownerReferences) && self.metadata.ownerReferences.exists(o, o.kind == 'Job')"
_AFTER = {"durationMilliseconds": 0, "durationFrom": {"expressionFrom": f'.metadata.annotations["{AFTER}"]'}}


def _does(*behaviours: Behaviour, default: str = "false") -> str:
    names = ", ".join(f"'{one}'" for one in behaviours)
    return f"({_ANNOTATED}) ? self.metadata.annotations['{BEHAVIOUR}'] in [{names}] : ({default})"


def _pod_stages() -> list[Document]:
    completes = _does(Behaviour.COMPLETE, default=_OF_JOB)
    serves = _does(Behaviour.READY, default=f"!({_OF_JOB})")
    restarts = {"durationMilliseconds": RESTART_MILLISECONDS}
    pull_error = _does(Behaviour.IMAGE_PULL_ERROR)
    not_begun = "!has(self.status.containerStatuses)"
    failing = _does(Behaviour.CRASH_LOOP, Behaviour.OOM_KILL)
    waiting = "self.status.containerStatuses.exists(c, has(c.state.waiting))"
    return [
        _stage("pod-start", "Pod", [_LIVES, _PENDING, f"!({pull_error})"], steps=[_status(_running(ready=False))]),
        _stage("pod-pull-error", "Pod", [_LIVES, _PENDING, not_begun, pull_error], steps=[_PULL_EVENT, _status(_PULL_ERROR)]),
        _stage("pod-ready", "Pod", [_LIVES, _RUNNING, _NOT_READY, serves], steps=[_status(_running(ready=True))], delay=_AFTER),
        _stage("pod-complete", "Pod", [_LIVES, _RUNNING, completes], steps=[_status(_ended(0, "Completed", "Succeeded"))], delay=_AFTER),
        _stage("pod-fail", "Pod", [_LIVES, _RUNNING, _does(Behaviour.FAIL)], steps=[_status(_ended(1, "Error", "Failed"))], delay=_AFTER),
        _stage("pod-crash", "Pod", [_LIVES, _RUNNING, _STARTED, f"!({waiting})", failing], steps=[_status(_CRASHED)], delay=_AFTER),
        _stage("pod-crash-again", "Pod", [_LIVES, _RUNNING, _STARTED, waiting, failing], steps=[_status(_CRASHED)], delay=restarts),
        _stage("pod-delete", "Pod", ["has(self.metadata.deletionTimestamp)"], steps=[{"delete": True}]),
    ]  # fmt: skip


def _conditions(*, ready: bool) -> str:
    word = '"True"' if ready else '"False"'
    reason = "" if ready else ", reason: ContainersNotReady"
    moment = "lastTransitionTime: {{ Now | Quote }}"
    return (
        f'conditions:\n- {{type: Initialized, status: "True", {moment}}}\n'
        f"- {{type: Ready, status: {word}, {moment}{reason}}}\n"
        f"- {{type: ContainersReady, status: {word}, {moment}{reason}}}\n"
    )


def _containers(state: str, *, ready: bool, restarts: str = "0", last: str = "") -> str:
    word = "true" if ready else "false"
    return (
        "containerStatuses:\n{{ $root := . }}\n{{ range $index, $item := .spec.containers }}\n"
        f"- name: {{{{ .name | Quote }}}}\n  image: {{{{ .image | Quote }}}}\n  imageID: ''\n  ready: {word}\n"
        f"  restartCount: {restarts}\n  state: {state}\n{last}{{{{ end }}}}\n"
    )


def _inits() -> str:
    done = "{terminated: {exitCode: 0, reason: Completed, startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }}}}"
    return (
        "{{ if .spec.initContainers }}\ninitContainerStatuses:\n{{ range .spec.initContainers }}\n"
        "- {name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: '', ready: true, restartCount: 0, "
        f"state: {done}}}\n{{{{ end }}}}\n{{{{ end }}}}\n"
    )


_ADDRESSES = (
    "hostIP: {{ NodeIPWith .spec.nodeName | Quote }}\n"
    '{{ $ips := PodIPsWith .spec.nodeName (or .spec.hostNetwork false) (or .metadata.uid "") (or .metadata.name "") '
    '(or .metadata.namespace "") }}\n{{ with $ips }}\npodIP: {{ index . 0 | Quote }}\n'
    "podIPs:\n{{ range . }}\n- ip: {{ . | Quote }}\n{{ end }}\n{{ end }}\n"
)


def _running(*, ready: bool) -> str:
    state = "{running: {startedAt: {{ Now | Quote }}}}"
    head = _conditions(ready=ready) + _containers(state, ready=ready) + _inits() + _ADDRESSES
    return head + "phase: Running\nstartTime: {{ or $root.status.startTime Now | Quote }}\n"


def _ended(code: int, reason: str, phase: str) -> str:
    moment = "startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }}"
    state = f"{{terminated: {{exitCode: {code}, reason: {reason}, {moment}}}}}"
    return _conditions(ready=False) + _containers(state, ready=False) + f"phase: {phase}\n"


_CRASHED = _conditions(ready=False) + _containers(
    "{waiting: {reason: CrashLoopBackOff, message: back-off restarting failed container}}",
    ready=False,
    restarts="{{ $origin := index $root.status.containerStatuses $index }}{{ add $origin.restartCount 1 }}",
    last=(
        f'{{{{ $oom := eq (index $root.metadata.annotations "{BEHAVIOUR}") "{Behaviour.OOM_KILL}" }}}}\n'
        "  lastState: {terminated: {exitCode: {{ if $oom }}137{{ else }}1{{ end }}, "
        "reason: {{ if $oom }}OOMKilled{{ else }}Error{{ end }}, "
        "startedAt: {{ Now | Quote }}, finishedAt: {{ Now | Quote }}}}\n"
    ),
)

_PULL_ERROR = (
    _conditions(ready=False)
    + _containers("{waiting: {reason: ImagePullBackOff, message: simulated - the image cannot be pulled}}", ready=False)
    + "phase: Pending\n"
)
_PULL_EVENT = {
    "event": {"type": "Warning", "reason": "Failed", "message": "Failed to pull image: simulated, it cannot be pulled"}
}


def _claim_stages() -> list[Document]:
    """Provision a volume for every claim of our class that is not told to stay pending; binding is Kubernetes' own."""
    ours = f"has(self.spec.storageClassName) && self.spec.storageClassName == '{STORAGE_CLASS}'"
    binds = f"!has(self.metadata.annotations) || !('{CLAIM}' in self.metadata.annotations) || self.metadata.annotations['{CLAIM}'] != 'pending'"
    unbound = "!has(self.spec.volumeName) || self.spec.volumeName == ''"
    released = "has(self.status.phase) && self.status.phase == 'Released'"
    deletes = "self.spec.persistentVolumeReclaimPolicy == 'Delete'"
    return [
        _stage("claim-provision", "PersistentVolumeClaim", [_LIVES, ours, binds, unbound], steps=[{"apply": {"template": _VOLUME}}], delay=_AFTER),
        _stage("volume-delete", "PersistentVolume", [_LIVES, ours, released, deletes], steps=[{"delete": True}]),
    ]  # fmt: skip


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
  claimRef:
    apiVersion: v1
    kind: PersistentVolumeClaim
    name: {{{{ .metadata.name | Quote }}}}
    namespace: {{{{ .metadata.namespace | Quote }}}}
    uid: {{{{ .metadata.uid | Quote }}}}
  csi: {{driver: {PROVISIONER}, volumeHandle: {{{{ .metadata.uid | Quote }}}}}}
"""
