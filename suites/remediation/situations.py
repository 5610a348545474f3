"""Situations a HelmRelease can be in, each with what `fluxdrill explain hr` has to say of it, and with its cure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxdrill.flux.advice.case import Retries, State
from suites.remediation.releases import NEVER_READY, Release

BROKEN_IMAGE = {"behaviour": "image-pull-error"}
PULLS = "ImagePull"
"""A real kubelet says ErrImagePull and ImagePullBackOff in turn."""
CRASHING = {"behaviour": "crash-loop"}
RETRY = {"name": "RetryOnFailure", "retryInterval": "2s"}
IMPATIENT = {"timeout": "7s"}

Cure = Callable[[Release], None]


@dataclass(frozen=True, slots=True)
class Situation:
    """One release: how it is made, and what advice has to say.

    `leaf` is the kind and the beginning of the name at which the cause must be found ("" : the release's own).
    `upgrade` are the values it is upgraded to once it is Ready; without them `install` fails already. `cure` takes the
    cause away without touching the release; None: there is nothing to take away, or it is about the release itself.
    """

    state: State
    retries: Retries
    leaf: tuple[str, str] = ("HelmRelease", "")
    cause: str = ""
    install: Mapping[str, Any] = field(default_factory=dict)
    upgrade: Mapping[str, Any] | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    cure: Cure | None = None


def _pods_heal(release: Release) -> None:
    release.heal_pods()


SITUATIONS: Mapping[str, Situation] = {
    "healthy": Situation(State.READY, Retries.NOTHING_TO_DO),
    "test-ignored": Situation(
        State.TEST_IGNORED, Retries.NOTHING_TO_DO, install={"test": "fail"},
        spec={"test": {"enable": True, "ignoreFailures": True}},
    ),
    "no-block-install": Situation(
        State.OUT_OF_RETRIES, Retries.NOT_BY_ITSELF, ("Pod", ""), "CrashLoopBackOff",
        install=CRASHING, spec={"install": IMPATIENT}, cure=_pods_heal,
    ),
    "no-block-upgrade": Situation(
        State.OUT_OF_RETRIES, Retries.NOT_BY_ITSELF, ("Pod", ""), PULLS,
        upgrade=BROKEN_IMAGE, spec={"upgrade": IMPATIENT}, cure=_pods_heal,
    ),
    "rolled-back": Situation(
        State.OUT_OF_RETRIES, Retries.NOT_BY_ITSELF, upgrade=NEVER_READY,
        spec={"upgrade": {**IMPATIENT, "remediation": {"retries": 1}}},
    ),
    "uninstalled": Situation(
        State.OUT_OF_RETRIES, Retries.NOT_BY_ITSELF, install=NEVER_READY,
        spec={"install": {**IMPATIENT, "remediation": {"retries": 0, "remediateLastFailure": True}}},
    ),
    "test-failed": Situation(
        State.OUT_OF_RETRIES, Retries.NOT_BY_ITSELF, install={"test": "fail"}, spec={"test": {"enable": True}},
    ),
    "retry-on-failure": Situation(
        State.RETRYING, Retries.BY_ITSELF, ("Pod", ""), PULLS,
        upgrade=BROKEN_IMAGE, spec={"upgrade": {**IMPATIENT, "strategy": RETRY}}, cure=_pods_heal,
    ),
    "uncounted": Situation(
        State.UNCOUNTED, Retries.BY_ITSELF, cause="the values ask for a template error", upgrade={"templateError": True},
    ),
}  # fmt: skip
