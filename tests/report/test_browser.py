"""The browser under our hand: what it says is heard, and nothing of it is left behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psutil
import pytest

from fluxdrill.errors import HarnessError
from fluxdrill.progress import Silent
from fluxdrill.report.browser import Browser, find
from fluxdrill.report.page_load import page_load

needs_browser = pytest.mark.usefixtures("browser")


@needs_browser
def test_neither_process_nor_folder_is_left_also_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def break_off() -> None:
        with Browser():
            assert mentioning(str(tmp_path))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert mentioning(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def mentioning(text: str) -> list[int]:
    """Return the processes that have `text` in their command line, without those that have ended already."""
    found = psutil.process_iter(["cmdline", "status"])
    alive = [one for one in found if one.info["status"] != psutil.STATUS_ZOMBIE]
    return [one.pid for one in alive if any(text in word for word in one.info["cmdline"] or ())]


def test_without_a_browser_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert find() is None
    with pytest.raises(HarnessError, match=r"no chromium") as error, Browser():
        pass
    assert "Install" in error.value.hint


def test_a_page_that_cannot_answer_is_an_error_and_not_none(browser: Browser) -> None:
    with pytest.raises(HarnessError, match="cannot evaluate"):
        browser.evaluate("nothing.of.it")
    with pytest.raises(HarnessError, match="refused"):
        browser._call("Page.noSuchMethod")


@needs_browser
def test_load_and_interaction_of_a_large_page_are_measured() -> None:
    figures = page_load(1, Silent())
    assert {name: (one["unit"], one["n"]) for name, one in figures.items()} == {
        "page_load": ("ms", 1),
        "page_interaction": ("ms", 5),
    }
    assert all(sample > 0 for one in figures.values() for sample in one["samples"])
