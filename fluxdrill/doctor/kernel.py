"""What labs take of the kernel: inotify instances and watches, and FUSE."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.doctor.finding import Finding, fail, ok, warn

LAB_INSTANCES = 16
"""inotify instances that must be free: kube-apiserver and kube-controller-manager (1.36) take 8 per lab."""
NODE_INSTANCES = 32
"""For a cluster of one node (measured: 23 for a control plane, 55 with a second cluster of two nodes)."""
NODE_WATCHES = 1024
"""inotify watches for a few nodes (measured: 183 for a control plane)."""
_LIMITS = Path("/proc/sys/fs/inotify")
_RAISE = "Raise fs.inotify.max_user_instances with sysctl (512 will do)."


@dataclass(frozen=True, slots=True)
class Inotify:
    """inotify instances and watches: in use, and the limits; they count per user, nodes run as root.

    `whole` is False where root's use cannot be seen.
    """

    instances: int
    instances_limit: int
    watches: int
    watches_limit: int
    whole: bool = True


def judge_inotify(found: Inotify) -> Finding:
    """Return whether enough inotify instances and watches are free, first for a lab, then for nodes."""
    free, watches = found.instances_limit - found.instances, found.watches_limit - found.watches
    seen = "" if found.whole else " (without what root uses, which only root sees)"
    used = f"{found.instances} of {found.instances_limit} inotify instances are in use{seen}"
    if free < LAB_INSTANCES:
        return fail("inotify", f"{used}, and a lab needs {LAB_INSTANCES}.", fix=_RAISE)
    if free < NODE_INSTANCES:
        return warn("inotify", f"{used}, and a node needs {NODE_INSTANCES}.", fix=_RAISE, bars_nodes=True)
    if watches < NODE_WATCHES:
        text = f"{found.watches} of {found.watches_limit} inotify watches are in use, and nodes need {NODE_WATCHES}."
        return warn("inotify", text, fix="Raise fs.inotify.max_user_watches with sysctl.", bars_nodes=True)
    return ok("inotify", f"{used}, and {found.watches} of {found.watches_limit} watches")


def judge_fuse(*, device: bool, usable: bool, program: str | None) -> Finding:
    """Return whether FUSE mounts are possible: the `device` for those in nodes, the `program` also for this machine's."""
    if not device:
        fix = "Load the module (modprobe fuse), or give this container the device."
        return warn("FUSE", "There is no /dev/fuse; the tests of rclone mounts need it.", fix=fix)
    if not usable:
        return warn("FUSE", "/dev/fuse cannot be opened.", fix="Run as root, or let this user read and write it.")
    if program is None:
        text = "/dev/fuse is there, so nodes can mount; fusermount3 is not, so this machine itself cannot."
        return warn("FUSE", text, fix="Install fuse3.")
    return ok("FUSE", f"/dev/fuse, and {program}")


def inotify() -> Finding:
    """Look at inotify."""
    instances, watches = used()
    limits = [int((_LIMITS / f"max_user_{what}").read_text(encoding="ascii")) for what in ("instances", "watches")]
    return judge_inotify(Inotify(instances, limits[0], watches, limits[1], whole=os.geteuid() == 0))


def fuse() -> Finding:
    """Look for FUSE."""
    device = Path("/dev/fuse")
    usable = os.access(device, os.R_OK | os.W_OK)
    return judge_fuse(device=device.exists(), usable=usable, program=shutil.which("fusermount3"))


def used(pid: str = "[0-9]*") -> tuple[int, int]:
    """Return the inotify instances and watches of the processes that this one can look into."""
    found = list(_instances(pid))
    return len(found), sum(found)


def _instances(pid: str) -> Iterator[int]:
    """Yield how many watches each instance has."""
    for link in Path("/proc").glob(f"{pid}/fd/*"):
        try:
            if "inotify" in str(link.readlink()):
                info = (link.parent.parent / "fdinfo" / link.name).read_text(encoding="ascii")
                yield sum(line.startswith("inotify ") for line in info.splitlines())
        except OSError:  # gone, or somebody else's
            continue
