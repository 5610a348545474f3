"""Small repositories made for one test: a few Kustomizations, each with one file."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.bootstrap import GIT_REPOSITORY, ROOT, Sync, bootstrap
from fluxdrill.flux.operations import reconcile
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.wait import absent, wait_for
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
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> ObjectRef:
        """The Kustomization."""
        return kustomization(self.name)

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """What it writes when its text is the usual one."""
        return (ObjectRef("", "ConfigMap", "default", self.name),)


def kustomization(name: str) -> ObjectRef:
    """Return the reference of a Kustomization in flux-system."""
    return ObjectRef(ROOT.group, ROOT.kind, NAMESPACE, name)


def config(name: str, *, namespace: str = "default", **data: str) -> str:
    """Return a ConfigMap as YAML."""
    meta = {"name": name, "namespace": namespace}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}) + "\n"


def secret(name: str, *, namespace: str = NAMESPACE, labels: Mapping[str, str] | None = None, **data: str) -> str:
    """Return a Secret of made-up values as YAML."""
    meta = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data}) + "\n"


class Fleet:
    """A repository of links, synced into a lab; `change` commits and has the source fetch at once.

    Named flux-system it is the lab's bootstrap; under any other name it stands beside it, so that many tests can share
    one lab: their links must then have names of their own.
    """

    def __init__(self, lab: Lab, *links: Link, name: str = ROOT.name, profile: Profile = Profile.FAST) -> None:
        self.lab = lab
        self.name = name
        self.links = links
        self._profile = profile
        folder = f"{name}-{secrets.token_hex(3)}"
        seed = lab.folder / f"seed-{folder}"
        seed.mkdir()
        (seed / "README.md").write_text("made for one test\n", encoding="utf-8")
        self.served: Served = open_source(str(seed), ref=None, into=lab.git_root / f"{folder}.git", deadline=30)
        self._url = f"{lab.git.url}/{folder}.git"
        files = {f"{ENTRY}/.keep": "", **{path: text for link in links for path, text in self.files(link).items()}}
        self.commit = commit_files(self.served, files, "all links")

    @property
    def root(self) -> ObjectRef:
        """The root Kustomization."""
        return kustomization(self.name)

    @property
    def source(self) -> ObjectRef:
        """The GitRepository."""
        return replace(GIT_REPOSITORY, name=self.name)

    @property
    def repository(self) -> str:
        """The folder below the Git server's root, which is also what a fault of this repository alone names."""
        return self.served.path.name

    @property
    def revision(self) -> str:
        """The newest revision as Flux writes it."""
        return f"{self.served.branch}@sha1:{self.commit}"

    def files(self, link: Link) -> dict[str, str]:
        """The two files of a link: its Kustomization and its objects."""
        spec = {
            "interval": "10m",
            "retryInterval": "2s",
            "timeout": "30s",
            "path": f"./{link.name}",
            "prune": True,
            "wait": True,
            "sourceRef": {"kind": "GitRepository", "name": self.name},
            "dependsOn": [{"name": one} for one in link.depends_on],
            **link.spec,
        }
        meta = {"name": link.name, "namespace": NAMESPACE, "annotations": dict(link.annotations)}
        document = {
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": meta,
            "spec": spec,
        }
        return {
            f"{ENTRY}/{link.name}.yaml": json.dumps(document, indent=1) + "\n",
            f"{link.name}/objects.yaml": link.text or config(link.name),
        }

    def bootstrap(self) -> None:
        """Sync it into the lab."""
        sync = Sync(self._url, self.served.branch, ENTRY, GIT_USER, self.lab.password, name=self.name)
        bootstrap(self.lab.api, sync_of(self._profile, sync))

    def wait_ready(self, *, deadline: float = 90) -> None:
        """Wait until root and links are Ready at the newest revision."""
        every = [self.root, *(link.ref for link in self.links)]
        what = f"{self.name} to be Ready at {self.revision}"
        wait_for(self.lab.store, at_revision(every, self.revision), deadline=deadline, what=what, fail_fast=False)

    def commit_files(self, changes: Mapping[str, str | None], message: str) -> str:
        """Commit `changes` (None removes a file) and return the new revision; Flux finds it by itself."""
        self.commit = commit_files(self.served, changes, message)
        return self.revision

    def change(self, changes: Mapping[str, str | None], message: str) -> str:
        """Commit `changes`, have them fetched at once, and return the new revision."""
        self.commit_files(changes, message)
        reconcile(self.lab.api, self.lab.store, self.source, deadline=30)
        return self.revision

    def remove(self) -> None:
        """Delete root and source and wait until everything of it is pruned."""
        for ref in (self.root, self.source):
            if self.lab.store.get(ref) is not None:
                self.lab.api.delete(ref)
        for ref in (self.root, *(link.ref for link in self.links)):
            wait_for(self.lab.store, absent(ref), deadline=60, what=f"{ref} to be gone")
