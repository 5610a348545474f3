"""The page of scenarios in a browser: verdict, objective and reason first; the details, and nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluxdrill.report.browser import Browser
from fluxdrill.report.page import render
from fluxdrill.report.run import page_data
from tests.report.entries import APPS, Entry, case, disturbance, graph, run, scenario, transition
from tests.report.test_layout import _CONTRASTS, LOOKS, READABLE, too_wide


def bad_run() -> list[Entry]:
    long = "Kustomization/a-namespace-with-a-long-name/" + "and-a-name-that-does-not-end-" * 4
    missing = {
        "type": "not-run",
        "t": 1,
        "scenario": "needs-more",
        "title": "Needs more",
        "seed": 1,
        "why": "it needs node-exec",
    }
    evidence = {
        "type": "evidence",
        "t": 18,
        "scenario": "git-down",
        "why": "see it",
        "sections": [["Not Ready", f"{long} False"]],
    }
    return run(
        {"type": "lab", "t": 0.5, "lab": "lab-1", "seconds": 0.4},
        *scenario("slow-recovery"),
        *scenario(see="missed"),
        transition(5, APPS, "False", message="y" * 300), transition(5.5, APPS, "True"),
        disturbance(3.05, 6.0, "Git server is down", "git"),
        evidence, missing,
        {"type": "campaign", "t": 19, "seed": 3, "objective": "something left Ready", "verdict": "pass", "why": "in 2 of 2", "left_out": ["needs-node"]},
        graph(13, [APPS, long], [(APPS, long)], {APPS: "ready", long: "ready"}),
    )  # fmt: skip


def opened(browser: Browser, folder: Path, look: str, entries: list[Entry]) -> None:
    page = folder / "index.html"
    page.write_text(render(page_data(entries)), encoding="utf-8")
    browser.show(**LOOKS[look])  # type: ignore[arg-type]
    browser.open(page)


def unfold(browser: Browser) -> None:
    for _ in range(2):  # what is inside comes when it is opened
        browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        browser.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")


def text(browser: Browser, selector: str) -> str:
    return str(browser.evaluate(f"document.querySelector({selector!r}).innerText")).replace("\u200b", "")


@pytest.mark.parametrize("look", LOOKS)
def test_which_objective_of_which_scenario_failed_and_why_is_seen_without_scrolling(
    browser: Browser, tmp_path: Path, look: str
) -> None:
    opened(browser, tmp_path, look, bad_run())
    row = text(browser, ".verdicts tr:nth-child(2)")
    assert [word in row for word in ("deviated", "git-down", "it was seen: nobody told of it")] == [True] * 3
    bottom = browser.evaluate("document.querySelector('.verdicts tr:nth-child(2)').getBoundingClientRect().bottom")
    assert bottom <= LOOKS[look]["height"]


@pytest.mark.parametrize("look", LOOKS)
def test_everything_unfolded_can_be_read_and_nothing_has_to_be_scrolled_sideways(
    browser: Browser, tmp_path: Path, look: str
) -> None:
    said = len(browser.errors)
    opened(browser, tmp_path, look, bad_run())
    unfold(browser)
    assert too_wide(browser, LOOKS[look]["width"]) is None
    contrasts: dict[str, float] = browser.evaluate(_CONTRASTS)
    assert any("r-missed" in name for name in contrasts)
    assert {name: ratio for name, ratio in contrasts.items() if ratio < READABLE} == {}
    assert browser.errors[said:] == []


def test_the_details_have_blast_radius_numbers_path_steps_evidence_and_what_is_not_certified(
    browser: Browser, tmp_path: Path
) -> None:
    opened(browser, tmp_path, "light", bad_run())
    unfold(browser)
    shown = " ".join(text(browser, "#s0").split())
    for said in (
        "expected: recovered \u00b7 seed 7 \u00b7 git.down() \u00b7 C-10",
        "Kustomization/n/apps must stay Ready 5.0 s to 5.5 s beyond what was declared",
        "GitRepository/n/flux may leave Ready 4.0 s to 7.0 s as declared",
        "ConfigMap/shop/web may leave Ready stayed Ready declared, stayed Ready",
        "recovery the whole 1 5.90 5.90 from 20 samples on 5.90 20 5.90",
        "the longest took Kustomization/n/apps (4.0 s)",
        "Pods and their node are simulated",
        "4 see 1 see it missed",
        "Evidence at 18.0 s, when it began to fail",
    ):
        assert said in shown


def test_a_scenario_that_passed_claims_no_failure(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, "light", run(*scenario()))
    unfold(browser)
    shown = text(browser, "#s0")
    assert "beyond what was declared" not in shown
    assert "Evidence" not in shown
    assert text(browser, ".verdicts h2") == "1 pass"


def test_a_fault_is_one_lane_although_its_lab_noted_it_too(browser: Browser, tmp_path: Path) -> None:
    told = run(*scenario(), disturbance(3.05, 6.0, "Git server is down", "git"))
    opened(browser, tmp_path, "light", told)
    lanes = "[...document.querySelectorAll('.lane')].map((one) => one.innerText.replace(/\\s+/g, ' '))"
    assert browser.evaluate(lanes) == ["fault: git-down inject it, 3.1 s"]


def test_the_timeline_can_be_narrowed_to_a_scenario(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, "light", run(*scenario()))
    browser.evaluate("document.querySelector('#s0 button').click()")
    assert text(browser, "#axis").split("\n")[0].strip() == "0.5 s"


def test_the_campaign_the_matrix_and_what_did_not_run_are_told(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, "light", bad_run())
    head = text(browser, ".verdicts")
    assert "1 deviated, 1 pass, 1 not run: campaign of seed 3, pass" in head
    assert "needs-node" in head
    assert "it needs node-exec" in head
    assert "git.down 2 declared, stayed left in 2" in " ".join(text(browser, ".matrix").split())


def test_a_scenario_run_by_pytest_is_not_told_twice_on_the_first_screen(browser: Browser, tmp_path: Path) -> None:
    failed = case("scenarios/git/down.yaml::git-down", "failed", message="git-down: deviated: x")
    other = case("suites/t.py::test_x", "failed", message="Not met.")
    opened(browser, tmp_path, "light", run(*scenario(see="missed"), failed, other))
    headlines = browser.evaluate(
        "[...document.querySelectorAll('section.headline:not(.verdicts)')].map((one) => one.innerText)"
    )
    assert len(headlines) == 1
    assert "1 failed" in headlines[0]
    assert "suites/t.py::test_x" in headlines[0]


def test_text_of_a_scenario_is_shown_and_never_run(browser: Browser, tmp_path: Path) -> None:
    evil = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    told = scenario(see="missed")
    told[-1]["why"] = told[-1]["objectives"][0]["why"] = evil
    said = len(browser.errors)
    opened(browser, tmp_path, "light", run(*told, {"type": "evidence", "t": 18, "scenario": "git-down", "why": evil, "sections": [[evil, evil]]}))  # fmt: skip
    unfold(browser)
    page = browser.evaluate("document.documentElement.outerHTML")
    assert "<title>owned" not in page
    assert "<img" not in page
    assert browser.errors[said:] == []
