"""The rules of advice, in the order in which they are asked: the first that knows the state speaks.

What each says about trying again is proved on helm-controller 1.6 by suites/remediation.
"""

from __future__ import annotations

from collections.abc import Callable

from fluxdrill.flux.advice.case import (
    DEFAULT_RETRY_INTERVAL,
    Advice,
    Case,
    Retries,
    State,
    message,
    ready_of,
)
from fluxdrill.flux.advice.pods import trouble
from fluxdrill.flux.advice.sources import waits_for_chart
from fluxdrill.flux.advice.stalled import stalled
from fluxdrill.model.conditions import ConditionStatus
from fluxdrill.model.kstatus import flux_ready
from fluxdrill.model.refs import ObjectRef

BACKOFF = "after a pause that grows from under a second to 15 minutes"

Rule = Callable[[Case], Advice | None]


def advise(case: Case) -> Advice:
    """Return what to make of a HelmRelease."""
    return next(advice for rule in RULES if (advice := rule(case)) is not None)


def _deleting(case: Case) -> Advice | None:
    if "deletionTimestamp" not in case.release["metadata"]:
        return None
    failed = case.false("Ready")
    why = message(failed) or "its finalizer is held until Helm has uninstalled it"
    return Advice(
        case.ref, State.DELETING,
        f"It was deleted, and helm-controller is uninstalling the release: {why}.",
        "The uninstall is tried again until it succeeds.",
        Retries.BY_ITSELF, f"kubectl -n {case.ref.namespace} get events --field-selector involvedObject.name={case.ref.name}",
        case.ref, why,
    )  # fmt: skip


def _suspended(case: Case) -> Advice | None:
    if case.spec.get("suspend") is not True:
        return None
    return Advice(
        case.ref, State.SUSPENDED,
        "It is suspended (spec.suspend): nothing is installed, upgraded, tested or corrected.",
        "helm-controller does nothing with it until it is resumed, which also sets its failure counters to zero.",
        Retries.NOT_BY_ITSELF, f"flux resume helmrelease {case.ref.name} -n {case.ref.namespace}",
        case.ref, "spec.suspend is true",
    )  # fmt: skip


def _unseen(case: Case) -> Advice | None:
    if not case.unseen:
        return None
    observed = case.status.get("observedGeneration") or "none"
    return Advice(
        case.ref, State.UNSEEN,
        f"helm-controller has not begun with generation {case.generation} of it (the last it finished: {observed}).",
        "A running controller takes it up at once, so it is down, cut off from the API server, or busy with other releases.",
        Retries.BY_ITSELF, "kubectl -n flux-system get deployment helm-controller",
        ObjectRef("apps", "Deployment", "flux-system", "helm-controller"), "it does not take up what is new",
    )  # fmt: skip


def _dependency(case: Case) -> Advice | None:
    found = case.false("Ready")
    if found is None or found.reason != "DependencyNotReady":
        return None
    open_ones = [(ref, obj) for ref, obj in case.dependencies.items() if not flux_ready(obj)]
    leaf, obj = open_ones[0] if open_ones else (case.ref, case.release)
    own = ready_of(obj)
    cause = "it does not exist" if obj is None else (message(own) or "it says nothing of itself")
    # with a readyExpr a dependency may be Ready and not enough
    waits = f"{len(open_ones)} of {len(case.dependencies)} dependencies, first {leaf}" if open_ones else "a dependency"
    return Advice(
        case.ref, State.DEPENDENCY,
        f"It waits for {waits}: {cause}.",
        "It looks again every 30 s (--requeue-dependency), without end, and goes on by itself.",
        Retries.BY_ITSELF, f"fluxdrill explain hr {leaf.namespace}/{leaf.name}" if open_ones else _cure(case),
        leaf, cause,
    )  # fmt: skip


def _values(case: Case) -> Advice | None:
    found = case.false("Ready")
    if found is None or found.reason != "ValuesError":
        return None
    leaf = _blamed(case, message(found))
    return Advice(
        case.ref, State.VALUES,
        f"Its values cannot be put together: {message(found)}.",
        f"It tries again without end {BACKOFF}; what it runs already is left as it is.",
        Retries.BY_ITSELF,
        f"commit {leaf} with the key that spec.valuesFrom names, or make the reference optional",
        leaf, message(found),
    )  # fmt: skip


def _blamed(case: Case, text: str) -> ObjectRef:
    for one in case.spec.get("valuesFrom") or ():
        if f"{case.ref.namespace}/{one['name']}'" in text and one["kind"] in text:
            return ObjectRef("", one["kind"], case.ref.namespace, one["name"])
    return case.ref


def _running(case: Case) -> Advice | None:
    ready, found = ready_of(case.release), case.true("Reconciling")
    # after a failure that Helm did not record, Reconciling goes on saying that the action runs; Ready does not
    if found is None or ready is None or ready.status is not ConditionStatus.UNKNOWN:
        return None
    leaf, cause = trouble(case.pods) or (case.ref, message(found))
    return Advice(
        case.ref, State.RUNNING,
        f"Helm is at work: {message(found)}.",
        f"It waits for pods and hooks until its timeout of {case.timeout} is over; a new commit waits until then too.",
        Retries.BY_ITSELF, "", leaf, cause,
    )  # fmt: skip


def _half_uninstalled(case: Case) -> Advice | None:
    """Tell an install remediation that was killed: helm-controller 1.6 has no way on from Helm's status `uninstalling`."""
    found = case.false("Ready")
    if found is None or "has no deployed releases" not in found.message:
        return None
    namespace = case.status.get("storageNamespace") or case.ref.namespace
    return Advice(
        case.ref, State.HALF_UNINSTALLED,
        f"helm-controller was killed while it uninstalled a failed install, and cannot go on from there: {message(found)}.",
        "It tries again without end and fails each time; a reset, a force or a new spec does not help.",
        Retries.NOT_BY_ITSELF, f"helm uninstall {_release_name(case)} -n {namespace}", case.ref, message(found),
    )  # fmt: skip


def _unreadable(case: Case) -> Advice | None:
    found = case.false("Ready")
    if found is None or found.reason != "StateError":
        return None
    namespace = case.status.get("storageNamespace") or case.ref.namespace
    selector = f"owner=helm,name={_release_name(case)}"
    return Advice(
        case.ref, State.UNREADABLE,
        f"Helm's record of the release cannot be read: {message(found)}.",
        "It tries again without end and fails each time; what runs is left as it is.",
        Retries.NOT_BY_ITSELF, f"restore the newest Secret of kubectl -n {namespace} get secrets -l {selector}, or delete it: it is then installed over what is there",
        case.ref, message(found),
    )  # fmt: skip


def _release_name(case: Case) -> str:
    """Return Helm's name of the release: spec.releaseName, else with the target namespace in front where there is one."""
    target = case.spec.get("targetNamespace")
    return str(case.spec.get("releaseName") or (f"{target}-{case.ref.name}" if target else case.ref.name))


def _retrying(case: Case) -> Advice | None:
    found = case.false("Ready")
    if found is None or case.true("Reconciling") is None:
        return None
    leaf, cause = trouble(case.pods) or (case.ref, message(found))
    state, then = _next_try(case)
    return Advice(
        case.ref, state, f"The last {case.action} failed ({found.reason}): {message(found)}.", then,
        Retries.BY_ITSELF, _cure(case), leaf, cause,
    )  # fmt: skip


def _next_try(case: Case) -> tuple[State, str]:
    if case.strategy.get("name") == "RetryOnFailure":
        pause = case.strategy.get("retryInterval") or DEFAULT_RETRY_INTERVAL
        return (
            State.RETRYING,
            f"It tries again every {pause} without end, and recovers by itself once the cause has healed.",
        )
    if case.counted == 0:
        return (
            State.UNCOUNTED,
            f"Nothing reached Helm's storage, so it is not counted: it tries again without end {BACKOFF}.",
        )
    if case.allowed < 0:
        return State.RETRYING, "It tries again at once and without end (retries: -1), each time after its remediation."
    left = max(case.allowed + 1 - case.counted, 0)
    return (
        State.REMEDIATING,
        f"It tries again at once, {left} more of {case.allowed + 1} attempts, and then stalls for good.",
    )


def _cure(case: Case) -> str:
    return f"commit what cures it to {case.ref}: a new spec or new values start a new attempt at once"


def _failed(case: Case) -> Advice | None:
    found = ready_of(case.release)
    if found is None or found.status is ConditionStatus.TRUE:
        return None
    leaf, cause = trouble(case.pods) or (case.ref, message(found))
    return Advice(
        case.ref, State.FAILED, f"It is not Ready ({found.reason}): {message(found)}.",
        f"It tries again {BACKOFF}.", Retries.BY_ITSELF, _cure(case), leaf, cause,
    )  # fmt: skip


def _drifted(case: Case) -> Advice | None:
    found = case.true("Drifted")
    if found is None or (case.spec.get("driftDetection") or {}).get("mode") != "warn":
        return None
    return Advice(
        case.ref, State.DRIFTED,
        f"It is Ready, and the cluster differs from what Helm installed: {message(found)}.",
        "It only warns (driftDetection.mode: warn): nothing is corrected before the next upgrade.",
        Retries.NOT_BY_ITSELF, "commit driftDetection.mode: enabled, or take the change back by hand",
        case.ref, message(found),
    )  # fmt: skip


def _not_serving(case: Case) -> Advice | None:
    found = trouble(case.pods)
    if found is None:
        return None
    return Advice(
        case.ref, State.NOT_SERVING,
        f"Its last action succeeded, and {found[0]} does not serve now: {found[1]}.",
        "helm-controller does not look at pods between two actions, so it does nothing about it.",
        Retries.NOT_BY_ITSELF, f"kubectl -n {found[0].namespace} describe pod {found[0].name}", *found,
    )  # fmt: skip


def _cut_off(case: Case) -> Advice | None:
    for obj in (case.chart, case.source):
        own = ready_of(obj)
        if obj is not None and own is not None and own.status is ConditionStatus.FALSE:
            ref = ObjectRef.of(obj)
            return Advice(
                case.ref, State.CUT_OFF,
                f"It runs what was fetched before; {ref} fails since ({own.reason}): {message(own)}.",
                "No new chart version can arrive until that is cured; what runs is not touched.",
                Retries.BY_ITSELF, f"kubectl -n {ref.namespace} describe {ref.kind.lower()} {ref.name}",
                ref, message(own),
            )  # fmt: skip
    return None


def _ready(case: Case) -> Advice:
    tested = case.false("TestSuccess")
    said = message(ready_of(case.release))
    if tested is not None:
        return Advice(
            case.ref, State.TEST_IGNORED,
            f"It is Ready, although its test failed (test.ignoreFailures): {message(tested)}.",
            "The test runs again after the next upgrade.", Retries.NOTHING_TO_DO, "", case.ref, message(tested),
        )  # fmt: skip
    return Advice(
        case.ref, State.READY, f"It is Ready: {said}.", f"It looks again every {case.spec.get('interval')}.",
        Retries.NOTHING_TO_DO, "", case.ref, "",
    )  # fmt: skip


RULES: tuple[Rule, ...] = (
    _deleting,
    _suspended,
    _unseen,
    stalled,
    _dependency,
    waits_for_chart,
    _values,
    _half_uninstalled,
    _unreadable,
    _running,
    _retrying,
    _failed,
    _drifted,
    _not_serving,
    _cut_off,
    _ready,
)
