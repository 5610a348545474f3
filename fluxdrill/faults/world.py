"""What faults and scenarios act upon: a cluster, and as far as they are ours the lab around it and its repository."""

from __future__ import annotations

from dataclasses import dataclass

from fluxdrill.errors import RefusedError
from fluxdrill.kube.api import Api
from fluxdrill.kube.watch import Store
from fluxdrill.lab.lab import Lab
from fluxdrill.lab.serve import Repository


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
