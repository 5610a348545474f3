"""The README and CI say the same, and what the docs name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines() if line.strip()]


def test_ci_runs_the_readmes_test_command_word_for_word() -> None:
    (tests,) = [one for one in commands(ROOT / "README.md") if one.endswith("nox -s tests")]
    assert tests in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_every_session_the_docs_name_exists() -> None:
    sessions = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for page in (ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md")
             for name in re.findall(r"nox -s (\w+)", page.read_text(encoding="utf-8"))}  # fmt: skip
    assert named
    assert named <= sessions


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda p: p.name
)
def test_every_linked_file_of_a_page_exists(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8"))
    seeds = re.findall(r"docs/examples/[-\w/.]+\.yaml", page.read_text(encoding="utf-8"))
    missing = [one for one in links if not (page.parent / one).exists()] + [
        one for one in seeds if not (ROOT / one).exists()
    ]
    assert missing == []


def test_a_missing_link_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[gone](gone.md)", encoding="utf-8")
    with pytest.raises(AssertionError):
        test_every_linked_file_of_a_page_exists(page)
