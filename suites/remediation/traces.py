"""What a HelmRelease leaves in the cluster: Helm's storage, its witness and claim, its events; and waits for them."""

from __future__ import annotations

from collections.abc import Collection

from fluxdrill.flux.kinds import EVENT
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.model.refs import KubeObject, ObjectRef
from suites.ordering.seen import holds
from suites.remediation.releases import Outcome, Release, recovered

DEADLINE = 150.0
"""Seconds for several releases at once: the controller works at four at a time, and the others wait for their turn."""
INSTALLED = Outcome("True InstallSucceeded", "", "True InstallSucceeded", "", "", (0, 0, 0))
UPGRADED = Outcome("True UpgradeSucceeded", "", "True UpgradeSucceeded", "", "", (0, 0, 0))


def stored(release: Release, number: int) -> ObjectRef:
    """Return where Helm keeps revision `number` of a release."""
    return ObjectRef("", "Secret", "default", f"sh.helm.release.v1.{release.name}.v{number}")


def witness(release: Release) -> ObjectRef:
    """Return the ConfigMap that tells one revision of a release from another."""
    return ObjectRef("", "ConfigMap", "default", f"{release.name}-witness")


def claim(release: Release) -> ObjectRef:
    """Return the claim of a release with `persistence`."""
    return ObjectRef("", "PersistentVolumeClaim", "default", f"{release.name}-data")


def in_storage(release: Release, number: int, status: str) -> Predicate:
    """Met when Helm's storage has revision `number` of a release with this status."""
    return holds(
        stored(release, number),
        lambda obj: obj["metadata"]["labels"].get("status") == status,
        f"has the status {status}",
    )


def says(release: Release, outcome: Outcome) -> Predicate:
    """Met when a release says this of its present generation."""
    return holds(release.ref, lambda obj: _current(obj) and Outcome.of(obj) == outcome, f"says {outcome}")


def told(release: Release, reason: str, text: str = "") -> Predicate:
    """Met when there is an event of a HelmRelease for `reason` that has `text`."""

    def judge(view: View) -> Verdict3:
        own = [one for one in view.list(EVENT, "default") if one["involvedObject"].get("name") == release.name]
        if any(one["reason"] == reason and text in one["message"] for one in own):
            return Verdict3.met(f"{reason} was told of {release.name}")
        return Verdict3.not_yet(f"{release.name} has events {sorted({one['reason'] for one in own})}", release.ref)

    return Predicate(judge, kinds=frozenset([EVENT]))


def identity(release: Release, ref: ObjectRef) -> str:
    """Return the UID of an object of a release; "" where there is none."""
    try:
        return str(release.lab.api.get(ref)["metadata"]["uid"])
    except NotFoundError:
        return ""


def serving(release: Release) -> int:
    """Return how many pods of a release serve; none where there is no workload."""
    try:
        return release.available()
    except NotFoundError:
        return 0


def installed(releases: Collection[Release], **values: object) -> None:
    """Install several releases with these values and wait until each is."""
    for one in releases:
        one.install(**values)
    for one in releases:
        one.wait(recovered(one), what="to be installed", deadline=DEADLINE)


def _current(obj: KubeObject) -> bool:
    return bool((obj.get("status") or {}).get("observedGeneration") == obj["metadata"]["generation"])
