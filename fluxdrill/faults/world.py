"""What faults and scenarios act upon: a cluster, and as far as they are ours the lab around it and its repository."""

from __future__ import annotations

from dataclasses import dataclass

from fluxdrill.errors import RefusedError
from fluxdrill.flux import NAMESPACE
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.kube.watch import Store
from fluxdrill.lab.lab import MARKER, Lab
from fluxdrill.lab.serve import Repository
from fluxdrill.model.refs import ObjectRef


@dataclass(frozen=True, slots=True)
class World:
    """`lab` and `repository` are None where only the cluster's API is at hand."""

    api: Api
    store: Store
    lab: Lab | None = None
    repository: Repository | None = None

    @property
    def own_lab(self) -> Lab:
        """The lab; raises RefusedError where there is only an API."""
        if self.lab is None:
            raise RefusedError(
                "This fault acts on the lab's host, and there is only a kubeconfig.",
                hint="Run the scenario without --kubeconfig: it then gets a lab of its own.",
            )
        return self.lab

    @property
    def own_repository(self) -> Repository:
        """The served repository; raises RefusedError where there is none."""
        if self.repository is None:
            raise RefusedError(
                "This needs the repository that Flux follows, and there is only a kubeconfig.",
                hint="Run the scenario without --kubeconfig: it then gets a lab of its own.",
            )
        return self.repository


def require_marker(api: Api) -> str:
    """Return the id of the lab that a cluster is; raises RefusedError where it is not one of ours.

    Everything destructive asks this first.
    """
    try:
        namespace = api.get(ObjectRef("", "Namespace", "", NAMESPACE))
    except NotFoundError:
        namespace = {}
    lab = str(((namespace.get("metadata") or {}).get("labels") or {}).get(MARKER, ""))
    if not lab:
        raise RefusedError(
            f"The cluster at {api.server} does not carry the label {MARKER}: it is not a lab of fluxdrill.",
            hint="Scenarios break things, so they run only in labs: leave --kubeconfig out.",
        )
    return lab
