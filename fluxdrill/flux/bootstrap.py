"""Bootstrap a repository: what `flux bootstrap` leaves in the cluster, without its push to Git."""

from __future__ import annotations

from dataclasses import dataclass

from fluxdrill.flux import NAMESPACE
from fluxdrill.kube.api import Api
from fluxdrill.model.refs import ObjectRef

GIT_REPOSITORY = ObjectRef("source.toolkit.fluxcd.io", "GitRepository", NAMESPACE, "flux-system")
ROOT = ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", NAMESPACE, "flux-system")


@dataclass(frozen=True, slots=True)
class Sync:
    """What is synced: repository, branch and entry path. Durations are Flux durations ("10m")."""

    url: str
    branch: str
    path: str
    username: str = ""
    password: str = ""
    git_interval: str = "1m0s"
    interval: str = "10m0s"
    retry_interval: str = ""
    timeout: str = ""
    name: str = "flux-system"
    """Name of all three objects; another one syncs a further repository beside the bootstrapped one."""


def bootstrap(api: Api, sync: Sync) -> None:
    """Apply Secret, GitRepository and Kustomization of the sync's name (`flux-system`)."""
    if sync.username:
        api.apply(_secret(sync))
    api.apply(_git_repository(sync))
    api.apply(_kustomization(sync))


def _secret(sync: Sync) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": sync.name, "namespace": NAMESPACE},
        "stringData": {"username": sync.username, "password": sync.password},
    }


def _git_repository(sync: Sync) -> dict[str, object]:
    spec: dict[str, object] = {"interval": sync.git_interval, "ref": {"branch": sync.branch}, "url": sync.url}
    if sync.username:
        spec["secretRef"] = {"name": sync.name}
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "GitRepository",
        "metadata": {"name": sync.name, "namespace": NAMESPACE},
        "spec": spec,
    }


def _kustomization(sync: Sync) -> dict[str, object]:
    spec: dict[str, object] = {
        "interval": sync.interval,
        "path": sync.path if sync.path.startswith("./") else f"./{sync.path}",
        "prune": True,
        "sourceRef": {"kind": "GitRepository", "name": sync.name},
    }
    if sync.retry_interval:
        spec["retryInterval"] = sync.retry_interval
    if sync.timeout:
        spec["timeout"] = sync.timeout
    return {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": sync.name, "namespace": NAMESPACE},
        "spec": spec,
    }
