"""What the ordering suite says of a repository that is not what it expects: words, red, and nothing of it executed.

All of it is found while collecting or from the files alone: no lab is started.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = str(ROOT / "suites" / "ordering" / "test_repository.py")
ORDER, READABLE = "test_the_repository_declares_an_order", "test_every_file_that_may_declare_an_order_can_be_read"

LAYER = """\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: %s, namespace: flux-system}
spec: {path: ./%s, interval: 1h, prune: true, dependsOn: [%s], sourceRef: {kind: GitRepository, name: flux-system}}
"""


def repository(folder: Path, **more: str) -> Path:
    """Make a repository with a layout of its own, two layers with an order, and `more` files (`.` written as `__`)."""
    files = {"gitops/one.yaml": LAYER % ("one", "one", ""), "gitops/two.yaml": LAYER % ("two", "two", "{name: one}")}
    for name, text in {**files, **{name.replace("__", "."): text for name, text in more.items()}}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def run(source: Path, *arguments: str) -> tuple[int, str]:
    """Run the suite's module against a repository, from within it; return exit code and output."""
    command = [sys.executable, "-m", "pytest", SUITE, "-q", "-p", "no:cacheprovider", f"--lab-repo={source}"]
    rooted = [f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")]
    done = subprocess.run(
        [*command, *rooted, *arguments], cwd=source, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "theirs"
    folder.mkdir()
    return folder


def test_a_repository_with_other_names_and_layout_gets_tests_of_its_own_edges(folder: Path) -> None:
    code, told = run(repository(folder), "--collect-only", "--lab-path=gitops")
    assert code == 0, told
    assert "test_every_edge_is_proved_by_first_writes[two<-one]" in told
    assert "infra-configs" not in told


def test_control_a_repository_with_an_order_that_can_be_read_passes_both_checks(folder: Path) -> None:
    code, told = run(repository(folder), "-k", f"{ORDER} or {READABLE}")
    assert code == 0, told
    assert "2 passed" in told


def test_a_repository_without_any_dependency_is_red_and_says_so(folder: Path) -> None:
    repository(folder, **{"gitops/two__yaml": LAYER % ("two", "two", "")})
    code, told = run(folder, "-k", ORDER)
    assert code == 1, told
    assert "invalid: none of its 2 files declares a dependsOn, so no order can be proved" in told


def test_an_unreadable_file_beside_good_ones_is_named_and_hides_no_edge(folder: Path) -> None:
    repository(folder, **{"gitops/bad__yaml": "a: [b\n"})
    code, told = run(folder, "-k", READABLE)
    assert code == 1, told
    assert "gitops/bad.yaml: line 2: " in told
    assert "[two<-one]" in run(folder, "--collect-only")[1]


def test_a_missing_entry_path_is_told_with_its_name_and_starts_no_lab(folder: Path) -> None:
    code, told = run(repository(folder), "-k", "comes_up_from_nothing", "--lab-path=clusters/none")
    assert code == 1, told
    assert "no folder clusters/none" in told
    assert "was ready in" not in told


def test_a_repository_that_is_not_there_is_told_while_collecting(tmp_path: Path, folder: Path) -> None:
    code, told = run(folder, f"--lab-repo={tmp_path / 'nowhere'}", "--collect-only")
    assert code == pytest.ExitCode.INTERRUPTED, told
    assert f"There is no {tmp_path / 'nowhere'}" in told
    assert "Traceback" not in told


def test_a_conftest_and_tests_of_the_repository_are_not_executed(folder: Path) -> None:
    mark = folder.parent / "executed"
    theirs = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
    repository(folder, conftest__py=theirs, **{"gitops/conftest__py": theirs, "tests/test_theirs__py": theirs})
    code, told = run(folder, "-k", f"{ORDER} or {READABLE}")
    assert code == 0, told
    assert not mark.exists()
