"""The page in a real browser: it opens from disk, shows what it should, and asks for nothing from anywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fluxdrill.cli import run as command
from fluxdrill.report.browser import Browser
from fluxdrill.report.page import render
from fluxdrill.report.page_load import large_run
from fluxdrill.report.run import page_data
from tests.processes import wait_until
from tests.report.entries import case, run, transition


def opened(browser: Browser, html: str, tmp_path: Path, *, complete: bool = True) -> tuple[str, list[str]]:
    """Open `html` from disk; return the page as the browser has it, and what the console said."""
    page = tmp_path / "page.html"
    page.write_text(html, encoding="utf-8")
    said = len(browser.errors)
    browser.open(page, complete=complete)
    return str(browser.evaluate("document.documentElement.outerHTML")), browser.errors[said:]


def test_a_failed_run_shows_verdict_headline_rows_and_tests_without_a_console_error(
    browser: Browser, tmp_path: Path
) -> None:
    graph = {
        "type": "graph",
        "t": 3.0,
        "lab": "lab-1",
        "title": "G",
        "nodes": ["K/n/a", "K/n/b"],
        "edges": [["K/n/a", "K/n/b"]],
        "states": {"K/n/a": "failing"},
    }
    entries = run(
        transition(1, "K/n/a", "False"), graph, case("suites/t.py::test_x", "failed", message="Not met.\nBlocking")
    )
    page, console = opened(browser, render(page_data(entries)), tmp_path)
    assert 'data-ready="true"' in page
    assert console == []
    for shown in ("deviated", "Not met.", "K/n/a", "suites/t.py::test_x", "<path"):
        assert shown in page


def test_a_broken_script_would_be_noticed(browser: Browser, tmp_path: Path) -> None:
    broken = render(page_data(run(case("t")))).replace("JSON.parse", "JSON.gone")
    said = len(browser.errors)
    page, _ = opened(browser, broken, tmp_path, complete=False)
    assert 'data-ready="true"' not in page
    # the script fails in a promise: the browser tells it some time after the page is loaded
    wait_until(lambda: browser.evaluate("true") and len(browser.errors) > said)


def test_text_of_a_cluster_is_shown_and_never_run(browser: Browser, tmp_path: Path) -> None:
    evil = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    entries = run(transition(1, f"K/n/{evil}", "False", message=evil), case(evil, "failed", message=evil))
    page, console = opened(browser, render(page_data(entries)), tmp_path)
    assert console == []
    assert "<title>owned" not in page
    assert "<img" not in page


def test_the_page_names_no_address_and_forbids_the_browser_to_fetch() -> None:
    page = render(page_data(run(case("t"))))
    assert "default-src 'none'" in page
    assert re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", page) == []


def test_a_run_of_500_tests_and_10000_transitions_stays_below_5_megabytes(browser: Browser, tmp_path: Path) -> None:
    html = render(page_data(large_run(500, 10_000)))
    assert len(html.encode()) < 5_000_000
    page, console = opened(browser, html, tmp_path)
    assert ('data-ready="true"' in page, console) == (True, [])


def test_a_run_that_was_killed_says_so(browser: Browser, tmp_path: Path) -> None:
    page, _ = opened(browser, render(page_data(run(case("t"), ended=False))), tmp_path)
    assert "did not end in order" in page


def test_the_page_of_a_killed_run_is_written_by_hand(tmp_path: Path) -> None:
    lines = [json.dumps(entry) for entry in run(case("suites/t.py::test_x"), ended=False)]
    (tmp_path / "journal.jsonl").write_text("\n".join([*lines, '{"type": "tes']), encoding="utf-8")
    assert command(["report", str(tmp_path)]) == 0
    assert "did not end in order" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_folder_that_is_no_run_is_a_wrong_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["report", str(tmp_path)]) == 4
    assert "cannot be read" in capsys.readouterr().err
