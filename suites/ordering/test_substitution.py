"""postBuild substitution: what is missing, what is optional, and what reaches the cluster literally.

Facts of kustomize-controller 1.9: strict by default; nothing defined at all skips substitution.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fluxdrill.flux import NAMESPACE
from fluxdrill.kube.wait import condition, present, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.conditions import ready
from fluxdrill.model.refs import ObjectRef
from suites.ordering.conftest import Make
from suites.ordering.links import Link, config, kustomization
from suites.sabotage import refused, stop_and_fake_ready

pytestmark = [pytest.mark.live]

CONTROLS = (
    "test_control_a_defined_variable_is_substituted",
    "test_control_a_failed_build_that_a_person_calls_ready_is_not_taken_for_one",
)

Unique = Callable[[str], str]


def sources(*entries: dict[str, Any], **inline: str) -> dict[str, Any]:
    """Return a spec with substitution sources and inline values."""
    build: dict[str, Any] = {"substituteFrom": list(entries)} if entries else {}
    return {"postBuild": {**build, **({"substitute": inline} if inline else {})}}


def source(kind: str, name: str, *, optional: bool = False) -> dict[str, Any]:
    return {"kind": kind, "name": name, "optional": optional}


def variables(lab: Lab, name: str, **values: str) -> dict[str, Any]:
    """Apply a ConfigMap of variables by hand and return it as a source."""
    metadata = {"name": name, "namespace": NAMESPACE}
    lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": values})
    return source("ConfigMap", name)


def written(lab: Lab, name: str) -> dict[str, str]:
    """Return the data that reached the cluster."""
    ref = ObjectRef("", "ConfigMap", "default", name)
    wait_for(lab.store, present(ref), deadline=5, what=f"{ref}")
    return dict(lab.api.get(ref)["data"])


def fails(lab: Lab, name: str, reason: str = "BuildFailed", *, deadline: float = 30) -> str:
    """Wait until the link fails for `reason`; return what it says."""
    told = condition(kustomization(name), "Ready", "False", reason)
    wait_for(lab.store, told, deadline=deadline, what=f"{name} to fail")
    found = ready(lab.store.get(kustomization(name)) or {})
    return found.message if found is not None else ""


@pytest.mark.proves("flux.md 8.8", "2.9 says variable not set (strict mode)")
@pytest.mark.ci
def test_s19_a_missing_variable_fails_the_build_in_strict_mode_and_is_named(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """S19 (corrected): since 1.9 a bare variable without value fails the build instead of becoming empty."""
    name = unique("strict")
    make_fleet(Link(name, text=config(name, x="${DEFINED} ${ABSENT}"), spec=sources(DEFINED="yes")))
    told = fails(lab, name)
    assert "variable not set (strict mode)" in told
    assert "ABSENT" in told


def test_control_a_defined_variable_is_substituted(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """Negative control: with a value the same build passes, and the value is what reaches the cluster."""
    name = unique("defined")
    make_fleet(
        Link(name, text=config(name, x="${DEFINED}", y="${ABSENT:=fallback}"), spec=sources(DEFINED="given"))
    ).wait_ready()
    assert written(lab, name) == {"x": "given", "y": "fallback"}


def test_control_a_failed_build_that_a_person_calls_ready_is_not_taken_for_one(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Negative control: neither "it failed" nor "it is Ready and was written" gets past a faked status."""
    name = unique("faked")
    fleet = make_fleet(Link(name, text=config(name, x="${ABSENT}"), spec=sources(DEFINED="yes")))
    fails(lab, name)
    stop_and_fake_ready(lab, kustomization(name), revision=fleet.revision)
    fleet.wait_ready(deadline=10)
    with refused():
        fails(lab, name, deadline=2)
    with refused():
        assert written(lab, name) == {"x": ""}


def test_a_value_that_reads_as_a_boolean_is_one_after_substitution(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """The trap of `yes`, `on` and numbers: substitution is text, and YAML reads the text anew, quoted or not in Git."""
    name = unique("boolean")
    make_fleet(Link(name, text=config(name, x="${ANSWER}"), spec=sources(ANSWER="yes")))
    assert "expected string" in fails(lab, name, "ReconciliationFailed")


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
def test_s08_a_missing_source_fails_the_build_and_is_named(
    kind: str, lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """S08, S19: a required source that does not exist blocks its consumer and is named; its arrival heals it."""
    name = unique("needs")
    make_fleet(fleet_link := Link(name, text=config(name, x="${V}"), spec=sources(source(kind, name))))
    assert f"substitute from '{kind}/{name}' error" in fails(lab, name)
    values = {"stringData" if kind == "Secret" else "data": {"V": "there"}}
    lab.api.apply({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **values})
    wait_for(lab.store, condition(fleet_link.ref, "Ready", "True"), deadline=60, what=f"{name} to heal")
    assert written(lab, name) == {"x": "there"}


def test_an_optional_source_may_be_missing_while_another_one_defines(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """An optional source that is missing is passed over; what the others define is substituted."""
    name = unique("optional")
    entry = source("ConfigMap", unique("nowhere"), optional=True)
    make_fleet(Link(name, text=config(name, x="${V}"), spec=sources(entry, V="inline"))).wait_ready()
    assert written(lab, name) == {"x": "inline"}


@pytest.mark.proves("flux.md 8.5", "with no variable at all substitution is skipped")
@pytest.mark.ci
def test_with_nothing_defined_at_all_variables_reach_the_cluster_literally(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """The trap: only optional sources and all missing skips substitution, strict or not, defaults or not."""
    name = unique("literal")
    entry = source("ConfigMap", unique("nowhere"), optional=True)
    make_fleet(Link(name, text=config(name, x="${V}", y="${V:=fallback}"), spec=sources(entry))).wait_ready()
    assert written(lab, name) == {"x": "${V}", "y": "${V:=fallback}"}


def test_the_strategy_always_substitutes_although_nothing_is_defined(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """The way out of the trap, since 2.9: substituteStrategy Always."""
    name = unique("always")
    spec = {
        "postBuild": {
            "substituteStrategy": "Always",
            "substituteFrom": [source("ConfigMap", unique("no"), optional=True)],
        }
    }
    make_fleet(Link(name, text=config(name, y="${V:=fallback}"), spec=spec)).wait_ready()
    assert written(lab, name) == {"y": "fallback"}


def test_an_escaped_variable_and_one_of_a_disabled_object_stay_as_they_are(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Shell in ConfigMaps: `$$` escapes one variable, the annotation switches a whole object off."""
    name = unique("shell")
    disabled = json.loads(config(f"{name}-off", run="echo ${HOME}"))
    disabled["metadata"]["annotations"] = {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}
    text = f"{config(name, run='echo $${HOME} ${V}')}---\n{json.dumps(disabled)}\n"
    make_fleet(Link(name, text=text, spec=sources(V="v"))).wait_ready()
    assert written(lab, name) == {"run": "echo ${HOME} v"}
    assert written(lab, f"{name}-off") == {"run": "echo ${HOME}"}


def test_later_sources_win_over_earlier_ones_and_inline_values_over_all(
    lab: Lab, make_fleet: Make, unique: Unique
) -> None:
    """Precedence: inline, then the last source, then the first."""
    name = unique("order")
    first = variables(lab, unique("first"), A="first", B="first", C="first")
    last = variables(lab, unique("last"), B="last", C="last")
    text = config(name, a="${A}", b="${B}", c="${C}")
    make_fleet(Link(name, text=text, spec=sources(first, last, C="inline"))).wait_ready()
    assert written(lab, name) == {"a": "first", "b": "last", "c": "inline"}


def test_newlines_are_stripped_from_values(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """A value of several lines becomes one: what depends on line breaks does not survive substitution."""
    name = unique("lines")
    lines = variables(lab, unique("lines"), V="one\ntwo\n")
    make_fleet(Link(name, text=config(name, x="${V}"), spec=sources(lines))).wait_ready()
    assert written(lab, name) == {"x": "onetwo"}


def test_an_invalid_variable_name_fails_the_build(lab: Lab, make_fleet: Make, unique: Unique) -> None:
    """A key that is no variable name is an error of the whole build."""
    name = unique("dash")
    bad = variables(lab, unique("bad"), **{"not-a-name": "x"})
    make_fleet(Link(name, text=config(name, x="1"), spec=sources(bad)))
    assert "not-a-name" in fails(lab, name)
