"""Facts about nodes and pods by testinfra: mounts, processes, sockets, files, each asked anew and under our deadline.

A fresh host each time: testinfra remembers what it was told, and after a fault that is out of date.
"""

from __future__ import annotations

from typing import Any

from testinfra.backend import base
from testinfra.host import Host

from fluxdrill.cluster.nodes import ADMIN, EXEC_DEADLINE, NodesInDocker


class _Within(base.BaseBackend):  # type: ignore[misc]
    """Runs testinfra's commands by a shell in a node, or in a pod on it; `prefix` leads there from the node."""

    NAME = "fluxdrill"

    def __init__(self, cluster: NodesInDocker, node: str, prefix: tuple[str, ...], deadline: float) -> None:
        super().__init__(" ".join((node, *prefix[-2:])))
        self._cluster, self._node, self._prefix, self._deadline = cluster, node, prefix, deadline

    def run(self, command: str, *args: str, **_: Any) -> base.CommandResult:
        """Run it; raises DeadlineExceededError when it takes too long."""
        text = self.get_command(command, *args)
        done = self._cluster.node_exec(self._node, *self._prefix, "sh", "-c", text, deadline=self._deadline)
        return self.result(done.returncode, text.encode(), done.stdout, done.stderr.encode())


def node_host(cluster: NodesInDocker, node: str, *, deadline: float = EXEC_DEADLINE) -> Host:
    """Return a node as testinfra sees it; each command may take `deadline` seconds."""
    return Host(_Within(cluster, node, (), deadline))


def pod_host(
    cluster: NodesInDocker, namespace: str, pod: str, container: str = "", *, deadline: float = EXEC_DEADLINE
) -> Host:
    """Return a container of a pod as testinfra sees it; it needs a shell. Each command may take `deadline` seconds."""
    chosen = ("--container", container) if container else ()
    kubectl = ("kubectl", "--kubeconfig", ADMIN, "exec", "--namespace", namespace, pod)
    return Host(_Within(cluster, cluster.control_plane, (*kubectl, *chosen, "--"), deadline))
