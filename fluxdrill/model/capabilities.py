"""What a lab can do: tests and scenarios name what they need, and an unmet need says how to meet it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class Capability(StrEnum):
    """One thing that a lab can do or not."""

    SIMULATED_PODS = "simulated-pods"
    SCRIPTED_PODS = "scripted-pods"
    PODS = "pods"
    NODE_EXEC = "node-exec"
    NODE_DISK = "node-disk"
    FUSE = "fuse"
    SECOND_CLUSTER = "second-cluster"
    STOP_CONTROLLER = "stop-controller"
    STOP_APISERVER = "stop-apiserver"
    STOP_ETCD = "stop-etcd"
    ETCD_FILES = "etcd-files"
    CONTROLLER_FILES = "controller-files"
    GIT_FAULTS = "git-faults"


_EVERYWHERE = frozenset(
    {
        Capability.SCRIPTED_PODS,
        Capability.SECOND_CLUSTER,
        Capability.STOP_CONTROLLER,
        Capability.STOP_APISERVER,
        Capability.STOP_ETCD,
        Capability.GIT_FAULTS,
    }
)
OFFERED: Mapping[str, frozenset[Capability]] = {
    "embedded": _EVERYWHERE | {Capability.SIMULATED_PODS, Capability.ETCD_FILES, Capability.CONTROLLER_FILES},
    "kind": _EVERYWHERE | {Capability.PODS, Capability.NODE_EXEC, Capability.NODE_DISK, Capability.FUSE},
    "k3d": _EVERYWHERE | {Capability.PODS, Capability.NODE_EXEC, Capability.FUSE},
    "existing": frozenset(),
}
"""What each provider can do at most."""

SIMULATED: Mapping[str, tuple[str, ...]] = {
    "embedded": ("pods and their node (kwok)", "volumes"),
    "kind": ("what is in foreign images: stand-in containers",),
    "k3d": ("k3s: upstream Kubernetes behind k3d's driver", "what is in foreign images: stand-in containers"),
    "existing": (),
}
"""What is not real with each provider, as reports say it."""

UNSEEN: Mapping[str, str] = {
    "embedded": "Pods and their node are simulated: what a process in a pod would have done was not seen.",
    "kind": "Pods are real and hold stand-ins: what the program of a foreign image would have done was not seen.",
    "k3d": "Only k3d's driver is real, k3s is not; pods hold stand-ins: what the program of a foreign image does was not seen.",
    "existing": "The cluster was read and nothing was done to it: that it would recover was not seen.",
}
"""What no run with a provider certifies, in a sentence."""


def lacking(needs: Iterable[Capability], offered: frozenset[Capability]) -> list[Capability]:
    """Return what is not offered of `needs`, in order and once each."""
    return [one for one in dict.fromkeys(needs) if one not in offered]
