"""Programs in containers on the nodes of a cluster, acted upon as if they were processes of this machine.

A kubelet starts again whatever ends, so that what is stopped or killed is first taken out of its hands: a Deployment is
scaled to nothing; for a part of the control plane its node's kubelet is frozen as long as it is down. What is paused is paused by a signal: its kubelet may kill it when
its liveness probe fails (by the distribution's probes after half a minute), which a process of this machine need not fear.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from fluxdrill.cluster.containers import last_line
from fluxdrill.cluster.nodes import NodesInDocker
from fluxdrill.cluster.part import STOP_DEADLINE, Action, Part, State
from fluxdrill.cluster.supervised import READY_INTERVAL
from fluxdrill.errors import FluxdrillError, HarnessError
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.model.refs import ObjectRef

END_DEADLINE = 60.0
"""Seconds in which a kubelet must have ended what was killed."""
MANIFESTS = "/etc/kubernetes/manifests"
AWAY = "/etc/kubernetes/away"
KUBELET_PID = "/run/node/kubelet.pid"
POLL = 0.2
"""Seconds between two looks at a part of ours; each is a program run in a node."""
_LINE = 300
"""Bytes of a usual line of a log: the API server counts lines from the end, and bytes from the beginning only."""
_CTR = ("ctr", "--namespace", "k8s.io")

Task = tuple[str, str]
"""A node, and the id of a container that runs on it."""


class NodePart(Part):
    """A program that runs as the only container of its kind in a pod; `selector` is containerd's filter for it.

    Every method raises HarnessError where the node does not do what it is told.
    """

    def __init__(self, name: str, cluster: NodesInDocker, selector: str) -> None:
        self.name = name
        self.listener: Callable[[str, Action], None] | None = None
        self._cluster = cluster
        self._selector = selector
        self._last = ""
        self._paused = False

    @property
    def state(self) -> State:
        """The state now; a program between two runs counts as ended."""
        if not self._tasks():
            return State.EXITED if self._last else State.NOT_STARTED
        return State.PAUSED if self._paused else State.RUNNING

    @property
    def identity(self) -> str:
        """The id of the container that runs it, or ran it last."""
        tasks = self._tasks()
        if not tasks and not self._last:
            raise HarnessError(f"{self.name} was not started.")
        return self._last

    @property
    def frozen(self) -> bool:
        """Whether the kernel says that all of its threads are stopped."""
        states = [self._on(node, "ps", "-o", "state=", "-p", pid) for node, _, pid in self._running()]
        return bool(states) and all(one.strip().startswith("T") for one in states)

    def start(self) -> None:
        """Give it back to its kubelet, which starts it."""
        if self._tasks():
            raise HarnessError(f"{self.name} runs already.", hint="Stop it first.")
        self._paused = False
        self._bring_back()
        self._tell(Action.STARTED)

    def wait_ready(self, deadline: float) -> None:
        """Wait until it is ready; raises HarnessError with its last words if `deadline` seconds pass."""
        end = time.monotonic() + deadline
        while not self._is_ready():
            if time.monotonic() > end:
                raise HarnessError(f"{self.name} was not ready after {deadline:g} s: {self.last_words()}")
            time.sleep(POLL)
        self._tell(Action.READY)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._signal("SIGSTOP")
        self._paused = True
        self._tell(Action.PAUSED)

    def resume(self) -> None:
        """SIGCONT after a pause."""
        self._signal("SIGCONT")
        self._paused = False
        self._tell(Action.RESUMED)

    def kill(self) -> None:
        """SIGKILL without a moment to finish anything, and wait for the end; fine if it is gone."""
        tasks = self._tasks()
        if tasks:
            self._tell(Action.KILLED)
            with suppress(HarnessError):  # it may end by itself at this moment
                self._signal("SIGSTOP")  # so that it never sees the SIGTERM by which a kubelet ends a pod
        self._paused = False
        self._take_away()
        self._end()

    def stop(self, deadline: float = STOP_DEADLINE) -> None:
        """Have its kubelet end it, and SIGKILL it after `deadline` seconds; a paused one is resumed so that it can stop."""
        if self._paused:
            self.resume()
        if self._tasks():
            self._tell(Action.STOPPED)
        self._take_away()
        self._ask_to_end()
        if not self._gone_within(deadline):
            self._end()

    def tail(self, size: int = 1 << 20) -> list[str]:
        """Return the lines in the last `size` bytes of its log as the kubelet keeps it; empty where it cannot be read."""
        try:
            return self._log(size).strip().splitlines()
        except FluxdrillError:
            return []

    def memory(self) -> int:
        """Return 0: what a pod takes is measured on the node."""
        return 0

    @abstractmethod
    def _take_away(self) -> None:
        """Have the kubelet end it and not start it again."""

    @abstractmethod
    def _ask_to_end(self) -> None:
        """Have it get a SIGTERM, unless it has been sent one by being taken away."""

    @abstractmethod
    def _bring_back(self) -> None:
        """Have the kubelet start it."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the newest run of it serves."""

    @abstractmethod
    def _log(self, size: int) -> str:
        """Return the end of its log."""

    def _tell(self, action: Action) -> None:
        if self.listener is not None:
            self.listener(self.name, action)

    def _tasks(self) -> list[Task]:
        """Return where it runs now."""
        found = [(node, container) for node, container, _ in self._running()]
        if found:
            self._last = found[-1][1]
        return found

    def _running(self) -> Iterator[tuple[str, str, str]]:
        """Yield node, container and process id of every running task of it."""
        for node, state in self._cluster.nodes().items():
            if state != "running":
                continue
            ours = set(self._on(node, *_CTR, "containers", "list", "--quiet", self._selector).split())
            lines = self._on(node, *_CTR, "tasks", "list").splitlines()[1:] if ours else []
            for container, pid, status in (line.split()[:3] for line in lines):
                if container in ours and status == "RUNNING":
                    yield node, container, pid

    def _signal(self, signal: str) -> None:
        tasks = self._tasks()
        if not tasks:
            raise HarnessError(f"{self.name} does not run: it cannot get {signal}.")
        for node, container in tasks:
            self._on(node, *_CTR, "tasks", "kill", "--signal", signal, container)

    def _end(self) -> None:
        """SIGKILL every run of it until there is none: its kubelet may just have started another."""
        end = time.monotonic() + END_DEADLINE
        while self._tasks():
            if time.monotonic() > end:
                raise HarnessError(f"{self.name} does not end.", hint="Look at its kubelet's log on the node.")
            with suppress(HarnessError):
                self._signal("SIGKILL")
            time.sleep(READY_INTERVAL)

    def _gone_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self._tasks():
            if time.monotonic() > end:
                return False
            time.sleep(POLL)
        return True

    def _on(self, node: str, *argv: str) -> str:
        done = self._cluster.node_exec(node, *argv)
        if done.returncode:
            raise HarnessError(f"{' '.join(argv[:5])} failed on {node}: {last_line(done.stderr)}")
        return done.text


class DeploymentPart(NodePart):
    """The container of a Deployment's only pod; `api` reaches the cluster."""

    def __init__(self, api: Api, ref: ObjectRef, cluster: NodesInDocker) -> None:
        pod = f'labels."io.kubernetes.pod.namespace"=={ref.namespace},labels."io.kubernetes.pod.name"~=^{ref.name}-[a-z0-9]+-[a-z0-9]+$'
        super().__init__(ref.name, cluster, f'{pod},labels."io.cri-containerd.kind"==container')
        self._api = api
        self._ref = ref
        self._said = ""

    def stop(self, deadline: float = STOP_DEADLINE) -> None:
        """Stop it as any part; its log is read to its end meanwhile, since it goes with its pod."""
        with ThreadPoolExecutor(max_workers=1) as pool:
            following = pool.submit(self._follow, deadline + END_DEADLINE)
            super().stop(deadline)
            self._said = following.result()

    def _follow(self, deadline: float) -> str:
        words = ("logs", f"deployment/{self._ref.name}", "--namespace", self._ref.namespace, "--follow", "--tail=200")
        with suppress(FluxdrillError):  # whoever stops it need not know what it says
            return self._cluster.kubectl(*words, deadline=deadline).text
        return ""

    def _take_away(self) -> None:
        self._scale(0)

    def _ask_to_end(self) -> None:
        """Its kubelet does, as with every pod that is deleted."""

    def _bring_back(self) -> None:
        self._scale(1)

    def _scale(self, replicas: int) -> None:
        self._api.patch(self._ref, {"spec": {"replicas": replicas}}, field_manager="fluxdrill-lab")

    def _is_ready(self) -> bool:
        try:
            found = self._api.get(self._ref)
        except FluxdrillError:  # the API server may be what is away
            return False
        status = found.get("status", {})
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(seen and status.get("readyReplicas") == status.get("replicas") == found["spec"]["replicas"] == 1)

    def _log(self, size: int) -> str:
        pods = self._api.list(self._api.resource("", "Pod"), namespace=self._ref.namespace).items
        own = [one for one in pods if one["metadata"]["name"].startswith(f"{self._ref.name}-")]
        newest = (
            max((one["metadata"]["creationTimestamp"], one["metadata"]["name"]) for one in own) if own else ("", "")
        )
        return pod_log(self._api, self._ref.namespace, newest[1], size) or self._said


class ControlPlaneNode:
    """The kubelet of the control plane's node, which is frozen while a part that it would start is to be down.

    Without a manifest, or under a kubelet that was started anew, etcd would come back late or never: that kubelet asks the
    API server first, which answers nothing without etcd (Kubernetes 1.36: 34 s for each static pod that vanished, and no
    static pod at all before its node is registered).
    """

    def __init__(self, cluster: NodesInDocker) -> None:
        self._cluster = cluster
        self._down: set[str] = set()

    def keep_down(self, part: str) -> None:
        """Freeze the kubelet, so that it does not start `part` again."""
        self._down.add(part)
        self._signal("-STOP")

    def let_up(self, part: str) -> None:
        """Let the kubelet go on: it starts `part`, and nothing that is still to be down."""
        self._down.discard(part)
        self._run("mkdir", "-p", AWAY)
        for one in self._down:
            self._move(one, MANIFESTS, AWAY)
        self._move(part, AWAY, MANIFESTS)
        self._signal("-CONT")

    def _signal(self, signal: str) -> None:
        self._run("kill", signal, self._run("cat", KUBELET_PID).strip())

    def _move(self, part: str, source: str, target: str) -> None:
        # it may be there already
        self._cluster.node_exec(self._cluster.control_plane, "mv", f"{source}/{part}.yaml", target)

    def _run(self, *argv: str) -> str:
        done = self._cluster.node_exec(self._cluster.control_plane, *argv)
        if done.returncode:
            raise HarnessError(f"{' '.join(argv)} failed on {self._cluster.control_plane}: {last_line(done.stderr)}")
        return done.text


class StaticPart(NodePart):
    """A part of the control plane: a static pod on the control plane node; `api` reaches the cluster."""

    def __init__(self, api: Api, name: str, cluster: NodesInDocker, node: ControlPlaneNode) -> None:
        super().__init__(
            name,
            cluster,
            f'labels."io.kubernetes.pod.namespace"==kube-system,labels."io.kubernetes.container.name"=={name},'
            'labels."io.cri-containerd.kind"==container',
        )
        self._api = api
        self._node = node
        self._pod = ObjectRef("", "Pod", "kube-system", f"{name}-{cluster.control_plane}")

    def _take_away(self) -> None:
        self._node.keep_down(self.name)

    def _ask_to_end(self) -> None:
        with suppress(HarnessError):  # it may have ended already
            self._signal("SIGTERM")

    def _bring_back(self) -> None:
        self._node.let_up(self.name)

    def _is_ready(self) -> bool:
        """Ask the API server, and unless it is about that itself or etcd, what the kubelet says of this very container."""
        running = {container for _, container in self._tasks()}
        if not running or not self._api.livez(deadline=2.0):
            return False
        try:
            self._api.request("GET", "/readyz", accept="text/plain", deadline=2.0)
            found = self._api.get(self._pod)
        except FluxdrillError:
            return False
        if self.name in ("etcd", "kube-apiserver"):  # the kubelet would say so ten seconds later
            return True
        ready = [one for one in found.get("status", {}).get("containerStatuses", ()) if one.get("ready")]
        return any(one["containerID"].removeprefix("containerd://") in running for one in ready)

    def _log(self, size: int) -> str:
        return pod_log(self._api, self._pod.namespace, self._pod.name, size)


def pod_log(api: Api, namespace: str, name: str, size: int) -> str:
    """Return about the last `size` bytes of a pod's log; "" where there is no such pod."""
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
    try:
        return str(api.request("GET", path, query={"tailLines": str(size // _LINE + 1)}, accept="*/*")) if name else ""
    except NotFoundError:
        return ""
