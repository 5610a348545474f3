"""SIGKILL of the harness at every write of its ledger: whatever was broken is healed afterwards, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.cluster.embedded import START_DEADLINE
from fluxdrill.faults import catalog
from fluxdrill.kube.api import Api
from fluxdrill.kube.wait import absent, wait_for
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.model.refs import ObjectRef
from fluxdrill.process import Completed, run
from fluxdrill.pytest_plugin.plugin import start
from fluxdrill.scenario import ledger, recover
from fluxdrill.scenario.ledger import ledgers, mirrored
from tests.faults.standing import of_cluster
from tests.lab.test_killed_live import trace
from tests.processes import line, running

pytestmark = [pytest.mark.live]

ROOT = Path(__file__).resolve().parents[2]
VICTIM = "ConfigMap/victim/victim"
NAMESPACE = ObjectRef("", "Namespace", "", "victim")
KUSTOMIZE = {"controller": "kustomize-controller"}
IN_CLUSTER: Mapping[str, Mapping[str, Any]] = {
    "controllers.revoke": KUSTOMIZE,
    "apiserver.throttle": KUSTOMIZE,
    "objects.delete": {"object": VICTIM},
    "objects.edit": {"object": VICTIM, "merge": {"data": {"is": "edited"}}},
    "objects.finalizer": {"object": VICTIM},
    "objects.hold": {"object": VICTIM},
    "objects.namespace-terminating": {"namespace": "victim"},
    "objects.quota": {"namespace": "victim", "hard": {"count/configmaps": "1"}},
    "admission.deny": {"resources": ["configmaps"], "namespace": "victim"},
    "admission.hang": {"namespace": "victim", "seconds": 1},
}
INVISIBLE = frozenset({"objects.delete", "objects.edit"})
"""There is nothing to heal: what was lost is Flux's to bring back."""


@dataclass(frozen=True)
class Point:
    """A moment of one write; `broken` if the fault is in there."""

    write: int
    moment: str
    broken: bool = False

    def __str__(self) -> str:
        return f"{self.moment}-{self.write}"


def points(writes: int, lines: tuple[int, ...], injected: int) -> list[Point]:
    """Return every moment: `lines` are the writes to the file, `injected` the first one after the fault is in."""
    return [
        Point(write, moment, broken=write == injected)
        for write in range(1, writes + 1)
        for moment in ("before", "torn", "after")
        if moment != "torn" or write in lines
    ]


CLUSTER_POINTS = points(6, (1, 4, 6), injected=4)
"""intended, namespace, note; (injected) injected; (healed) note removed, healed."""
HOST_POINTS = points(3, (1, 2, 3), injected=2)
CI_POINTS = frozenset({"after-3", "before-4", "torn-4", "before-6"})


def cases() -> Iterator[Any]:
    """Yield all; in CI one fault at the moments that differ most."""
    for name in IN_CLUSTER:
        for point in CLUSTER_POINTS:
            for place in ("this-host", "elsewhere"):
                ci = name == "controllers.revoke" and str(point) in CI_POINTS
                yield pytest.param(
                    name,
                    point,
                    place,
                    id=f"{name}-{point}-{place}",
                    marks=pytest.mark.ci if ci else pytest.mark.nightly,
                )


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """FLUXDRILL_RUNTIME of this module's own: `recover` looks at every ledger below it."""
    root = tmp_path_factory.mktemp("crash") / "runtime"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLUXDRILL_RUNTIME", str(root))
        yield root


@pytest.fixture(scope="module")
def lab(runtime: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab of the test's own: it survives the harness that is killed."""
    assert not list(runtime.glob("*"))
    with start(request.config, LabSpec()) as one:
        yield one


def harness(*arguments: str) -> list[str]:
    """Return the argv of a harness that will be killed."""
    return [sys.executable, "-m", "tests.scenario.crash_child", *arguments]


def killed(lab: Lab, name: str, point: Point) -> Completed:
    """Run it to its end."""
    arguments = json.dumps(IN_CLUSTER[name])
    return run(harness(str(lab.kubeconfig), name, arguments, str(point.write), point.moment), deadline=60, cwd=ROOT)


def prepare(lab: Lab) -> None:
    """Have the victims, new ones where the last test's are still going."""
    lab.store.follow(NAMESPACE)
    for one in lab.api.list(lab.api.resource("", "Namespace"), field_selector=f"metadata.name={NAMESPACE.name}").items:
        if "deletionTimestamp" in one["metadata"]:
            wait_for(lab.store, absent(NAMESPACE), deadline=60, what="the old victim to be gone")
    for kind, meta in (("Namespace", {"name": "victim"}), ("ConfigMap", {"name": "victim", "namespace": "victim"})):
        lab.api.apply({"apiVersion": "v1", "kind": kind, "metadata": meta})


def lives_of(path: Path) -> list[str]:
    """Return how far the faults of all ledgers are."""
    return [entry.life for one in path.glob("*.jsonl") for entry in ledger.read(one)]


@pytest.mark.parametrize(("name", "point", "place"), list(cases()))
def test_a_fault_in_the_cluster_is_healed_after_a_kill_at_any_write(
    lab: Lab, name: str, point: Point, place: str
) -> None:
    prepare(lab)
    before = of_cluster(lab.api)
    done = killed(lab, name, point)
    assert done.returncode == -signal.SIGKILL, done.stderr
    broken = of_cluster(lab.api)
    if name not in INVISIBLE:
        assert (broken != before) == point.broken, "the kill came at the wrong moment"
    noted = bool(mirrored(lab.api))
    if place == "elsewhere":
        for one in ledgers().glob("*"):
            one.unlink()
        found = recover.recover_cluster(lab.api)
        assert bool(found) == noted
        assert noted or not point.broken, "what is broken can be healed from anywhere"
    else:
        found = recover.recover_host()
        assert found or not point.broken
    assert all(one.clean and one.how == "undone in the cluster" for one in found), found
    assert {one.entry.fault for one in found} <= {name}
    if name == "objects.namespace-terminating" and point.broken:
        wait_for(lab.store, absent(NAMESPACE), deadline=30, what="the victim to be gone")
    assert of_cluster(lab.api) == before
    assert nothing_noted(lab.api)
    assert list(ledgers().glob("*")) == []


def nothing_noted(api: Api) -> bool:
    """Tell whether the harness's own namespace holds nothing of it."""
    found = api.list(api.resource("", "ConfigMap"), namespace=ledger.NAMESPACE).items
    return [one["metadata"]["name"] for one in found] in ([], ["kube-root-ca.crt"])


@pytest.mark.ci
def test_the_enumeration_knows_every_write_and_every_fault(lab: Lab) -> None:
    assert set(IN_CLUSTER) == {name for name, one in catalog.FAULTS.items() if one.where == "cluster"}
    prepare(lab)
    done = killed(lab, "objects.hold", Point(99, "after"))
    assert (done.returncode, done.text) == (0, f"{CLUSTER_POINTS[-1].write}\n"), done.stderr
    assert nothing_noted(lab.api)


def fluxdrill(*arguments: str) -> Completed:
    """Run the command line."""
    code = "import sys; from fluxdrill.cli import main; sys.argv[0] = 'fluxdrill'; main()"
    environment = {**os.environ, "COLUMNS": "400", "TERM": "dumb"}
    return run([sys.executable, "-c", code, *arguments], deadline=60, env=environment)


@pytest.mark.ci
def test_the_command_ends_with_0_when_all_is_healed_and_with_75_while_something_is_open(lab: Lab) -> None:
    prepare(lab)
    before = of_cluster(lab.api)
    killed(lab, "objects.hold", Point(4, "after"))
    (path,) = ledgers().glob("*")
    (entry,) = ledger.read(path)
    server = lab.cluster.processes["kube-apiserver"]
    server.kill()
    still = fluxdrill("recover")
    server.start()
    server.wait_ready(START_DEADLINE)
    assert (still.returncode, still.text[:4]) == (75, "OPEN"), still.stderr
    assert ledger.read(path) == [entry]
    healed = fluxdrill("recover", "--kubeconfig", str(lab.kubeconfig))
    assert (healed.returncode, healed.text[:6]) == (0, "healed"), healed.stderr
    assert of_cluster(lab.api) == before
    again = fluxdrill("recover")
    assert (again.returncode, again.text) == (0, "No open fault.\n")


HOST_CASES = [
    *(("storage.full", {}, point) for point in HOST_POINTS),
    *(("controllers.pause", KUSTOMIZE, point) for point in HOST_POINTS),
    *((name, {}, HOST_POINTS[5]) for name in ("git.down", "apiserver.pause", "etcd.kill")),
    ("apiserver.cut", KUSTOMIZE, HOST_POINTS[5]),
]


@pytest.mark.parametrize(
    ("name", "arguments", "point"),
    [
        pytest.param(
            *case,
            id=f"{case[0]}-{case[2]}",
            marks=pytest.mark.ci if (case[0], str(case[2])) == ("storage.full", "after-2") else pytest.mark.nightly,
        )
        for case in HOST_CASES
    ],
)
def test_a_fault_on_the_host_ends_with_its_lab_after_a_kill_at_any_write(
    runtime: Path, name: str, arguments: dict[str, Any], point: Point
) -> None:
    argv = harness("", name, json.dumps(arguments), str(point.write), point.moment)
    with running(argv, env={"PYTHONPATH": str(ROOT)}) as child:
        folder = Path(line(child.stdout))
        assert folder.is_relative_to(runtime)
        seen = trace(folder)
        assert len(seen.left) > 12, "there is something to remove"
        child.communicate("go on\n", timeout=60)
    assert child.returncode == -signal.SIGKILL
    noted = "intended" in lives_of(ledgers()) or "injected" in lives_of(ledgers())
    assert noted or not point.broken
    found = recover.recover_host()
    assert [(one.clean, one.how) for one in found] == [
        (True, f"it ended with its lab {folder.name}, which is gone")
    ] * noted
    if noted:
        assert seen.left == []
    assert list(ledgers().glob("*")) == []
