"""Under xdist each worker has a lab of its own, and everything ends up in one report."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fluxdrill.report.journal import read_journal
from fluxdrill.toolchain.store import cache_root

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.live, pytest.mark.ci]

CACHE = cache_root()
"""Asked before pytester moves the home folder: the programs are not to be built anew."""

SUITE = """
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_one(lab, measured, worker_id, number):
    meta = {"name": f"of-{worker_id}", "namespace": "default"}
    lab.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
    there = {one["metadata"]["name"] for one in lab.api.list(lab.api.resource("", "ConfigMap"), namespace="default").items}
    assert {one for one in there if one.startswith("of-")} == {f"of-{worker_id}"}
    measured(lab.lab_id, 1.0)
"""


def test_two_workers_have_two_labs_and_one_report_and_leave_nothing(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path / "runtime"))
    monkeypatch.setenv("FLUXDRILL_CACHE", str(CACHE))
    pytester.makepyfile(SUITE)
    result = pytester.runpytest("-n2", f"--lab-reports={tmp_path}/reports")
    result.assert_outcomes(passed=2)
    shown = result.stdout.str()
    started = set(re.findall(r"lab (lab-\w+) was ready in", shown))
    used = set(re.findall(r"1\.0 s  (lab-\w+) \(", shown))
    assert len(started) == 2
    assert used == started
    assert "slowest to Ready:" in shown
    assert "still stands" not in shown
    assert list((tmp_path / "runtime" / "labs").iterdir()) == []
    journal = read_journal(tmp_path / "reports" / "latest" / "journal.jsonl")
    assert {one["lab"] for one in journal if one["type"] == "lab"} == started
    assert {one["lab"] for one in journal if one["type"] == "transition"} == started
