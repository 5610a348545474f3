from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fluxdrill.errors import ExitCode, UsageError
from fluxdrill.scenario.load import ScenarioError, find, load, load_all
from tests.scenario.samples import written

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"


def problems(path: Path) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value.lines


def line_with(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_a_valid_scenario_is_read(tmp_path: Path) -> None:
    assert load(written(tmp_path)).id == "sample-scenario"


def test_every_scenario_of_the_project_is_valid() -> None:
    assert load_all(find([SCENARIOS]))


@pytest.mark.parametrize(
    ("changes", "at", "says"),
    [
        pytest.param(
            {"faults": [{"fault": "controllers.kil"}]}, "controllers.kil", "Did you mean controllers.kill?", id="unknown-fault"
        ),
        pytest.param(
            {"faults": [{"fault": "controllers.kill", "with": {"controller": "x"}}]},
            "controller: x",
            "source-controller",
            id="wrong-argument",
        ),
        pytest.param(
            {"faults": [{"fault": "controllers.kill", "with": {"controller": "helm-controller", "hard": True}}]},
            "hard: true",
            "there is no such field",
            id="unknown-argument",
        ),
        pytest.param(
            {"faults": [{"fault": "controllers.kill"}]}, "fault: controllers.kill", "missing", id="missing-argument"
        ),
        pytest.param({"needs": None}, "fault: controllers.kill", "name it in `needs`", id="need-not-named"),
        pytest.param({"seen": []}, "seen:", "at least one", id="nothing-to-see"),
        pytest.param({"seen": [{"ready": []}]}, "- ready:", "exactly one", id="check-without-object"),
        pytest.param({"decoy": []}, "decoy:", "at least one", id="no-decoy"),
        pytest.param({"steady": []}, "steady:", "at least one", id="no-steady-state"),
        pytest.param({"recovered": []}, "apiVersion", "names no check", id="nothing-proves-recovery"),
        pytest.param({"decoy": ["web"]}, "- web", "write Kind/namespace/name", id="no-object"),
        pytest.param({"decoy": ["Deployment/web"]}, "- Deployment/web", "no namespace", id="no-namespace"),
        pytest.param({"decoy": ["Widget/a/b"]}, "- Widget/a/b", "Widget.<group>", id="unknown-kind"),
        pytest.param({"affected": ["Deployment/monitoring/watcher"]}, "apiVersion", "cannot be a decoy", id="decoy-affected"),
        pytest.param({"outcome": "healed"}, "outcome: healed", "self-healed", id="unknown-outcome"),
        pytest.param({"outcome": "stuck-as-documented"}, "apiVersion", "needs `stuck`", id="stuck-without-manual"),
        pytest.param({"budgets": {"detect": 50, "recover": 60, "total": 60}}, "budgets", "impossible", id="impossible-budget"),
        pytest.param({"budgets": {"detect": -1}}, "detect: -1", "greater than 0", id="negative-budget"),
        pytest.param(
            {
                "faults": [
                    {"fault": "controllers.kill", "with": {"controller": "kustomize-controller"}},
                    {"fault": "controllers.pause", "with": {"controller": "kustomize-controller"}},
                ]
            },
            "fault: controllers.pause",
            "two faults take controller/kustomize-controller",
            id="two-faults-on-one-resource",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_line(tmp_path: Path, changes: dict[str, Any], at: str, says: str) -> None:
    path = written(tmp_path, **changes)
    told = problems(path)
    assert says in "\n".join(told)
    assert any(line.startswith(f"{path}:{line_with(path, at)}:") for line in told), told


def test_two_faults_on_one_resource_may_follow_each_other(tmp_path: Path) -> None:
    twice = [{"fault": "controllers.kill", "with": {"controller": "kustomize-controller"}}] * 2
    assert load(written(tmp_path, faults=twice, order="one-by-one")).faults


def test_every_choice_is_checked_not_only_the_one_that_is_drawn(tmp_path: Path) -> None:
    bad = {"fault": "controllers.kill", "with": {"controller": {"choose": ["source-controller", "x-controller"]}}}
    assert "source-controller" in "\n".join(problems(written(tmp_path, faults=[bad])))


def test_broken_yaml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("apiVersion: fluxdrill.dev/v1\nkind: Scenario\nid: [\n", encoding="utf-8")
    assert problems(path)[0].startswith(f"{path}:4:")


def test_other_yaml_beside_scenarios_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("kind: ConfigMap\n", encoding="utf-8")
    path = written(tmp_path)
    assert find([tmp_path]) == [path]


def test_a_place_without_scenarios_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no scenario"):
        find([tmp_path])
    with pytest.raises(UsageError, match="There is no"):
        find([tmp_path / "nowhere"])


def test_two_scenarios_of_one_id_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
        written(folder)
    with pytest.raises(ScenarioError, match="is taken by"):
        load_all(find([tmp_path]))
