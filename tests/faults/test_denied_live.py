"""A fault that RBAC denies was not injected: it raises, nothing is broken, and its scenario is invalid, never passed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fluxdrill.faults import catalog
from fluxdrill.faults.world import World
from fluxdrill.kube.errors import ForbiddenError
from fluxdrill.model.verdicts import Verdict
from fluxdrill.report.journal import Journal
from fluxdrill.scenario.ledger import ledgers, mirrored
from fluxdrill.scenario.plan import plan
from fluxdrill.scenario.schema import Scenario
from fluxdrill.scenario.session import run_scenario
from tests.faults.cases import CASES
from tests.faults.restricted import ASK, NOTES, READ, restricted
from tests.faults.standing import identities, of_cluster
from tests.scenario.samples import sample

WRITES = ["controllers.revoke", "apiserver.throttle", "admission.deny", "admission.hang", "objects.quota"]
WRITES += [name for name in CASES if name.startswith("objects.") and name != "objects.quota"]


def test_every_fault_of_the_cluster_is_denied_here() -> None:
    assert set(WRITES) == {name for name, one in catalog.FAULTS.items() if one.where == "cluster"}


@pytest.mark.live
@pytest.mark.parametrize("name", WRITES)
def test_a_denied_fault_raises_and_breaks_nothing(world: World, name: str, tmp_path: Path) -> None:
    fault = catalog.make(name, CASES[name].arguments)
    with restricted(world, tmp_path, READ) as api:
        before = of_cluster(world.api) | identities(world)
        denied = replace(world, api=api)
        state = fault.prepare(denied)
        with pytest.raises(ForbiddenError):
            fault.inject(denied, state)
        fault.heal(world, state)
        assert of_cluster(world.api) | identities(world) == before


@pytest.mark.live
@pytest.mark.ci
@pytest.mark.parametrize("rights", ["read-only", "notes"])
def test_a_scenario_whose_fault_is_denied_is_invalid_and_leaves_nothing(
    world: World, rights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path / "runtime"))
    scenario = sample(
        faults=[{"fault": "controllers.revoke", "with": {"controller": "kustomize-controller"}}],
        seen=[{"absent": ["ConfigMap/shop/web"], "within": 2}],
        steady=[{"ready": ["Kustomization/flux-system/apps"], "within": 60}],
        recovered=[{"present": ["ConfigMap/shop/web"]}],
    )
    with (
        restricted(world, tmp_path, READ, ASK, *([NOTES] if rights == "notes" else [])) as api,
        Journal(tmp_path / "journal.jsonl") as journal,
    ):
        ended = run_scenario(replace(world, api=api), plan(Scenario.model_validate(scenario), 1), journal)
        # without the right even to note it, it is the harness that could not do its work
        wanted = {"notes": Verdict.INVALID, "read-only": Verdict.HARNESS_ERROR}[rights]
        assert ended.judgement.verdict is wanted, ended.judgement.why
        assert "forbidden" in ended.judgement.why
        assert not ended.dirty
    assert mirrored(world.api) == []
    assert not list(ledgers().glob("*"))
