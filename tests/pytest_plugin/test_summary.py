"""The end of a run in the terminal: the slowest objects, and what still stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fluxdrill.cluster import leases
from fluxdrill.model.clock import Instant
from fluxdrill.model.kstatus import Result, Status
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Change, Seen, Transition
from fluxdrill.pytest_plugin.summary import SHOWN, News, ToReady, lines, to_ready

pytest_plugins = ["pytester"]

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def seen(name: str, seconds: float, status: Status, reason: str = "", kind: Change = Change.MODIFIED) -> Transition:
    return Transition(
        ref=ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", name),
        at=Instant(1000 + seconds, START + timedelta(seconds=seconds)),
        kind=kind,
        seen=Seen.WATCH,
        uid="u",
        generation=1,
        resource_version="1",
        conditions=(),
        status=Result(status, reason),
    )


def ready(name: str, seconds: float, lab: str = "lab-a") -> ToReady:
    return ToReady(name, lab, seconds, "DependencyNotReady")


def test_time_to_ready_runs_from_first_sight_and_names_what_was_said_longest() -> None:
    seen_all = [
        seen("apps", 0, Status.IN_PROGRESS, "Progressing"),
        seen("infra", 1, Status.IN_PROGRESS, "Progressing"),
        seen("apps", 2, Status.IN_PROGRESS, "DependencyNotReady"),
        seen("infra", 3, Status.CURRENT),
        seen("apps", 5, Status.IN_PROGRESS, "LatestGenerationNotObserved"),
        seen("apps", 5.5, Status.CURRENT),
    ]
    assert [(one.name, one.seconds, one.mostly) for one in to_ready("lab-a", seen_all)] == [
        ("Kustomization/flux-system/infra", 2, "Progressing"),
        ("Kustomization/flux-system/apps", 5.5, "DependencyNotReady"),
    ]


def test_only_the_first_ready_counts_and_again_after_it_was_made_anew() -> None:
    seen_all = [
        seen("apps", 0, Status.IN_PROGRESS),
        seen("apps", 1, Status.CURRENT),
        seen("apps", 2, Status.FAILED),
        seen("apps", 50, Status.CURRENT),
        seen("apps", 51, Status.NOT_FOUND, kind=Change.DELETED),
        seen("apps", 60, Status.IN_PROGRESS),
        seen("apps", 63, Status.CURRENT),
    ]
    assert [one.seconds for one in to_ready("lab-a", seen_all)] == [1, 3]


def test_what_was_ready_at_first_sight_and_what_never_was_have_no_time() -> None:
    seen_all = [
        seen("there", 0, Status.CURRENT),
        seen("never", 0, Status.IN_PROGRESS),
        seen("there", 9, Status.CURRENT),
    ]
    assert to_ready("lab-a", seen_all) == []


def test_the_slowest_of_all_workers_are_shown_and_no_more() -> None:
    news = News([("lab-a", 8.04, "embedded")])
    news.take(News([("lab-b", 9.0, "kind")], [ready(f"b{number}", number, "lab-b") for number in range(10)]).plain())
    news.take(News([], [ready("a", 7.5)]).plain())
    shown = lines(news, [], [], "reports/x/index.html")
    assert shown[:4] == [
        "lab lab-a was ready in 8.0 s (embedded; simulated: pods and their node (kwok), volumes)",
        "lab lab-b was ready in 9.0 s (kind; simulated: what is in foreign images: stand-in containers)",
        "slowest to Ready:",
        "     9.0 s  b9 in lab-b, mostly DependencyNotReady",
    ]
    assert [one.split()[2] for one in shown[3:-1]] == ["b9", "b8", "a", "b7", "b6"]
    assert len(shown) == 3 + SHOWN + 1
    assert shown[-1] == "report: reports/x/index.html"


def test_a_lab_that_still_stands_is_named_with_the_command_that_removes_it() -> None:
    assert lines(News(), [], ["lab-1"], "") == ["lab lab-1 still stands; remove it with: fluxdrill down lab-1"]


def test_only_labs_that_are_kept_or_of_this_run_are_told_at_its_end(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path / "runtime"))
    kept, anothers = leases.open_lease(kept=True), leases.open_lease()
    pytester.makepyfile("def test_it(measured): measured('x', 1.0)")
    shown = pytester.runpytest().stdout.str()
    assert f"lab {kept.lab_id} still stands; remove it with: fluxdrill down {kept.lab_id}" in shown
    assert anothers.lab_id not in shown
