"""What a run's folder holds: every form says the same, a bad verdict is never softened, a changed journal is told."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.cli import run as command
from fluxdrill.errors import UsageError
from fluxdrill.report.files import write_files
from fluxdrill.report.junit import junit
from fluxdrill.report.markdown import LIMIT, parts
from fluxdrill.report.run import page_data
from fluxdrill.report.scenario_data import scenarios
from fluxdrill.report.seal import checksum, verify
from tests.report.entries import Entry, case, run, scenario


def folder(path: Path, *entries: Entry) -> Path:
    """Write a run's journal and everything that comes from it."""
    lines = [json.dumps(one) for one in run(*entries)]
    (path / "journal.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_files(path)
    return path


@pytest.mark.parametrize("verdict", ["pass", "deviated", "unknown", "invalid", "harness-error"])
def test_a_run_of_any_verdict_leaves_every_report(tmp_path: Path, verdict: str) -> None:
    folder(tmp_path, *scenario(told=verdict))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"journal.jsonl", "index.html", "report-1.md", "junit.xml", "verdict.json"}
    assert json.loads((tmp_path / "verdict.json").read_text(encoding="utf-8"))["verdict"] == verdict
    assert f"# {verdict}:" in (tmp_path / "report-1.md").read_text(encoding="utf-8")
    assert f"<title>{verdict}:" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("verdict", "tag"),
    [
        ("pass", None),
        ("deviated", "failure"),
        ("unknown", "error"),
        ("invalid", "error"),
        ("harness-error", "error"),
        ("not run", "skipped"),
    ],
)
def test_junit_skips_only_what_could_not_run(verdict: str, tag: str | None) -> None:
    missing = {"type": "not-run", "t": 1, "scenario": "x", "title": "X", "seed": 1, "why": "it needs node-exec"}
    found = scenarios(run(missing) if verdict == "not run" else run(*scenario(told=verdict, see="missed")))
    suite = ET.fromstring(junit(found, began="2026-01-02T03:04:05"))[0]  # noqa: S314 - made here
    tags = [child.tag for child in suite[0]]
    assert tags == ([tag] if tag else [])
    counted = {name for name in ("failures", "errors", "skipped") if suite.get(name) == "1"}
    assert counted == ({f"{tag}s".replace("skippeds", "skipped")} if tag else set())
    if verdict == "not run":
        assert "it needs node-exec" in str(suite[0][0].get("message"))


def test_junit_holds_what_xml_cannot(tmp_path: Path) -> None:
    told = scenario(see="missed")
    told[-1]["why"] = "\x1b[31mred\x00"
    ET.fromstring(junit(scenarios(run(*told)), began=""))  # noqa: S314 - made here


def test_pytests_own_junit_is_not_replaced(tmp_path: Path) -> None:
    folder(tmp_path, *scenario(), case("scenarios/git/down.yaml::git-down"))
    assert not (tmp_path / "junit.xml").exists()


def test_markdown_comes_in_parts_and_loses_nothing() -> None:
    many = [entry for n in range(200) for entry in scenario(f"scenario-{n}")]
    data = page_data(run(*many))
    made = parts(data)
    assert len(made) > 2
    assert max(map(len, made)) <= LIMIT
    assert made[0].startswith(f"<!-- part 1 of {len(made)} -->\n# pass: T")
    assert all(f"## scenario-{n}: pass" in "".join(made) for n in range(200))


def test_a_line_longer_than_a_part_is_cut_and_not_lost() -> None:
    text = {"type": "text", "t": 1.0, "title": "Long", "text": "x" * 120_000}
    made = parts(page_data(run(text)))
    assert max(map(len, made)) <= LIMIT
    assert sum(part.count("x") for part in made) >= 120_000


def test_markdown_says_what_the_page_says() -> None:
    told = [*scenario(see="missed"), {"type": "evidence", "t": 18.0, "scenario": "git-down", "why": "why see", "sections": [["Not Ready", "apps\n  False"]]}]  # fmt: skip
    text = "".join(parts(page_data(run(*told))))
    for said in (
        "| deviated | git-down |",
        "nobody told of it",
        "| recovery | the whole | 1 | 5.90 | 5.90 | - | 5.90 | 20 |",
        "Critical path of the recovery, cycle 1: GitRepository/n/flux 0.9 s -> Kustomization/n/apps 4.0 s.",
        "| GitRepository/n/flux | may leave Ready | not Ready: 4.0 s to 7.0 s |",
        "- Pods and their node are simulated",
        "Evidence at 18.0 s",
        "      False",
    ):
        assert said in text


def test_an_untouched_run_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(folder(tmp_path, *scenario())) == []
    assert command(["report", "verify", str(tmp_path)]) == 0
    assert "as the run left them" in capsys.readouterr().out


def test_a_changed_journal_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = folder(tmp_path, *scenario(see="missed")) / "journal.jsonl"
    text = journal.read_text(encoding="utf-8")
    journal.write_text(text.replace('"missed"', '"done"'), encoding="utf-8")
    assert command(["report", "verify", str(tmp_path)]) == 1
    assert "journal.jsonl was changed" in capsys.readouterr().out


def test_a_changed_verdict_is_told(tmp_path: Path) -> None:
    path = folder(tmp_path, *scenario(told="deviated")) / "verdict.json"
    path.write_text(path.read_text(encoding="utf-8").replace("deviated", "pass"), encoding="utf-8")
    assert verify(tmp_path) == ["verdict.json was changed since the run ended"]
    path.write_text("{}", encoding="utf-8")
    assert verify(tmp_path) == ["verdict.json is not as a run writes it"]


def test_writing_the_page_again_does_not_hide_a_change(tmp_path: Path) -> None:
    folder(tmp_path, *scenario())
    with (tmp_path / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"type": "x", "t": 1}\n')
    assert command(["report", str(tmp_path)]) == 0
    assert verify(tmp_path) == ["journal.jsonl was changed since the run ended"]


def test_a_folder_without_a_verdict_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        verify(tmp_path)


def test_the_checksum_leaves_out_itself_and_nothing_else() -> None:
    content: dict[str, Any] = {"a": 1, "b": [1, 2]}
    assert checksum(content) == checksum({**content, "checksum": "x"})
    assert checksum(content) != checksum({**content, "a": 2})
