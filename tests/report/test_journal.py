"""The journal: in order, from many threads, and readable after a kill."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fluxdrill.errors import UsageError
from fluxdrill.model.clock import Instant
from fluxdrill.model.records import Intervention, Wait, WaitEnd
from fluxdrill.model.refs import ObjectRef
from fluxdrill.model.timeline import Gap
from fluxdrill.report.journal import Journal, read_journal

KINDS = ("wait", "disturbance")


class Steps:
    """A clock that moves a second with every look."""

    def __init__(self) -> None:
        self.monotonic = 100.0

    def now(self) -> Instant:
        self.monotonic += 1
        return Instant(self.monotonic, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic))


def test_entries_stand_in_the_order_they_were_told_with_seconds_since_the_start(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl", clock=Steps()) as journal:
        journal.tell("a", x=1)
        journal.tell("b")
    found = read_journal(journal.path)
    assert [(one["type"], one["t"]) for one in found] == [("run", 1.0), ("a", 2.0), ("b", 3.0)]


def test_a_line_is_on_disk_before_the_run_ends(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.tell("a")
    journal.close()
    assert len(read_journal(journal.path)) == 2


def test_many_threads_never_mix_their_lines(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal, ThreadPoolExecutor(8) as pool:
        for n in range(1600):
            pool.submit(journal.tell, "x", n=n)
    assert len(read_journal(journal.path)) == 1 + 1600


def test_a_last_line_cut_by_a_kill_is_left_out_but_a_broken_one_in_the_middle_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text('{"type": "run", "t": 0}\n{"type": "a", "t"', encoding="utf-8")
    assert [one["type"] for one in read_journal(path)] == ["run"]
    path.write_text('{"type": "run", "t": 0}\n{"type"\n{"type": "b", "t": 1}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="not JSON"):
        read_journal(path)


@pytest.mark.parametrize("text", ["", '{"type": "other", "t": 0}\n', "[]\n"])
def test_what_is_no_journal_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError):
        read_journal(path)


def test_a_missing_journal_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_journal(tmp_path / "absent.jsonl")


def test_a_gap_is_told_open_and_again_when_it_ends(tmp_path: Path) -> None:
    clock = Steps()
    with Journal(tmp_path / "j.jsonl", clock=clock) as journal:
        start = clock.now()
        journal.observe("lab-1", Gap(start, "refused"))
        journal.observe("lab-1", Gap(start, "refused", end=clock.now()))
    ends = [one["end"] for one in read_journal(journal.path) if one["type"] == "gap"]
    assert ends == [None, 3.0]


def test_a_workers_entries_are_moved_to_the_controllers_clock(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.take([{"type": "run", "t": 0.0}, {"type": "gap", "t": 1.0, "end": 3.0}], shift=10.0)
    lines = [json.loads(line) for line in journal.path.read_text(encoding="utf-8").splitlines()]
    assert [(one["type"], one["t"], one.get("end")) for one in lines[1:]] == [("gap", 11.0, 13.0)]


def test_a_wait_and_a_disturbance_are_told_when_they_begin_and_again_when_they_end(tmp_path: Path) -> None:
    clock = Steps()
    ref = ObjectRef("", "ConfigMap", "default", "settings")
    with Journal(tmp_path / "j.jsonl", clock=clock) as journal:
        waited = Wait("the link", (ref,) * 30, clock.now(), 60.0)
        journal.observe("lab-1", waited)
        journal.observe("lab-1", replace(waited, ended=clock.now(), outcome=WaitEnd.DEVIATED, why="no"))
        done = Intervention("etcd killed", "etcd", clock.now())
        journal.observe("lab-1", done)
        journal.observe("lab-1", replace(done, ended=clock.now()))
    waits, deeds = ([one for one in read_journal(journal.path) if one["type"] == kind] for kind in KINDS)
    assert [(one["t"], one["end"], one["outcome"]) for one in waits] == [
        (2.0, None, "waiting"),
        (2.0, 3.0, "not met in time"),
    ]
    assert (waits[1]["deadline"], waits[1]["count"], waits[1]["objects"]) == (60.0, 30, [str(ref)] * 20)
    assert [(one["what"], one["target"], one["t"], one["end"]) for one in deeds] == [
        ("etcd killed", "etcd", 4.0, None),
        ("etcd killed", "etcd", 4.0, 5.0),
    ]


def test_a_disturbance_by_hand_ends_also_after_an_error(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "j.jsonl") as journal,
        pytest.raises(ZeroDivisionError),
        journal.disturbance("Git server answers 503", target="git"),
    ):
        raise ZeroDivisionError
    ends = [one["end"] is None for one in read_journal(journal.path) if one["type"] == "disturbance"]
    assert ends == [True, False]
