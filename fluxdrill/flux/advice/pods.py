"""What is wrong with a pod, in the kubelet's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fluxdrill.model.conditions import ConditionStatus, condition
from fluxdrill.model.refs import KubeObject, ObjectRef

_STARTING = {"ContainerCreating", "PodInitializing", ""}


def trouble(pods: Iterable[KubeObject]) -> tuple[ObjectRef, str] | None:
    """Return the worst of the pods that do not serve, with its reason; None where all do, or have completed.

    One that says why comes before one that is only not ready. A pod that is being deleted is in nobody's way.
    """
    told = sorted((rank, str(ref), ref, why) for ref, (rank, why) in _ill(pods))
    return (told[0][2], told[0][3]) if told else None


def _ill(pods: Iterable[KubeObject]) -> Iterable[tuple[ObjectRef, tuple[int, str]]]:
    for pod in pods:
        phase = (pod.get("status") or {}).get("phase")
        if "deletionTimestamp" in pod["metadata"] or phase == "Succeeded":
            continue
        if found := _why(pod):
            yield ObjectRef.of(pod), found


def _why(pod: KubeObject) -> tuple[int, str] | None:
    status = pod.get("status") or {}
    said = [text for one in _containers(status) if (text := _container(one))]
    if said:
        return 0, said[0]
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.status is ConditionStatus.FALSE:
        return 1, f"{scheduled.reason}: {scheduled.message}"
    ready = condition(pod, "Ready")
    if ready is None or ready.status is not ConditionStatus.TRUE:
        return 2, f"not ready ({status.get('phase') or 'not seen by a node'})"
    return None


def _containers(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _container(one: Mapping[str, Any]) -> str:
    """Return why a container does not run: what it waits for, or how it ended."""
    state, last = one.get("state") or {}, one.get("lastState") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    waiting = state.get("waiting") or {}
    how = f" (last: {ended['reason']}, exit code {ended.get('exitCode')})" if ended.get("reason") else ""
    if str(waiting.get("reason") or "") not in _STARTING:
        return f"{waiting['reason']}{how}: {waiting.get('message', '')}".strip(": ")
    failed = state.get("terminated") or {}
    if failed and failed.get("exitCode"):
        return f"{failed.get('reason', 'Error')}, exit code {failed['exitCode']}"
    return ""
