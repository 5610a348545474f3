"""A registry with credentials, and what Flux makes of a chart in it: a HelmChart and an OCIRepository side by side."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.operations import reconcile
from fluxdrill.kube.predicates import Predicate
from fluxdrill.kube.wait import absent, all_current, all_of, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.conditions import Condition
from fluxdrill.model.conditions import condition as condition_of
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.sources.distribution import CHART
from fluxdrill.sources.registry import Registry
from fluxdrill.sources.standin import NAME, package
from suites.ordering.seen import failed, gone, holds
from suites.remediation.releases import INTERVAL, Release, repository_ref, timeout

SOURCE = "source.toolkit.fluxcd.io"
USER, PASSWORD = "flux", secrets.token_urlsafe(12)
RARELY = "10m"
"""Interval of what is asked again only when a test asks for it."""


def revision_of(obj: KubeObject) -> str:
    """Return the revision of the artifact that a source has; "" where it has none."""
    return str(((obj.get("status") or {}).get("artifact") or {}).get("revision", ""))


def content_of(obj: KubeObject) -> str:
    """Return the digest of the artifact that a source has."""
    return str(obj["status"]["artifact"]["digest"])


def release_version(release: KubeObject) -> str:
    """Return the version of the chart in the newest snapshot of a release, without the digest that some have."""
    history = (release.get("status") or {}).get("history") or [{}]
    return str(history[0].get("chartVersion", "")).partition("+")[0]


def at_version(ref: ObjectRef, version: str) -> Predicate:
    """Met when the artifact of `ref` is that of `version`, or has it as its digest."""
    return holds(ref, lambda obj: version in revision_of(obj).split("@"), f"is at {version}")


@dataclass(frozen=True, slots=True)
class Oci:
    """One chart in a registry, the stand-in 1.0.0, and the objects of Flux that know its credentials."""

    lab: Lab
    registry: Registry
    name: str

    @property
    def app(self) -> str:
        """The chart's repository in the registry."""
        return f"{self.name}/{NAME}"

    @property
    def repository(self) -> ObjectRef:
        """The HelmRepository of type oci."""
        return repository_ref(self.name)

    @property
    def chart(self) -> ObjectRef:
        """The HelmChart from it."""
        return ObjectRef(SOURCE, "HelmChart", NAMESPACE, self.name)

    @property
    def source(self) -> ObjectRef:
        """The OCIRepository."""
        return ObjectRef(SOURCE, "OCIRepository", NAMESPACE, self.name)

    @property
    def both(self) -> tuple[ObjectRef, ObjectRef]:
        """The HelmChart and the OCIRepository."""
        return self.chart, self.source

    def publish(self, version: str, **files: str) -> str:
        """Push a version of the stand-in, with other `files` by their name, and return its digest."""
        return self.registry.push_chart(self.app, version, package(version, files=files))

    def ask_for(self, version: str) -> None:
        """Have both want this version."""
        self.ask_chart(version)
        self.ask_source(tag=version)

    def ask_chart(self, version: str, *, interval: str = RARELY) -> None:
        """Have the HelmChart want this version, or one of a range."""
        source = {"kind": "HelmRepository", "name": self.name}
        self._apply("HelmChart", {"interval": interval, "chart": NAME, "version": version, "sourceRef": source})

    def ask_source(self, *, interval: str = RARELY, **ref: str) -> None:
        """Have the OCIRepository want this tag, digest or range."""
        spec = {
            "interval": interval,
            "timeout": "1s",
            "insecure": True,
            "url": f"oci://{self.registry.address}/{self.app}",
            "ref": ref,
            "secretRef": {"name": f"{self.name}-docker"},
            "layerSelector": {"mediaType": CHART, "operation": "copy"},
        }
        self._apply("OCIRepository", spec)

    def look(self, ref: ObjectRef) -> None:
        """Have one of the two look now, and wait until it has."""
        reconcile(self.lab.api, self.lab.store, ref, deadline=30)

    def fetched(self, version: str, *refs: ObjectRef, deadline: float = 60) -> float:
        """Wait until `refs` (else both) are Ready at `version`, and return the seconds it took."""
        refs = refs or self.both
        wanted = all_of(all_current(refs), *(at_version(ref, version) for ref in refs))
        what = f"{self.name} {version} to be fetched"
        return wait_for(self.lab.store, wanted, deadline=deadline, what=what, fail_fast=False).seconds

    def says(self, ref: ObjectRef, reason: str, text: str = "") -> float:
        """Wait until `ref` is Ready=False for `reason`, and return the seconds it took."""
        told = wait_for(
            self.lab.store, failed(ref, reason, text), deadline=40, what=f"{reason} of {ref}", fail_fast=False
        )
        return told.seconds

    def said(self, ref: ObjectRef, kind: str) -> Condition | None:
        """Return what `ref` says of itself now."""
        return condition_of(self.lab.api.get(ref), kind)

    def content(self, ref: ObjectRef) -> str:
        """Return the digest of the artifact that `ref` has now."""
        return content_of(self.lab.api.get(ref))

    def prepare(self) -> None:
        """Make credentials and HelmRepository, publish 1.0.0, and have it fetched by both."""
        logins = {"auths": {self.registry.address: {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}}
        self._secret(self.name, "Opaque", username=USER, password=PASSWORD)
        self._secret(
            f"{self.name}-docker", "kubernetes.io/dockerconfigjson", **{".dockerconfigjson": json.dumps(logins)}
        )
        url = f"oci://{self.registry.address}/{self.name}"
        spec = {"type": "oci", "insecure": True, "interval": RARELY, "timeout": "1s", "url": url}
        self._apply("HelmRepository", {**spec, "secretRef": {"name": self.name}})
        self.publish("1.0.0")
        self.ask_for("1.0.0")
        self.fetched("1.0.0")

    def remove(self) -> None:
        """Remove all of it."""
        for ref in (*self.both, self.repository):
            self.lab.api.delete(ref)
            wait_for(self.lab.store, absent(ref), deadline=30, what=f"{ref} to be gone")
        for name in (self.name, f"{self.name}-docker"):
            gone(self.lab, ObjectRef("", "Secret", NAMESPACE, name))

    def _apply(self, kind: str, spec: dict[str, Any]) -> None:
        meta = {"name": self.name, "namespace": NAMESPACE}
        self.lab.api.apply({"apiVersion": f"{SOURCE}/v1", "kind": kind, "metadata": meta, "spec": spec})

    def _secret(self, name: str, kind: str, **data: str) -> None:
        meta = {"name": name, "namespace": NAMESPACE}
        self.lab.api.apply({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": meta, "stringData": data})


class Referring(Release):
    """A release whose chart is an object of its own, which it refers to: a HelmChart or an OCIRepository."""

    def __init__(self, lab: Lab, name: str, source: ObjectRef, **spec: Any) -> None:
        super().__init__(lab, name, repository="", spec=spec)
        self._source = source

    def install(self, **values: object) -> None:
        """Create the HelmRelease with these values."""
        source = {"kind": self._source.kind, "name": self._source.name, "namespace": self._source.namespace}
        spec = {"interval": INTERVAL, "timeout": timeout(self.lab), "chartRef": source, "values": values, **self._spec}
        meta = {"name": self.name, "namespace": "default"}
        self.lab.api.apply(
            {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": meta, "spec": spec}
        )


@contextmanager
def oci_on(lab: Lab, registry: Registry) -> Iterator[Oci]:
    """Hand out a chart that both have fetched at 1.0.0; the registry is healed and all of it removed with the block."""
    one = Oci(lab, registry, f"oci-{secrets.token_hex(2)}")
    one.prepare()
    try:
        yield one
    finally:
        registry.heal()
        one.remove()


@contextmanager
def referring(oci: Oci, *sources: ObjectRef) -> Iterator[list[Referring]]:
    """Hand out one release for each source, all Ready; they are removed with the block."""
    made = [Referring(oci.lab, f"{oci.name}-{source.kind.lower()}", source) for source in sources]
    try:
        for one in made:
            one.install()
        for one in made:
            one.wait_ready()
        yield made
    finally:
        for one in made:
            one.remove()
