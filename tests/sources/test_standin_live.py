"""The stand-in chart rendered by the real helm: what its values make of it, and what a shell makes of its scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxdrill.cluster.simulated import AFTER, BEHAVIOUR
from fluxdrill.process import Completed, DeadlineExceededError, run
from fluxdrill.sources.standin import crd, package
from fluxdrill.toolchain.build import ensure

pytestmark = [pytest.mark.live, pytest.mark.ci]

Documents = dict[str, dict[str, Any]]
SECRET_LIMIT_KIB = 1024


class Chart:
    """The packed chart and helm, away from any cluster."""

    def __init__(self, helm: Path, folder: Path) -> None:
        self.helm = helm
        self.archive = folder / "standin-1.0.0.tgz"
        self.archive.write_bytes(package("1.0.0", files={"crds/widgets.yaml": crd("a.example", witness="first")}))

    def helm_template(self, *flags: str, **values: Any) -> Completed:
        """Run `helm template`, the values on its stdin."""
        argv: list[str | Path] = [self.helm, "template", "r", self.archive, "--values", "-", *flags]
        return run(argv, deadline=20, stdin=json.dumps(values).encode())

    def render(self, *flags: str, **values: Any) -> Documents:
        """Return what the chart makes of `values`, by "Kind/name"."""
        done = self.helm_template(*flags, **values)
        assert done.returncode == 0, done.stderr
        found = [one for one in yaml.safe_load_all(done.text) if one]
        return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}

    def refused(self, **values: Any) -> str:
        """Return why helm refuses `values`."""
        done = self.helm_template(**values)
        assert done.returncode != 0, "it was not refused"
        return done.stderr


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    return Chart(ensure(["helm"])[0]["helm"], tmp_path_factory.mktemp("chart"))


def template(document: dict[str, Any]) -> dict[str, Any]:
    found = document["spec"]["template"]
    assert isinstance(found, dict)
    return found


def behaviour(found: Documents, name: str = "Deployment/r") -> str:
    return str(template(found[name])["metadata"]["annotations"][BEHAVIOUR])


def script(found: Documents, name: str = "Deployment/r") -> str:
    (container,) = template(found[name])["spec"]["containers"]
    assert container["command"][:2] == ["sh", "-c"]
    return str(container["command"][2])


def test_without_values_there_is_a_ready_workload_and_its_witness(chart: Chart) -> None:
    found = chart.render()
    assert set(found) == {"Deployment/r", "ConfigMap/r-witness"}
    assert behaviour(found) == "ready"


@pytest.mark.parametrize(
    ("flags", "values", "misbehaves"),
    [
        ((), {}, True),
        ((), {"when": "install"}, True),
        ((), {"when": "upgrade"}, False),
        (("--is-upgrade",), {"when": "upgrade"}, True),
        (("--is-upgrade",), {"when": "install"}, False),
        ((), {"revisions": [1]}, True),
        ((), {"revisions": [2, 1]}, True),
        ((), {"revisions": [2, 11]}, False),
        ((), {"when": "upgrade", "revisions": [1]}, False),
    ],
)
def test_it_misbehaves_in_the_actions_and_revisions_that_are_asked_for(
    chart: Chart, flags: tuple[str, ...], values: dict[str, Any], *, misbehaves: bool
) -> None:
    asked = {"behaviour": "crash-loop", "hook": "fail", "job": "fail", "test": "fail"}
    found = chart.render(*flags, **asked, **values)
    words = [behaviour(found), behaviour(found, "Job/r-hook"), behaviour(found, "Job/r-job")]
    words.append(found["Pod/r-test"]["metadata"]["annotations"][BEHAVIOUR])
    assert words == (["crash-loop", "fail", "fail", "fail"] if misbehaves else ["ready", *["complete"] * 3])


def test_a_template_error_comes_when_it_is_asked_for(chart: Chart) -> None:
    assert "the values ask for a template error" in chart.refused(templateError=True)
    assert "Deployment/r" in chart.render(templateError=True, when="upgrade")


@pytest.mark.parametrize(
    "values",
    [
        {"behavior": "ready"},
        {"behaviour": "redy"},
        {"after": "20"},
        {"revisions": 2},
        {"revisions": [0]},
        {"hookEvents": "pre-install, pre-upgrade"},
        {"persistence": {"enable": True}},
        {"persistence": {"witness": "it's"}},
        {"suffix": "two"},
        {"widgets": "Widgets"},
    ],
    ids=str,
)
def test_the_schema_refuses_what_is_misspelt(chart: Chart, values: dict[str, Any]) -> None:
    assert "values don't meet the specifications of the schema" in chart.refused(**values)


def test_a_claim_is_made_kept_or_that_of_another(chart: Chart) -> None:
    own = chart.render(persistence={"enabled": True, "witness": "w"})
    assert own["PersistentVolumeClaim/r-data"]["metadata"]["annotations"] == {"fluxdrill.dev/witness": "w"}
    kept = chart.render(persistence={"enabled": True, "keep": True})["PersistentVolumeClaim/r-data"]
    assert kept["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    other = chart.render(persistence={"enabled": True, "existingClaim": "theirs"})
    assert not any(name.startswith("PersistentVolumeClaim/") for name in other)
    for found, name in ((own, "r-data"), (other, "theirs")):
        (volume,) = template(found["Deployment/r"])["spec"]["volumes"]
        assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": name}}


def test_the_other_values_add_what_they_say(chart: Chart) -> None:
    assert set(chart.render(suffix="-two")) == {"Deployment/r-two", "ConfigMap/r-witness"}
    assert chart.render(widgets="a.example")["Widget/r"]["apiVersion"] == "a.example/v1"
    assert chart.render(elsewhere="other")["ConfigMap/r-elsewhere"]["metadata"]["namespace"] == "other"
    hook = chart.render(hook="fail", hookEvents="pre-delete,post-upgrade")["Job/r-hook"]
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete,post-upgrade"
    image = template(chart.render(image="busybox")["Deployment/r"])["spec"]["containers"][0]["image"]
    assert image == "busybox"


def test_only_the_random_secret_differs_from_one_rendering_to_the_next(chart: Chart) -> None:
    one, other = chart.render(randomSecret=True), chart.render(randomSecret=True)
    assert one.pop("Secret/r-random") != other.pop("Secret/r-random")
    assert one == other


def test_the_padding_is_as_large_as_asked_and_no_single_object_is_too_large(chart: Chart) -> None:
    found = chart.render(padding=1700)
    sizes = [len(one["data"]["padding"]) / 1024 for name, one in found.items() if "padding" in name]
    assert 1700 <= sum(sizes) < 1800
    assert max(sizes) < SECRET_LIMIT_KIB / 2


def test_the_crd_comes_with_the_chart_and_tells_its_witness(chart: Chart) -> None:
    found = chart.render("--include-crds")["CustomResourceDefinition/widgets.a.example"]
    assert found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] == "first"


@pytest.mark.parametrize(
    ("after", "seconds"), [("0s", 0), ("20s", 20), ("1m30s", 90), ("1.5m", 90), ("1500ms", 2), ("1h", 3600)]
)
def test_a_real_pod_sleeps_as_long_as_a_simulated_one_waits(chart: Chart, after: str, seconds: int) -> None:
    found = chart.render(after=after)
    assert template(found["Deployment/r"])["metadata"]["annotations"][AFTER] == after
    assert script(found).splitlines()[0] == f"sleep {seconds}"


def shell(text: str, folder: Path, *, deadline: float = 10) -> int:
    """Run a pod's script with `folder` as its /dev/shm and /data, in 64 MiB, and return its exit code."""
    here = text.replace("/dev/shm/", f"{folder}/").replace("/data/", f"{folder}/data-")
    # a web server of busybox's is not on every machine: that it was reached is what counts here
    server = folder / "bin" / "httpd"
    server.parent.mkdir(exist_ok=True)
    server.write_text(f'#!/bin/sh\necho "$*" > {folder}/served\nexec sleep 60\n', encoding="utf-8")
    server.chmod(0o755)
    env = {"PATH": f"{server.parent}:/usr/bin:/bin"}
    return run(["sh", "-c", f"ulimit -v 65536\n{here}"], deadline=deadline, env=env).returncode


@pytest.mark.parametrize(
    ("values", "name", "code"),
    [
        ({"behaviour": "crash-loop"}, "Deployment/r", 1),
        ({"behaviour": "oom-kill"}, "Deployment/r", 1),  # tail gives up where the kernel would kill it
        ({"job": "complete"}, "Job/r-job", 0),
        ({"job": "fail"}, "Job/r-job", 1),
        ({"hook": "complete"}, "Job/r-hook", 0),
        ({"hook": "fail"}, "Job/r-hook", 1),
    ],
    ids=str,
)
def test_the_script_of_a_pod_that_ends_ends_so_and_was_never_ready(
    chart: Chart, tmp_path: Path, values: dict[str, str], name: str, code: int
) -> None:
    assert shell(script(chart.render(**values), name), tmp_path) == code
    assert not (tmp_path / "ready").exists()


@pytest.mark.parametrize(("values", "is_ready"), [({}, True), ({"behaviour": "never-ready"}, False)], ids=str)
def test_the_script_of_a_serving_pod_goes_on_and_its_probe_finds_it_ready_or_not(
    chart: Chart, tmp_path: Path, values: dict[str, str], *, is_ready: bool
) -> None:
    found = chart.render(**values)
    with pytest.raises(DeadlineExceededError):
        shell(script(found), tmp_path, deadline=1)
    (container,) = template(found["Deployment/r"])["spec"]["containers"]
    port = container["readinessProbe"]["tcpSocket"]["port"]
    served = tmp_path / "served"
    assert served.exists() is is_ready
    assert not is_ready or f"-p {port} " in served.read_text(encoding="utf-8")


def test_a_hanging_hook_goes_on_and_an_image_that_cannot_be_pulled_is_nobodys(chart: Chart, tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceededError):
        shell(script(chart.render(hook="hang"), "Job/r-hook"), tmp_path, deadline=1)
    image = template(chart.render(behaviour="image-pull-error")["Deployment/r"])["spec"]["containers"][0]["image"]
    assert image.split("/")[0].endswith(".invalid")


def test_the_first_pod_leaves_the_witness_on_the_volume_and_a_later_one_leaves_it_there(
    chart: Chart, tmp_path: Path
) -> None:
    for witness in ("first", "second"):
        found = chart.render(behaviour="crash-loop", persistence={"enabled": True, "witness": witness})
        assert shell(script(found), tmp_path) == 1
    assert (tmp_path / "data-witness").read_text() == "first\n"
