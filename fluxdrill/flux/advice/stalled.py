"""Advice for a HelmRelease that is stalled: helm-controller has given up and says so."""

from __future__ import annotations

from fluxdrill.flux.advice.case import Advice, Case, Retries, State, message, ready_of
from fluxdrill.flux.advice.pods import trouble
from fluxdrill.model.conditions import condition

NEVER = "It will not try again by itself, not even once the cause has healed or the controller restarts"
_LEFT = {
    "RollbackSucceeded": "was rolled back, and revision {version} serves, which is still not Ready",
    "RollbackFailed": "could not be rolled back",
    "UninstallSucceeded": "was uninstalled, so nothing of it runs",
    "UninstallFailed": "could not be uninstalled",
}


def stalled(case: Case) -> Advice | None:
    """Return advice where Stalled is True, else None."""
    found = case.true("Stalled")
    if found is None:
        return None
    match found.reason:
        case "RetriesExceeded":
            return _out_of_retries(case)
        case "MissingRollbackTarget":
            return _no_rollback_target(case)
    return Advice(
        case.ref, State.STALLED, f"It is stalled ({found.reason}): {message(found)}.", f"{NEVER}.",
        Retries.NOT_BY_ITSELF, f"commit a corrected spec of {case.ref}", case.ref, message(found),
    )  # fmt: skip


def _out_of_retries(case: Case) -> Advice:
    failed = _last_failure(case)
    leaf, cause = trouble(case.pods) or (case.ref, failed)
    tail = f": {failed}" if failed else ""
    return Advice(
        case.ref, State.OUT_OF_RETRIES,
        f"The {case.action} failed {_times(case.counted)} ({case.allowed} retries allowed) and {_left(case)}{tail}.",
        f"{NEVER}; a new spec, new values or a new chart version would start anew.",
        Retries.NOT_BY_ITSELF, f"commit the cure; if it has healed already: {_reset(case)}", leaf, cause,
    )  # fmt: skip


def _no_rollback_target(case: Case) -> Advice:
    leaf, cause = trouble(case.pods) or (case.ref, _last_failure(case))
    return Advice(
        case.ref, State.NO_ROLLBACK_TARGET,
        "The upgrade failed, and helm-controller knows no revision before it to roll back to: it lost its record of them, "
        f"usually because it was killed in the middle of an upgrade: {_last_failure(case)}.",
        f"{NEVER}, and resetting its counters gives it no revision to roll back to.",
        Retries.NOT_BY_ITSELF, "commit a version or values that work: the next good upgrade ends it", leaf, cause,
    )  # fmt: skip


def _last_failure(case: Case) -> str:
    told = [one for kind in ("TestSuccess", "Released") if (one := case.false(kind)) is not None]
    return message(told[0] if told else ready_of(case.release))


def _left(case: Case) -> str:
    said = condition(case.release, "Remediated")
    words = _LEFT.get(said.reason if said is not None else "", "is left as it is")
    return words.format(version=case.newest.get("version", "?"))


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _reset(case: Case) -> str:
    return f"flux reconcile helmrelease {case.ref.name} -n {case.ref.namespace} --reset"
