"""Rehearsals on a real lab: what converges, what is blocked and by what, and calls that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.cli import run
from fluxdrill.cluster import leases

pytestmark = pytest.mark.live

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "broken-chain"
SEEDS = Path(__file__).resolve().parents[2] / "docs" / "examples" / "seeds"

LAYER = """\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {name}, namespace: flux-system}}
spec:
  interval: 10m
  path: ./{name}
  prune: true
  dependsOn: {dependencies}
  sourceRef: {{kind: GitRepository, name: flux-system}}
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n"


def repository(folder: Path, *layers: tuple[str, list[str], str]) -> Path:
    """Write a repository: each layer has a name, dependencies, and the text of its one file."""
    for name, dependencies, text in layers:
        named = json.dumps([{"name": one} for one in dependencies])
        write(folder / "clusters" / "lab" / f"{name}.yaml", LAYER.format(name=name, dependencies=named))
        write(folder / name / "objects.yaml", text)
    return folder


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def good(name: str) -> str:
    return CONFIG.format(name=name, namespace="default")


def rehearse(source: Path, tmp_path: Path, *options: str, path: str = "clusters/lab") -> tuple[int, dict[str, Any]]:
    out = tmp_path / "result.json"
    reports = ["--reports", str(tmp_path / "reports")]
    code = run(["rehearse", str(source), "--path", path, "--json", str(out), *reports, *options])
    return code, json.loads(out.read_text(encoding="utf-8"))


def states(data: dict[str, Any]) -> dict[str, str]:
    return {one["object"].rpartition("/")[2]: one["state"] for one in data["kustomizations"]}


@pytest.mark.ci
def test_a_repository_that_comes_up_converges_with_exit_code_0(tmp_path: Path) -> None:
    source = repository(tmp_path / "repo", ("infra", [], good("a")), ("apps", ["infra"], good("b")))
    code, data = rehearse(source, tmp_path)
    assert (code, data["verdict"], data["first_blocker"]) == (0, "converged", None)
    assert states(data) == {"flux-system": "ready", "infra": "ready", "apps": "ready"}


@pytest.mark.ci
def test_the_example_of_the_docs_fails_as_the_docs_say(tmp_path: Path) -> None:
    code, data = rehearse(EXAMPLE, tmp_path)
    assert (code, data["verdict"]) == (1, "blocked")
    assert data["first_blocker"]["subject"] == "ConfigMap/networking/infra-configs"
    assert data["first_blocker"]["behind"] == ["Kustomization/flux-system/apps"]
    assert data["seeds_wanted"] == ["Namespace networking"]


@pytest.mark.ci
def test_the_real_homelab_is_blocked_by_its_sealed_secret_and_its_children_are_never_created(
    elysium: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, data = rehearse(elysium, tmp_path, path="clusters/kyrion")
    assert (code, data["verdict"]) == (1, "blocked")
    assert data["first_blocker"]["subject"] == "SealedSecret/flux-system/cluster-secret-vars"
    assert "no matches for kind" in data["first_blocker"]["message"]
    children = ("infra-controllers", "infra-configs", "apps", "monitoring-controllers", "monitoring-configs")
    assert {states(data)[name] for name in children} == {"never created"}
    assert "First blocker: SealedSecret/flux-system/cluster-secret-vars" in capsys.readouterr().out


def test_with_the_walks_first_two_seeds_the_real_homelab_gets_to_its_missing_namespace(
    elysium: Path, tmp_path: Path
) -> None:
    seeds = [option for file in sorted(SEEDS.glob("[12]-*.yaml")) for option in ("--seed", str(file))]
    code, data = rehearse(elysium, tmp_path, *seeds, path="clusters/kyrion")
    assert code == 1
    assert 'namespaces "tailscale" not found' in data["first_blocker"]["message"]
    assert data["seeds_wanted"] == ["Namespace tailscale"]
    assert states(data)["flux-system"] == "ready"


def test_with_all_seeds_of_the_walk_only_outside_hosts_are_missing(elysium: Path, tmp_path: Path) -> None:
    seeds = [option for file in sorted(SEEDS.glob("*.yaml")) for option in ("--seed", str(file))]
    code, data = rehearse(elysium, tmp_path, *seeds, path="clusters/kyrion")
    assert (code, data["verdict"], data["blockers"]) == (1, "blocked", [])
    assert data["first_blocker"]["outside"]
    assert data["outside"]["refused"]


def test_a_layer_that_fails_blocks_what_depends_on_it_and_nothing_else(tmp_path: Path) -> None:
    broken = CONFIG.format(name="x", namespace="nowhere")
    source = repository(
        tmp_path / "repo", ("infra", [], broken), ("apps", ["infra"], good("a")), ("other", [], good("b"))
    )
    code, data = rehearse(source, tmp_path)
    assert code == 1
    assert states(data) == {"flux-system": "ready", "infra": "failing", "apps": "blocked", "other": "ready"}
    assert data["first_blocker"]["subject"] == "ConfigMap/nowhere/x"
    assert data["first_blocker"]["behind"] == ["Kustomization/flux-system/apps"]


def test_a_circle_of_dependencies_settles_as_blocked(tmp_path: Path) -> None:
    source = repository(tmp_path / "repo", ("a", ["b"], good("a")), ("b", ["a"], good("b")))
    code, data = rehearse(source, tmp_path, "--cap", "90")
    assert (code, data["verdict"]) == (1, "blocked")
    assert data["cycles"] == [["Kustomization/flux-system/a", "Kustomization/flux-system/b"]]


def test_an_unsettled_run_ends_as_unknown_at_its_cap(tmp_path: Path) -> None:
    source = repository(tmp_path / "repo", ("infra", [], good("a")))
    code, data = rehearse(source, tmp_path, "--cap", "1")
    assert (code, data["verdict"]) == (1, "unknown")


@pytest.mark.ci
@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda folder: folder / "absent", [], "absent"),
        (lambda folder: write(folder / "empty" / ".git" / "x", "").parents[1], [], "empty"),
        (lambda folder: write(folder / "file.txt", "no bundle"), [], "file.txt"),
        (lambda folder: repository(folder / "r", ("infra", [], good("a"))), ["--path", "clusters/none"], "clusters/none"),
        (lambda folder: repository(folder / "r", ("infra", [], good("a"))), ["--ref", "v9"], "v9"),
        (lambda folder: repository(folder / "r", ("infra", [], good("a"))), ["--profile", "slow"], "slow"),
        (lambda folder: repository(folder / "r", ("infra", [], good("a"))), ["--seed", "/absent.yaml"], "/absent.yaml"),
        (lambda folder: repository(folder / "r", ("infra", [], good("a"))), ["--cap", "soon"], "--cap"),
    ],
    ids=["no such folder", "empty repository", "not a bundle", "no such path", "no such ref", "profile", "seed", "cap"],
)  # fmt: skip
def test_a_wrong_call_is_told_in_one_sentence_with_exit_code_4_and_leaves_nothing(
    make: Any,
    options: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path / "runtime"))
    source = make(tmp_path)
    reports = tmp_path / "reports"
    code = run(["rehearse", str(source), "--path", "clusters/lab", "--reports", str(reports), *options])
    told = capsys.readouterr().err
    assert code == 4, told
    assert words in told
    assert "Traceback" not in told
    assert len(told.strip().splitlines()) <= 2
    assert leases.leases() == []
    assert not list(reports.glob("*"))


@pytest.mark.ci
def test_yaml_that_does_not_parse_is_the_blocker_and_not_a_crash(tmp_path: Path) -> None:
    source = repository(tmp_path / "repo", ("infra", [], "a: [b"), ("apps", ["infra"], good("b")))
    code, data = rehearse(source, tmp_path)
    assert code == 1
    assert data["first_blocker"]["reason"] == "BuildFailed"
    assert states(data)["apps"] == "blocked"
