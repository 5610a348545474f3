"""Serve a repository to a lab's own Flux: copy, profile, sealing, bootstrap, and waiting until all of it is Ready.

In two steps for callers that want to look at the copy before a lab runs (`prepare`, `sync`), in one for the others
(`serve`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.bootstrap import GIT_REPOSITORY, ROOT, Sync, bootstrap
from fluxdrill.flux.operations import reconcile
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.wait import Predicate, WaitResult, absent, all_current, all_of, wait_for
from fluxdrill.lab import supply
from fluxdrill.lab.lab import GIT_USER, Lab
from fluxdrill.lab.profiles import sync_of
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.kustomize import KustomizeBuilder
from fluxdrill.repository.profile import Profile, ProfileReport, apply_profile
from fluxdrill.repository.source import Served, commit_files, export, files, open_source, require_folder, tip
from fluxdrill.repository.tree import Expected, expected
from fluxdrill.sealedsecrets.keys import SealingKey
from fluxdrill.sealedsecrets.placeholders import Planted, seal_placeholders
from fluxdrill.sealedsecrets.sealing import GROUP as SEALED_SECRETS
from fluxdrill.sources.standin import NAME as STANDIN
from fluxdrill.sources.standin import package
from fluxdrill.toolchain.build import ensure

OPEN_DEADLINE = 300.0
REPOSITORY = "fleet.git"
HOMELAB_PATH = "clusters/kyrion"
"""The entry path of the reference repository."""
ENDPOINTS = ObjectRef("", "ConfigMap", NAMESPACE, "lab-endpoints")
"""Where the lab's servers are, for `substituteFrom`: a repository's own bytes are the same in every lab."""

STANDIN_VERSIONS = ("1.0.0", "1.1.0")
"""What the lab's chart repository serves of the stand-in."""
_FLUX = ".toolkit.fluxcd.io"


@dataclass(frozen=True, slots=True)
class Copy:
    """A repository ready to be served to a lab: the served copy, its entry path, and what the profile changed in it."""

    served: Served
    path: str
    report: ProfileReport


def homelab() -> Path:
    """Return the folder of the reference repository: in a checkout `homelab/`, in an installed package its copy."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_homelab"
    return installed if installed.is_dir() else package.parent / "homelab"


def prepare(source: str, *, into: Path, path: str, profile: Profile, ref: str | None = None) -> Copy:
    """Copy `source` to the bare repository `into` at the profile's pace; raises UsageError for what cannot be served."""
    served = open_source(source, ref=ref, into=into, deadline=OPEN_DEADLINE)
    require_folder(served, path)
    return Copy(served, path, apply_profile(served, profile))


def serve(lab: Lab, source: str, *, path: str, profile: Profile, ref: str | None = None) -> Repository:
    """Copy `source` into the lab and bootstrap its Flux with it; raises what `prepare` and `sync` raise."""
    return sync(lab, prepare(source, into=lab.git_root / REPOSITORY, path=path, profile=profile, ref=ref))


def sync(lab: Lab, copy: Copy, *, key: SealingKey | None = None) -> Repository:
    """Bootstrap a lab's Flux with a copy below its `git_root`.

    In a lab with sealed-secrets the copy's placeholders are sealed first, with the lab's own key unless another `key`
    is given; in any other lab they stay what they are. The values count as secrets of the lab.
    """
    key = key or (lab.sealed_secrets.key if lab.sealed_secrets is not None else None)
    planted = seal_placeholders(copy.served, key.certificate) if key is not None else ()
    lab.confide(value for one in planted for value in one.values.values())
    repository = Repository(lab, copy, planted=planted)
    for version in STANDIN_VERSIONS:
        lab.charts.publish(STANDIN, version, package(version))
    addresses = supply.publish(lab, files(copy.served))
    _tell_endpoints(lab, GIT_URL=repository.url, GIT_BRANCH=copy.served.branch, **addresses)
    repository.bootstrap()
    return repository


class Repository:
    """A repository that a lab's Flux follows once it is bootstrapped; commits made here are served at once.

    Named flux-system it is the lab's bootstrap; under another `name` it stands beside it, with a root and a source of
    that name. `planted` are the values that were sealed into it.
    """

    def __init__(self, lab: Lab, copy: Copy, *, name: str = ROOT.name, planted: tuple[Planted, ...] = ()) -> None:
        self.lab = lab
        self.name = name
        self.served = copy.served
        self.report = copy.report
        self.planted = planted
        self.path = copy.path

    @property
    def root(self) -> ObjectRef:
        """The root Kustomization."""
        return replace(ROOT, name=self.name)

    @property
    def source(self) -> ObjectRef:
        """The GitRepository."""
        return replace(GIT_REPOSITORY, name=self.name)

    @property
    def url(self) -> str:
        """Where the lab's Git server serves it."""
        return f"{self.lab.git.url}/{self.served.path.name}"

    def bootstrap(self) -> None:
        """Have the lab's Flux follow it, at the pace of its profile."""
        plain = Sync(self.url, self.served.branch, self.path, GIT_USER, self.lab.password, name=self.name)
        bootstrap(self.lab.api, sync_of(self.report.profile, plain))

    @property
    def revision(self) -> str:
        """The newest revision as Flux writes it; whoever pushed it."""
        return f"{self.served.branch}@sha1:{tip(self.served)}"

    @cached_property
    def tree(self) -> Expected:
        """What the repository wanted when this was first asked for."""
        worktree = self.lab.folder / f"worktree-{self.served.path.stem}"
        worktree.mkdir()
        export(self.served, worktree)
        builder = KustomizeBuilder(ensure(["kustomize"])[0]["kustomize"])
        return expected(worktree, self.path, builder, repository=self.source)

    @property
    def flux_objects(self) -> frozenset[ObjectRef]:
        """Everything in the tree that Flux or sealed-secrets reports on, the root and its source included."""
        rendered = {ref for node in self.tree.nodes.values() for ref in node.objects}
        reported = {ref for ref in rendered if ref.group.endswith(_FLUX) or ref.group == SEALED_SECRETS}
        return frozenset({self.source, self.root, *reported})

    def ready(self) -> Predicate:
        """Met when all `flux_objects` are ready, each Kustomization of this repository at its newest revision."""
        own = {ref for ref, node in self.tree.nodes.items() if node.source == self.source}
        return all_of(at_revision(own, self.revision), all_current(self.flux_objects - own))

    def wait_ready(self, *, deadline: float, on_event: Callable[[str], None] | None = None) -> WaitResult:
        """Wait until the repository is Ready as it stands now; raises what `wait_for` raises.

        What fails meanwhile may be retried by Flux, so only the deadline (seconds) ends the wait.
        """
        what = f"the repository to be Ready at {self.revision}"
        return wait_for(self.lab.store, self.ready(), deadline=deadline, what=what, fail_fast=False, on_event=on_event)

    def commit(self, changes: Mapping[str, str | None], message: str) -> str:
        """Commit `changes` (None removes a file) and return the new revision; Flux finds it by itself."""
        commit_files(self.served, changes, message)
        return self.revision

    def change(self, changes: Mapping[str, str | None], message: str) -> str:
        """Commit `changes`, have them fetched at once, and return the new revision."""
        revision = self.commit(changes, message)
        reconcile(self.lab.api, self.lab.store, self.source, deadline=30)
        return revision

    def remove(self) -> None:
        """Delete root and source, and wait until the root has pruned what it made."""
        for ref in (self.root, self.source):
            if self.lab.store.get(ref) is not None:
                self.lab.api.delete(ref)
        wait_for(self.lab.store, absent(self.root), deadline=60, what=f"{self.root} to be gone")


def _tell_endpoints(lab: Lab, **addresses: str) -> None:
    metadata = {"name": ENDPOINTS.name, "namespace": ENDPOINTS.namespace}
    lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": addresses})
