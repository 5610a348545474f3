"""A helm-controller whose failures are hidden fools whoever looks at Ready only, and fails the remediation suite."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fluxdrill.lab.lab import Lab
from suites.liar import Liar, lied
from suites.remediation.conftest import releases_on
from suites.remediation.releases import NEVER_READY, recovered
from suites.sabotage import refused

ROOT = Path(__file__).parents[2]
FAILED = {"type": "Ready", "status": "False", "reason": "UpgradeFailed", "message": "timed out"}
STALLED = {"type": "Stalled", "status": "True", "reason": "RetriesExceeded", "message": "gave up"}


def test_a_lie_makes_ready_true_and_hides_what_would_give_it_away() -> None:
    """What stands beside the conditions (counters, history) is left as it is."""
    told = json.loads(lied(json.dumps({"status": {"conditions": [FAILED, STALLED], "failures": 2}}).encode()))
    assert [(one["type"], one["status"]) for one in told["status"]["conditions"]] == [("Ready", "True")]
    assert told["status"]["failures"] == 2


def test_a_write_that_says_nothing_of_conditions_is_passed_on_as_it_is() -> None:
    body = b'{"metadata": {"annotations": {"a": "b"}}}'
    assert lied(body) is body


@pytest.mark.live
@pytest.mark.ci
def test_a_hidden_failure_is_called_ready_and_not_recovered(own_lab: Lab) -> None:
    """The proxy does what it is for: the release that failed says Ready=True, and the suite's own check refuses it."""
    with Liar(own_lab) as liar, releases_on(own_lab) as make:
        release = make("hidden", install={"timeout": "7s"})
        release.install(**NEVER_READY)
        release.wait_ready()
        assert liar.lies
        with refused():
            release.wait(recovered(release), what="to recover", deadline=5)


@pytest.mark.live
@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_the_remediation_suite_fails_where_failures_are_hidden() -> None:
    """The core of the suite, run word for word on such a lab, is red in each of its three settings."""
    named = "without_a_block or rollback or retry_on_failure"
    command = [sys.executable, "-m", "pytest", "-p", "suites.liar", "-p", "no:cacheprovider", "-q"]
    run = subprocess.run(
        [*command, "suites/remediation/test_core.py", "-k", named],
        cwd=ROOT, capture_output=True, text=True, timeout=850, check=False,
    )  # fmt: skip
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout[-3000:]
    assert "3 failed" in run.stdout, run.stdout[-3000:]
