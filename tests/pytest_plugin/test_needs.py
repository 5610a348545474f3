"""What tests need of their lab: met, skipped with the way out, or red; a need that does not exist is refused."""

from __future__ import annotations

import pytest

from fluxdrill.lab.lab import LabSpec
from fluxdrill.model.capabilities import OFFERED, Capability
from fluxdrill.pytest_plugin.needs import provided, unmet
from fluxdrill.pytest_plugin.proves import complete

pytest_plugins = ["pytester"]

WAYS = "run with --lab-provider=kind or run with --lab-provider=k3d"
SUITE = """
import pytest

@pytest.mark.needs("simulated-pods", "stop-controller")
def test_met(): ...

@pytest.mark.needs("pods")
def test_unmet(): ...

@pytest.mark.needs("simulated-pods")
@pytest.mark.needs("node-exec", "pods")
def test_unmet_twice(): ...
"""
MISTYPED = """
import pytest

@pytest.mark.needs({})
def test_mistyped():
    raise AssertionError("it ran")
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(SUITE)
    return pytester


def test_an_unmet_need_is_a_skip_that_says_how_to_meet_it_and_a_met_one_runs(suite: pytest.Pytester) -> None:
    result = suite.runpytest("-rs", "--strict-markers")
    result.assert_outcomes(passed=1, skipped=2)
    shown = result.stdout.str()
    assert f"needs pods: {WAYS}" in shown
    assert f"needs node-exec, pods: {WAYS}" in shown
    assert "fluxdrill/pytest_plugin" not in shown, "the skip is told of our code and not of the test"


@pytest.mark.parametrize("how", ["command line", "environment", "ini file"])
def test_where_no_skip_is_allowed_an_unmet_need_is_red(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "environment":
        monkeypatch.setenv("FLUXDRILL_LAB_STRICT", "yes")
    if how == "ini file":
        suite.makeini("[pytest]\nlab_strict = yes\n")
    result = suite.runpytest(*(["--lab-strict=yes"] if how == "command line" else []))
    result.assert_outcomes(passed=1, errors=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    where = "FLUXDRILL_LAB_STRICT" if how == "environment" else how
    assert f"strict yes ({where})" in result.stdout.str()
    assert f"needs pods: {WAYS} (--lab-strict=yes allows" in result.stdout.str()


@pytest.mark.parametrize(
    ("named", "told", "workers"),
    [('"pod"', "'pod'", ()), ("", "''", ()), ('"pod"', "'pod'", ("-n2",))],
    ids=["mistyped", "none", "workers"],
)
def test_a_capability_that_does_not_exist_is_refused_before_anything_runs(
    pytester: pytest.Pytester, named: str, told: str, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(MISTYPED.format(named))
    result = pytester.runpytest(*workers)
    shown = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"needs {told}, which is no capability. Choose from: simulated-pods, scripted-pods," in shown
    assert "it ran" not in shown


def test_the_markers_are_explained(pytester: pytest.Pytester) -> None:
    shown = pytester.runpytest("--markers").stdout.str()
    assert "@pytest.mark.needs(*capabilities): what the test needs of its lab (simulated-pods, scripted-pods," in shown
    assert "@pytest.mark.proves(fact, found): the test settles a fact" in shown


def test_a_need_that_no_provider_meets_together_says_so() -> None:
    needs = [Capability.PODS, Capability.CONTROLLER_FILES]
    assert unmet(needs, OFFERED["embedded"]) == f"needs pods: {WAYS}"
    assert unmet(needs, frozenset()) == "needs pods, controller-files: no provider has it"
    assert unmet([Capability.STOP_ETCD], frozenset()) == (
        f"needs stop-etcd: run with --lab-provider=embedded or {WAYS}"
    )
    assert unmet([], frozenset()) == ""


def test_a_lab_without_flux_has_no_controller_to_stop() -> None:
    assert Capability.STOP_CONTROLLER in provided(LabSpec())
    assert Capability.STOP_CONTROLLER not in provided(LabSpec(flux=False))
    assert Capability.STOP_APISERVER in provided(LabSpec(flux=False))


@pytest.mark.parametrize(
    ("arguments", "good"),
    [
        (("flux.md 4.1.10", "the orphan stays"), True),
        (("flux.md C-30", "a loop"), True),
        (("flux.md 4.1.10",), False),
        (("flux.md 4.1.10", " "), False),
        (("somewhere", "the orphan stays"), False),
        (("flux.md 4", "the orphan stays", "and more"), False),
    ],
)
def test_a_proof_names_a_fact_and_what_was_found(arguments: tuple[object, ...], *, good: bool) -> None:
    assert complete(arguments) is good


def test_an_incomplete_proof_is_refused_before_anything_runs(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        'import pytest\n@pytest.mark.proves("flux.md 4")\ndef test_it(): raise AssertionError("it ran")'
    )
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "Give it a fact and what was found" in result.stderr.str()
    assert "it ran" not in result.stdout.str()
