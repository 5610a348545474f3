"""Foreign images are replaced as pods are made, by the real API server: what each container becomes, and what stays."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.cluster.standins import ABSENT, NO_CLASS, PORT, READY_FILE, SCRIPT, policies
from fluxdrill.kube.errors import ApiError
from fluxdrill.lab.lab import Lab, LabSpec
from tests.processes import wait_until

IMAGE, KNOWN = "fluxdrill.invalid/standin:1", "fluxdrill.invalid/known:1"
NOTE = "fluxdrill.dev/behaviour"
AFTER = "fluxdrill.dev/after"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """An API server with the policies in force."""
    with Lab.start(LabSpec(flux=False)) as made:
        for policy in policies(IMAGE, [IMAGE, KNOWN]):
            made.api.apply(policy)
        wait_until(lambda: container(made, {})["image"] == IMAGE)  # the API server takes them up on its own
        yield made


def make(lab: Lab, notes: dict[str, str], *, spec: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return the pod that the API server makes of one container with these fields."""
    one = {"name": "main", "image": "registry.example/app:1", **fields}
    meta = {"generateName": "pod-", "namespace": "default", "annotations": notes}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [one], **(spec or {})}}
    return lab.api.create(pod)


def container(lab: Lab, notes: dict[str, str], **fields: Any) -> dict[str, Any]:
    """Return what becomes of one container."""
    (one,) = make(lab, notes, **fields)["spec"]["containers"]
    assert isinstance(one, dict)
    return one


def acts(one: dict[str, Any]) -> tuple[str, str]:
    """Return the behaviour of a stand-in and its seconds."""
    assert one["command"][:3] == ["sh", "-c", SCRIPT]
    behaviour, seconds, _ = one["command"][3:]
    return behaviour, seconds


@pytest.mark.live
@pytest.mark.ci
def test_a_foreign_container_becomes_a_stand_in_that_is_ready_by_its_own_probe(lab: Lab) -> None:
    probe = {"httpGet": {"path": "/", "port": 80}}
    one = container(lab, {}, args=["serve"], livenessProbe=probe, startupProbe=probe, readinessProbe=probe)
    assert (one["image"], one["imagePullPolicy"], acts(one)) == (IMAGE, "IfNotPresent", ("ready", "0"))
    assert one["readinessProbe"]["tcpSocket"]["port"] == int(one["command"][-1]) == PORT
    assert not {"args", "livenessProbe", "startupProbe"} & {key for key, value in one.items() if value}


@pytest.mark.live
@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ({NOTE: "crash-loop", AFTER: "1m30.5s"}, ("crash-loop", "91")),
        ({AFTER: "200ms"}, ("ready", "1")),
        ({AFTER: "soon"}, ("never-ready", "0")),
        ({NOTE: "oom-kill"}, ("oom-kill", "0")),
        ({NOTE: "misspelt"}, ("misspelt", "0")),
    ],
)
def test_annotations_say_what_it_does_and_when(lab: Lab, notes: dict[str, str], expected: tuple[str, str]) -> None:
    assert acts(container(lab, notes)) == expected


@pytest.mark.live
def test_an_image_that_cannot_be_pulled_is_one_that_nobody_has(lab: Lab) -> None:
    assert container(lab, {NOTE: "image-pull-error"})["image"] == ABSENT


@pytest.mark.live
def test_the_pod_of_a_job_completes_and_init_containers_end_at_once(lab: Lab) -> None:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "one", "uid": "0"}
    before = {"name": "before", "image": "registry.example/tool:1"}
    main = {"name": "main", "image": "registry.example/app:1"}
    meta = {"generateName": "job-", "namespace": "default", "ownerReferences": [owner]}
    spec = {"containers": [main, {**main, "name": "second"}], "initContainers": [before]}
    made = lab.api.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})["spec"]
    assert [acts(one) for one in made["containers"]] == [("complete", "0")] * 2
    assert [one["readinessProbe"]["tcpSocket"]["port"] for one in made["containers"]] == [PORT, PORT + 1]
    assert [acts(one) for one in made["initContainers"]] == [("complete", "0")]


@pytest.mark.live
def test_an_init_container_is_replaced_also_beside_containers_that_are_known(lab: Lab) -> None:
    before = {"name": "before", "image": "registry.example/tool:1"}
    made = make(lab, {}, spec={"initContainers": [before]}, image=KNOWN, command=["serve"])["spec"]
    assert made["initContainers"][0]["image"] == IMAGE
    assert (made["containers"][0]["image"], made["containers"][0]["command"]) == (KNOWN, ["serve"])


@pytest.mark.live
def test_known_images_and_scripts_of_ones_own_stay(lab: Lab) -> None:
    known = container(lab, {NOTE: "crash-loop"}, image=KNOWN, command=["serve"])
    assert (known["image"], known["command"]) == (KNOWN, ["serve"])
    scripted = container(lab, {}, image="simulated", command=["sh", "-c", "exit 3"])
    assert (scripted["image"], scripted["command"]) == (IMAGE, ["sh", "-c", "exit 3"])


@pytest.mark.live
def test_a_claim_that_is_to_stay_pending_gets_a_class_that_nobody_provisions(lab: Lab) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    meta = {"generateName": "claim-", "namespace": "default"}
    for notes, expected in (({"fluxdrill.dev/claim": "pending"}, NO_CLASS), ({}, "standard")):
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {**meta, "annotations": notes}}
        assert lab.api.create({**claim, "spec": spec})["spec"]["storageClassName"] == expected


@pytest.mark.live
def test_control_without_the_policies_a_foreign_image_stays() -> None:
    with Lab.start(LabSpec(flux=False)) as plain:
        try:
            assert container(plain, {})["image"] == "registry.example/app:1"
        except ApiError as error:  # the default account may come a moment later than the API
            pytest.fail(str(error))


@pytest.mark.parametrize(
    ("behaviour", "code", "ready"),
    [
        ("complete", 0, False),
        ("fail", 1, False),
        ("crash-loop", 1, False),
        ("ready", None, True),
        ("never-ready", None, False),
    ],
)
def test_the_script_does_what_it_is_told(tmp_path: Path, behaviour: str, code: int | None, *, ready: bool) -> None:
    """In a real shell; what goes on ends by SIGTERM at once, as a well-behaved program does."""
    file = tmp_path / "ready"
    served = tmp_path / "served"
    # a web server of busybox's is not on every machine: that it was reached is what counts here
    server = f'httpd() {{ echo "$*" > {served}; sleep 60; }}\n'
    script = server + SCRIPT.replace(READY_FILE, str(file))
    with subprocess.Popen(["/bin/sh", "-c", script, behaviour, "0", "8099"], start_new_session=True) as process:
        try:
            if code is None:
                wait_until(lambda: served.exists() or not ready)
                time.sleep(0.2)  # it would have ended by now
                assert process.poll() is None
                os.killpg(process.pid, signal.SIGTERM)
                assert process.wait(5) == 0
            else:
                assert process.wait(5) == code
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert file.exists() is served.exists() is ready
