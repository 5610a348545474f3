"""Upgrade a kind cluster in place to the next minor version of Kubernetes: pods and volumes stay where they are.

kubeadm does it, as on a real machine, from programs and images that are brought in first. Proved with 1.36.3 -> 1.37.2,
the newest known to accept cgroup v1 (with the kubelet's failCgroupV1 off, as fluxdrill's clusters have it).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from fluxdrill.cluster.containers import last_line
from fluxdrill.cluster.images.components import NODE_IMAGES, Archive, ensure_archives
from fluxdrill.cluster.kind import KindCluster
from fluxdrill.cluster.supervised import READY_INTERVAL
from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.model.refs import KubeObject
from fluxdrill.process import Completed
from fluxdrill.progress import Progress, Silent
from fluxdrill.toolchain.build import ensure
from fluxdrill.toolchain.catalog import NEXT, NEXT_KUBERNETES, PINNED

KUBEADM_SECONDS = 600
COMPONENT_SECONDS = 120
"""How long kubeadm waits for one component to come up anew before it puts the old one back."""
COPY_DEADLINE = 120.0
READY_SECONDS = 120
_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")
_TOOLS = ("kubeadm", "kubelet", "kubectl")
_SYSTEM = "kube-system"
_STATIC = frozenset({"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"})
_BROUGHT = "/usr/local/lib/kubernetes-next"
_BIN = "/usr/local/bin"
_IGNORED = (
    "SystemVerification",  # it refuses cgroup v1 whatever the kubelet is told
    "CoreDNSUnsupportedPlugins",  # CoreDNS keeps its pinned version and its Corefile, so nothing is migrated
    "CoreDNSMigration",
)
_TIMED_OUT = 124
_FAILED_CHECK = re.compile(r"\[ERROR \w+\]: (?P<why>.*?)(?:: |$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Parts:
    """What an upgrade to `version` (with its leading v) brings in: programs by name, and images for every node."""

    version: str
    programs: Mapping[str, Path]
    images: tuple[Archive, ...]


@dataclass(frozen=True, slots=True)
class Upgraded:
    """An upgrade that went through: the API server's version before and after, and how many seconds it took."""

    before: str
    after: str
    seconds: float


def next_version() -> str:
    """Return the version that clusters are upgraded to, with its leading v."""
    return PINNED.find(f"kubelet{NEXT}").version


def next_parts(*, progress: Progress | None = None) -> Parts:
    """Return what the next version is made of; programs that are missing are built, which takes minutes.

    Raises what the toolchain and `ensure_archives` raise.
    """
    programs = ensure([one.name for one in NEXT_KUBERNETES], progress=progress)[0].binaries
    images = [replace(one, program=one.name + NEXT) for one in NODE_IMAGES if one.name in _COMPONENTS]
    archives = ensure_archives(images, progress=progress)
    return Parts(next_version(), {name: programs[name + NEXT] for name in _TOOLS}, tuple(archives.values()))


def upgrade(cluster: KindCluster, parts: Parts | None = None, *, progress: Progress | None = None) -> Upgraded:
    """Upgrade every node of `cluster` to `parts` (default: `next_parts`); no node is drained, so pods go on.

    Returns once the API server and all kubelets say the new version, kube-proxy is rolled out, and names are answered.
    etcd, CoreDNS and pause keep their versions. Raises UsageError for a cluster that has the version already, and
    HarnessError where something is missing or does not come up: then kubeadm has left, or put back, the old control
    plane, and the call can be made again.
    """
    progress = progress or Silent()
    parts = parts or next_parts(progress=progress)
    started = time.monotonic()
    before = server_version(cluster)
    if {before, *_kubelets(cluster)} == {parts.version}:  # one that stopped half way can go on
        raise UsageError(f"{cluster.name} runs {before} already.", hint="Upgrade one that does not.")
    nodes = [cluster.control_plane, *sorted(set(cluster.nodes()) - {cluster.control_plane})]
    for image in parts.images:
        progress.update(f"loading {image.reference}")
        cluster.load_image(image)
    try:
        for node in nodes:
            _bring(cluster, node, parts)
        for node in nodes:
            progress.update(f"upgrading {node} to {parts.version}")
            _upgrade_node(cluster, node, parts)
    finally:
        for node in nodes:
            cluster.node_exec(node, "rm", "-rf", _BROUGHT)
    _await(cluster, "rollout", "status", "daemonset/kube-proxy", f"--namespace={_SYSTEM}")
    _await(cluster, "wait", "--for=condition=Available", "deployment/coredns", f"--namespace={_SYSTEM}")
    return Upgraded(before, server_version(cluster), time.monotonic() - started)


def server_version(cluster: KindCluster) -> str:
    """Return the version that the API server says it is; raises HarnessError where it does not answer."""
    done = cluster.kubectl("get", "--raw", "/version")
    if done.returncode:
        raise HarnessError(f"The API server of {cluster.name} does not tell its version: {last_line(done.stderr)}")
    return str(json.loads(done.text)["gitVersion"])


def _kubelets(cluster: KindCluster) -> list[str]:
    words = ("get", "nodes", "--output=jsonpath={.items[*].status.nodeInfo.kubeletVersion}")
    done = cluster.kubectl(*words)
    _must(done, f"The nodes of {cluster.name} cannot be listed")
    return done.text.split()


def _bring(cluster: KindCluster, node: str, parts: Parts) -> None:
    """Put the programs beside those in use, which go on."""
    _must(cluster.node_exec(node, "mkdir", "-p", _BROUGHT), f"{node} takes no programs")
    for name, program in parts.programs.items():
        words = ("cp", program, f"{node}:{_BROUGHT}/{name}")
        cluster.docker.must(*words, what=f"{name} cannot be copied into {node}", deadline=COPY_DEADLINE)


def _upgrade_node(cluster: KindCluster, node: str, parts: Parts) -> None:
    first = node == cluster.control_plane
    words = ("upgrade", "apply", "--yes") if first else ("upgrade", "node")
    # ended in the node: an exec whose client is killed goes on there
    argv = ("timeout", f"{KUBEADM_SECONDS}", f"{_BROUGHT}/kubeadm", *words, "--config", "/dev/stdin")
    done = cluster.node_exec(node, *argv, deadline=KUBEADM_SECONDS + 15, stdin=_config(parts.version))
    if done.returncode == _TIMED_OUT:
        raise HarnessError(
            f"{node} was not upgraded to {parts.version}: kubeadm did not end within {KUBEADM_SECONDS} s.",
            hint="It was stopped half way; upgrade again, or delete the cluster.",
        )
    if done.returncode:
        raise HarnessError(
            f"{node} was not upgraded to {parts.version}: {_reason(done.stderr)}",
            hint="kubeadm has left or put back the old control plane; mend the cause and upgrade again.",
        )
    # a rename: the kubelet's file is in use
    brought = (f"{_BROUGHT}/{name}" for name in parts.programs)
    _must(cluster.node_exec(node, "mv", *brought, _BIN), f"{node} does not take the new programs")
    _must(cluster.node_exec(node, "systemctl", "restart", "kubelet"), f"The kubelet of {node} does not restart")
    _settle(cluster, node, parts.version)


def _config(version: str) -> bytes:
    """Return kubeadm's UpgradeConfiguration: nobody outside is asked, neither for images nor for versions."""
    ignored = list(_IGNORED)
    apply = {"kubernetesVersion": version, "ignorePreflightErrors": ignored, "skipPhases": ["addon/coredns"]}
    whole = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "UpgradeConfiguration",
        "apply": apply,
        "node": {"ignorePreflightErrors": ignored, "skipPhases": ["addon/coredns"]},
        "timeouts": {"upgradeManifests": f"{COMPONENT_SECONDS}s"},
    }
    return yaml.safe_dump(whole).encode()


def _settle(cluster: KindCluster, node: str, version: str) -> None:
    """Wait until the new kubelet has taken over.

    A kubelet of another minor version takes the static pods for others, and starts each of them once more: the API
    server that answers first is still the one that is about to go.
    """
    static = _STATIC if node == cluster.control_plane else frozenset[str]()
    end = time.monotonic() + READY_SECONDS
    while not _has_taken_over(cluster, node, version, static):
        if time.monotonic() > end:
            raise HarnessError(
                f"{node} was upgraded, but its kubelet has not taken over within {READY_SECONDS} s.",
                hint="KindCluster.export_logs shows why.",
            )
        time.sleep(READY_INTERVAL)


def _has_taken_over(cluster: KindCluster, node: str, version: str, static: frozenset[str]) -> bool:
    """Whether the node is Ready at `version`, and the pods its kubelet reads from files are those the API server knows."""
    documents = [
        _get(cluster, path)
        for path in (f"/api/v1/nodes/{node}", f"/api/v1/nodes/{node}/proxy/pods", f"/api/v1/namespaces/{_SYSTEM}/pods")
    ]
    status, own, known = (one or {} for one in documents)
    if not _is_ready(status) or status["status"]["nodeInfo"]["kubeletVersion"] != version:
        return False
    wanted = {_key(one, "hash") for one in own.get("items") or () if _key(one, "source")[1] == "file"}
    there = {_key(one, "mirror") for one in known.get("items") or () if _is_ready(one)}
    return {name.removesuffix(f"-{node}") for name, _ in wanted} == static and wanted <= there


def _key(pod: KubeObject, annotation: str) -> tuple[str, str]:
    metadata = pod["metadata"]
    return metadata["name"], metadata.get("annotations", {}).get(f"kubernetes.io/config.{annotation}", "")


def _is_ready(obj: KubeObject) -> bool:
    conditions = obj.get("status", {}).get("conditions") or ()
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)


def _get(cluster: KindCluster, path: str) -> KubeObject | None:
    """Return what the API server answers, None where it does not."""
    done = cluster.kubectl("get", "--raw", path, "--request-timeout=5s")
    return json.loads(done.stdout) if done.returncode == 0 else None


def _await(cluster: KindCluster, *words: str) -> None:
    done = cluster.kubectl(*words, f"--timeout={READY_SECONDS}s", deadline=READY_SECONDS + 10)
    _must(done, f"{cluster.name} was upgraded, but `kubectl {' '.join(words)}` failed")


def _must(done: Completed, what: str) -> None:
    if done.returncode:
        raise HarnessError(f"{what}: {last_line(done.stderr)}")


def _reason(stderr: str) -> str:
    """Return what kubeadm says went wrong: the beginning of each failed check, else its own last line."""
    if failed := "; ".join(match["why"] for match in _FAILED_CHECK.finditer(stderr)):
        return f"{failed}."
    own = [line.removeprefix("error: ") for line in stderr.splitlines() if line.startswith("error: ")]
    return own[-1] if own else last_line(stderr)
