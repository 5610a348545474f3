"""ROOTDIFF on the incident's own history: the offline guard that would have told, before anybody served the commits."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from fluxdrill.errors import UsageError
from fluxdrill.pytest_plugin.measured import Measured
from fluxdrill.repository.kustomize import KustomizeBuilder
from fluxdrill.repository.rootdiff import RootDiff, rootdiff
from fluxdrill.repository.served import export
from fluxdrill.repository.tree import ROOT, Expected, expected
from fluxdrill.toolchain.build import ensure
from suites.replay.conftest import Tell
from suites.replay.incident import OVERLAYS, PATH, History, Stage, open_history
from suites.sabotage import refused

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("corpus")]

CONTROLS = (
    "test_control_a_list_that_names_the_layers_too_lets_nothing_go",
    "test_control_a_guarded_composition_is_at_no_risk",
    "test_control_a_root_that_does_not_build_is_no_empty_difference",
)

BUDGET = 5.0
"""Seconds for both trees, all of their Kustomizations: six builds each."""


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> History:
    """Return the stages of the incident."""
    request.getfixturevalue("corpus")
    return open_history(tmp_path_factory.mktemp("replay") / "history.git")


def diff_of(history: History, before: Stage, after: Stage) -> RootDiff:
    """Compare two stages."""
    return rootdiff(history.revisions[before].tree, history.revisions[after].tree, ROOT)


def loses_90(diff: RootDiff) -> None:
    """Check that the diff tells of the loss: 90 leave, none of them guarded, 22 of them releases."""
    assert (len(diff.before), len(diff.after), len(diff.leaving), len(diff.at_risk)) == (97, 7, 90, 90)
    assert sum(ref.kind == "HelmRelease" for ref in diff.leaving) == 22


def test_the_commit_that_moved_the_layers_gives_the_root_90_objects_of_its_children(
    history: History, tell_report: Tell
) -> None:
    """7 to 97, and every one of the 90 is rendered by a child as well: told without a cluster."""
    diff = diff_of(history, Stage.BEFORE, Stage.TAKEN_IN)
    tell_report("ROOTDIFF", str(diff))
    assert (len(diff.before), len(diff.after), len(diff.leaving)) == (7, 97, 0)
    assert diff.shared == diff.gained
    assert len(diff.shared) == 90
    rendered = history.revisions[Stage.TAKEN_IN].tree.nodes[ROOT].rendered
    assert sum(bool(re.search(r"\$\{\w+\}", str(obj))) for obj in rendered) == 12


def test_the_commit_that_lists_the_files_makes_90_objects_candidates_for_pruning(
    history: History, tell_report: Tell
) -> None:
    """97 to 7: 90 leave without a guard, among them 22 releases."""
    diff = diff_of(history, Stage.TAKEN_IN, Stage.FIXED)
    tell_report("ROOTDIFF", str(diff))
    loses_90(diff)


def test_the_difference_of_two_trees_takes_seconds_and_no_cluster(
    history: History, tmp_path: Path, measured: Measured
) -> None:
    """Both trees are built anew, root and children."""
    folders = [_exported(history, stage, tmp_path) for stage in (Stage.TAKEN_IN, Stage.FIXED)]
    began = time.monotonic()
    before, after = (_tree(folder) for folder in folders)
    loses_90(rootdiff(before, after, ROOT))
    measured("ROOTDIFF of two revisions", time.monotonic() - began, kind="other", budget=BUDGET)


def test_control_a_list_that_names_the_layers_too_lets_nothing_go(history: History, tmp_path: Path) -> None:
    """Negative control: the fix's list with the nested layers in it keeps all 97, and the check says that none leaves."""
    folder = _exported(history, Stage.FIXED, tmp_path)
    listed = folder / PATH / "kustomization.yaml"
    layers = [f"  - {Path(one).relative_to(PATH).parent.as_posix()}\n" for one in OVERLAYS]
    listed.write_text(listed.read_text(encoding="utf-8").rstrip("\n") + "\n" + "".join(layers), encoding="utf-8")
    diff = rootdiff(history.revisions[Stage.TAKEN_IN].tree, _tree(folder), ROOT)
    assert diff.leaving == frozenset()
    with refused():
        loses_90(diff)


def test_control_a_guarded_composition_is_at_no_risk(history: History) -> None:
    """Negative control: what carries `prune: disabled` leaves too, and nothing of it is at risk."""
    diff = diff_of(history, Stage.GUARDED, Stage.FIXED)
    assert (len(diff.leaving), len(diff.at_risk)) == (90, 0)
    with refused():
        loses_90(diff)


def test_control_a_root_that_does_not_build_is_no_empty_difference(history: History, tmp_path: Path) -> None:
    """Negative control: the revision as it was written has a remote base, so nothing can be said about it offline."""
    folder = _exported(history, Stage.FIXED, tmp_path)
    with (folder / PATH / "kustomization.yaml").open("a", encoding="utf-8") as file:
        file.write("  - https://bases.example/crd.yaml\n")
    with pytest.raises(UsageError, match="remote base"):
        rootdiff(history.revisions[Stage.TAKEN_IN].tree, _tree(folder), ROOT)


def _exported(history: History, stage: Stage, tmp_path: Path) -> Path:
    folder = tmp_path / stage.name
    folder.mkdir()
    history.move_to(stage)
    export(history.served, folder)
    return folder


def _tree(folder: Path) -> Expected:
    return expected(folder, PATH, KustomizeBuilder(ensure(["kustomize"])[0]["kustomize"]))
