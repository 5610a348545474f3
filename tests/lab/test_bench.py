"""Figures of a machine: their statistics, their shape as data, their targets, and one measured for real."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fluxdrill import cli
from fluxdrill.errors import ExitCode, UsageError
from fluxdrill.kube.view import Following
from fluxdrill.lab import bench
from fluxdrill.lab.bench import Conditions, chosen, figure, measure, table
from fluxdrill.lab.lab import Lab
from fluxdrill.progress import Silent
from tests.processes import line, python, running

NAMES = ["lab_memory", "lab_start", "wait_latency", "poll_latency", "four_labs", "homelab_ready", "homelab_factor"]
QUIET = Conditions(2, 0.25, "fluxdrill 9.9.9, Kubernetes v1.0.0")


def shown(figures: dict[str, bench.Figure]) -> str:
    """Return the table as text."""
    console = Console(file=io.StringIO(), width=200)
    console.print(table(figures, QUIET))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("samples", "median", "p95"),
    [
        ([5.0], 5.0, 5.0),
        ([2.0, 1.0], 1.5, 2.0),
        ([float(one) for one in range(1, 21)], 10.5, 19.0),
        ([float(one) for one in range(100, 0, -1)], 50.5, 95.0),
        ([0.12349, 0.12349], 0.123, 0.123),
    ],
)
def test_median_and_p95_are_those_of_the_samples(samples: list[float], median: float, p95: float) -> None:
    one = figure("s", samples)
    assert (one["n"], one["median"], one["p95"]) == (len(samples), median, p95)


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=200))
def test_at_least_95_percent_of_the_samples_are_no_larger_than_p95(samples: list[float]) -> None:
    one = figure("ms", samples)
    within = sum(sample <= one["p95"] for sample in one["samples"])
    assert within / len(samples) >= 0.95
    assert one["p95"] in one["samples"]


def test_samples_keep_the_order_in_which_they_were_taken() -> None:
    assert figure("s", [3.0, 1.0, 2.0])["samples"] == [3.0, 1.0, 2.0]


def test_no_samples_are_no_figure() -> None:
    with pytest.raises(ValueError, match="needs a sample"):
        figure("s", [])


def test_all_figures_are_measured_unless_some_are_named() -> None:
    assert chosen(None) == NAMES
    assert chosen([]) == NAMES
    assert chosen(["four_labs", "lab_start"]) == ["lab_start", "four_labs"]


def test_an_unknown_figure_is_a_usage_error_that_names_the_known_ones_and_starts_nothing() -> None:
    with pytest.raises(UsageError, match="'lab_stop'") as caught:
        measure(only=["lab_start", "lab_stop"], rounds=1, progress=Silent())
    assert caught.value.hint == f"Known: {', '.join(NAMES)}."


@pytest.mark.parametrize(
    ("name", "samples", "says"),
    [
        ("lab_start", [6.0], "median <= 6 s: reached"),
        ("lab_start", [6.1], "median <= 6 s: not reached"),
        ("wait_latency", [*[1.0] * 95, *[500.0] * 5], "p95 <= 100 ms: reached"),
        ("wait_latency", [*[1.0] * 94, *[500.0] * 6], "p95 <= 100 ms: not reached"),
        ("lab_memory", [1228.0], "median <= 1.2 GiB: reached"),
        ("lab_memory", [1229.0], "median <= 1.2 GiB: not reached"),
    ],
)
def test_the_table_says_whether_a_target_was_reached(name: str, samples: list[float], says: str) -> None:
    (row,) = [row for row in shown({name: figure("unit", samples)}).splitlines() if row.startswith(name)]
    assert row.rstrip().endswith(says)


def test_the_table_shows_every_figure_and_what_it_was_measured_on() -> None:
    text = shown({"lab_start": figure("s", [3.0, 4.0]), "poll_latency": figure("ms", [512.0])})
    rows = [row.split() for row in text.splitlines()]
    assert ["poll_latency", "ms", "1", "512.0", "512.0", "-"] in rows
    assert ["lab_start", "s", "2", "3.5", "4.0", "median", "<=", "6", "s:", "reached"] in rows
    told = " ".join(text.split())
    assert "2 cores, load average 0.25 at the start; fluxdrill 9.9.9, Kubernetes v1.0.0" in told


def test_the_conditions_name_the_versions_that_are_measured() -> None:
    now = Conditions.now()
    assert now.cores == os.cpu_count()
    for part in ("fluxdrill ", "Kubernetes v", "etcd v", "Flux v2.9.2", "Python 3."):
        assert part in now.versions


def test_the_peak_of_a_process_outlasts_what_it_has_given_back() -> None:
    code = "data = bytearray(200 * 2**20); del data; print('freed'); input()"
    with running(python(code)) as process:
        assert line(process.stdout) == "freed"
        assert bench._peak(process.pid) >= 200 * 2**20
    process.wait(10)
    assert bench._peak(process.pid) == 0


def test_the_command_writes_exactly_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, object] = {}

    def measured(*, only: list[str] | None, rounds: int, progress: object) -> dict[str, bench.Figure]:
        asked.update(only=only, rounds=rounds)
        return {"lab_start": figure("s", [3.5, 3.0])}

    monkeypatch.setattr(bench, "measure", measured)
    file = tmp_path / "figures.json"
    assert cli.run(["bench", "--only", "lab_start", "--rounds", "2", "--json", str(file)]) == ExitCode.PASS
    assert asked == {"only": ["lab_start"], "rounds": 2}
    assert json.loads(file.read_text()) == {
        "lab_start": {"unit": "s", "n": 2, "median": 3.25, "p95": 3.5, "samples": [3.5, 3.0]}
    }
    assert "median <= 6 s: reached" in capsys.readouterr().out


@pytest.mark.live
def test_the_start_of_a_lab_is_measured() -> None:
    figures = measure(only=["lab_start"], rounds=1, progress=Silent())
    assert list(figures) == ["lab_start"]
    assert (figures["lab_start"]["unit"], figures["lab_start"]["n"]) == ("s", 1)
    assert 1 < figures["lab_start"]["median"] < 90


@pytest.mark.live
def test_a_poller_is_later_than_a_wait_on_the_same_change(monkeypatch: pytest.MonkeyPatch) -> None:
    # few samples; the waits follow every kind that the figure claims
    monkeypatch.setattr(bench, "WAITS", 10)
    monkeypatch.setattr(bench, "POLLS", 4)
    live: list[int] = []
    begin: Callable[..., object] = bench._start_wait

    def start_wait(lab: Lab, token: str, pool: object) -> object:
        view = lab.store.view()
        live.append(sum(part.following is Following.LIVE for part in view.parts_of(bench.FOLLOWED)))
        return begin(lab, token, pool)

    monkeypatch.setattr(bench, "_start_wait", start_wait)
    threads = threading.active_count()
    figures = measure(only=["wait_latency", "poll_latency"], rounds=1, progress=Silent())
    assert live == [len(bench.FOLLOWED)] * 10
    assert len(set(bench.FOLLOWED)) >= 20
    assert (figures["wait_latency"]["n"], figures["poll_latency"]["n"]) == (10, 4)
    assert figures["wait_latency"]["median"] < figures["poll_latency"]["median"]
    assert threading.active_count() == threads
