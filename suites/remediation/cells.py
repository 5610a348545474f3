"""The remediation matrix as a table: what fails, under which setting, and how it ends (helm-controller 1.6, Helm 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from suites.remediation.releases import NEVER_READY, Outcome

IMPATIENT = "7s"
"""Timeout of the action that is to fail: one look after the first, so that many attempts fit into one run."""


class Fails(StrEnum):
    """What of a release fails."""

    INSTALL = "install"
    UPGRADE = "upgrade"
    INSTALL_TEST = "install-test"
    UPGRADE_TEST = "upgrade-test"


class End(StrEnum):
    """How it ends when its cause does not heal."""

    STALLED = "stalled"
    RETRIES = "retries"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Cell:
    """One legal cell. `outcome` and `statuses` (Helm's history) are those at the end; `serving` is how many pods do.

    For one that retries they are those after `attempts` attempts at least, and not compared: it goes on.
    """

    name: str
    fails: Fails
    spec: Mapping[str, Any]
    end: End
    outcome: Outcome | None = None
    statuses: tuple[str, ...] = ()
    serving: int = 0
    attempts: int = 0

    @property
    def values(self) -> dict[str, str]:
        """The values with which it fails."""
        return {"test": "fail"} if self.fails in {Fails.INSTALL_TEST, Fails.UPGRADE_TEST} else NEVER_READY

    @property
    def action(self) -> str:
        """The action that fails, or whose test fails."""
        return "install" if self.fails in {Fails.INSTALL, Fails.INSTALL_TEST} else "upgrade"

    @property
    def full_spec(self) -> dict[str, Any]:
        """The spec with the timeout of the action that is to fail."""
        if self.values != NEVER_READY:
            return {"test": {"enable": True}, **self.spec}
        return {**self.spec, self.action: {"timeout": IMPATIENT, **self.spec.get(self.action, {})}}


def _remediation(action: str, retries: int, **rest: Any) -> dict[str, Any]:
    return {action: {"remediation": {"retries": retries, **rest}}}


def _retry(action: str) -> dict[str, Any]:
    return {action: {"strategy": {"name": "RetryOnFailure", "retryInterval": "1s"}}}


EXCEEDED = "True RetriesExceeded"
INSTALL_FAILED = "False InstallFailed"
UPGRADE_FAILED = "False UpgradeFailed"
INSTALLED = "True InstallSucceeded"
UPGRADED = "True UpgradeSucceeded"
TEST_FAILED = "False TestFailed"
UNINSTALLED = "UninstallSucceeded"
ROLLED_BACK = "RollbackSucceeded"

CELLS = (
    Cell(
        "install-no-block", Fails.INSTALL, {}, End.STALLED,
        Outcome(INSTALL_FAILED, EXCEEDED, INSTALL_FAILED, "", "", (1, 1, 0)), ("failed",),
    ),
    Cell(
        "install-retries-0", Fails.INSTALL, _remediation("install", 0), End.STALLED,
        Outcome(INSTALL_FAILED, EXCEEDED, INSTALL_FAILED, "", "", (1, 1, 0)), ("failed",),
    ),
    Cell(
        "install-retries-1", Fails.INSTALL, _remediation("install", 1), End.STALLED,
        Outcome(INSTALL_FAILED, EXCEEDED, INSTALL_FAILED, "", "", (2, 2, 0)), ("failed",),
    ),
    Cell(
        "install-retries-1-remediate-last", Fails.INSTALL,
        _remediation("install", 1, remediateLastFailure=True), End.STALLED,
        Outcome(INSTALL_FAILED, EXCEEDED, INSTALL_FAILED, f"True {UNINSTALLED}", "", (2, 2, 0)), (),
    ),
    Cell("install-unlimited", Fails.INSTALL, _remediation("install", -1), End.RETRIES, attempts=5),
    Cell(  # its second attempt is an upgrade, and those it says nothing about
        "install-retry-on-failure", Fails.INSTALL, _retry("install"), End.STALLED,
        Outcome(UPGRADE_FAILED, EXCEEDED, UPGRADE_FAILED, "", "", (2, 1, 1)), ("failed", "failed"),
    ),
    Cell("both-retry-on-failure", Fails.INSTALL, _retry("install") | _retry("upgrade"), End.RETRIES, attempts=3),
    Cell(
        "upgrade-retries-0", Fails.UPGRADE, _remediation("upgrade", 0), End.STALLED,
        Outcome(UPGRADE_FAILED, EXCEEDED, UPGRADE_FAILED, "", "", (1, 0, 1)), ("deployed", "failed"), serving=1,
    ),
    Cell(
        "upgrade-retries-0-remediate-last", Fails.UPGRADE,
        _remediation("upgrade", 0, remediateLastFailure=True), End.STALLED,
        Outcome(f"False {ROLLED_BACK}", EXCEEDED, UPGRADE_FAILED, f"True {ROLLED_BACK}", "", (1, 0, 1)),
        ("superseded", "failed", "deployed"), serving=1,
    ),
    Cell(
        "upgrade-retries-1-keep-last", Fails.UPGRADE,
        _remediation("upgrade", 1, remediateLastFailure=False), End.STALLED,
        Outcome(UPGRADE_FAILED, EXCEEDED, UPGRADE_FAILED, "", "", (2, 0, 2)),
        ("superseded", "failed", "deployed", "failed"), serving=1,
    ),
    Cell(
        "upgrade-retries-1-uninstall", Fails.UPGRADE,
        _remediation("upgrade", 1, strategy="uninstall"), End.STALLED,
        Outcome(INSTALL_FAILED, EXCEEDED, INSTALL_FAILED, "", "", (2, 1, 1)), ("failed",),
    ),
    Cell("upgrade-unlimited", Fails.UPGRADE, _remediation("upgrade", -1), End.RETRIES, serving=1, attempts=5),
    Cell(
        "install-test-no-block", Fails.INSTALL_TEST, {}, End.STALLED,
        Outcome(TEST_FAILED, EXCEEDED, INSTALLED, "", TEST_FAILED, (1, 1, 0)), ("deployed",), serving=1,
    ),
    Cell(
        "install-test-ignored", Fails.INSTALL_TEST, {"test": {"enable": True, "ignoreFailures": True}}, End.READY,
        Outcome(INSTALLED, "", INSTALLED, "", TEST_FAILED, (1, 0, 0)), ("deployed",), serving=1,
    ),
    Cell(
        "upgrade-test-retries-1", Fails.UPGRADE_TEST, _remediation("upgrade", 1), End.STALLED,
        Outcome(f"False {ROLLED_BACK}", EXCEEDED, UPGRADED, f"True {ROLLED_BACK}", TEST_FAILED, (2, 0, 2)),
        ("superseded", "superseded", "superseded", "superseded", "deployed"), serving=1,
    ),
)  # fmt: skip

ILLEGAL: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "a strategy that is none": ({"upgrade": {"strategy": {"name": "Hope"}}}, "Unsupported value"),
    "a remediation that is none": (_remediation("upgrade", 1, strategy="hope"), "Unsupported value"),
    "an interval without retries": (
        {"upgrade": {"strategy": {"name": "RemediateOnFailure", "retryInterval": "1s"}}},
        "retryInterval",
    ),
    "retries that are no number": (_remediation("install", "three"), "expected numeric"),  # type: ignore[arg-type]
}
"""Cells that the API server refuses, and what it blames."""
