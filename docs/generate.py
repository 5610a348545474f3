"""Write docs/coverage.md, docs/facts.md and docs/catalogue.md: `python -m docs.generate [RUN ...]`, from the repository's root.

The ids come from the facts beside this repository, or where they are not there from the pages as they stand; what a
test says of itself comes from its source, so that nothing is collected or started; verdicts come from the runs named
(a run's folder, its journal or a JUnit file; default: every run in reports/, the newest last), else from the pages.
"""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fluxdrill.report.journal import read_journal
from fluxdrill.scenario.measure import spread

ROOT = Path(__file__).resolve().parent.parent
FACTS = ROOT.parent / "shared" / "facts"
WORST_FIRST = ("error", "failed", "xpassed", "skipped", "xfailed", "passed")
FAMILIES = {"S": "Statements of the guide", "C": "Chaos cases", "I": "Incidents", "H": "Hazards"}
ID = re.compile(r"\b([SCIH])-?([0-9]{2})\b")
RANGE = re.compile(r"\b([SCIH])-?([0-9]{2}) to [SCIH]?-?([0-9]{2})\b")
LEADING = re.compile(r"(?:[SCIH]-?[0-9]{2}\b[^:]*):")
"""A docstring states its ids before its first colon: `S01, S06 to S08: ...`, `S12, corrected: ...`."""
NOTHING = {"coverage": "not covered", "facts": "open", "catalogue": "no scenario"}
OUTCOMES = {"pass": "passed", "deviated": "failed"}
"""How a scenario's verdict is written where tests are listed; every other one is an error."""


@dataclass(frozen=True, slots=True)
class Stated:
    """A test or scenario: its name, what it states, the ids it is about, and the facts it settles with what it found."""

    name: str
    statement: str
    ids: tuple[str, ...]
    proves: tuple[tuple[str, str], ...] = ()
    scenario: str = ""
    """The id of a scenario."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a page."""

    id: str
    statement: str
    test: str
    verdict: str

    def __str__(self) -> str:
        return "| " + " | ".join(one.replace("|", "\\|") for one in (self.id, self.statement, self.test, self.verdict)) + " |"  # fmt: skip


def rows_of(page: str) -> list[Row]:
    """Read the rows of a page that `write` made."""
    cells = (re.split(r"(?<!\\)\|", line)[1:-1] for line in page.splitlines() if line.startswith("| "))
    texts = ([cell.strip().replace("\\|", "|") for cell in row] for row in cells)
    return [Row(*row) for row in texts if len(row) == 4 and row[0] not in ("id", "fact", "case")]


def plain(found: str) -> str:
    """Return an id as this repository writes it: S04, C10."""
    return found.replace("-", "")


def ids_of_facts(facts: Path) -> list[str]:
    """Return every id that the facts define, at the beginning of a table's row or a paragraph."""
    text = "\n".join((facts / name).read_text(encoding="utf-8") for name in ("flux.md", "recovery.md"))
    return sorted({plain(one) for one in re.findall(r"^(?:\| |\*\*)([SCIH]-?[0-9]{2})\b", text, re.MULTILINE)})


def inferred(facts: Path) -> list[str]:
    """Return where the facts mark something as inferred only, such as `flux.md 4.1.10` or `flux.md C-30`."""
    found: dict[str, None] = {}
    section = item = ""
    for line in (facts / "flux.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"#+ ([0-9.]*[0-9])", line):
            section, item = heading[1], ""
        elif start := re.match(r"([0-9]+)\. |\| ([A-Z]-[0-9]+) ", line):
            item = f"{section}.{start[1]}" if start[1] else start[2]
        elif line and not line.startswith(" "):
            item = ""
        if "[infer" in line and section:
            found[f"flux.md {item or section}"] = None
    return list(found)


def stated_ids(name: str, statement: str) -> tuple[str, ...]:
    """Return the ids in a test's name (`test_s04_s05_...`) and before the first colon of its docstring."""
    named = re.match(r"test_((?:[scih][0-9]{2}_)+)", name)
    head = lead[0] if (lead := LEADING.match(statement)) else ""
    text = f"{named[1].upper().replace('_', ' ') if named else ''} {head}"
    between = {f"{a}{n:02}" for a, low, high in RANGE.findall(text) for n in range(int(low), int(high) + 1)}
    return tuple(sorted({f"{letter}{number}" for letter, number in ID.findall(text)} | between))


def stated_in(root: Path) -> Iterator[Stated]:
    """Return what every test function under suites/ and tests/ states, and every scenario."""
    for path in sorted([*root.glob("suites/**/test_*.py"), *root.glob("tests/**/test_*.py")]):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                statement = (ast.get_docstring(node) or "").partition("\n")[0]
                name = f"{path.relative_to(root).as_posix()}::{node.name}"
                yield Stated(name, statement, stated_ids(node.name, statement), tuple(_proofs(node)))
    for path in sorted(root.glob("scenarios/**/*.yaml")):
        text = path.read_text(encoding="utf-8")
        # beside the scenarios lie the repositories they use, with files of any kind
        if re.search(r"^kind: Scenario$", text, re.MULTILINE):
            document = yaml.safe_load(text)
            ids = tuple(sorted(map(plain, map(str, document.get("proves") or ()))))
            title = str(document.get("title", ""))
            yield Stated(path.relative_to(root).as_posix(), title, ids, scenario=str(document.get("id", "")))


def _proofs(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.proves":
            fact, found = map(ast.literal_eval, mark.args)
            yield str(fact), str(found)


def verdicts(run: Path) -> dict[str, str]:
    """Return the worst outcome per test function of a run, with its day; tests of other names are in it too."""
    path = run / "journal.jsonl" if run.is_dir() else run
    day, outcomes = _of_junit(path) if path.suffix == ".xml" else _of_journal(path)
    worst: dict[str, str] = {}
    for name, outcome in outcomes:
        for key in {name, name.partition("::")[0] if ".yaml" in name else name}:
            worst[key] = min(outcome, worst.get(key, outcome), key=WORST_FIRST.index)
    return {name: f"{outcome} {day}" for name, outcome in worst.items()}


def _of_journal(path: Path) -> tuple[str, list[tuple[str, str]]]:
    entries = read_journal(path)
    tests = [entry for entry in entries if entry["type"] == "test"]
    found = [(str(one["id"]).partition("[")[0], str(one["outcome"])) for one in tests]
    judged = [entry for entry in entries if entry["type"] == "verdict"]
    found += [(str(one["scenario"]), OUTCOMES.get(str(one["verdict"]), "error")) for one in judged]
    return str(entries[0]["utc"])[:10], found


def numbers(run: Path) -> dict[str, str]:
    """Return the verdict and the times of each scenario of a run, as the catalogue shows them."""
    path = run / "journal.jsonl" if run.is_dir() else run
    if path.suffix == ".xml":
        return {}
    entries = read_journal(path)
    day = str(entries[0]["utc"])[:10]
    return {
        str(one["scenario"]): "; ".join([f"{one['verdict']} {day}", *_times(one["samples"])])
        for one in entries
        if one["type"] == "verdict"
    }


def _times(samples: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield how long detection and recovery of the whole took: one time, or the least, the middle and the most."""
    whole = [one for one in samples if not one["object"]]
    for what in ("detection", "recovery"):
        if values := [float(one["seconds"]) for one in whole if one["what"] == what]:
            found = spread(values)
            several = f"{found.low:.2f} / {found.p50:.2f} / {found.high:.2f} s (min / p50 / max of {found.n})"
            yield f"{what} {several if found.n > 1 else f'{found.p50:.2f} s'}"


def _of_junit(path: Path) -> tuple[str, list[tuple[str, str]]]:
    tree = ET.parse(path)  # noqa: S314 - a file that pytest wrote here
    day = next((str(one.get("timestamp")) for one in tree.iter("testsuite")), "")[:10]
    words = {"failure": "failed", "error": "error", "skipped": "skipped"}
    found = []
    for case in tree.iter("testcase"):
        name = f"{str(case.get('classname')).replace('.', '/')}.py::{str(case.get('name')).partition('[')[0]}"
        found.append((name, next((words[child.tag] for child in case if child.tag in words), "passed")))
    return day, found


def coverage(ids: Iterable[str], tests: Sequence[Stated], judged: Mapping[str, str]) -> list[Row]:
    """Return the rows of docs/coverage.md: every id, and every id that only a test knows."""
    stated = [(one, test.statement, test.name) for test in tests for one in test.ids]
    return _rows(ids, stated, judged, "coverage", lambda _wanted, _named: False)


def facts(marks: Iterable[str], tests: Sequence[Stated], judged: Mapping[str, str]) -> list[Row]:
    """Return the rows of docs/facts.md: every mark, and what else tests settled.

    A mark on a whole section is settled by any point of it that has no mark of its own.
    """
    marks = list(marks)
    stated = [(fact, found, test.name) for test in tests for fact, found in test.proves]
    points = {fact for fact, _, _ in stated} - set(marks)
    return _rows(marks, stated, judged, "facts", lambda mark, fact: fact in points and fact.startswith(f"{mark}."))


def catalogue(ids: Iterable[str], tests: Sequence[Stated], measured: Mapping[str, str]) -> list[Row]:
    """Return the rows of docs/catalogue.md: each chaos case with its scenarios, and the scenarios of no case."""
    own = [test for test in tests if test.scenario]
    cases = [one for one in ids if one.startswith("C")]
    stated = [(one, test.statement, test.name) for test in own for one in (test.ids or ("-",))]
    return _rows(cases, stated, measured, "catalogue", lambda _wanted, _named: False)


def _rows(
    wanted: Iterable[str],
    stated: Sequence[tuple[str, str, str]],
    judged: Mapping[str, str],
    page: str,
    about: Callable[[str, str], bool],
) -> list[Row]:
    wanted = list(wanted)
    there = [Row(one, text, name, judged.get(name, "not run")) for one, text, name in stated]
    lacking = [one for one in wanted if not any(one == row.id or about(one, row.id) for row in there)]
    return sorted(
        [*there, *(Row(one, "", NOTHING[page], "") for one in lacking)], key=lambda row: (_order(row), row.test)
    )


def _order(row: Row) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.findall(r"[0-9]+|[^0-9]+", row.id)]


def coverage_page(rows: Sequence[Row]) -> str:
    """Return docs/coverage.md."""
    every = {row.id for row in rows}
    open_ones = {row.id for row in rows if row.test == NOTHING["coverage"]}
    covered = len(every - open_ones)
    head = (
        "# What is covered\n\n<!-- generated by docs/generate.py -->\n\n"
        "Every statement, chaos case, incident and hazard of the facts, the tests that are about it and what they came "
        f"to last. {covered} of {len(every)} are covered.\n"
    )
    parts = [head]
    for letter, title in FAMILIES.items():
        mine = [row for row in rows if row.id.startswith(letter)]
        there = {row.id for row in mine}
        parts.append(f"\n## {title} ({letter}): {len(there - open_ones)} of {len(there)}\n\n")
        parts.append(_table(("id", "what its test states", "test", "last verdict"), mine))
    return "".join(parts)


def facts_page(rows: Sequence[Row]) -> str:
    """Return docs/facts.md."""
    head = (
        "# What was inferred, and what live tests found\n\n<!-- generated by docs/generate.py -->\n\n"
        "Every fact that was only inferred from code, by its file and number, and the test marked "
        "`@pytest.mark.proves(fact, found)` that settled it.\n\n"
    )
    return head + _table(("fact", "what was found", "test", "last verdict"), rows)


def catalogue_page(rows: Sequence[Row]) -> str:
    """Return docs/catalogue.md."""
    head = (
        "# The chaos catalogue\n\n<!-- generated by docs/generate.py -->\n\n"
        "Every chaos case of the facts, the scenario that plays it, and what its last run came to: detection from the end of "
        "the injection to the first sighting, recovery from the removal of the cause (self-healed: from the bite) to "
        "convergence, both in seconds. See [Scenarios](scenarios.md).\n\n"
    )
    return head + _table(("case", "what the scenario shows", "scenario", "last verdict and times"), rows)


def _table(head: tuple[str, str, str, str], rows: Iterable[Row]) -> str:
    return "\n".join([str(Row(*head)), "|---|---|---|---|", *map(str, rows)]) + "\n"


def build(
    root: Path, facts_folder: Path, judged: Mapping[str, str], measured: Mapping[str, str] | None = None
) -> dict[Path, str]:
    """Return all pages; what `judged` and `measured` lack, and the ids where there are no facts, come from the pages as they stand."""
    pages = {name: root / "docs" / f"{name}.md" for name in NOTHING}
    old = {name: rows_of(path.read_text(encoding="utf-8")) if path.is_file() else [] for name, path in pages.items()}
    tests = list(stated_in(root))
    known = {row.test: row.verdict for name in ("coverage", "facts") for row in old[name] if row.verdict}
    judged = {**known, **judged, **_by_path(tests, judged)}
    times = {**{row.test: row.verdict for row in old["catalogue"] if row.verdict}, **_by_path(tests, measured or {})}
    there = facts_folder.is_dir()
    ids = dict.fromkeys(ids_of_facts(facts_folder) if there else [row.id for row in old["coverage"]])
    marks = inferred(facts_folder) if there else [row.id for row in old["facts"]]
    return {
        pages["coverage"]: coverage_page(coverage(ids, tests, judged)),
        pages["facts"]: facts_page(facts(dict.fromkeys(marks), tests, judged)),
        pages["catalogue"]: catalogue_page(catalogue(ids, tests, times)),
    }


def _by_path(tests: Iterable[Stated], by_id: Mapping[str, str]) -> dict[str, str]:
    """Return what is known of scenarios by their ids under their files' names."""
    return {test.name: by_id[test.scenario] for test in tests if test.scenario in by_id}


def main(arguments: Sequence[str]) -> int:
    """Write the pages; return an exit code."""
    runs = [Path(one) for one in arguments] or sorted(path.parent for path in ROOT.glob("reports/2*/journal.jsonl"))
    judged = {name: verdict for run in runs for name, verdict in verdicts(run).items()}
    measured = {name: text for run in runs for name, text in numbers(run).items()}
    for path, text in build(ROOT, FACTS, judged, measured).items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
