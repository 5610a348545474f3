"""Why a wait is not over: what blocks, since when, why, and what waits for it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import readiness
from fluxdrill.kube.view import KNOWN, Following, View
from fluxdrill.model.clock import Instant
from fluxdrill.model.conditions import conditions, dependencies, source_ref, suspended
from fluxdrill.model.kstatus import Status
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.model.timeline import Timeline, Transition

MOST_BLOCKING = 10
MOST_NAMED = 5
LAST_TRANSITIONS = 5
LONGEST_MESSAGE = 300


class Tie(StrEnum):
    """Why one object waits for another."""

    DEPENDS_ON = "dependsOn"
    SOURCE = "sourceRef"


@dataclass(frozen=True, slots=True)
class Scene:
    """What an explanation is made from."""

    view: View
    timeline: Timeline
    now: Instant


def explain(scene: Scene, blocking: Collection[ObjectRef]) -> list[str]:
    """Return the lines that explain why `blocking` are not as they should be."""
    return [
        *_section("Blocking:", _chains(scene, blocking)),
        *_section("Conditions:", _conditions(scene, blocking)),
        *_section("Last transitions:", _transitions(scene, blocking)),
    ]


def needs(obj: KubeObject) -> Iterator[tuple[Tie, ObjectRef]]:
    """Yield what an object waits for."""
    for ref in dependencies(obj):
        yield Tie.DEPENDS_ON, ref
    source = source_ref(obj)
    if source is not None:
        yield Tie.SOURCE, source


def waiting_for(view: View, wanted: ObjectRef) -> list[ObjectRef]:
    """Return the known objects that name `wanted` in dependsOn or sourceRef."""
    return sorted(
        ref
        for part in view.parts.values()
        for ref, obj in part.objects.items()
        if any(needed == wanted for _, needed in needs(obj))
    )


def since(timeline: Timeline, ref: ObjectRef) -> Transition | None:
    """Return the transition with which `ref` came into its present status and reason; None where it was never seen."""
    found: Transition | None = None
    for transition in reversed(timeline.of(ref)):
        if found is not None and _key(transition) != _key(found):
            break
        found = transition
    return found


def _key(transition: Transition) -> tuple[Status, str]:
    return (transition.status.status, transition.status.reason)


def _section(title: str, lines: Iterator[str]) -> list[str]:
    found = list(lines)
    return [title, *(f"  {line}" for line in found)] if found else []


def _chains(scene: Scene, blocking: Collection[ObjectRef]) -> Iterator[str]:
    told: set[ObjectRef] = set()
    for ref in list(blocking)[:MOST_BLOCKING]:
        yield from _chain(scene, ref, told, depth=0, tie="")
    if len(blocking) > MOST_BLOCKING:
        yield f"and {len(blocking) - MOST_BLOCKING} more"


def _chain(scene: Scene, ref: ObjectRef, told: set[ObjectRef], *, depth: int, tie: str) -> Iterator[str]:
    indent = "  " * depth + (f"{tie} " if tie else "")
    if ref in told:
        if depth:
            yield f"{indent}{ref}: see above"
        return
    told.add(ref)
    yield indent + _state(scene, ref)
    waiting = waiting_for(scene.view, ref)
    if waiting:
        yield "  " * (depth + 1) + f"waited for by {_names(waiting)}"
    obj = scene.view.get(ref)
    for why, needed in needs(obj) if obj is not None else ():
        if readiness(scene.view.get(needed), now=scene.now.utc).status is not Status.CURRENT:
            yield from _chain(scene, needed, told, depth=depth + 1, tie=f"{why} ->")


def _state(scene: Scene, ref: ObjectRef) -> str:
    obj = scene.view.get(ref)
    part = scene.view.part(GroupKind.of(ref), ref.namespace)
    if part.following not in KNOWN:
        return f"{ref}: unknown, {GroupKind.of(ref)} is {part.following}" + (f" ({part.why})" if part.why else "")
    if part.following is Following.ABSENT:
        return f"{ref}: its kind is not served"
    result = readiness(obj, now=scene.now.utc)
    state = f"{result.status} ({result.reason})" if result.reason else str(result.status)
    message = f": {_short(result.message)}" if result.message else ""
    return f"{ref}: {state}{_age(scene, ref)}{_brakes(obj)}{message}"


def _age(scene: Scene, ref: ObjectRef) -> str:
    start = since(scene.timeline, ref)
    if start is None:
        return ", never seen"
    return f" for {scene.now.since(start.at):.1f} s"


def _brakes(obj: KubeObject | None) -> str:
    if obj is None:
        return ""
    meta = obj["metadata"]
    held = meta.get("finalizers") if "deletionTimestamp" in meta else None
    return (", suspended" if suspended(obj) else "") + (f", held by {', '.join(held)}" if held else "")


def _conditions(scene: Scene, blocking: Collection[ObjectRef]) -> Iterator[str]:
    for ref in list(blocking)[:MOST_NAMED]:
        obj = scene.view.get(ref)
        for one in conditions(obj) if obj is not None else ():
            age = f" since {one.last_transition:%H:%M:%S}" if one.last_transition else ""
            yield f"{ref} {one.type}={one.status} {one.reason}{age}"


def _transitions(scene: Scene, blocking: Collection[ObjectRef]) -> Iterator[str]:
    involved = {*blocking}
    for ref in blocking:
        obj = scene.view.get(ref)
        involved |= {needed for _, needed in needs(obj)} if obj is not None else set()
    for transition in scene.timeline.last(LAST_TRANSITIONS, refs=involved):
        yield f"{scene.now.since(transition.at):.1f} s ago: {_short(str(transition))}"


def _names(refs: list[ObjectRef]) -> str:
    rest = f" and {len(refs) - MOST_NAMED} more" if len(refs) > MOST_NAMED else ""
    return ", ".join(map(str, refs[:MOST_NAMED])) + rest


def _short(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[: LONGEST_MESSAGE - 3]}..."
