"""Small repositories made for one test: a few Kustomizations, each with one file."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.bootstrap import ROOT
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.wait import Predicate, WaitResult, absent, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.lab.serve import Copy, Repository
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.profile import Profile, ProfileReport
from fluxdrill.repository.source import open_source

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


class Fleet(Repository):
    """A repository of links, made for one test.

    Named flux-system it is the lab's bootstrap; under any other name it stands beside it, so that many tests can share
    one lab: their links must then have names of their own.
    """

    def __init__(self, lab: Lab, *links: Link, name: str = ROOT.name, profile: Profile = Profile.FAST) -> None:
        folder = f"{name}-{secrets.token_hex(3)}"
        seed = lab.folder / f"seed-{folder}"
        (seed / ENTRY).mkdir(parents=True)
        (seed / ENTRY / ".keep").touch()
        served = open_source(str(seed), ref=None, into=lab.git_root / f"{folder}.git", deadline=30)
        # what links write has its pace already: nothing of it is for the profile to change
        super().__init__(lab, Copy(served, ENTRY, ProfileReport(profile, served.commit, {}, {})), name=name)
        self.links = links
        if links:
            self.commit({path: text for link in links for path, text in self.files(link).items()}, "all links")

    @property
    def repository(self) -> str:
        """The folder below the Git server's root, which is also what a fault of this repository alone names."""
        return self.served.path.name

    @property
    def every(self) -> tuple[ObjectRef, ...]:
        """The root and all links."""
        return (self.root, *(link.ref for link in self.links))

    def files(self, link: Link) -> dict[str, str]:
        """Return the two files of a link: its Kustomization and its objects."""
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

    def ready(self) -> Predicate:
        """Met when root and links are Ready at the newest revision."""
        return at_revision(self.every, self.revision)

    def wait_ready(self, *, deadline: float = 90, on_event: Callable[[str], None] | None = None) -> WaitResult:
        """Wait until root and links are Ready at the newest revision."""
        return super().wait_ready(deadline=deadline, on_event=on_event)

    def remove(self) -> None:
        """Delete root and source and wait until everything of it is pruned."""
        super().remove()
        for link in self.links:
            wait_for(self.lab.store, absent(link.ref), deadline=60, what=f"{link.ref} to be gone")
