"""What is known of one HelmRelease, and what its fields mean (helm-controller 1.6 of Flux 2.9)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fluxdrill.model.conditions import Condition, ConditionStatus, condition
from fluxdrill.model.refs import KubeObject, ObjectRef

DEFAULT_TIMEOUT = "5m"
DEFAULT_RETRY_INTERVAL = "5m"
LIMIT = 300


class State(StrEnum):
    """What a HelmRelease is doing."""

    READY = "ready"
    TEST_IGNORED = "ready, its test failed and that is ignored"
    DRIFTED = "ready, the cluster differs from it"
    NOT_SERVING = "ready, its pods are not"
    CUT_OFF = "ready, cut off from its chart's source"
    UNSEEN = "not seen by helm-controller"
    SUSPENDED = "suspended"
    DELETING = "being uninstalled"
    RUNNING = "under way"
    RETRYING = "failed, tries again without end"
    REMEDIATING = "failed, tries again until its retries are used up"
    UNCOUNTED = "failed before Helm recorded anything, tries again without end"
    OUT_OF_RETRIES = "stalled, out of retries"
    NO_ROLLBACK_TARGET = "stalled, nothing to roll back to"
    STALLED = "stalled"
    HALF_UNINSTALLED = "half uninstalled, fails without end"
    UNREADABLE = "Helm's record of it cannot be read"
    DEPENDENCY = "waits for a dependency"
    CHART = "waits for its chart"
    VALUES = "its values cannot be put together"
    FAILED = "failed"


class Retries(StrEnum):
    """Whether helm-controller tries again by itself."""

    NOTHING_TO_DO = "nothing to do"
    BY_ITSELF = "by itself"
    NOT_BY_ITSELF = "not by itself"


@dataclass(frozen=True, slots=True)
class Advice:
    """What to make of a HelmRelease: two sentences (`says`, `then`), and the one thing that helps (`do`, "" for nothing).

    `leaf` is the object at which the cause is, `cause` what is wrong there.
    """

    about: ObjectRef
    state: State
    says: str
    then: str
    retries: Retries
    do: str
    leaf: ObjectRef
    cause: str


@dataclass(frozen=True, slots=True)
class Case:
    """A HelmRelease and what it rests on, as read at one moment; None stands for what does not exist.

    `chart` is its HelmChart, or what spec.chartRef names; `source` the repository behind a HelmChart. `pods` are those of
    its own workloads.
    """

    release: KubeObject
    chart: KubeObject | None = None
    source: KubeObject | None = None
    dependencies: Mapping[ObjectRef, KubeObject | None] = field(default_factory=dict)
    pods: tuple[KubeObject, ...] = ()

    @property
    def ref(self) -> ObjectRef:
        """The HelmRelease."""
        return ObjectRef.of(self.release)

    @property
    def spec(self) -> Mapping[str, Any]:
        """Its spec."""
        return self.release.get("spec") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        """Its status; empty before a controller wrote any."""
        return self.release.get("status") or {}

    @property
    def generation(self) -> int:
        """The generation that is asked for."""
        return int(self.release["metadata"].get("generation") or 0)

    @property
    def unseen(self) -> bool:
        """Whether the controller has not begun with what is asked for now."""
        observed = int(self.status.get("observedGeneration") or 0)
        silent = ready_of(self.release) is None or observed < self.generation
        return silent and self.reason("Reconciling") == ""

    @property
    def action(self) -> str:
        """The Helm action that was attempted last, "install" or "upgrade", as far as status tells."""
        attempted = str(self.status.get("lastAttemptedReleaseAction") or "")
        return attempted or ("upgrade" if int(self.status.get("upgradeFailures") or 0) else "install")

    @property
    def remediation(self) -> Mapping[str, Any]:
        """The remediation block of the last action."""
        return (self.spec.get(self.action) or {}).get("remediation") or {}

    @property
    def strategy(self) -> Mapping[str, Any]:
        """The strategy block of the last action."""
        return (self.spec.get(self.action) or {}).get("strategy") or {}

    @property
    def allowed(self) -> int:
        """How many retries the last action has; negative: without end."""
        return int(self.remediation.get("retries") or 0)

    @property
    def counted(self) -> int:
        """How often the last action has failed since its counters were zero."""
        return int(self.status.get(f"{self.action}Failures") or 0)

    @property
    def newest(self) -> Mapping[str, Any]:
        """The newest snapshot of its history; empty where there is none."""
        return next(iter(self.status.get("history") or ()), {})

    @property
    def timeout(self) -> str:
        """The timeout of the last action, as written."""
        own = (self.spec.get(self.action) or {}).get("timeout")
        return str(own or self.spec.get("timeout") or DEFAULT_TIMEOUT)

    def true(self, kind: str) -> Condition | None:
        """Return the condition `kind` where it is True."""
        found = condition(self.release, kind)
        return found if found is not None and found.status is ConditionStatus.TRUE else None

    def false(self, kind: str) -> Condition | None:
        """Return the condition `kind` where it is False."""
        found = condition(self.release, kind)
        return found if found is not None and found.status is ConditionStatus.FALSE else None

    def reason(self, kind: str) -> str:
        """Return the reason of the condition `kind` where it is True, else ""."""
        found = self.true(kind)
        return found.reason if found is not None else ""


def message(found: Condition | None) -> str:
    """Return what a condition says, on one line and cut where it goes on and on."""
    text = " ".join(found.message.split()) if found is not None else ""
    return text if len(text) <= LIMIT else f"{text[:LIMIT]} ..."


def ready_of(obj: KubeObject | None) -> Condition | None:
    """Return the Ready condition of `obj`, None where there is neither."""
    return condition(obj, "Ready") if obj is not None else None


def text(chain: Iterable[Advice]) -> str:
    """Return a chain of advice as a person reads it: the state, two sentences, the cause, and the one thing to do."""
    return "\n\n".join("\n".join(_lines(one)) for one in chain)


def _lines(one: Advice) -> list[str]:
    lines = [f"{one.about}: {one.state}", f"  {one.says}", f"  {one.then}"]
    if one.leaf != one.about:
        lines.append(f"  Cause: {one.leaf}: {one.cause}")
    return [*lines, f"  Do: {one.do}"] if one.do else lines
