"""docs/explain.md is carried out: its example is what the command prints for that case, its table has every state."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fluxdrill.cli import run as command
from fluxdrill.flux.advice.case import Case, State, text
from fluxdrill.flux.advice.rules import advise

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")
PROGRAM = ".nox/suites/bin/fluxdrill "
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web-1", "namespace": "shop"},
    "status": {
        "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
    },
}
WHY = "timeout waiting for the Deployment"
RELEASE = {
    "apiVersion": "helm.toolkit.fluxcd.io/v2",
    "kind": "HelmRelease",
    "metadata": {"name": "web", "namespace": "shop", "generation": 2},
    "spec": {"interval": "5m"},
    "status": {
        "observedGeneration": 2,
        "lastAttemptedReleaseAction": "upgrade",
        "failures": 1,
        "upgradeFailures": 1,
        "conditions": [
            {"type": "Stalled", "status": "True", "reason": "RetriesExceeded", "message": "gave up"},
            {"type": "Ready", "status": "False", "reason": "UpgradeFailed", "message": WHY},
            {"type": "Released", "status": "False", "reason": "UpgradeFailed", "message": WHY},
        ],
    },
}


def test_the_example_is_what_the_command_prints() -> None:
    (shown,) = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    assert shown == text([advise(Case(RELEASE, pods=(POD,)))])


def test_every_state_is_in_the_table() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", PAGE, re.MULTILINE)[1:]
    assert [row for row in rows if not row.startswith("-")] == [str(one) for one in State]


def test_the_command_on_the_page_exists(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = re.findall(r"```sh\n(.*?)\n```", PAGE, re.DOTALL)
    words = line.removeprefix(PROGRAM).split()
    assert command([*words, "--help"]) == 0
    assert "NAMESPACE/NAME" in capsys.readouterr().out
