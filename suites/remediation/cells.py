"""The remediation matrix as a table: what fails, under which setting, and how it ends (helm-controller 1.6, Helm 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from suites.remediation.releases import Outcome

IMPATIENT = "7s"
"""Timeout of the action that is to fail: one look after the first, so that many attempts fit into one run."""


class Fails(StrEnum):
    """In which action of a release something fails."""

    INSTALL = "install"
    UPGRADE = "upgrade"


class Cause(StrEnum):
    """What fails there. The first two are outside of the release and can be healed without touching it."""

    NO_CLAIM = "its pods wait for a claim that is not there, until the timeout"
    NO_NAMESPACE = "one of its objects is refused, for its namespace is not there"
    HOOK_FAILS = "its hook fails"
    HOOK_HANGS = "its hook does not end, until the timeout"
    TEST_FAILS = "its test fails"
    TEST_HANGS = "its test does not end, until the timeout"


class End(StrEnum):
    """How it ends when its cause does not heal."""

    STALLED = "stalled"
    RETRIES = "retries"
    READY = "ready"


OUTSIDE = frozenset({Cause.NO_CLAIM, Cause.NO_NAMESPACE})
TESTS = frozenset({Cause.TEST_FAILS, Cause.TEST_HANGS})
SCRIPTED: Mapping[Cause, Mapping[str, str]] = {
    Cause.HOOK_FAILS: {"hook": "fail"},
    Cause.HOOK_HANGS: {"hook": "hang"},
    Cause.TEST_FAILS: {"test": "fail"},
    Cause.TEST_HANGS: {"test": "hang"},
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One legal cell. `outcome` and `statuses` (Helm's history) are those at the end; `serving` is how many pods do.

    `attempts` are the failed ones at the end. For one that retries it is the least number seen before its cause is
    taken away, and `outcome` and `statuses` are not compared: it goes on. What is scripted fails in the Helm revisions
    `bad` and is well in the next, as if its cause had healed.
    """

    name: str
    fails: Fails
    cause: Cause
    spec: Mapping[str, Any]
    end: End
    attempts: int
    outcome: Outcome | None = None
    statuses: tuple[str, ...] = ()
    serving: int = 0
    bad: tuple[int, ...] = ()

    @property
    def recovers_alone(self) -> bool:
        """Whether it becomes Ready by itself once its cause has healed; one that stalls needs its counters reset."""
        return self.end is not End.STALLED

    @property
    def forgets(self) -> bool:
        """Whether recovering alone clears its counters: where it is retried, and not where it is remediated."""
        return any("strategy" in part for part in self.spec.values())

    @property
    def setting(self) -> str:
        """The spec in words: "install.remediation.retries: 1, ..."; "no block" for the defaults."""
        return ", ".join(_flat(self.spec)) or "no block"

    @property
    def full_spec(self) -> dict[str, Any]:
        """The spec with tests enabled where one fails, and with the timeout of what is to time out."""
        timed = "test" if self.cause in TESTS else self.fails
        waits = self.cause in {Cause.NO_CLAIM, Cause.HOOK_HANGS, Cause.TEST_HANGS}
        tested = {"test": {"enable": True, **self.spec.get("test", {})}} if self.cause in TESTS else {}
        full = {**self.spec, **tested}
        return {**full, timed: {"timeout": IMPATIENT, **full.get(timed, {})}} if waits else full

    def values(self, release: str) -> dict[str, Any]:
        """Return the values with which it fails; what is missing outside has the name of the release."""
        match self.cause:
            case Cause.NO_CLAIM:
                return {"persistence": {"existingClaim": release}}
            case Cause.NO_NAMESPACE:
                return {"elsewhere": release}
            case _:
                return {**SCRIPTED[self.cause], "revisions": list(self.bad)}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}: {str(value).lower() if isinstance(value, bool) else value}"


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


def _not_installed(count: int, remediated: str = "") -> Outcome:
    return Outcome(INSTALL_FAILED, EXCEEDED, INSTALL_FAILED, remediated, "", (count, count, 0))


def _not_upgraded(count: int) -> Outcome:
    return Outcome(UPGRADE_FAILED, EXCEEDED, UPGRADE_FAILED, "", "", (count, 0, count))


def _rolled_back(count: int) -> Outcome:
    return Outcome(f"False {ROLLED_BACK}", EXCEEDED, UPGRADE_FAILED, f"True {ROLLED_BACK}", "", (count, 0, count))


KEEP, LAST = {"remediateLastFailure": False}, {"remediateLastFailure": True}

CELLS = (
    Cell(
        "install-no-block", Fails.INSTALL, Cause.NO_CLAIM, {}, End.STALLED, 1,
        _not_installed(1), ("failed",),
    ),
    Cell(  # what of it could be installed stays and serves
        "install-retries-0", Fails.INSTALL, Cause.NO_NAMESPACE, _remediation("install", 0), End.STALLED, 1,
        _not_installed(1), ("failed",), serving=1,
    ),
    Cell(
        "install-retries-1", Fails.INSTALL, Cause.NO_NAMESPACE, _remediation("install", 1), End.STALLED, 2,
        _not_installed(2), ("failed",), serving=1,
    ),
    Cell(
        "install-retries-3-remediate-last", Fails.INSTALL, Cause.NO_NAMESPACE, _remediation("install", 3, **LAST),
        End.STALLED, 4, _not_installed(4, f"True {UNINSTALLED}"), (),
    ),
    Cell(
        "install-unlimited", Fails.INSTALL, Cause.NO_NAMESPACE, _remediation("install", -1), End.RETRIES, 5,
    ),
    Cell(  # its second attempt is an upgrade, and those it says nothing about
        "install-retry-on-failure", Fails.INSTALL, Cause.NO_NAMESPACE, _retry("install"), End.STALLED, 2,
        Outcome(UPGRADE_FAILED, EXCEEDED, UPGRADE_FAILED, "", "", (2, 1, 1)), ("failed", "failed"), serving=1,
    ),
    Cell(
        "both-retry-on-failure", Fails.INSTALL, Cause.NO_CLAIM, _retry("install") | _retry("upgrade"), End.RETRIES, 3,
    ),
    Cell(
        "upgrade-retries-0", Fails.UPGRADE, Cause.NO_CLAIM, _remediation("upgrade", 0), End.STALLED, 1,
        _not_upgraded(1), ("deployed", "failed"), serving=1,
    ),
    Cell(
        "upgrade-retries-0-remediate-last", Fails.UPGRADE, Cause.NO_NAMESPACE, _remediation("upgrade", 0, **LAST),
        End.STALLED, 1, _rolled_back(1), ("superseded", "failed", "deployed"), serving=1,
    ),
    Cell(
        "upgrade-retries-1-keep-last", Fails.UPGRADE, Cause.NO_CLAIM, _remediation("upgrade", 1, **KEEP),
        End.STALLED, 2, _not_upgraded(2), ("superseded", "failed", "deployed", "failed"), serving=1,
    ),
    Cell(  # Helm keeps five revisions
        "upgrade-retries-3", Fails.UPGRADE, Cause.NO_NAMESPACE, _remediation("upgrade", 3), End.STALLED, 4,
        _rolled_back(4), ("superseded", "failed", "superseded", "failed", "deployed"), serving=1,
    ),
    Cell(  # what it ends as is a failed install
        "upgrade-retries-1-uninstall", Fails.UPGRADE, Cause.NO_NAMESPACE,
        _remediation("upgrade", 1, strategy="uninstall"), End.STALLED, 2,
        Outcome(INSTALL_FAILED, EXCEEDED, INSTALL_FAILED, "", "", (2, 1, 1)), ("failed",), serving=1,
    ),
    Cell(
        "upgrade-unlimited", Fails.UPGRADE, Cause.NO_NAMESPACE, _remediation("upgrade", -1), End.RETRIES, 5, serving=1,
    ),
    Cell(
        "upgrade-retry-on-failure", Fails.UPGRADE, Cause.NO_NAMESPACE, _retry("upgrade"), End.RETRIES, 3, serving=1,
    ),
    Cell(
        "install-hook-no-block", Fails.INSTALL, Cause.HOOK_FAILS, {}, End.STALLED, 1,
        _not_installed(1), ("failed",), bad=(1,),
    ),
    Cell(
        "upgrade-hook-no-block", Fails.UPGRADE, Cause.HOOK_FAILS, {}, End.STALLED, 1,
        _not_upgraded(1), ("deployed", "failed"), serving=1, bad=(2,),
    ),
    Cell(
        "upgrade-hook-hangs", Fails.UPGRADE, Cause.HOOK_HANGS, {}, End.STALLED, 1,
        _not_upgraded(1), ("deployed", "failed"), serving=1, bad=(2,),
    ),
    Cell(
        "upgrade-hook-retries-1", Fails.UPGRADE, Cause.HOOK_FAILS, _remediation("upgrade", 1), End.STALLED, 2,
        _rolled_back(2), ("superseded", "failed", "superseded", "failed", "deployed"), serving=1, bad=(2, 4),
    ),
    Cell(
        "upgrade-hook-retry-on-failure", Fails.UPGRADE, Cause.HOOK_FAILS, _retry("upgrade"), End.RETRIES, 2,
        serving=1, bad=(2, 3),
    ),
    Cell(
        "install-test-no-block", Fails.INSTALL, Cause.TEST_FAILS, {}, End.STALLED, 1,
        Outcome(TEST_FAILED, EXCEEDED, INSTALLED, "", TEST_FAILED, (1, 1, 0)), ("deployed",), serving=1, bad=(1,),
    ),
    Cell(
        "install-test-ignored", Fails.INSTALL, Cause.TEST_FAILS, {"test": {"ignoreFailures": True}}, End.READY, 1,
        Outcome(INSTALLED, "", INSTALLED, "", TEST_FAILED, (1, 0, 0)), ("deployed",), serving=1, bad=(1,),
    ),
    Cell(
        "upgrade-test-hangs", Fails.UPGRADE, Cause.TEST_HANGS, {}, End.STALLED, 1,
        Outcome(TEST_FAILED, EXCEEDED, UPGRADED, "", TEST_FAILED, (1, 0, 1)), ("superseded", "deployed"),
        serving=1, bad=(2,),
    ),
    Cell(
        "upgrade-test-retries-1", Fails.UPGRADE, Cause.TEST_FAILS, _remediation("upgrade", 1), End.STALLED, 2,
        Outcome(f"False {ROLLED_BACK}", EXCEEDED, UPGRADED, f"True {ROLLED_BACK}", TEST_FAILED, (2, 0, 2)),
        ("superseded", "superseded", "superseded", "superseded", "deployed"), serving=1, bad=(2, 4),
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
