"""The k3d node image: kind's node image with a /bin/k3s on top that keeps k3d's contract with the same upstream programs.

The k3d driver is proved with it, k3s itself is not: there is no k3s in it. What k3d 5.9.0 expects of an image: /bin/k3s
with `server` and `agent`, the lines it waits for in the log, a kubeconfig at $K3S_KUBECONFIG_OUTPUT, and the manifest of
CoreDNS, which k3d rewrites.
"""

from __future__ import annotations

import time
from pathlib import Path

from filelock import FileLock

from fluxdrill.cluster.images.archive import Settings, write_archive
from fluxdrill.cluster.images.components import Archive, find, forget_others
from fluxdrill.cluster.images.node import BUILD_LOCK_DEADLINE, ensure_node_image, kubernetes_version
from fluxdrill.cluster.images.places import HOST, digest, files_key, images_cache, recipe
from fluxdrill.cluster.images.tree import Tree
from fluxdrill.progress import Progress, Silent
from fluxdrill.toolchain.catalog import images_root
from fluxdrill.toolchain.store import writable

DNS_MANIFEST = "var/lib/rancher/k3s/server/manifests/coredns.yaml"
ADMIN = "/etc/kubernetes/admin.conf"
SETTINGS = Settings(
    entrypoint=("/bin/k3s",),
    # k3d calls kubectl and ctr without any setting; those of k3s know its cluster by themselves
    environment={"container": "docker", "KUBECONFIG": ADMIN, "CONTAINERD_NAMESPACE": "k8s.io"},
    volumes=("/var",),  # containerd's layers cannot lie on the engine's, and k3d asks for no volume
)
_K3D_NAMES = """\
    k3d.internal:53 {
        errors
        hosts /etc/coredns/NodeHosts {
            ttl 60
            reload 5s
        }
    }
  NodeHosts: ""
"""
"""What k3d adds to CoreDNS: names of a domain of its own. Those of containers the engine answers."""


def ensure_k3d_image(*, refresh: bool = False, progress: Progress | None = None) -> Archive:
    """Return the k3d node image's archive, made where it is missing, with the node image that it lies on.

    The same node image gives the same bytes. Raises what ensure_node_image raises.
    """
    progress = progress or Silent()
    node = ensure_node_image(refresh=refresh, progress=progress)
    reference, path = _name(node.path)
    with FileLock(writable(images_cache()) / "node.lock", timeout=BUILD_LOCK_DEADLINE):
        if path.is_file():
            return Archive(reference, path)
        progress.update(f"image {reference}")
        started = time.monotonic()
        make(path, reference, node.path)
    forget_others(path, f"k3d-{kubernetes_version()}-*.tar")
    return Archive(reference, path, time.monotonic() - started)


def make(path: Path, reference: str, node: Path) -> str:
    """Write the archive of the image called `reference` on that of a node image; return the image's id."""
    tree = Tree()
    add_contract(tree)
    return write_archive(path, reference, tree, SETTINGS, base=node)


def add_contract(tree: Tree) -> None:
    """Add what k3d expects of a node: /bin/k3s, what it starts a cluster from, and the manifest of CoreDNS."""
    folder = images_root()
    tree.file("bin/k3s", folder / "k3d" / "k3s", 0o755)
    settings = (folder / "k3d" / "kubeadm.conf").read_text(encoding="utf-8")
    known = {
        "KUBERNETES_VERSION": kubernetes_version(),
        "IMAGE_HOST": HOST,
        "ETCD_TAG": find("etcd").tag,
        "DNS_TAG": find("coredns").tag,
    }
    for name, value in known.items():
        settings = settings.replace(name, value)
    tree.text("etc/kubeadm.conf", settings)
    names = (folder / "node" / "manifests" / "dns.yaml").read_text(encoding="utf-8")
    tree.text(DNS_MANIFEST, names + _K3D_NAMES)  # they end with the zones


def _name(node: Path) -> tuple[str, Path]:
    """Return the image's full name and its archive."""
    files = sorted(one for one in (images_root() / "k3d").iterdir() if one.is_file())
    name = f"{kubernetes_version()}-{digest(recipe(), repr(SETTINGS), files_key(files), node.name)}"
    return f"{HOST}/k3d:{name}", images_cache() / "archives" / f"k3d-{name}.tar"
