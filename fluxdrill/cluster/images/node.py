"""The kind node image: Debian userland, our containerd, kubelet and kubeadm, and the control plane's images inside."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from fluxdrill.cluster.images import packages
from fluxdrill.cluster.images.archive import Settings, write_archive
from fluxdrill.cluster.images.components import (
    NODE_IMAGES,
    Archive,
    ensure_archives,
    expected,
    find,
    finish_userland,
    forget_others,
    keep,
)
from fluxdrill.cluster.images.places import HOST, digest, files_key, identity, images_cache, recipe, scratch
from fluxdrill.cluster.images.preload import fill_store
from fluxdrill.cluster.images.tree import Tree
from fluxdrill.errors import UsageError
from fluxdrill.progress import Progress, Silent
from fluxdrill.toolchain.build import ensure
from fluxdrill.toolchain.catalog import PINNED, images_root
from fluxdrill.toolchain.store import Origin, locate, writable

PROGRAMS = ("kubelet", "kubeadm", "kubectl", "containerd", "containerd-shim-runc-v2", "ctr")
BUILD_LOCK_DEADLINE = 1800.0
SETTINGS = Settings(
    entrypoint=("/usr/local/bin/entrypoint",), environment={"container": "docker"}, stop_signal="SIGRTMIN+3"
)


def kubernetes_version() -> str:
    """Return the version of Kubernetes in the node image, with its leading v."""
    return PINNED.find("kubelet").version


def ensure_node_image(*, refresh: bool = False, progress: Progress | None = None) -> Archive:
    """Return the node image's archive, made where it is missing.

    Its tag carries a key of everything that goes in. It is not the same to the bit when it is made again, because
    containerd's store is not. Raises what ensure_archives raises, and UsageError where it is not root who makes it.
    """
    progress = progress or Silent()
    programs = ensure(PROGRAMS, progress=progress)[0].binaries
    inner = ensure_archives(NODE_IMAGES, refresh=refresh, progress=progress)
    needed = packages.resolve(packages.names_in(_folder() / "packages.txt"), refresh=refresh)
    reference, path = _name(needed, programs, [one.path for one in inner.values()])
    with FileLock(writable(images_cache()) / "node.lock", timeout=BUILD_LOCK_DEADLINE):
        if path.is_file():
            keep(path)
            return Archive(reference, path)
        _require_root()
        progress.update(f"image {reference}")
        started = time.monotonic()
        _build(path, reference, needed, programs, [one.path for one in inner.values()])
    forget_others(path, f"node-{kubernetes_version()}-*.tar")
    return Archive(reference, path, time.monotonic() - started)


def expected_node() -> Path | None:
    """Return the archive that `ensure_node_image` would find or make, and change nothing; None where it is not known."""
    programs = {name: locate(PINNED.find(name)) for name in PROGRAMS}
    inner = [expected(one) for one in NODE_IMAGES]
    needed = packages.resolved(packages.names_in(_folder() / "packages.txt"))
    if needed is None or any(one.origin is Origin.MISSING for one in programs.values()):
        return None
    known = [one for one in inner if one is not None]
    return _name(needed, {name: one.path for name, one in programs.items()}, known)[1] if known == inner else None


def _name(needed: Sequence[packages.Package], programs: Mapping[str, Path], inner: Sequence[Path]) -> tuple[str, Path]:
    """Return the image's full name and its archive."""
    key = digest(
        *(
            recipe(),
            repr(SETTINGS),
            repr(needed),
            files_key(sorted(one for one in _folder().rglob("*") if one.is_file())),
        ),
        *(identity(one) for one in programs.values()),
        *(one.name for one in inner),
    )
    name = f"{kubernetes_version()}-{key}"
    return f"{HOST}/node:{name}", images_cache() / "archives" / f"node-{name}.tar"


def _require_root() -> None:
    if os.geteuid() != 0:
        raise UsageError(
            "Only root can make the node image, which holds a filled containerd store.",
            hint="Run `fluxdrill images build` as root, once.",
        )


def _folder() -> Path:
    return images_root() / "node"


def _build(
    path: Path,
    reference: str,
    needed: Sequence[packages.Package],
    programs: Mapping[str, Path],
    inner: Sequence[Path],
) -> None:
    packages.fetch(needed)
    with scratch() as folder:
        tree = Tree()
        packages.merge(tree, needed, folder)
        finish_userland(tree)
        add_node(tree, programs)
        tree.copy("var/lib/containerd", fill_store(inner, programs=programs, folder=folder))
        write_archive(path, reference, tree, SETTINGS)


def add_node(tree: Tree, programs: Mapping[str, Path]) -> None:
    """Add what makes a userland a node: the programs, and the files of images/node."""
    for name, program in programs.items():
        tree.file(f"usr/local/bin/{name}", program, 0o755)
    for script in sorted((_folder() / "bin").iterdir()):
        tree.file(f"usr/local/bin/{script.name}", script, 0o755)
    pause = find("pause").reference
    settings = (_folder() / "etc" / "containerd.toml").read_text(encoding="utf-8")
    tree.text("etc/containerd/config.toml", settings.replace("PAUSE_IMAGE", pause))
    tree.file(f"etc/containerd/certs.d/{HOST}/hosts.toml", _folder() / "etc" / "nobody.toml", 0o644)
    tree.file("etc/cni/pods.conflist", _folder() / "etc" / "pods.conflist", 0o644)
    # kind applies whatever this file holds, right after the control plane is up
    manifests = sorted((_folder() / "manifests").glob("*.yaml"))
    whole = "---\n".join(one.read_text(encoding="utf-8") for one in manifests)
    tree.text("kind/manifests/default-storage.yaml", whole)
    tree.text("kind/version", f"{kubernetes_version()}\n")
    tree.link("opt/cni/bin", "/usr/lib/cni")
    for folder in ("etc/cni/net.d", "etc/kubernetes", "var/lib/kubelet", "var/log", "proc", "sys", "dev", "run"):
        tree.folder(folder)
    tree.folder("tmp", 0o1777)
