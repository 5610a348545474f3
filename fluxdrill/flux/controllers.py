"""The six Flux controllers as plain processes, each with its own identity and its own address of the API server.

Flags are those of Flux 2.9.2. Inside a cluster the same controllers run as pods; nothing in here is needed then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.cluster.embedded import http_ready
from fluxdrill.cluster.ports import HOST, PortBlock
from fluxdrill.cluster.supervised import Supervised
from fluxdrill.flux import NAMESPACE
from fluxdrill.toolchain.build import Tools
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS

READY_DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the controllers retry. `requeue` in seconds; real installs use 30, a `fast` lab 1."""

    requeue: int = 1
    http_retries: int = 1
    jitter_percent: int = 0
    gates: tuple[str, ...] = ()
    """Feature gates of kustomize-controller, such as CancelHealthCheckOnNewRevision=true."""
    leases: bool = False
    """Whether a controller in a pod must hold a lease before it works, as real installs have it: the successor of one that
    was killed waits 35 s for it. A controller that is a plain process holds none."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Ports of one lab's Flux: what each controller listens on, on loopback."""

    health: Mapping[str, int]
    metrics: Mapping[str, int]
    artifacts: int
    events: int
    receiver: int

    @classmethod
    def take(cls, ports: PortBlock) -> Addresses:
        """Take the ports out of the lab's block."""
        return cls(
            health={name: ports.take() for name in FLUX_CONTROLLERS},
            metrics={name: ports.take() for name in FLUX_CONTROLLERS},
            artifacts=ports.take(),
            events=ports.take(),
            receiver=ports.take(),
        )


@dataclass(frozen=True, slots=True)
class ControllerHome:
    """What the controllers of one lab share: folders, programs, the refusing proxy's environment."""

    folder: Path
    lab_id: str
    tools: Tools
    kubeconfigs: Mapping[str, Path]
    proxy: Mapping[str, str]


def controllers(home: ControllerHome, addresses: Addresses, pace: Pace) -> dict[str, Supervised]:
    """Return the six controllers, not started."""
    return {name: _controller(name, home, addresses, pace) for name in FLUX_CONTROLLERS}


def _controller(name: str, home: ControllerHome, addresses: Addresses, pace: Pace) -> Supervised:
    storage = home.folder / "storage" / name
    storage.mkdir(parents=True, exist_ok=True)
    scratch = home.folder / "tmp" / name
    scratch.mkdir(parents=True, exist_ok=True)
    argv = [
        str(home.tools[name]),
        f"--metrics-addr={HOST}:{addresses.metrics[name]}",
        f"--health-addr={HOST}:{addresses.health[name]}",
        "--log-encoding=json",
        *_flags(name, storage, addresses, pace),
    ]
    env = {
        "KUBECONFIG": str(home.kubeconfigs[name]),
        "RUNTIME_NAMESPACE": NAMESPACE,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "TUF_ROOT": str(scratch / "sigstore"),
        **home.proxy,
    }
    ready = http_ready(f"http://{HOST}:{addresses.health[name]}/readyz")
    return Supervised(name, argv, lab_id=home.lab_id, log=home.folder / "logs" / f"{name}.log", env=env, ready=ready)


def common_flags(name: str, pace: Pace) -> list[str]:
    """Return the flags of controller `name` that are the same in every lab: those of `pace`, and no remote bases."""
    match name:
        case "kustomize-controller":
            own = ["--no-remote-bases"]  # they would be fetched from outside: off unless asked for
        case "helm-controller":
            own = ["--graceful-shutdown-timeout=20s"]
        case _:
            own = []
    return [*_pace_flags(name, pace), *own]


def _pace_flags(name: str, pace: Pace) -> list[str]:
    jitter = f"--interval-jitter-percentage={pace.jitter_percent}"
    requeue, retry = f"--requeue-dependency={pace.requeue}s", f"--http-retry={pace.http_retries}"
    match name:
        case "source-controller":
            return [jitter, requeue]
        case "kustomize-controller":
            return [jitter, requeue, retry, *([f"--feature-gates={','.join(pace.gates)}"] if pace.gates else [])]
        case "helm-controller":
            return [jitter, requeue, retry]
        case "image-reflector-controller":
            return [requeue]
        case _:
            return []


def _flags(name: str, storage: Path, addresses: Addresses, pace: Pace) -> list[str]:
    events = [f"--events-addr=http://{HOST}:{addresses.events}/", *common_flags(name, pace)]
    match name:
        case "source-controller":
            artifacts = f"{HOST}:{addresses.artifacts}"
            serve = [f"--storage-path={storage}", f"--storage-addr={artifacts}", f"--storage-adv-addr={artifacts}"]
            return [*events, *serve]
        case "notification-controller":
            return [f"--events-addr={HOST}:{addresses.events}", f"--receiverAddr={HOST}:{addresses.receiver}"]
        case "image-reflector-controller":
            return [*events, f"--storage-path={storage}"]
        case _:
            return events
