"""Every image fluxdrill makes, except the nodes': control plane, CoreDNS, pause, Flux, sealed-secrets and the stand-in."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.cluster.images import packages
from fluxdrill.cluster.images.archive import Settings, write_archive
from fluxdrill.cluster.images.places import HOST, digest, identity, images_cache, recipe, scratch
from fluxdrill.cluster.images.tree import Tree
from fluxdrill.errors import UsageError
from fluxdrill.progress import Progress, Silent
from fluxdrill.toolchain.build import ensure
from fluxdrill.toolchain.catalog import FLUX_CONTROLLERS, PINNED, images_root
from fluxdrill.toolchain.store import Origin, locate

NOBODY = "65534"
UNUSED = 3600.0
"""Seconds after its last use until an archive that is replaced is deleted: a checkout beside this one may need it."""
_PLAIN = Settings()


@dataclass(frozen=True, slots=True)
class Image:
    """One image: `program` of the toolchain (if any) at `place`, on the Debian packages that images/`name` lists.

    `version` is its tag where there is no program.
    """

    name: str
    program: str = ""
    place: str = ""
    version: str = ""
    userland: bool = False
    settings: Settings = _PLAIN

    @property
    def tag(self) -> str:
        """The tag: the version of the program as its own project writes image tags."""
        version = PINNED.find(self.program).version if self.program else self.version
        return version.removeprefix("v") if self.name in ("etcd", "pause") else version

    @property
    def reference(self) -> str:
        """The image's full name."""
        return f"{HOST}/{self.name}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Archive:
    """An image as a file: its full name, where it is, and how many seconds this call took to make it (0: it was there)."""

    reference: str
    path: Path
    seconds: float = 0.0


def _program(name: str, *, place: str = "", user: str = "") -> Image:
    place = place or f"/usr/local/bin/{name}"
    return Image(name, name, place, settings=Settings(entrypoint=(place,), user=user))


NODE_IMAGES: tuple[Image, ...] = (
    # no entrypoint: kubeadm's manifests name the program
    *(
        Image(name, name, f"/usr/local/bin/{name}")
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
    ),
    Image("kube-proxy", "kube-proxy", "/usr/local/bin/kube-proxy", userland=True),
    _program("coredns", place="/coredns"),
    _program("pause", place="/pause"),
)
"""What every node has in its store."""

LOADED_IMAGES: tuple[Image, ...] = (
    *(_program(name, user=f"{NOBODY}:{NOBODY}") for name in FLUX_CONTROLLERS),
    _program("sealed-secrets-controller", user="1001"),
    Image("standin", version="1", userland=True, settings=Settings(command=("/bin/sh",))),
)
"""What is loaded into a cluster that wants it."""

IMAGES = (*NODE_IMAGES, *LOADED_IMAGES)


def find(name: str) -> Image:
    """Return the image called `name`; raises UsageError for another name."""
    for one in IMAGES:
        if one.name == name:
            return one
    raise UsageError(f"There is no image {name!r}.", hint=f"Known: node, {', '.join(one.name for one in IMAGES)}, k3d.")


def ensure_archives(
    images: Iterable[Image], *, refresh: bool = False, progress: Progress | None = None
) -> dict[str, Archive]:
    """Make what is missing of `images`; return the archives by the images' names.

    The same programs, packages and settings give the same file. Raises what the toolchain raises, UsageError where
    there is no apt, and HarnessError where a package or the disk fails.
    """
    progress = progress or Silent()
    wanted = list(images)
    names = [one.program for one in wanted if one.program]
    programs = ensure(names, progress=progress)[0].binaries if names else {}
    return {one.name: _ensure(one, programs, refresh=refresh, progress=progress) for one in wanted}


def _ensure(image: Image, programs: Mapping[str, Path], *, refresh: bool, progress: Progress) -> Archive:
    needed = packages.resolve(listed(image), refresh=refresh) if image.userland else []
    program = programs[image.program] if image.program else None
    path = _path(image, needed, program)
    if path.is_file():
        keep(path)
        return Archive(image.reference, path)
    progress.update(f"image {image.reference}")
    started = time.monotonic()
    make(path, image, needed, program)
    forget_others(path, f"{image.name}-{image.tag}-*.tar")
    return Archive(image.reference, path, time.monotonic() - started)


def expected(image: Image) -> Path | None:
    """Return the archive that `ensure_archives` would find or make of `image`, and change nothing.

    None where that cannot be known yet: its program is not built, or apt was never asked for its packages.
    """
    needed = packages.resolved(listed(image)) if image.userland else []
    program = locate(PINNED.find(image.program)) if image.program else None
    if needed is None or (program and program.origin is Origin.MISSING):
        return None
    return _path(image, needed, program.path if program else None)


def _path(image: Image, needed: Sequence[packages.Package], program: Path | None) -> Path:
    key = digest(recipe(), repr(image), image.reference, repr(needed), identity(program) if program else "")
    return images_cache() / "archives" / f"{image.name}-{image.tag}-{key}.tar"


def make(path: Path, image: Image, needed: Sequence[packages.Package], program: Path | None) -> str:
    """Write the archive of `image` from the packages it needs and its program; return the image's id."""
    packages.fetch(needed)
    with scratch() as folder:
        tree = Tree()
        if needed:
            packages.merge(tree, needed, folder)
            finish_userland(tree)
        if program:
            tree.file(image.place, program, 0o755)
        tree.folder("tmp", 0o1777)
        return write_archive(path, image.reference, tree, image.settings)


def keep(path: Path) -> None:
    """Note that an archive is used now: `forget_others` then leaves it alone for an hour."""
    os.utime(path)


def forget_others(path: Path, pattern: str) -> None:
    """Delete what `path` replaces: the files beside it that match `pattern`, except those that others use by now."""
    for old in path.parent.glob(pattern):
        with suppress(FileNotFoundError):
            if old != path and time.time() - old.stat().st_mtime > UNUSED:
                old.unlink()


def finish_userland(tree: Tree) -> None:
    """Do what the packages' own scripts do when they are installed: users, and the alternatives' links."""
    tree.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n")
    tree.text("etc/group", "root:x:0:\nnogroup:x:65534:\n")
    tree.folder("root", 0o700)
    for path, target, needs in _ALTERNATIVES:
        if needs in tree and path not in tree:
            tree.link(path, target)
    if "usr/bin/busybox" in tree and "usr/bin/bash" not in tree:
        for applet in _APPLETS:
            tree.link(f"usr/bin/{applet}", "busybox")


_TABLES = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
_ALTERNATIVES = (
    *((f"usr/sbin/{name}", "xtables-nft-multi", "usr/sbin/xtables-nft-multi") for name in _TABLES),
    ("usr/bin/awk", "mawk", "usr/bin/mawk"),
    ("usr/bin/sh", "bash", "usr/bin/bash"),
)
_APPLETS = (  # noqa: SIM905 - one word a line would be a page
    "sh ash awk base64 basename cat chmod chown cp cut date dd df dirname du echo env expr false find free grep gzip head "
    "hostname httpd id ip kill ln ls mkdir mktemp mount mv nc netstat nslookup ps pwd readlink rm rmdir sed seq "
    "sha256sum sleep sort stat sync tail tar tee test time timeout touch tr true umount uname uniq uptime wc wget "
    "which whoami xargs yes"
).split()


def listed(image: Image) -> list[str]:
    """Return the names of the packages an image is made on."""
    return packages.names_in(images_root() / image.name / "packages.txt")
