"""The pinned `helm` on a lab, as a person uses it beside Flux: its own home, no way to the outside, always a deadline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fluxdrill.lab.lab import Lab
from fluxdrill.process import Completed, run
from fluxdrill.sources.standin import NAME, package
from fluxdrill.toolchain.build import path_of

DEADLINE = 60.0
WAIT = ("--wait", "--timeout=30s")


class Helm:
    """Helm 4 as admin of a lab; `home` holds all that it keeps. Each call is in the namespace `default`."""

    def __init__(self, lab: Lab, home: Path) -> None:
        self._binary = path_of("helm")
        self._home = home
        folders = {f"HELM_{name}_HOME": str(home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        self._env = {"KUBECONFIG": str(lab.kubeconfig), "HOME": str(home), **folders, **lab.outside.environment}

    def run(self, *arguments: str) -> Completed:
        """Run helm with these arguments; any exit code is returned. Raises DeadlineExceededError."""
        return run([self._binary, *arguments, "--namespace=default"], deadline=DEADLINE, env=self._env, cwd=self._home)

    def chart(self, version: str) -> str:
        """Write the stand-in of this version where helm can read it and return its path."""
        path = self._home / f"{NAME}-{version}.tgz"
        path.write_bytes(package(version))
        return str(path)

    def upgrade(self, release: str, version: str, **values: str) -> None:
        """Upgrade to the stand-in of this version and wait until its pods are ready; AssertionError where helm refuses."""
        given = [f"--set-string={name}={value}" for name, value in values.items()]
        self._must("upgrade", release, self.chart(version), *given, "--force-conflicts", *WAIT)

    def rollback(self, release: str, revision: int) -> None:
        """Roll back to a revision and wait until its pods are ready; AssertionError where helm refuses."""
        self._must("rollback", release, str(revision), "--force-conflicts", *WAIT)

    def uninstall(self, release: str) -> None:
        """Uninstall; AssertionError where helm refuses."""
        self._must("uninstall", release, *WAIT)

    def _must(self, *arguments: str) -> None:
        done = self.run(*arguments)
        assert done.returncode == 0, f"helm {arguments[0]}: {done.stderr or done.text}"


@contextmanager
def helm_of(lab: Lab) -> Iterator[Helm]:
    """Hand out helm for a lab; its home ends with the block."""
    with TemporaryDirectory(prefix="fluxdrill-helm-") as home:
        yield Helm(lab, Path(home))
