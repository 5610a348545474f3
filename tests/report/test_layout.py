"""The page as it is drawn: in light, dark and on a phone nothing overflows, every text can be read, the verdict is first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fluxdrill.report.browser import Browser
from fluxdrill.report.page import render
from fluxdrill.report.run import page_data
from tests.report.entries import Entry, case, disturbance, graph, run, transition, wait

LOOKS = {
    "light": {"width": 1280, "height": 860},
    "dark": {"width": 1280, "height": 860, "dark": True},
    "phone": {"width": 390, "height": 844},
    "dark phone": {"width": 390, "height": 844, "dark": True},
}
READABLE = 4.5
"""The contrast that WCAG 2 asks for (AA, text of normal size)."""

_CONTRASTS = """
(() => {
  const channels = (colour) => {
    const found = colour.match(/[\\d.]+/g).map(Number);
    return colour.startsWith("color(") ? found.map((one, i) => i < 3 ? one * 255 : one) : found;
  };
  const over = (front, back) => {
    const alpha = front[3] ?? 1;
    return [0, 1, 2].map((i) => front[i] * alpha + back[i] * (1 - alpha));
  };
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    const layers = [];
    for (let one = node; one; one = one.parentElement) layers.push(channels(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const worst = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("script,style,title,option")) continue;
    const style = getComputedStyle(node);
    const back = behind(node);
    const front = over(channels(node.closest("svg") ? style.fill : style.color), back);
    const [a, b] = [light(front), light(back)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    worst[`${node.tagName}.${node.getAttribute("class") ?? ""}`] = Math.min(ratio, worst[`${node.tagName}.${node.getAttribute("class") ?? ""}`] ?? 99);
  }
  return worst;
})()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(failed_run(), tmp_path_factory.mktemp("page"))


def failed_run() -> list[Entry]:
    long = "suites/ordering/test_repository.py::test_every_edge_is_proved[" + "a-very-long-name-" * 8 + "]"
    names = [f"Kustomization/flux-system/{name}" for name in ("infra-controllers", "infra-configs", "apps", "alone")]
    return run(
        {"type": "lab", "t": 0.5, "lab": "lab-1", "seconds": 0.4},
        transition(0.8, names[0], "Unknown"),
        transition(1.5, names[0], "True"),
        transition(1, names[1], "False", reason="ReconciliationFailed", message='namespaces "networking" not found ' * 9),
        transition(2, names[2], "Unknown"),
        transition(2, names[3], "True"),
        transition(3, names[3], "True", change="deleted"),
        wait(2, 12, "the chain to be Ready and everything behind it as well", outcome="not met in time"),
        wait(1, 2, "the first link"),
        disturbance(4, 9, "Git server answers 503", "git"),
        disturbance(15, None, "kustomize-controller killed and never started again", "kustomize-controller"),
        graph(13, names, [(names[0], names[1]), (names[1], names[2])], dict(zip(names, STATES, strict=True))),
        case(long, "failed", t=13, message="Not met after 10 s of waiting for " + "x" * 300 + ".\nBlocking:\n  infra-configs"),
        case("suites/t.py::test_skipped", "skipped"),
        case("suites/t.py::test_passed"),
        {"type": "text", "t": 14.0, "title": "In words", "text": "y" * 400},
    )  # fmt: skip


STATES = ("ready", "failing", "blocked", "ready")


def written(entries: list[Entry], folder: Path, *, style: str = "") -> Path:
    """Write the page; `style` is added to its own, for the controls."""
    (folder / "index.html").write_text(
        render(page_data(entries)).replace("</style>", f"{style}</style>"), encoding="utf-8"
    )
    return folder / "index.html"


def shown(browser: Browser, page: Path, look: str, *, everything: bool = True) -> None:
    browser.show(**LOOKS[look])  # type: ignore[arg-type]
    browser.open(page)
    if everything:
        browser.evaluate("document.getElementById('changed').click()")
        browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        browser.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")


def too_wide(browser: Browser, width: int) -> Any:
    """Return what reaches over the right edge, and how wide the page is where it can be scrolled sideways."""
    scrolled = browser.evaluate("document.documentElement.scrollWidth")
    return scrolled if scrolled > width else None


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_has_to_be_scrolled_sideways(browser: Browser, page: Path, look: str) -> None:
    shown(browser, page, look)
    assert too_wide(browser, LOOKS[look]["width"]) is None


def test_control_a_text_that_cannot_wrap_is_noticed_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    stiff = written(failed_run(), tmp_path, style="h3 { white-space: nowrap; }")
    shown(browser, stiff, "phone")
    assert too_wide(browser, 390) is not None


@pytest.mark.parametrize("look", LOOKS)
def test_every_text_can_be_read(browser: Browser, page: Path, look: str) -> None:
    shown(browser, page, look)
    contrasts: dict[str, float] = browser.evaluate(_CONTRASTS)
    assert len(contrasts) > 20
    assert {name: ratio for name, ratio in contrasts.items() if ratio < READABLE} == {}


def test_control_a_pale_text_is_noticed(browser: Browser, tmp_path: Path) -> None:
    shown(browser, written(failed_run(), tmp_path, style="h1 { color: #aaa; }"), "light")
    assert browser.evaluate(_CONTRASTS)["H1."] < READABLE


@pytest.mark.parametrize("look", LOOKS)
def test_the_verdict_is_the_first_text_and_what_blocks_is_seen_without_scrolling(
    browser: Browser, page: Path, look: str
) -> None:
    shown(browser, page, look, everything=False)
    texts = browser.evaluate("document.body.innerText.trim().split('\\n').filter(Boolean).slice(0, 1)")
    assert [one.lower() for one in texts] == ["deviated"]
    bottom = browser.evaluate("document.querySelector('.blocking td:last-child').getBoundingClientRect().bottom")
    assert bottom <= LOOKS[look]["height"]


def test_what_blocks_since_when_why_and_what_waits_for_it_are_told(browser: Browser, page: Path) -> None:
    shown(browser, page, "light", everything=False)
    row = browser.evaluate(
        "[...document.querySelectorAll('.blocking tr:nth-child(2) td')].map((one) => one.textContent)"
    )
    what, since, why, waits = (str(cell).replace("\u200b", "") for cell in row)
    assert what == "Kustomization/flux-system/infra-configs failing"
    assert since == "03:04:06 UTC,for 12.0 s"
    assert why.startswith('ReconciliationFailed: namespaces "networking" not found')
    assert waits.strip() == "Kustomization/flux-system/apps"


def test_disturbances_are_labelled_lanes_and_bands_across_the_rows_of_their_lab(browser: Browser, page: Path) -> None:
    shown(browser, page, "light")
    lanes = browser.evaluate(
        "[...document.querySelectorAll('.lane')].map((one) => one.innerText.replace(/\\s+/g, ' '))"
    )
    assert lanes == [
        "disturbed: git Git server answers 503, 5.0 s",
        "disturbed: kustomize-controller kustomize-controller killed and never started again, 5.0 s, not healed",
    ]
    bands = browser.evaluate(
        "[...document.querySelectorAll('.row svg')].map((one) => one.querySelectorAll('.faultband').length)"
    )
    assert set(bands) == {2}
    assert "Git server answers 503" in browser.evaluate("document.querySelector('.blocking .sub').innerText")


def test_a_run_without_a_disturbance_shows_none_and_says_so(browser: Browser, tmp_path: Path) -> None:
    calm = [one for one in failed_run() if one["type"] != "disturbance"]
    shown(browser, written(calm, tmp_path), "light")
    assert browser.evaluate("document.querySelectorAll('.lane, .faultband').length") == 0
    assert "No disturbance was recorded" in browser.evaluate("document.body.innerText")
    assert "Nothing was done to the lab on purpose" in browser.evaluate("document.body.innerText")


def test_a_run_with_a_disturbance_does_not_claim_that_there_was_none(browser: Browser, page: Path) -> None:
    shown(browser, page, "light")
    assert "on purpose" not in browser.evaluate("document.body.innerText")


def test_waits_are_brackets_and_those_not_met_stand_out(browser: Browser, page: Path) -> None:
    shown(browser, page, "light")
    waits = "[...document.querySelectorAll('.row.wait')].map((one) => [one.innerText.trim(), !!one.querySelector('.bracket.no')])"
    assert browser.evaluate(waits) == [
        ["wait: the chain to be Ready and everything behind it as well", True],
        ["wait: the first link", False],
    ]
    browser.evaluate("document.getElementById('waiting').click()")
    assert browser.evaluate(waits) == []


def test_the_critical_path_is_told_and_marked_in_graph_and_timeline(browser: Browser, page: Path) -> None:
    shown(browser, page, "light", everything=False)
    told = browser.evaluate("document.querySelector('.graph .sub').innerText")
    assert (
        told
        == "Critical path: infra-controllers 0.7 s \u2192 infra-configs 11.5 s (not Ready) \u2192 apps 0.0 s (not Ready)"
    )
    assert browser.evaluate("document.querySelectorAll('.graph path.critical').length") == 2
    marked = browser.evaluate(
        "[...document.querySelectorAll('.row.critical')].map((one) => one.title.split('/').at(-1))"
    )
    assert sorted(marked) == ["apps", "infra-configs", "infra-controllers"]


def test_the_timeline_can_be_narrowed_to_the_time_of_a_failure(browser: Browser, page: Path) -> None:
    shown(browser, page, "light")
    chosen = "(() => { const one = document.getElementById('window'); one.selectedIndex = 1; one.dispatchEvent(new Event('change')); return document.getElementById('axis').innerText; })()"
    assert browser.evaluate(chosen).split("\n")[0].strip() == "11.0 s"
    assert browser.evaluate("document.querySelectorAll('.lane').length") == 0


def test_nothing_is_asked_for_but_the_page_itself_and_the_console_stays_silent(browser: Browser, page: Path) -> None:
    asked, said = len(browser.requests), len(browser.errors)
    shown(browser, page, "light")
    assert browser.requests[asked:] == [page.as_uri()]
    assert browser.errors[said:] == []


def test_control_a_picture_from_elsewhere_is_noticed(browser: Browser, tmp_path: Path) -> None:
    asked, said = len(browser.requests), len(browser.errors)
    shown(browser, written(failed_run(), tmp_path, style="h1 { background: url(http://127.0.0.1:9/x.png); }"), "light")
    assert len(browser.requests[asked:]) > 1 or browser.errors[said:]
