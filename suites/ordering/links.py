"""Small repositories made for one test: a few Kustomizations, each with one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.bootstrap import GIT_REPOSITORY, ROOT, Sync, bootstrap
from fluxdrill.flux.operations import reconcile
from fluxdrill.lab.lab import GIT_USER, Lab
from fluxdrill.lab.profiles import sync_of
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.profile import Profile
from fluxdrill.repository.source import Served, commit_files, open_source

ENTRY = "clusters/lab"
CHAIN = (
    ("infra-controllers", ()),
    ("infra-configs", ("infra-controllers",)),
    ("apps", ("infra-configs",)),
    ("monitoring-controllers", ("infra-configs",)),
    ("monitoring-configs", ("monitoring-controllers",)),
)
"""The two chains of the guide, as the real repository has them now."""


@dataclass(frozen=True, slots=True)
class Link:
    """One Kustomization: its dependencies, its spec beyond the usual, and the text of its one file."""

    name: str
    depends_on: tuple[str, ...] = ()
    text: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> ObjectRef:
        """The Kustomization."""
        return kustomization(self.name)

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """What it writes when its text is the usual one."""
        return (ObjectRef("", "ConfigMap", "default", self.name),)

    def files(self) -> dict[str, str]:
        """Its Kustomization and its file."""
        spec = {
            "interval": "10m",
            "retryInterval": "2s",
            "timeout": "30s",
            "path": f"./{self.name}",
            "prune": True,
            "wait": True,
            "sourceRef": {"kind": "GitRepository", "name": GIT_REPOSITORY.name},
            "dependsOn": [{"name": one} for one in self.depends_on],
            **self.spec,
        }
        meta = {"name": self.name, "namespace": NAMESPACE}
        document = {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": meta,
            "spec": spec,
        }
        return {
            f"{ENTRY}/{self.name}.yaml": json.dumps(document, indent=1) + "\n",
            f"{self.name}/objects.yaml": self.text or config(self.name),
        }


def kustomization(name: str) -> ObjectRef:
    """Return the reference of a Kustomization in flux-system."""
    return ObjectRef(ROOT.group, ROOT.kind, NAMESPACE, name)


def config(name: str, *, namespace: str = "default", **data: str) -> str:
    """Return a ConfigMap as YAML."""
    meta = {"name": name, "namespace": namespace}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}) + "\n"


class Fleet:
    """A repository of links, bootstrapped into a lab; `change` commits and asks the source to fetch at once."""

    def __init__(self, lab: Lab, name: str, links: tuple[Link, ...]) -> None:
        self.lab = lab
        self.links = links
        self._url = f"{lab.git.url}/{name}.git"
        seed = lab.folder / f"seed-{name}"
        seed.mkdir()
        (seed / "README.md").write_text("made for one test\n", encoding="utf-8")
        self.served: Served = open_source(str(seed), ref=None, into=lab.git_root / f"{name}.git", deadline=30)
        self.commit = commit_files(self.served, _files(links), "all links")

    @property
    def revision(self) -> str:
        """The newest revision as Flux writes it."""
        return f"{self.served.branch}@sha1:{self.commit}"

    def bootstrap(self) -> None:
        """Bootstrap it as flux-system."""
        sync = Sync(self._url, self.served.branch, ENTRY, GIT_USER, self.lab.password)
        bootstrap(self.lab.api, sync_of(Profile.FAST, sync))

    def change(self, changes: Mapping[str, str | None], message: str) -> str:
        """Commit `changes` (None removes a file), have it fetched, and return its revision."""
        self.commit = commit_files(self.served, changes, message)
        reconcile(self.lab.api, self.lab.store, GIT_REPOSITORY, deadline=30)
        return self.revision


def _files(links: tuple[Link, ...]) -> dict[str, str | None]:
    return {path: text for link in links for path, text in link.files().items()}
