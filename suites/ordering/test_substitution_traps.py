"""Where variables bite: nested Kustomizations, scripts, changed sources, and a Secret that another link makes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluxdrill.kube.wait import all_of, present, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef
from suites.ordering.conftest import Make, Put, Unique
from suites.ordering.links import Link, config, kustomization, secret
from suites.ordering.seen import failed, has_data, never
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_the_same_text_with_its_braces_escaped_builds",
    "test_control_an_object_that_is_written_all_the_same_is_seen",
)

STRICT = "variable not set (strict mode)"
WATCHED = {"reconcile.fluxcd.io/watch": "Enabled"}
TEMPLATE = "`Hello ${user.name}`"


def build(*secrets: str, **inline: str) -> dict[str, Any]:
    """Return a spec with variables from Secrets, and inline ones."""
    return {"postBuild": {"substitute": inline, "substituteFrom": [{"kind": "Secret", "name": one} for one in secrets]}}


def out(name: str) -> ObjectRef:
    """Return the ConfigMap that a link writes."""
    return ObjectRef("", "ConfigMap", "default", name)


def image(value: str) -> dict[str, Any]:
    """Return a patch of a Kustomization that sets one value of its ConfigMaps."""
    operation = [{"op": "add", "path": "/data", "value": {"image": value}}]
    return {"target": {"kind": "ConfigMap"}, "patch": json.dumps(operation)}


@pytest.mark.proves("flux.md 8.4", "a nested variable must be escaped")
def test_a_nested_kustomization_gets_its_variable_only_when_it_is_escaped(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """The outer build goes first: it eats `${IMAGE}` of an inner Kustomization and hands on `$${IMAGE}`."""
    outer, eaten, kept = unique("outer"), unique("eaten"), unique("kept")
    fleet = make_fleet(Link(outer, spec=build(IMAGE="outer")))
    inner = [
        fleet.files(Link(eaten, spec={**build(IMAGE="inner"), "patches": [image("${IMAGE}")]})),
        fleet.files(Link(kept, spec={**build(IMAGE="inner"), "patches": [image("$${IMAGE}")]})),
    ]
    documents = [text for one in inner for path, text in one.items() if path.startswith("clusters/")]
    objects = {path: text for one in inner for path, text in one.items() if not path.startswith("clusters/")}
    fleet.change({f"{outer}/objects.yaml": "---\n".join(documents), **objects}, "nest two")
    wait_for(lab.store, has_data(out(eaten), image="outer"), deadline=40, what="the outer value")
    wait_for(lab.store, has_data(out(kept), image="inner"), deadline=40, what="the inner value")


def stops_all(lab: Lab, name: str, beside: str, said: str, *, seconds: float = 3) -> None:
    """Check that the build of the link `name` fails with `said`, and that nothing is written beside it."""
    wait_for(lab.store, failed(kustomization(name), "BuildFailed", said), deadline=30, what="the build to fail")
    never(lab, present(out(beside)), seconds=seconds, what="the plain object beside it")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("V=1; echo ${V} $V $(date)", STRICT, id="shell"),
        pytest.param("${LIST[0]}", "", id="shell-array"),
        pytest.param(TEMPLATE, "missing closing brace", id="javascript-template"),
    ],
)
def test_one_script_in_a_configmap_stops_every_object_of_its_link(
    lab: Lab, make_fleet: Make, unique: Unique, text: str, said: str
) -> None:
    """The incident of August 2026: braces of another language fail the whole build, and so all objects beside them."""
    name, beside = unique("script"), unique("beside")
    make_fleet(Link(name, text=f"{config(name, run=text)}---\n{config(beside)}", spec=build(X="1")))
    stops_all(lab, name, beside, said)


def test_control_an_object_that_is_written_all_the_same_is_seen(
    lab: Lab, make_fleet: Make, unique: Unique, put: Put
) -> None:
    """Negative control: the build fails just so, but somebody writes the object beside it: the check must fail."""
    name, beside = unique("script"), unique("beside")
    make_fleet(Link(name, text=f"{config(name, run=TEMPLATE)}---\n{config(beside)}", spec=build(X="1")))
    stops_all(lab, name, beside, "missing closing brace", seconds=1)
    put(json.loads(config(beside)))
    with refused():
        stops_all(lab, name, beside, "missing closing brace")


def test_control_the_same_text_with_its_braces_escaped_builds(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """Negative control: escaped, the very same script arrives as it was written, and so does what is beside it."""
    name, beside = unique("escaped"), unique("beside")
    text = config(name, run=TEMPLATE.replace("${", "$${"))
    make_fleet(Link(name, text=f"{text}---\n{config(beside)}", spec=build(X="1")))
    both = all_of(has_data(out(name), run=TEMPLATE), present(out(beside)))
    wait_for(lab.store, both, deadline=30, what="both objects")


def test_a_changed_secret_is_taken_up_at_once_with_the_watch_label_and_not_without(
    lab: Lab, make_fleet: Make, unique: Unique, put: Put
) -> None:
    """`reconcile.fluxcd.io/watch: Enabled` triggers; without it the change waits for the interval (10 min here)."""
    watched, plain = unique("watched"), unique("plain")
    put(json.loads(secret(watched, labels=WATCHED, X="old")))
    put(json.loads(secret(plain, X="old")))
    make_fleet(*(Link(name, text=config(name, x="${X}"), spec=build(name)) for name in (watched, plain)))
    both = all_of(has_data(out(watched), x="old"), has_data(out(plain), x="old"))
    wait_for(lab.store, both, deadline=30, what="the old value")
    put(json.loads(secret(watched, labels=WATCHED, X="new")))
    put(json.loads(secret(plain, X="new")))
    wait_for(lab.store, has_data(out(watched), x="new"), deadline=20, what="the new value")
    never(lab, has_data(out(plain), x="new"), seconds=5, what="the change without a label")


@pytest.mark.ci
def test_s08_a_secret_from_a_dependency_is_there_before_its_consumer_builds(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """S08: with `dependsOn` the consumer never fails; without it, it fails first and only a retry heals it."""
    slow, provider, ordered, unordered = (unique(name) for name in ("slow", "provider", "ordered", "unordered"))
    fleet = make_fleet(
        Link(slow),
        Link(provider, (slow,), text=secret(provider, X="given")),
        Link(ordered, (provider,), text=config(ordered, x="${X}"), spec=build(provider)),
        Link(unordered, text=config(unordered, x="${X}"), spec=build(provider)),
    )
    wait_for(lab.store, failed(kustomization(unordered), "BuildFailed", provider), deadline=30, what="the control")
    fleet.wait_ready()
    both = all_of(has_data(out(ordered), x="given"), has_data(out(unordered), x="given"))
    wait_for(lab.store, both, deadline=10, what="both values")
    reasons = {c.reason for one in lab.store.timeline.of(kustomization(ordered)) for c in one.conditions}
    assert "DependencyNotReady" in reasons, "it never had to wait, so nothing is proved"
    assert "BuildFailed" not in reasons
