"""Where a release's values come from: what is missing or malformed is told, what is merged in which order, and who notices a change.

The releases here look again after 10 minutes, so whatever happens sooner is not their interval (flux.md 4.2.15, C-12).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from fluxdrill.flux.advice.case import State
from fluxdrill.flux.operations import reconcile
from fluxdrill.lab.lab import Lab
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.refs import ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from suites.ordering.seen import failed, gone, holds, never
from suites.remediation.conftest import MakeRelease
from suites.remediation.releases import Release, recovered
from suites.remediation.traces import witness
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_a_value_that_did_not_arrive_is_not_called_arrived",)

WATCHED = {"reconcile.fluxcd.io/watch": "Enabled"}
PATIENT = {"interval": "10m"}
QUIET = 6.0

Keep = Callable[..., str]


@pytest.fixture
def keep(lab: Lab) -> Iterator[Keep]:
    """Return a function that writes a ConfigMap (or a Secret) and returns its name; all are removed at the end."""
    mark, made = secrets.token_hex(2), set()

    def write(name: str, data: Mapping[str, str], *, kind: str = "ConfigMap", labels: Mapping[str, str] | None = None) -> str:  # fmt: skip
        meta = {"name": f"{name}-{mark}", "namespace": "default", "labels": dict(labels or {})}
        field = "stringData" if kind == "Secret" else "data"
        lab.api.apply({"apiVersion": "v1", "kind": kind, "metadata": meta, field: dict(data)})
        made.add(ObjectRef("", kind, "default", str(meta["name"])))
        return str(meta["name"])

    yield write
    for ref in made:
        gone(lab, ref)


def source(name: str, *, kind: str = "ConfigMap", **rest: Any) -> dict[str, Any]:
    """Return an entry of spec.valuesFrom."""
    return {"kind": kind, "name": name, **rest}


def carries(release: Release, text: str) -> Any:
    """Met when the release's witness in the cluster carries `text`."""
    return holds(witness(release), lambda obj: obj["data"]["witness"] == text, f"carries {text!r}")


def arrived(release: Release, text: str) -> None:
    """Wait until `text` is what the cluster carries, and the release is in order."""
    release.wait(carries(release, text), what=f"to carry {text!r}", deadline=60)
    release.wait(recovered(release), what="to be Ready", deadline=60)


def test_later_sources_go_over_earlier_ones_and_the_releases_own_values_over_all(
    keep: Keep, make_release: MakeRelease
) -> None:
    """Three sources and its own values, two fields: each comes from the last that has it."""
    first = keep("first", {"values.yaml": "witness: first\nreplicas: 2"})
    second = keep("second", {"other.yaml": "witness: second"}, kind="Secret")
    third = keep("third", {"text": "third"})
    entries = [source(first), source(second, kind="Secret", valuesKey="other.yaml")]
    merged = make_release("merged", valuesFrom=entries, **PATIENT)
    single = make_release(
        "single", valuesFrom=[*entries, source(third, valuesKey="text", targetPath="witness")], **PATIENT
    )
    own = make_release("own", valuesFrom=entries, **PATIENT)
    merged.install()
    single.install()
    own.install(witness="own")
    for release, text in ((merged, "second"), (single, "third"), (own, "own")):
        arrived(release, text)
        assert release.available() == 2, "the field that only the first source has did not arrive"


@pytest.mark.parametrize(
    ("data", "rest", "text"),
    [
        ({"another.yaml": "witness: x"}, {}, "key not found"),
        ({"values.yaml": "witness: [ {"}, {}, "yaml"),
        ({"values.yaml": "just words"}, {}, "cannot unmarshal"),
    ],
    ids=["missing-key", "malformed", "no-mapping"],
)
def test_values_that_cannot_be_used_are_told_and_are_all_that_has_to_be_mended(
    keep: Keep, make_release: MakeRelease, measured: Measured, data: dict[str, str], rest: dict[str, Any], text: str
) -> None:
    """Ready=False (ValuesError) with the cause; nothing is installed; once they are right it goes on by itself."""
    name = keep("values", data, labels=WATCHED)
    release = make_release("unvalued", valuesFrom=[source(name, **rest)], **PATIENT)
    release.install()
    release.wait(failed(release.ref, "ValuesError", text), what="to say what is wrong")
    assert release.advice().state is State.VALUES
    assert release.history() == ()
    begun = SYSTEM_CLOCK.now()
    keep("values", {"values.yaml": "witness: mended"}, labels=WATCHED)
    arrived(release, "mended")
    measured("values mended until Ready", SYSTEM_CLOCK.now().since(begun))


def test_an_optional_source_may_be_missing_and_a_required_one_may_not(keep: Keep, make_release: MakeRelease) -> None:
    """`optional: true` is for the object and for the key."""
    there = keep("there", {"values.yaml": "witness: there"})
    nobody, no_key = source("nobody", optional=True), source(there, valuesKey="no-such-key", optional=True)
    optional = make_release("optional", valuesFrom=[source(there), nobody, no_key], **PATIENT)
    required = make_release("required", valuesFrom=[source(there), source("nobody")], **PATIENT)
    optional.install()
    required.install()
    arrived(optional, "there")
    required.wait(failed(required.ref, "ValuesError", "nobody"), what="to miss its values")


@pytest.mark.ci
def test_a_changed_configmap_reaches_the_workload_at_once_only_with_the_watch_label(
    lab: Lab, keep: Keep, make_release: MakeRelease, measured: Measured
) -> None:
    """C-12: with the label both releases' values are taken up as they change; without it only when somebody asks."""
    watched = keep("watched", {"values.yaml": "witness: before"}, labels=WATCHED)
    plain = keep("plain", {"values.yaml": "witness: before"})
    told = make_release("told", valuesFrom=[source(watched)], **PATIENT)
    untold = make_release("untold", valuesFrom=[source(plain)], **PATIENT)
    for release in (told, untold):
        release.install()
    for release in (told, untold):
        arrived(release, "before")
    begun = SYSTEM_CLOCK.now()
    keep("watched", {"values.yaml": "witness: after"}, labels=WATCHED)
    keep("plain", {"values.yaml": "witness: after"})
    met = told.wait(carries(told, "after"), what="to carry what is new", deadline=60).met
    measured("changed ConfigMap until in the cluster", met.since(begun))
    never(lab, carries(untold, "after"), seconds=QUIET, what="an unlabelled change to be noticed")
    reconcile(lab.api, lab.store, untold.ref, deadline=40)
    arrived(untold, "after")


def test_removed_values_are_told_at_the_next_look_and_what_runs_goes_on(
    lab: Lab, keep: Keep, make_release: MakeRelease
) -> None:
    """C-12: without its ConfigMap a release is Ready=False (ValuesError), and its workload serves what it served."""
    name = keep("removed", {"values.yaml": "witness: before"})
    release = make_release("removed", valuesFrom=[source(name)], **PATIENT)
    release.install()
    arrived(release, "before")
    lab.api.delete(ObjectRef("", "ConfigMap", "default", name))
    reconcile(lab.api, lab.store, release.ref, deadline=40)
    release.wait(failed(release.ref, "ValuesError", name), what="to miss its values")
    assert release.available() == 1
    assert release.statuses() == ("deployed",)
    keep("removed", {"values.yaml": "witness: before"})
    release.wait(recovered(release), what="to be Ready again without a new revision", deadline=60)
    assert release.statuses() == ("deployed",)


def test_control_a_value_that_did_not_arrive_is_not_called_arrived(keep: Keep, make_release: MakeRelease) -> None:
    """Negative control: the release is Ready, and what its ConfigMap says now is not what the cluster carries."""
    name = keep("stale", {"values.yaml": "witness: before"})
    release = make_release("stale", valuesFrom=[source(name)], **PATIENT)
    release.install()
    arrived(release, "before")
    keep("stale", {"values.yaml": "witness: after"})
    with refused():
        release.wait(carries(release, "after"), what="to carry what is new", deadline=3)
