"""The Debian userland of an image: packages resolved and downloaded by apt-get into the cache, merged into a tree."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from fluxdrill.cluster.images.places import digest, images_cache
from fluxdrill.cluster.images.tree import Tree
from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.process import run
from fluxdrill.toolchain.store import writable

RESOLVE_DEADLINE = 60.0
DOWNLOAD_DEADLINE = 600.0
UNPACK_DEADLINE = 60.0
_LINE = re.compile(r"^'\S+' (?P<file>(?P<name>[^_\s]+)_(?P<version>[^_\s]+)_\w+\.deb) \d+")
UNWANTED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian",
            "usr/share/bash-completion", "usr/share/perl", "usr/share/perl5", "usr/share/i18n", "usr/share/zoneinfo",
            "usr/share/bug", "usr/share/common-licenses", "usr/share/pam", "usr/share/debconf", "etc/init.d",
            "usr/lib/systemd", "usr/share/doc-base", "usr/lib/x86_64-linux-gnu/perl-base", "usr/lib/x86_64-linux-gnu/gconv")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Package:
    """One package file: its name, its version, and what apt calls the file."""

    name: str
    version: str
    file: str

    @property
    def path(self) -> Path:
        """Where it lies in the cache."""
        return images_cache() / "packages" / self.file


def names_in(listing: Path) -> list[str]:
    """Return the package names of a listing, one a line."""
    return listing.read_text(encoding="utf-8").split()


def resolve(names: Sequence[str], *, refresh: bool = False) -> list[Package]:
    """Return the packages `names` with all they depend on, as apt chose them when it was first asked.

    The choice is kept in the cache, so that the same list gives the same image until `refresh`. Raises UsageError
    where there is no apt, HarnessError where it knows no such packages.
    """
    chosen = None if refresh else resolved(names)
    if chosen is not None:
        return chosen
    found = _ask_apt(names)
    kept = _kept(names)
    writable(kept.parent)
    kept.write_text(json.dumps([asdict(one) for one in found], indent=1), encoding="utf-8")
    return found


def resolved(names: Sequence[str]) -> list[Package] | None:
    """Return what `resolve` chose for `names` before; None where it was never asked."""
    kept = _kept(names)
    if not kept.is_file():
        return None
    return [Package(**one) for one in json.loads(kept.read_text(encoding="utf-8"))]


def _kept(names: Sequence[str]) -> Path:
    return images_cache() / "resolved" / f"{digest(_release(), *names)}.json"


def fetch(packages: Sequence[Package]) -> None:
    """Download what is not in the cache yet. Raises HarnessError where apt-get fails."""
    folder = writable(images_cache() / "packages")
    with FileLock(folder / ".lock", timeout=DOWNLOAD_DEADLINE):
        missing = [one for one in packages if not one.path.is_file()]
        if not missing:
            return
        arriving = writable(folder / ".arriving")
        try:
            wanted = [f"{one.name}={one.version}" for one in missing]
            done = run([_apt(), "-qq", "download", *wanted], deadline=DOWNLOAD_DEADLINE, cwd=arriving, env=_plain())
            for one in missing:
                if not (arriving / one.file).is_file():
                    raise HarnessError(
                        f"apt-get did not bring {one.name} {one.version}: {_reason(done.stderr)}.",
                        hint="Run `apt-get update`, then `fluxdrill images build --refresh`.",
                    )
                (arriving / one.file).rename(one.path)
        finally:
            shutil.rmtree(arriving)


def merge(tree: Tree, packages: Sequence[Package], scratch: Path) -> None:
    """Merge the files of `packages` into `tree`; `scratch` holds them until the tree is written."""
    for top in ("bin", "sbin", "lib", "lib64"):
        tree.link(top, f"usr/{top}")
    for one in packages:
        unpacked = scratch / f"{one.file}.tar"
        done = run(["dpkg-deb", "--fsys-tarfile", one.path], deadline=UNPACK_DEADLINE)
        if done.returncode:
            raise HarnessError(f"{one.file} cannot be read: {_reason(done.stderr)}.", hint=f"Delete {one.path}.")
        unpacked.write_bytes(done.stdout)
        tree.merge(unpacked, without=UNWANTED)


def _ask_apt(names: Sequence[str]) -> list[Package]:
    # as for a machine where nothing is installed: the answer does not depend on this one
    options = ["-o", "Dir::State::status=/dev/null", "-o", "APT::Install-Recommends=false"]
    argv = [_apt(), *options, "-qq", "--print-uris", "install", *names]
    done = run(argv, deadline=RESOLVE_DEADLINE, env=_plain())
    found = [match for line in done.text.splitlines() if (match := _LINE.match(line))]
    if done.returncode or not found:
        raise HarnessError(
            f"apt-get knows no packages to build an image from: {_reason(done.stderr)}.",
            hint="Run `apt-get update` once.",
        )
    return [Package(one["name"], one["version"].replace("%3a", ":"), one["file"]) for one in found]


def _apt() -> str:
    found = shutil.which("apt-get")
    if found is None or shutil.which("dpkg-deb") is None:
        raise UsageError(
            "There is no apt-get here, and the node image is made of Debian's packages.",
            hint="Build the images on a Debian machine (or in its container) and copy the cache's images folder.",
        )
    return found


def _plain() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}


def _release() -> str:
    try:
        return Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return ""


def _reason(stderr: str) -> str:
    """Return apt's last error without the address it asked."""
    errors = [line[2:].strip() for line in stderr.splitlines() if line.startswith("E:")] or stderr.splitlines()
    return re.sub(r"https?://\S+", "its source", errors[-1]).rstrip(".") if errors else "it said nothing"
