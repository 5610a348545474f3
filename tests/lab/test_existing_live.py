"""Clusters that are there already: looked at without one write, and written to only where they are named twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from fluxdrill.cluster.embedded import ClusterOptions
from fluxdrill.errors import RefusedError, UsageError
from fluxdrill.kube.api import Api
from fluxdrill.lab.existing import VARIABLE, Existing, kubeconfig_of, refuse_writes
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.lab.serve import HOMELAB_PATH, homelab, serve
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.profile import Profile

ROOT = Path(__file__).parents[2]
PROOF = ObjectRef("", "ConfigMap", "default", "written")
ADMIN = "fluxdrill:admin"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_could_change_something_is_refused_by_its_verb(method: str) -> None:
    with pytest.raises(RefusedError, match="open for reading only"):
        refuse_writes(method, "/api/v1/namespaces/default/pods/one/eviction")


def test_reading_and_asking_are_allowed() -> None:
    refuse_writes("GET", "/api/v1/pods")
    refuse_writes("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews")


@pytest.mark.parametrize(
    "path",
    ["/apis/authorization.k8s.io/v1/subjectaccessreviews/../pods", "/x/apis/authorization.k8s.io/v1/somereviews"],
)
def test_what_only_looks_like_a_question_is_refused(path: str) -> None:
    with pytest.raises(RefusedError):
        refuse_writes("POST", path)


def test_without_a_kubeconfig_it_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="KUBECONFIG"):
        kubeconfig_of(str(tmp_path / "none"))


@pytest.fixture(scope="module")
def watched() -> Iterator[Lab]:
    """A lab with the reference repository, whose API server writes down who writes."""
    with Lab.start(LabSpec(sealed_secrets=True, cluster=ClusterOptions(audit=True))) as lab:
        serve(lab, str(homelab()), path=HOMELAB_PATH, profile=Profile.FAST).wait_ready(deadline=240)
        yield lab


def writes(lab: Lab) -> int:
    """Return how many writes of the administrator, whose kubeconfig everybody here uses, are in the audit log."""
    events = map(json.loads, lab.cluster.audit_log.read_text(encoding="utf-8").splitlines())
    return sum(one["user"]["username"] == ADMIN for one in events)


def look(lab: Lab, *words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the suite that looks at a cluster, as its user would."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "suites" / "existing")]
    options = ["--lab-provider=existing", f"--lab-kubeconfig={lab.kubeconfig}", *words]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(lab.folder), **(environment or {})}
    return subprocess.run(
        [*argv, *options], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.live
def test_the_suite_that_looks_at_a_cluster_passes_without_one_write_in_its_audit_log(watched: Lab) -> None:
    before = writes(watched)
    assert before > 0, "the log has nothing at all: it would not have this either"
    done = look(watched)
    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout
    assert writes(watched) == before
    watched.api.apply(proof())  # a control: the log does take down what this account writes
    assert writes(watched) == before + 1


@pytest.mark.live
def test_a_test_that_needs_a_lab_of_its_own_is_skipped_there_and_says_how_to_run_it(watched: Lab) -> None:
    before = writes(watched)
    done = look(watched, str(ROOT / "suites" / "smoke"))
    assert "needs a lab made for it: run with --lab-provider=embedded or --lab-provider=kind or" in done.stdout
    assert "8 passed, 6 skipped" in done.stdout
    assert writes(watched) == before


@pytest.mark.live
@pytest.mark.ci
def test_it_is_written_to_only_where_it_is_named_twice_and_is_the_lab_that_is_meant(watched: Lab) -> None:
    lab, kubeconfig = watched.lab_id, watched.kubeconfig
    for write, environment in ((lab, {}), ("", {VARIABLE: lab}), (lab, {VARIABLE: "lab-other"})):
        with pytest.raises(RefusedError, match="nothing is written"):
            Existing.open(kubeconfig, write=write, environment=environment)
    with pytest.raises(RefusedError, match=f"is the lab {lab}, not lab-other"):
        Existing.open(kubeconfig, write="lab-other", environment={VARIABLE: "lab-other"})
    with (
        Existing.open(kubeconfig, environment={}) as reading,
        pytest.raises(RefusedError, match="open for reading only"),
    ):
        reading.api.apply(proof())
    with Existing.open(kubeconfig, write=lab, environment={VARIABLE: lab}) as writing:
        assert writing.lab == lab
        writing.api.apply(proof())
        writing.api.delete(PROOF)


@pytest.mark.live
def test_a_cluster_without_the_marker_is_not_written_to_however_often_it_is_named() -> None:
    with Lab.start(LabSpec(flux=False)) as lab:
        named = lab.lab_id
        with pytest.raises(RefusedError, match="not a lab of fluxdrill"):
            Existing.open(lab.kubeconfig, write=named, environment={VARIABLE: named})


@pytest.mark.live
def test_what_it_refuses_is_refused_for_its_watches_too(watched: Lab) -> None:
    """A watch has connections of its own; they are guarded by the same rule."""
    with Existing.open(watched.kubeconfig, environment={}) as reading:
        sibling: Api = reading.api.sibling()
        with sibling, pytest.raises(RefusedError):
            sibling.delete(PROOF)


def proof() -> dict[str, object]:
    """Return an object to write."""
    return {"apiVersion": "v1", "kind": PROOF.kind, "metadata": {"name": PROOF.name, "namespace": PROOF.namespace}}
