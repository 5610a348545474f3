"""What a lab can do: tests and scenarios name what they need, and an unmet need says how to meet it."""

from __future__ import annotations

from enum import StrEnum


class Capability(StrEnum):
    """One thing that a lab can do or not."""

    SIMULATED_PODS = "simulated-pods"
    PODS = "pods"
    NODE_EXEC = "node-exec"
    FUSE = "fuse"
    SECOND_CLUSTER = "second-cluster"
    STOP_CONTROLLER = "stop-controller"
    STOP_APISERVER = "stop-apiserver"
    STOP_ETCD = "stop-etcd"
    CONTROLLER_FILES = "controller-files"
    GIT_FAULTS = "git-faults"
