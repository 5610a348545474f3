"""What clusters of real nodes are made of: programs, their versions and skew, and the images in the cache."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.cluster.images.components import IMAGES, NODE_IMAGES, expected
from fluxdrill.cluster.images.node import PROGRAMS, expected_node
from fluxdrill.cluster.images.places import images_cache
from fluxdrill.doctor.engines import numbers
from fluxdrill.doctor.finding import Finding, gib, ok, warn
from fluxdrill.doctor.machine import builder
from fluxdrill.lab.lab import LAB_BINARIES
from fluxdrill.process import run
from fluxdrill.toolchain.catalog import PINNED
from fluxdrill.toolchain.store import Origin, locate

NODE_PROGRAMS = ("kind", *PROGRAMS, *(one.program for one in NODE_IMAGES))
SERVER = "kube-apiserver"
OWN_KUBECTL = "kubectl on PATH"
SKEW: Mapping[str, tuple[int, int]] = {
    "kube-controller-manager": (1, 0),
    "kube-scheduler": (1, 0),
    "kubelet": (3, 0),
    "kube-proxy": (3, 0),
    "kubeadm": (0, 1),
    "kubectl": (1, 1),
    OWN_KUBECTL: (1, 1),
}
"""How many minor versions each may be older and newer than the API server, by Kubernetes' version skew policy."""
LAST_V1 = (1, 37)
"""The newest Kubernetes that is known to start on control groups of version 1 (with failCgroupV1: false)."""
_PACKAGED = {"node", *(one.name for one in IMAGES if one.userland)}


@dataclass(frozen=True, slots=True)
class Planned:
    """An image that `fluxdrill images build` would see to: how many bytes its archive has, None where it is not there."""

    name: str
    size: int | None


def judge_versions(pins: Mapping[str, str], remarks: Sequence[str]) -> Finding:
    """Return the versions in use; `remarks` tell which ready binaries were passed over."""
    if remarks:
        fix = "Put the pinned version there, or take it away; until then fluxdrill uses its own build."
        return warn("versions", f"{'; '.join(remarks)}.", fix=fix)
    return ok("versions", ", ".join(f"{name} {version}" for name, version in pins.items()))


def judge_skew(versions: Mapping[str, str], *, groups: int) -> Finding:
    """Return whether the parts of Kubernetes fit each other, and the machine's control groups."""
    server = numbers(versions[SERVER])
    if groups == 1 and server[:2] > LAST_V1:
        text = f"Kubernetes {versions[SERVER]} is not known to start on cgroup v1."
        fix = f"Pin {LAST_V1[0]}.{LAST_V1[1]} or older, or run on a machine with cgroup v2."
        return warn("skew", text, fix=fix, bars_nodes=True)
    for name, (older, newer) in SKEW.items():
        if name in versions and not -older <= numbers(versions[name])[1] - server[1] <= newer:
            return _skewed(name, versions[name], versions[SERVER])
    return ok("skew", f"{len(versions) - 1} programs fit the API server {versions[SERVER]}")


def _skewed(name: str, version: str, server: str) -> Finding:
    text = f"{name} is {version}, too far from the API server's {server}."
    if name == OWN_KUBECTL:
        return warn("skew", text, fix="`fluxdrill toolchain path kubectl` names one that fits.")
    return warn("skew", text, fix="Pin versions that Kubernetes' skew policy allows together.", bars_nodes=True)


def judge_images(plan: Sequence[Planned], *, root: bool, apt: bool, folder: Path) -> Finding:
    """Return which archives are there, and what is to be done for the others."""
    missing = [one.name for one in plan if one.size is None]
    size = gib(sum(one.size or 0 for one in plan))
    if not missing:
        return ok("images", f"all {len(plan)} are there ({size} in {folder}); `fluxdrill images build` would make none")
    text = f"{len(plan) - len(missing)} of {len(plan)} are there ({size} in {folder}); `fluxdrill images build` would make {', '.join(missing)}."  # fmt: skip
    if not apt and _PACKAGED & set(missing):
        fix = "It needs apt-get: build them on a Debian machine and copy the cache's images folder."
        return warn("images", text, fix=fix, bars_nodes=True)
    if not root and "node" in missing:
        return warn("images", text, fix="Run it as root, once: only root can make the node image.", bars_nodes=True)
    return warn("images", text, fix="Run it, or wait for the first cluster, which makes what it needs.")


def programs() -> Finding:
    """Look for the programs of nodes. Raises HarnessError where one is missing and cannot be built."""
    places = [locate(PINNED.find(name)) for name in dict.fromkeys(NODE_PROGRAMS)]
    missing = [one.item for one in places if one.origin is Origin.MISSING]
    if not missing:
        return ok("node programs", f"all {len(places)} programs of kind and its nodes are there")
    return ok("node programs", f"{builder(missing)} will build {', '.join(one.name for one in missing)} on first use")


def versions() -> Finding:
    """Look at the pinned versions, and for ready binaries of other ones."""
    pins = {"Kubernetes": PINNED.find(SERVER).version}
    pins |= {name: PINNED.find(name).version for name in ("kind", "k3d", "containerd", "etcd", "coredns")}
    every = dict.fromkeys((*LAB_BINARIES, *NODE_PROGRAMS))
    return judge_versions(pins, [remark for name in every for remark in locate(PINNED.find(name)).remarks])


def skew(groups: int) -> Finding:
    """Look at how far the parts of Kubernetes are from each other."""
    found = {name: PINNED.find(name).version for name in (SERVER, *SKEW) if name != OWN_KUBECTL}
    own = _own_kubectl()
    return judge_skew(found | ({OWN_KUBECTL: own} if own else {}), groups=groups)


def images() -> Finding:
    """Look at the image cache."""
    apt = bool(shutil.which("apt-get") and shutil.which("dpkg-deb"))
    return judge_images(list(_plan()), root=os.geteuid() == 0, apt=apt, folder=images_cache() / "archives")


def _plan() -> Iterator[Planned]:
    paths = {one.name: expected(one) for one in IMAGES} | {"node": expected_node()}
    for name, path in paths.items():
        yield Planned(name, path.stat().st_size if path is not None and path.is_file() else None)


def _own_kubectl() -> str:
    """Return the version of the user's own kubectl, "" where there is none that tells it."""
    path = shutil.which("kubectl")
    if path is None:
        return ""
    done = run([path, "version", "--client", "--output", "json"], deadline=20)
    try:
        version = str(json.loads(done.text)["clientVersion"]["gitVersion"])
    except (ValueError, LookupError, TypeError):
        return ""
    return version if len(numbers(version)) > 1 else ""
