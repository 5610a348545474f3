"""The runtime's wrapper takes away only what the machine cannot grant."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fluxdrill.cluster import clamp

PROCESS = {
    "args": ["/app"],
    "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "ambient": None},
    "oomScoreAdj": -999,
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024}, {"type": "RLIMIT_NPROC", "hard": 9, "soft": 9}],
}


def test_the_capability_goes_from_every_set_and_no_other_does() -> None:
    assert clamp.clamped(PROCESS, {})["capabilities"] == {"bounding": ["CAP_CHOWN"], "ambient": []}


def test_a_negative_score_is_raised_and_a_positive_one_stays() -> None:
    assert clamp.clamped(PROCESS, {})["oomScoreAdj"] == 0
    assert clamp.clamped({"oomScoreAdj": 500}, {})["oomScoreAdj"] == 500
    assert "oomScoreAdj" not in clamp.clamped({"args": []}, {})


def test_a_limit_above_the_machines_is_dropped_and_one_below_stays() -> None:
    kept = clamp.clamped(PROCESS, {"RLIMIT_NOFILE": 1024, "RLIMIT_NPROC": -1})["rlimits"]
    assert [one["type"] for one in kept] == ["RLIMIT_NPROC"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--root", "/r", "create", "--bundle", "/b", "id"], [(Path("/b/config.json"), True)]),
        (["run", "id"], [(Path("/cwd/config.json"), True)]),
        (["exec", "--process=/p.json", "id"], [(Path("/p.json"), False)]),
        (["exec", "id", "ls"], []),
        (["delete", "--force", "id"], []),
    ],
)
def test_what_is_to_be_started_is_found_in_the_arguments(arguments: list[str], named: list[tuple[Path, bool]]) -> None:
    assert clamp.files(arguments, Path("/cwd")) == named


def test_as_a_program_it_rewrites_the_bundle_and_becomes_the_runtime(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"process": PROCESS, "root": {}}), encoding="utf-8")
    command = [sys.executable, "-IS", clamp.__file__, "/bin/echo", "create", "--bundle", str(tmp_path), "id"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.split() == ["create", "--bundle", str(tmp_path), "id"]
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert written["root"] == {}
    assert "CAP_SYS_RESOURCE" not in json.dumps(written)
