"""The ways in which a link of a chain breaks in Git, and what kustomize-controller 1.9 says of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fluxdrill.cluster.simulated import Behaviour
from suites.ordering.links import Link, config
from suites.ordering.workloads import job


@dataclass(frozen=True, slots=True)
class Breakage:
    """One way: how it changes a link, and the reason and text that the link's Ready then has."""

    of: Callable[[Link], Link]
    reason: str
    said: str


def _missing_secret(link: Link) -> Link:
    return replace(link, spec={**link.spec, "postBuild": {"substituteFrom": [{"kind": "Secret", "name": "no-such"}]}})


BREAKAGES = {
    "bad-manifest": Breakage(
        lambda link: replace(link, text=config(link.name, namespace="nowhere")),
        "ReconciliationFailed",
        'namespaces "nowhere" not found',
    ),
    "failing-workload": Breakage(
        lambda link: replace(link, text=f"{config(link.name)}---\n{job(link.name, Behaviour.FAIL)}"),
        "HealthCheckFailed",
        "Job/default/",
    ),
    "missing-path": Breakage(
        lambda link: replace(link, spec={**link.spec, "path": "./nowhere"}),
        "ArtifactFailed",
        "kustomization path not found",
    ),
    "missing-secret": Breakage(_missing_secret, "BuildFailed", "Secret/no-such"),
}
"""By name; all of them are found within seconds, none waits for a timeout."""
