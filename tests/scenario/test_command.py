from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluxdrill.cli import run
from fluxdrill.errors import ExitCode, UsageError
from fluxdrill.scenario.command import exit_code, json_schema, scenarios, verdict
from tests.scenario.samples import written


def test_a_valid_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path)
    assert run(["scenario", "validate", str(tmp_path)]) == ExitCode.PASS
    assert "1 scenarios are valid" in capsys.readouterr().out


def test_a_bad_file_ends_with_usage_and_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, outcome="healed")
    assert run(["scenario", "validate", str(tmp_path)]) == ExitCode.USAGE
    assert f"{path}:" in capsys.readouterr().err


def test_a_plan_needs_no_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path)
    assert run(["scenario", "plan", str(tmp_path), "--seed", "3"]) == ExitCode.PASS
    assert "seed 3" in capsys.readouterr().out


def test_an_unknown_id_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sample-scenario"):
        scenarios([written(tmp_path)], ids=["nope"])


def test_the_schema_knows_every_fault() -> None:
    schema = json.loads(json_schema())
    assert "git.down" in schema["x-faults"]
    assert schema["properties"]["outcome"]


def test_a_run_of_nothing_is_no_pass() -> None:
    assert verdict([]) == "nothing ran"
    assert exit_code([]) is ExitCode.NOTHING_RAN


def test_recover_with_nothing_open_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLUXDRILL_RUNTIME", str(tmp_path))
    assert run(["recover"]) == ExitCode.PASS
    assert "No open fault" in capsys.readouterr().out
