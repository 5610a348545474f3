"""Run a program as if it were in a pod: its ServiceAccount's files lie where a kubelet would mount them.

sealed-secrets 0.36 knows no kubeconfig, only the in-cluster configuration with its fixed folder. So the program gets a
mount namespace of its own, in which a folder of the lab lies over `/var/run`: nothing is made outside of it, and it
goes with the process. As a script, this is the step between `unshare` and the program.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MOUNT_POINT = Path("/var/run")
SERVICE_ACCOUNT = Path("secrets/kubernetes.io/serviceaccount")
MOUNT_DEADLINE = 10.0


def write_files(root: Path, *, token: str, authority: Path, namespace: str) -> None:
    """Write what a kubelet would mount, below `root`, which will lie over `/var/run`."""
    folder = root / SERVICE_ACCOUNT
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "token").write_text(token, encoding="utf-8")
    (folder / "ca.crt").write_bytes(authority.read_bytes())
    (folder / "namespace").write_text(namespace, encoding="utf-8")


def within(root: Path, argv: list[str]) -> list[str]:
    """Return the command line that runs `argv` with `root` over `/var/run`; who is not root needs user namespaces."""
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_root, "--mount", "--", sys.executable, "-m", __spec__.name, str(root), *argv]


def main(root: str, *argv: str) -> None:
    """Mount, then become the program."""
    # /var/run is a link on most systems: the mount must lie where it leads
    point = os.path.realpath(MOUNT_POINT)
    subprocess.run(["mount", "--bind", root, point], check=True, timeout=MOUNT_DEADLINE)
    os.execv(argv[0], argv)  # noqa: S606 - an argv list, no shell


if __name__ == "__main__":
    main(*sys.argv[1:])
