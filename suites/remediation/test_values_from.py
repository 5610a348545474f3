"""`valuesFrom` of a HelmRelease: what is missing or malformed, what wins, and when a change reaches the cluster (Flux 2.9)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Self

import pytest

from fluxdrill.flux.advice.case import State
from fluxdrill.flux.operations import reconcile
from fluxdrill.kube.predicates import Predicate
from fluxdrill.kube.wait import condition
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.refs import ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from suites.ordering.seen import failed, gone, holds, never
from suites.remediation.conftest import MakeRelease, Told, all_at_once
from suites.remediation.releases import Release, recovered
from suites.remediation.traces import claim, witness
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_change_of_a_values_source_that_is_not_used_reaches_nobody",
    "test_control_a_ready_that_a_person_wrote_brings_no_values",
)

DEADLINE = 120.0
"""Seconds for one of several releases: the controller works at four at a time."""
QUIET = 6.0
WATCHED = {"reconcile.fluxcd.io/watch": "Enabled"}
LONG = "10m"
"""Interval of a release that does not look again by itself while a test runs."""
MARK = secrets.token_hex(3)
SMALL = {"replicas": 0}
KINDS = {"ConfigMap": "data", "Secret": "stringData"}


class Sources:
    """ConfigMaps and Secrets with values, named for this run; they go with the block."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.made: set[ObjectRef] = set()

    def put(self, name: str, kind: str = "ConfigMap", *, labels: dict[str, str] | None = None, **data: str) -> None:
        """Write a ConfigMap or Secret with this data; an underscore of a key stands for a dot."""
        ref = ObjectRef("", kind, "default", full(name))
        meta = {"name": ref.name, "namespace": ref.namespace, "labels": labels or {}}
        held = {key.replace("_", "."): text for key, text in data.items()}
        self.lab.api.apply({"apiVersion": "v1", "kind": kind, "metadata": meta, KINDS[kind]: held})
        self.made.add(ref)

    def drop(self, name: str, kind: str = "ConfigMap") -> None:
        """Delete one."""
        self.lab.api.delete(ObjectRef("", kind, "default", full(name)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for ref in self.made:
            gone(self.lab, ref)


def full(name: str) -> str:
    """Return the name of a source in the cluster."""
    return f"{name}-{MARK}"


def reference(name: str, kind: str = "ConfigMap", **more: object) -> dict[str, object]:
    """Return an entry of `valuesFrom`."""
    return {"kind": kind, "name": full(name), **more}


def unresolved(release: Release, text: str) -> Predicate:
    """Met when a release says ValuesError with this text."""
    return failed(release.ref, "ValuesError", text)


def carries(release: Release, text: str) -> Predicate:
    """Met when the witness of a release in the cluster carries `text`."""
    return holds(witness(release), lambda obj: obj["data"]["witness"] == text, f"carries {text}")


def runs(release: Release, image: str) -> Predicate:
    """Met when the workload of a release is of this image."""
    return holds(release.deployment, lambda obj: _image(obj) == image, f"is of {image}")


def _image(obj: Any) -> str:
    return str(obj["spec"]["template"]["spec"]["containers"][0]["image"])


def ready_with(release: Release, text: str, *, deadline: float = DEADLINE) -> None:
    """Wait until a release is Ready and its witness carries `text`."""
    release.wait(recovered(release), what="to be installed", deadline=deadline)
    release.wait(carries(release, text), what=f"to carry {text}", deadline=10)


def what_is_missing(lab: Lab, make: MakeRelease) -> float:
    """An object or a key that is not there: ValuesError until it is. Return the seconds from then until Ready."""
    with Sources(lab) as sources:
        sources.put("keyless", other="witness: other")
        config, secret = make("no-config", valuesFrom=[reference("later")]), make("no-secret", valuesFrom=[reference("later", "Secret")])  # fmt: skip
        keyless = make("no-key", valuesFrom=[reference("keyless")])
        for release in (config, secret, keyless):
            release.install(**SMALL)
        config.wait(unresolved(config, f'configmaps "{full("later")}" not found'), what="to miss it", deadline=60)
        secret.wait(unresolved(secret, f'secrets "{full("later")}" not found'), what="to miss it", deadline=60)
        keyless.wait(unresolved(keyless, "with key 'values.yaml'"), what="to miss the key", deadline=60)
        assert {release.history() for release in (config, secret, keyless)} == {()}
        assert {release.advice().state for release in (config, secret, keyless)} == {State.VALUES}
        begun = SYSTEM_CLOCK.now()
        for name, kind in (("later", "ConfigMap"), ("later", "Secret"), ("keyless", "ConfigMap")):
            sources.put(name, kind, values_yaml="witness: there")
        for release in (config, secret, keyless):
            ready_with(release, "there")
            assert not release.ever("Stalled")
        return max(release.ready_after(begun) for release in (config, secret, keyless))


def what_is_optional(lab: Lab, make: MakeRelease) -> None:
    """`optional` tolerates a missing object and a missing key, and what comes later is taken."""
    with Sources(lab) as sources:
        sources.put("other-key", other="witness: other")
        release = make("optional", valuesFrom=[reference(name, optional=True) for name in ("never", "other-key")])
        release.install(witness="inline", **SMALL)
        ready_with(release, "inline")
        sources.put("other-key", values_yaml="replicas: 0\nimage: taken")
        release.wait(runs(release, "taken"), what="to take what came later", deadline=30)


def what_is_malformed(lab: Lab, make: MakeRelease) -> float:
    """ValuesError for what is no YAML and for what is no mapping; return the seconds from the mending until Ready."""
    bad = {"no-yaml": ("a: [b", "error converting YAML to JSON"), "no-map": ("- a\n- b", "cannot unmarshal array")}
    with Sources(lab) as sources:
        made: list[Release] = []
        for name, (text, _) in bad.items():
            sources.put(name, values_yaml=text)
            made.append(make(name, valuesFrom=[reference(name)]))
            made[-1].install(**SMALL)
        for release, (_, said) in zip(made, bad.values(), strict=True):
            release.wait(unresolved(release, said), what="to be refused", deadline=60)
        begun = SYSTEM_CLOCK.now()
        for name in bad:
            sources.put(name, values_yaml="witness: mended")
        for release in made:
            ready_with(release, "mended")
            assert not release.ever("Stalled")
        return max(release.ready_after(begun) for release in made)


def what_wins(lab: Lab, make: MakeRelease) -> None:
    """Later references win over earlier ones, key by key, and the values of the release itself over all of them."""
    with Sources(lab) as sources:
        sources.put("first", values_yaml="witness: first\nreplicas: 0\npersistence: {size: 2Gi, witness: first}")
        sources.put("second", "Secret", values_yaml="witness: second\npersistence: {witness: second}")
        both = [reference("first"), reference("second", "Secret")]
        ordered, inline = make("ordered", valuesFrom=both), make("inline", valuesFrom=both)
        ordered.install(persistence={"enabled": True})
        inline.install(witness="inline")
        ready_with(ordered, "second")
        ready_with(inline, "inline")
        found = lab.api.get(claim(ordered))
        size = found["spec"]["resources"]["requests"]["storage"]
        assert (size, found["metadata"]["annotations"]["fluxdrill.dev/witness"]) == ("2Gi", "second")


def where_a_path_leads(lab: Lab, make: MakeRelease) -> None:
    """`targetPath` beats the release's own values below a key that they have too, and is beaten at the top."""
    with Sources(lab) as sources:
        sources.put("flat", "Secret", text="flat", comma="one,two")
        release = make(
            "path",
            valuesFrom=[
                reference("flat", "Secret", valuesKey="text", targetPath="persistence.witness"),
                reference("flat", "Secret", valuesKey="text", targetPath="witness"),
                reference("flat", "Secret", valuesKey="text", targetPath="image"),
            ],
        )
        release.install(witness="inline", persistence={"enabled": True, "witness": "inline"}, **SMALL)
        ready_with(release, "inline")
        assert lab.api.get(claim(release))["metadata"]["annotations"]["fluxdrill.dev/witness"] == "flat"
        assert _image(lab.api.get(release.deployment)) == "flat"


def what_a_comma_does(lab: Lab, make: MakeRelease) -> None:
    """A text behind `targetPath` is read as `helm --set` would; `literal` takes it as it is."""
    with Sources(lab) as sources:
        sources.put("comma", "Secret", text="one,two")
        comma = reference("comma", "Secret", valuesKey="text", targetPath="witness")
        parsed, literal = make("parsed", valuesFrom=[comma]), make("literal", valuesFrom=[{**comma, "literal": True}])
        parsed.install(**SMALL)
        literal.install(**SMALL)
        parsed.wait(unresolved(parsed, 'key "two" has no value'), what="to stumble over the comma", deadline=60)
        ready_with(literal, "one,two")


def a_change_that_is_watched_for(lab: Lab, make: MakeRelease) -> float:
    """With the label a change is taken at once; return the seconds from the change to the workload."""
    with Sources(lab) as sources:
        release = make("watching", interval=LONG, valuesFrom=[reference("watched")])
        sources.put("watched", labels=WATCHED, values_yaml="image: one")
        release.install(**SMALL)
        release.wait(recovered(release), what="to be installed", deadline=DEADLINE)
        begun = SYSTEM_CLOCK.now()
        sources.put("watched", labels=WATCHED, values_yaml="image: two")
        return release.wait(runs(release, "two"), what="to take the change", deadline=60).met.since(begun)


def a_change_that_is_not_watched_for(lab: Lab, make: MakeRelease) -> float:
    """Without the label it waits for the interval, or for a request; return the seconds of the one with an interval."""
    with Sources(lab) as sources:
        patient, regular = (make(name, interval=time, valuesFrom=[reference("unwatched")]) for name, time in (("patient", LONG), ("regular", "10s")))  # fmt: skip
        sources.put("unwatched", values_yaml="image: one")
        for release in (patient, regular):
            release.install(**SMALL)
        for release in (patient, regular):
            release.wait(recovered(release), what="to be installed", deadline=DEADLINE)
        begun = SYSTEM_CLOCK.now()
        sources.put("unwatched", values_yaml="image: two")
        took = regular.wait(runs(regular, "two"), what="to take the change", deadline=60).met.since(begun)
        never(lab, runs(patient, "two"), seconds=QUIET, what="the change to be taken before the interval")
        reconcile(lab.api, lab.store, patient.ref, deadline=30)
        patient.wait(runs(patient, "two"), what="to take the change on request", deadline=30)
        return took


def a_source_that_is_removed(lab: Lab, make: MakeRelease) -> tuple[float, float]:
    """C-12: what runs goes on, the release says ValuesError, and heals alone; return seconds: told, recovered."""
    with Sources(lab) as sources:
        release = make("bereft", valuesFrom=[reference("removed", "Secret")])
        sources.put("removed", "Secret", labels=WATCHED, values_yaml="witness: kept")
        release.install()
        ready_with(release, "kept")
        release.wait_serving()
        removed = SYSTEM_CLOCK.now()
        sources.drop("removed", "Secret")
        told = release.wait(unresolved(release, full("removed")), what="to miss it", deadline=60).met.since(removed)
        assert (release.available(), release.statuses()) == (1, ("deployed",))
        back = SYSTEM_CLOCK.now()
        sources.put("removed", "Secret", labels=WATCHED, values_yaml="witness: kept")
        release.wait(recovered(release), what="to recover", deadline=60)
        assert release.statuses() == ("deployed",), "the same values made a new revision"
        return told, release.ready_after(back)


STORIES = (
    what_is_missing,
    what_is_optional,
    what_is_malformed,
    what_wins,
    where_a_path_leads,
    what_a_comma_does,
    a_change_that_is_watched_for,
    a_change_that_is_not_watched_for,
    a_source_that_is_removed,
)


@pytest.fixture(scope="module")
def told(lab: Lab) -> Iterator[Told]:
    """Begin all stories at once."""
    with all_at_once(lab, *STORIES) as told:
        yield told


@pytest.mark.proves("flux.md 4.2.15", "true of missing objects and keys: ValuesError, never stalled, healed alone")
def test_a_missing_object_or_key_is_a_values_error_until_it_is_there(told: Told, measured: Measured) -> None:
    """Of a ConfigMap, a Secret, and a key; nothing was installed before."""
    measured("last one there until all are Ready", told(what_is_missing))


@pytest.mark.proves("flux.md 4.2.15", "true: `optional` tolerates a missing object and a missing key")
def test_what_is_optional_may_be_missing_and_is_taken_once_it_is_there(told: Told) -> None:
    """The object, or the key in it."""
    told(what_is_optional)


@pytest.mark.proves("flux.md 4.2.15", "true of malformed YAML, and of YAML that is no mapping: ValuesError")
def test_malformed_values_are_a_values_error_and_heal_alone(told: Told, measured: Measured) -> None:
    """What is no YAML, and what is no mapping."""
    measured("mended until all are Ready", told(what_is_malformed))


def test_later_references_win_key_by_key_and_the_releases_own_values_over_all(told: Told) -> None:
    """Merged deep: a key that only the first has stays."""
    told(what_wins)


@pytest.mark.proves(
    "flux.md 4.2.15",
    "`targetPath` does not overwrite all, as documented: the release's own values win at the top level",
)
def test_a_target_path_beats_the_releases_own_values_below_a_key_and_not_at_the_top(told: Told) -> None:
    """And where they say nothing it is taken."""
    told(where_a_path_leads)


def test_a_comma_behind_a_target_path_needs_literal(told: Told) -> None:
    """ValuesError, as of `helm --set a=one,two`."""
    told(what_a_comma_does)


@pytest.mark.proves("flux.md C-12", "with the label reconcile.fluxcd.io/watch a change reaches the workload at once")
def test_a_change_of_a_watched_source_reaches_the_workload_at_once(told: Told, measured: Measured) -> None:
    """The interval of the release is ten minutes."""
    measured("change until it is in the workload", told(a_change_that_is_watched_for), kind="other")


@pytest.mark.proves("flux.md C-12", "without the label it waits for the interval or for a request")
def test_a_change_of_an_unwatched_source_waits_for_the_interval_or_a_request(told: Told, measured: Measured) -> None:
    """One with an interval of 10 s takes it; one of ten minutes only when it is asked to reconcile."""
    took = told(a_change_that_is_not_watched_for)
    measured("change until it is in the workload, at an interval of 10 s", took, kind="other")


@pytest.mark.proves("flux.md C-12", "a removed Secret: ValuesError, what runs goes on, no new revision once it is back")
def test_a_removed_source_is_told_breaks_nothing_and_heals_alone(told: Told, measured: Measured) -> None:
    """It serves throughout."""
    missed, recovered_ = told(a_source_that_is_removed)
    measured("removed until told", missed, kind="detection")
    measured("back until Ready", recovered_)


@pytest.mark.ci
def test_control_a_change_of_a_values_source_that_is_not_used_reaches_nobody(
    lab: Lab, make_release: MakeRelease
) -> None:
    """Negative control of reaching: what no release refers to changes no release, watched or not."""
    release = make_release("alone")
    with Sources(lab) as sources:
        release.install(image="own", **SMALL)
        release.wait(recovered(release), what="to be installed")
        sources.put("strange", labels=WATCHED, values_yaml="image: strange")
        with refused():
            release.wait(runs(release, "strange"), what="to take what is not its own", deadline=QUIET)
        release.wait(runs(release, "own"), what="to be as it was", deadline=5)


def test_control_a_ready_that_a_person_wrote_brings_no_values(lab: Lab, make_release: MakeRelease) -> None:
    """Negative control of healing: a faked Ready of a release whose values are missing installs nothing."""
    release = make_release("faked", valuesFrom=[reference("nowhere")])
    release.install(**SMALL)
    release.wait(unresolved(release, full("nowhere")), what="to miss its values", deadline=60)
    stop_and_fake_ready(lab, release.ref, revision="1.0.0")
    release.wait(condition(release.ref, "Ready", "True"), what="to be called Ready", deadline=10)
    with refused():
        ready_with(release, "nowhere", deadline=3)
