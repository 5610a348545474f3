"""A small Git repository that a lab serves to its own Flux."""

from __future__ import annotations

from pathlib import Path

from fluxdrill.flux.bootstrap import Sync, bootstrap
from fluxdrill.lab.lab import GIT_USER, Lab
from fluxdrill.model.refs import ObjectRef
from tests.sources.git_client import commit, git


class Fleet:
    """A repository `fleet` whose folder `root` Flux applies; its commits are pushed at once."""

    def __init__(self, lab: Lab, work: Path) -> None:
        self._lab = lab
        self._work = work
        self._bare = lab.git_root / "fleet.git"
        git(work.parent, "init", "--quiet", "--initial-branch=main", str(work))
        self.put("root/first.yaml", config_map("root", "1"))
        git(work.parent, "clone", "--quiet", "--bare", str(work), str(self._bare))
        git(work, "remote", "add", "origin", str(self._bare))
        sync = Sync(
            f"{lab.git.url}/fleet.git",
            "main",
            "root",
            username=GIT_USER,
            password=lab.password,
            git_interval="2s",
            interval="10m",
            retry_interval="2s",
            timeout="30s",
        )
        bootstrap(lab.api, sync)

    def put(self, path: str, content: str) -> str:
        """Commit a file and push it; return the commit."""
        made = commit(self._work, path, content)
        if self._bare.exists():
            git(self._work, "push", "--quiet", "origin", "main")
        return made


def config_map(name: str, value: str, namespace: str = "default") -> str:
    """Return a ConfigMap as YAML."""
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"data: {{value: '{value}'}}\n"
    )


def config_map_ref(name: str, namespace: str = "default") -> ObjectRef:
    """Return the reference of such a ConfigMap."""
    return ObjectRef("", "ConfigMap", namespace, name)
