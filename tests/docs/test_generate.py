"""The generated pages: they agree with the tests that there are, and say nothing that no run said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate import (
    FACTS,
    ROOT,
    Row,
    build,
    ids_of_facts,
    inferred,
    numbers,
    plain,
    rows_of,
    stated_ids,
    stated_in,
    verdicts,
)
from fluxdrill.report.journal import Journal

pytest_plugins = ["pytester"]

RECOVERY = """\
| S01 | Order |
| S02 | Independence |
**I01 · 2026-08-10.** A text that names S77.
| H01 | Hazard |
"""
FLUX = """\
**[infer]** is the legend.
## 3. Running
- Leader election. [infer] Providing a file would do.
## 4. Semantics
### 4.1 Kustomization
9. Applied in stages. [code]
10. Partial apply leaves
    orphans. [infer, cf. an issue]

A paragraph [infer] of its own.
### 4.2 HelmRelease
10. Kill. [infer] ends in a loop.
## 9. Scenarios
| C-30 | SIGKILL | a gap [infer] |
"""
SUITE = '''
import pytest

def test_s01_in_order():
    """S01, H01: one after the other."""

@pytest.mark.proves("flux.md 4.1.10", "the orphan | stays")
def test_partial():
    """An orphan."""
'''
SCENARIO = "kind: Scenario\nid: git-down\ntitle: Git is down\nproves: [C-30]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one suite and one scenario, and the facts beside it."""
    for path, text in {
        "facts/flux.md": FLUX,
        "facts/recovery.md": RECOVERY,
        "suites/ordering/test_order.py": SUITE,
        "scenarios/git-down.yaml": SCENARIO,
        "scenarios/repository/chart.yaml": "a: {{ .Values.kind }}\n",
        "docs/.keep": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    return tmp_path


def generate(
    root: Path,
    judged: dict[str, str] | None = None,
    *,
    measured: dict[str, str] | None = None,
    facts: str = "facts",
) -> dict[str, list[Row]]:
    for path, text in build(root, root / facts, judged or {}, measured).items():
        path.write_text(text, encoding="utf-8")
    pages = ("coverage", "facts", "catalogue")
    return {name: rows_of((root / "docs" / f"{name}.md").read_text(encoding="utf-8")) for name in pages}


def pairs(page: str) -> list[tuple[str, str]]:
    """Return what a page says but for words and verdicts, which change without a test coming or going."""
    return [(row.id, row.test) for row in rows_of(page)]


ORDER = "suites/ordering/test_order.py::test_s01_in_order"
PARTIAL = "suites/ordering/test_order.py::test_partial"


@pytest.mark.parametrize(
    "path", [ROOT / "docs" / f"{name}.md" for name in ("coverage", "facts", "catalogue")], ids=lambda p: p.name
)
def test_the_page_knows_every_test_and_every_id(path: Path) -> None:
    assert pairs(path.read_text(encoding="utf-8")) == pairs(build(ROOT, FACTS, {})[path]), (
        f"docs/{path.name} is out of date: run `python -m docs.generate`"
    )


@pytest.mark.parametrize("change", ["renamed", "added"])
def test_control_a_page_that_does_not_know_a_test_is_out_of_date(root: Path, change: str) -> None:
    generate(root)
    path, suite = root / "docs" / "coverage.md", root / "suites" / "ordering" / "test_order.py"
    before = path.read_text(encoding="utf-8")
    assert pairs(before) == pairs(build(root, root / "facts", {})[path])
    changed = SUITE.replace("in_order", "out_of_order") if change == "renamed" else f"{SUITE}\ndef test_s02_x(): ...\n"
    suite.write_text(changed, encoding="utf-8")
    assert pairs(before) != pairs(build(root, root / "facts", {})[path])


def test_no_test_names_an_id_that_does_not_exist() -> None:
    page = (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8")
    known = set(ids_of_facts(FACTS)) if FACTS.is_dir() else {row.id for row in rows_of(page)}
    assert {(one, test.name) for test in stated_in(ROOT) for one in test.ids if one not in known} == set()


def test_what_is_read_from_the_source_is_what_pytest_collects() -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "suites"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    collected = {line.partition("[")[0] for line in done.stdout.splitlines() if "::" in line}
    assert collected == {test.name for test in stated_in(ROOT) if test.name.startswith("suites/")}


@pytest.mark.parametrize(
    ("name", "statement", "ids"),
    [
        ("test_s04_s05_a_commit", "", ("S04", "S05")),
        ("test_i01_without_its_file", "The incident of August.", ("I01",)),
        ("test_c10_git_down", "C-10: down.", ("C10",)),
        ("test_every_edge", "S01, S06 to S08: proved.", ("S01", "S06", "S07", "S08")),
        ("test_s12_taken_over", "S12, corrected: it is.", ("S12",)),
        ("test_s19_missing", "S19 (corrected): since 1.9.", ("S19",)),
        ("test_control_other", "Negative control of S17: nothing.", ()),
        ("test_other", "It says S17 only: later.", ()),
        ("test_s3_bucket", "", ()),
        ("test_pods", "S01 without a colon", ()),
    ],
)
def test_a_test_states_ids_by_its_name_and_before_the_first_colon(
    name: str, statement: str, ids: tuple[str, ...]
) -> None:
    assert stated_ids(name, statement) == ids


def test_ids_and_inferred_marks_are_found_where_they_are_defined_and_not_where_they_are_mentioned(root: Path) -> None:
    assert ids_of_facts(root / "facts") == ["C30", "H01", "I01", "S01", "S02"]
    places = ["flux.md 3", "flux.md 4.1.10", "flux.md 4.1", "flux.md 4.2.10", "flux.md C-30"]
    assert inferred(root / "facts") == places
    assert plain("C-30") == "C30"


def test_what_nothing_covers_is_named(root: Path) -> None:
    page = generate(root, {ORDER: "passed 2026-11-24"})["coverage"]
    assert [(row.id, row.test, row.verdict) for row in page] == [
        ("S01", ORDER, "passed 2026-11-24"),
        ("S02", "not covered", ""),
        ("C30", "scenarios/git-down.yaml", "not run"),
        ("I01", "not covered", ""),
        ("H01", ORDER, "passed 2026-11-24"),
    ]
    text = (root / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert "3 of 5 are covered" in text
    assert "(S): 1 of 2" in text
    assert "Independence" not in text, "it was copied from the facts"


def test_a_proof_settles_its_fact_and_no_other(root: Path) -> None:
    page = generate(root)["facts"]
    assert {(row.id, row.test) for row in page} == {
        ("flux.md 3", "open"),
        ("flux.md 4.1", "open"),
        ("flux.md 4.1.10", PARTIAL),
        ("flux.md 4.2.10", "open"),
        ("flux.md C-30", "open"),
    }
    assert [row.statement for row in page if row.test == PARTIAL] == ["the orphan | stays"]


def test_a_point_without_a_mark_of_its_own_settles_its_section(root: Path) -> None:
    suite = root / "suites" / "ordering" / "test_order.py"
    suite.write_text(SUITE.replace("4.1.10", "4.1.12"), encoding="utf-8")
    page = {row.id: row.test for row in generate(root)["facts"]}
    assert page["flux.md 4.1.12"] == PARTIAL
    assert "flux.md 4.1" not in page
    assert page["flux.md 4.1.10"] == "open"


def test_without_the_facts_and_without_a_run_the_page_keeps_its_ids_and_verdicts(root: Path) -> None:
    before = generate(root, {ORDER: "passed 2026-11-24"})
    assert generate(root, facts="nowhere") == before


def journal(folder: Path, *outcomes: tuple[str, str]) -> Path:
    with Journal(folder / "journal.jsonl") as written:
        for name, outcome in outcomes:
            written.tell("test", id=name, outcome=outcome)
    return folder


def test_the_verdict_of_a_test_is_the_worst_of_its_parameters(tmp_path: Path) -> None:
    run = journal(tmp_path, (f"{ORDER}[a]", "passed"), (f"{ORDER}[b]", "failed"), (f"{ORDER}[c]", "skipped"))
    day = json.loads((run / "journal.jsonl").read_text(encoding="utf-8").splitlines()[0])["utc"][:10]
    assert verdicts(run) == {ORDER: f"failed {day}"}


def test_a_scenario_is_found_by_its_file(tmp_path: Path) -> None:
    found = verdicts(journal(tmp_path, ("scenarios/git-down.yaml::git-down", "passed")))
    assert found["scenarios/git-down.yaml"].startswith("passed ")


def test_a_junit_file_says_the_same_as_the_journal(pytester: pytest.Pytester, tmp_path: Path) -> None:
    pytester.mkpydir("suites")
    (pytester.path / "suites" / "test_it.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test_s01_a(n): assert n == 1\n"
        "def test_b(): pytest.skip('x')\ndef test_c(): ...\n",
        encoding="utf-8",
    )
    pytester.runpytest_subprocess(f"--lab-reports={tmp_path}")  # its `suites` must not meet ours
    run = tmp_path / "latest"
    assert [one.partition(" ")[0] for one in verdicts(run).values()] == ["failed", "skipped", "passed"]
    assert {name: one.partition(" ")[0] for name, one in verdicts(run / "junit.xml").items()} == {
        name: one.partition(" ")[0] for name, one in verdicts(run).items()
    }


def test_the_catalogue_names_each_cases_scenario_with_verdict_and_times(root: Path) -> None:
    (root / "facts" / "flux.md").write_text(f"{FLUX}| C-31 | Another | nobody plays it |\n", encoding="utf-8")
    text = "pass 2026-01-02; recovery 1.20 s"
    rows = generate(root, measured={"git-down": text})["catalogue"]
    assert [(row.id, row.test, row.verdict) for row in rows] == [
        ("C30", "scenarios/git-down.yaml", text),
        ("C31", "no scenario", ""),
    ]
    kept = generate(root, facts="gone")["catalogue"]  # without a run and without the facts
    assert [(row.test, row.verdict) for row in kept] == [(row.test, row.verdict) for row in rows]


def test_a_scenario_of_no_case_is_in_the_catalogue_as_well(root: Path) -> None:
    (root / "scenarios" / "own.yaml").write_text("kind: Scenario\nid: own\ntitle: Mine\n", encoding="utf-8")
    assert ("-", "scenarios/own.yaml", "not run") in [
        (row.id, row.test, row.verdict) for row in generate(root)["catalogue"]
    ]


def test_times_and_verdict_of_a_scenario_come_from_the_run_that_was_its_last(root: Path, tmp_path: Path) -> None:
    samples = [
        {"what": "recovery", "object": "", "cycle": n, "seconds": seconds} for n, seconds in enumerate((3.0, 1.0, 2.0))
    ]
    samples += [{"what": "recovery", "object": "K/n/a", "cycle": 0, "seconds": 99.0}]
    samples += [{"what": "detection", "object": "", "cycle": 0, "seconds": 0.5}]
    path = tmp_path / "run" / "journal.jsonl"
    with Journal(path) as written:
        written.tell("verdict", scenario="git-down", verdict="unknown", samples=samples)
    day = json.loads(path.read_text(encoding="utf-8").splitlines()[0])["utc"][:10]
    assert numbers(path.parent) == {
        "git-down": f"unknown {day}; detection 0.50 s; recovery 1.00 / 2.00 / 3.00 s (min / p50 / max of 3)"
    }
    rows = generate(root, verdicts(path.parent), measured=numbers(path.parent))
    assert {row.verdict for row in rows["coverage"] if row.id == "C30"} == {f"error {day}"}
