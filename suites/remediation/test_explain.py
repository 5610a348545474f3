"""`fluxdrill explain hr` on the real controller: it names the state, lands on the injected cause, and is right about retries."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from fluxdrill.cli import app
from fluxdrill.errors import ExitCode, UsageError
from fluxdrill.flux.advice.case import Advice, Retries, State
from fluxdrill.flux.advice.collect import explain, read
from fluxdrill.flux.advice.rules import advise
from fluxdrill.flux.operations import reconcile, resume, suspend
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import all_of, condition, ready, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.sources.charts import ChartServer
from fluxdrill.sources.faults import ServerFault
from fluxdrill.sources.standin import NAME, package
from suites.ordering.seen import failed, gone, never
from suites.remediation.conftest import MakeRelease, releases_on
from suites.remediation.releases import NEVER_READY, POD, VERSION, Release, recovered, repository, repository_ref
from suites.remediation.situations import BROKEN_IMAGE, IMPATIENT, SITUATIONS, Situation
from suites.sabotage import fake_ready, refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_advice_for_one_situation_is_not_taken_for_that_of_another",)

DEADLINE = 120.0
QUIET = 8.0


def lands_on(release: Release, situation: Situation) -> Predicate:
    """Met when the advice for a release has the situation's state, prospect, leaf and cause."""

    def judge(view: View) -> Verdict3:
        del view  # the watch only says when to look: advice reads for itself, as it does for its user
        advice = explain(release.lab.api, release.ref)[-1]
        return Verdict3.met(advice.says) if _fits(advice, situation) else Verdict3.not_yet(f"{advice}", release.ref)

    # pods, too: a real one that crashes says something else at each moment of its back-off
    return Predicate(judge, kinds=frozenset([GroupKind.of(release.ref), POD]))


def _fits(advice: Advice, situation: Situation) -> bool:
    kind, name = situation.leaf
    at_leaf = advice.leaf.kind == kind and advice.leaf.name.startswith(name)
    told = situation.cause in f"{advice.cause} {advice.says}"
    return (advice.state, advice.retries) == (situation.state, situation.retries) and at_leaf and told


@pytest.fixture(scope="module")
def told(lab: Lab) -> Iterator[dict[str, Release]]:
    """Every situation as a release of its own, brought about at the same time."""
    with releases_on(lab) as make:
        made = {name: make(name, **one.spec) for name, one in SITUATIONS.items()}
        for name, one in SITUATIONS.items():
            made[name].install(**one.install)
        for name, one in SITUATIONS.items():
            if one.upgrade is not None:
                made[name].wait(recovered(made[name]), what="to be installed", deadline=DEADLINE)
                made[name].change(**one.upgrade)
        yield made


@pytest.mark.parametrize("name", SITUATIONS)
def test_s67_advice_names_the_state_and_lands_on_the_injected_cause(told: dict[str, Release], name: str) -> None:
    """State, whether it goes on by itself, the object to blame and its complaint."""
    told[name].wait(lands_on(told[name], SITUATIONS[name]), what="to be explained", deadline=DEADLINE)


@pytest.mark.needs("simulated-pods")  # on real nodes a pod that crashes or lacks its image cannot be healed by hand
def test_what_advice_says_of_trying_again_is_what_happens_once_the_cause_has_healed(
    lab: Lab, told: dict[str, Release], measured: Measured
) -> None:
    """Every cause heals: who was said to go on does, who was not does not, and then the named command helps."""
    curable = {name: one for name, one in SITUATIONS.items() if one.cure is not None}
    for name, one in curable.items():
        told[name].wait(lands_on(told[name], one), what="to be explained", deadline=DEADLINE)
        assert one.cure is not None
        one.cure(told[name])
    alone = [name for name, one in curable.items() if one.retries is Retries.BY_ITSELF]
    stuck = [name for name, one in curable.items() if one.retries is Retries.NOT_BY_ITSELF]
    assert alone
    assert stuck
    for name in alone:
        measured(f"{name} recovers by itself", told[name].wait(recovered(told[name]), what="to recover").seconds)
    for name in stuck:
        told[name].wait_serving()
        never(lab, recovered(told[name]), seconds=QUIET, what=f"{name} to recover by itself")
        assert advise(read(lab.api, told[name].ref)).do.endswith(f"{told[name].name} -n default --reset")
        reconcile(lab.api, lab.store, told[name].ref, deadline=40, reset=True)
        told[name].wait(recovered(told[name]), what="to recover by the command that was named")


@pytest.mark.ci
def test_s67_advice_follows_a_dependency_down_to_the_pod_that_fails(make_release: MakeRelease) -> None:
    """S67: the release waits, the one it waits for is stalled, and the chain ends at that one's pod."""
    first = make_release("first", install=IMPATIENT)
    second = make_release("second", dependsOn=[{"name": first.name}])
    first.install(**BROKEN_IMAGE)
    second.install()
    first.wait_stalled(deadline=DEADLINE)
    second.wait(failed(second.ref, "DependencyNotReady", ""), what="to say that it waits", deadline=60)
    chain = explain(second.lab.api, second.ref)
    assert [one.about for one in chain] == [second.ref, first.ref]
    assert (chain[0].state, chain[0].leaf, chain[0].retries) == (State.DEPENDENCY, first.ref, Retries.BY_ITSELF)
    assert chain[1].leaf.kind == "Pod"
    assert "ImagePull" in chain[1].cause  # a real kubelet says ErrImagePull and ImagePullBackOff in turn


def test_s67_advice_tells_missing_values_and_goes_on_once_they_are_there(make_release: MakeRelease) -> None:
    """S67: the leaf is the ConfigMap that is not there; with it, the release goes on by itself, as was said."""
    mark = f"values-{secrets.token_hex(2)}"
    release = make_release("unvalued", valuesFrom=[{"kind": "ConfigMap", "name": mark}])
    release.install()
    release.wait(failed(release.ref, "ValuesError", mark), what="to miss its values")
    advice = explain(release.lab.api, release.ref)[-1]
    leaf = ObjectRef("", "ConfigMap", "default", mark)
    assert (advice.state, advice.retries, advice.leaf) == (State.VALUES, Retries.BY_ITSELF, leaf)
    meta = {"name": mark, "namespace": "default"}
    release.lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"values.yaml": "{}"}})
    release.wait(recovered(release), what="to go on by itself")
    gone(release.lab, leaf)


def test_s67_advice_tells_a_version_that_does_not_exist_from_a_repository_that_is_down(lab: Lab) -> None:
    """S67: the leaf is the HelmChart in the one case, the HelmRepository in the other; Ready is only cut off."""
    mark = secrets.token_hex(2)
    with ChartServer(host=lab.host) as server:
        server.publish(NAME, VERSION, package(VERSION))
        source = repository_ref(f"explained-{mark}")
        lab.api.apply(repository(source.name, server.url))
        release = Release(lab, f"explained-{mark}", repository=source.name, spec={})
        try:
            release.install()
            release.wait_ready()
            _ask_for_version(release, "9.9.9")
            release.wait(_leaf_is(release, "HelmChart", State.CHART, Retries.NOT_BY_ITSELF), what="to miss a version")
            _ask_for_version(release, VERSION)
            release.wait_ready()
            server.fault = ServerFault.down()
            reconcile(lab.api, lab.store, source, deadline=30)
            wait_for(lab.store, failed(source, "Failed", ""), deadline=30, what="the repository to say that it is down")
            release.wait(_leaf_is(release, "HelmRepository", State.CUT_OFF, Retries.BY_ITSELF), what="to be cut off")
        finally:
            server.heal()
            release.remove()
            gone(lab, source)


def _ask_for_version(release: Release, version: str) -> None:
    release.lab.api.patch(release.ref, {"spec": {"chart": {"spec": {"version": version}}}})


def _leaf_is(release: Release, kind: str, state: State, retries: Retries) -> Predicate:
    return lands_on(release, Situation(state, retries, (kind, "")))


def test_advice_tells_suspended_from_resumed_and_drifted_from_in_sync(make_release: MakeRelease) -> None:
    """A suspended release does nothing by itself; one that only warns of drift leaves it."""
    release = make_release("warned", driftDetection={"mode": "warn"})
    release.install()
    release.wait(recovered(release), what="to be installed")
    suspend(release.lab.api, release.ref)
    assert explain(release.lab.api, release.ref)[0].state is State.SUSPENDED
    resume(release.lab.api, release.ref)
    release.lab.api.patch(release.deployment, {"spec": {"replicas": 2}})
    release.wait(condition(release.ref, "Drifted", "True", "DriftDetected"), what="to warn", deadline=60)
    release.wait(all_of(ready(release.ref), ready(release.deployment)), what="to be Ready again", deadline=60)
    found = explain(release.lab.api, release.ref)[0]
    assert (found.state, found.retries) == (State.DRIFTED, Retries.NOT_BY_ITSELF)


def test_the_command_prints_two_sentences_and_one_cure_and_its_exit_code_can_be_gated_on(
    lab: Lab, told: dict[str, Release]
) -> None:
    """Exit code 0 for a healthy release, 1 for one that needs somebody, usage error for one that is not there."""
    config = ["--kubeconfig", str(lab.kubeconfig)]
    sick = told["uninstalled"]
    sick.wait_stalled(deadline=DEADLINE)
    healthy = told["healthy"]
    healthy.wait(recovered(healthy), what="to be installed")
    good = CliRunner().invoke(app, ["explain", "hr", f"default/{healthy.name}", *config])
    assert (good.exit_code, "It is Ready" in good.output) == (ExitCode.PASS, True), good.output
    bad = CliRunner().invoke(app, ["explain", "hr", f"default/{sick.name}", *config, "--json"])
    said = json.loads(bad.output)[0]
    assert bad.exit_code == ExitCode.FAILED
    assert said["state"] == "stalled, out of retries"
    assert "was uninstalled, so nothing of it runs" in said["says"]
    none = CliRunner().invoke(app, ["explain", "hr", "default/nobody", *config])
    assert isinstance(none.exception, UsageError)


def test_control_advice_for_one_situation_is_not_taken_for_that_of_another(
    lab: Lab, told: dict[str, Release], make_release: MakeRelease
) -> None:
    """Negative control: every situation refuses the advice of a healthy release, and a faked Ready is not healthy."""
    healthy = told["healthy"]
    healthy.wait(recovered(healthy), what="to be installed")
    advice = explain(lab.api, healthy.ref)[-1]
    assert [name for name, one in SITUATIONS.items() if _fits(advice, one)] == ["healthy"]
    with refused():
        healthy.wait(lands_on(healthy, SITUATIONS["rolled-back"]), what="to be explained", deadline=2)
    release = make_release("faked", install=IMPATIENT)
    release.install(**NEVER_READY)
    release.wait_stalled()
    fake_ready(lab, release.ref, revision=VERSION)
    assert explain(lab.api, release.ref)[-1].state is not State.READY, "a status that a person wrote was believed"
