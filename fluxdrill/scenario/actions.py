"""What people do during a scenario, and taking it back at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fluxdrill.errors import UsageError
from fluxdrill.faults.pushes import set_tag
from fluxdrill.faults.world import World
from fluxdrill.flux.bootstrap import GIT_REPOSITORY
from fluxdrill.flux.operations import request, resume, suspend
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.served import expanded
from fluxdrill.repository.served import restore as restore_tree
from fluxdrill.repository.source import commit_files
from fluxdrill.scenario.bind import Baseline
from fluxdrill.scenario.checks import Action, Commit, Patch

PERSON = "fluxdrill-person"
"""The field manager of what a scenario has a person do."""


@dataclass(slots=True)
class Arranged:
    """What `arrange` made, to be taken back."""

    objects: list[ObjectRef] = field(default_factory=list)
    patches: list[tuple[ObjectRef, dict[str, Any]]] = field(default_factory=list)
    """What undoes each patch."""
    tags: list[str] = field(default_factory=list)
    base: str = ""
    """The commit before the first arranged commit."""


def perform(world: World, action: Action, baseline: Baseline, arranged: Arranged | None) -> str:
    """Do one action and return what was done; what is arranged is noted in `arranged`. Raises what the API says."""
    _DOERS[action.verb](world, getattr(action, action.verb), baseline, arranged)
    return action.text


def _commit(world: World, value: Commit, baseline: Baseline, arranged: Arranged | None) -> None:
    del baseline
    repository = world.own_repository
    if arranged is not None:
        arranged.base = arranged.base or repository.revision.rpartition(":")[2]
    commit_files(repository.served, expanded(repository.served, value.files), value.message)


def _revert(world: World, value: object, baseline: Baseline, arranged: Arranged | None) -> None:
    del value, arranged
    restore_tree(world.own_repository.served, baseline.revision.rpartition(":")[2], "revert to the steady state")


def _apply(world: World, value: Mapping[str, Any], baseline: Baseline, arranged: Arranged | None) -> None:
    del baseline
    ref = ObjectRef.of(world.api.apply(value, field_manager=PERSON))
    if arranged is not None:
        arranged.objects.append(ref)


def _patch(world: World, value: Patch, baseline: Baseline, arranged: Arranged | None) -> None:
    del baseline
    if arranged is not None:
        arranged.patches.append((value.object, inverse(world.api.get(value.object), value.merge)))
    world.api.patch(value.object, value.merge, subresource=value.subresource, field_manager=PERSON)


def _tag(world: World, value: str, baseline: Baseline, arranged: Arranged | None) -> None:
    del baseline
    if arranged is not None:
        arranged.tags.append(value)
    set_tag(world.own_repository.served, value, world.own_repository.revision.rpartition(":")[2])


def _restart(world: World, value: Iterable[str], *_: object) -> None:
    known = world.own_lab.processes
    if unknown := sorted(set(value) - known.keys()):
        raise UsageError(f"The lab has no program {unknown[0]}.", hint=f"It has: {', '.join(sorted(known))}.")
    for name in value:
        known[name].restart()


_DOERS: Mapping[str, Callable[[World, Any, Baseline, Arranged | None], object]] = {
    "commit": _commit,
    "revert": _revert,
    "apply": _apply,
    "patch": _patch,
    "tag": _tag,
    "restart": _restart,
    "delete": lambda world, ref, *_: world.api.delete(ref),
    "reconcile": lambda world, ref, *_: request(world.api, ref),
    "reset": lambda world, ref, *_: request(world.api, ref, reset=True),
    "force": lambda world, ref, *_: request(world.api, ref, force=True),
    "suspend": lambda world, ref, *_: suspend(world.api, ref),
    "resume": lambda world, ref, *_: resume(world.api, ref),
}


def inverse(obj: Mapping[str, Any], merge: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that undoes `merge` on `obj`: each value as it was, null where there was none."""
    undo: dict[str, Any] = {}
    for key, value in merge.items():
        before = obj.get(key)
        undo[key] = inverse(before, value) if isinstance(value, Mapping) and isinstance(before, Mapping) else before
    return undo


def restore(world: World, baseline: Baseline, arranged: Arranged) -> None:
    """Commit the tree from before the scenario again and delete what was arranged by hand."""
    if world.repository is not None:
        commit = arranged.base or baseline.revision.rpartition(":")[2]
        if commit:
            restore_tree(world.repository.served, commit, "after the scenario")
        for tag in arranged.tags:
            set_tag(world.repository.served, tag, None)
    for ref, undo in reversed(arranged.patches):
        with suppress(NotFoundError):
            world.api.patch(ref, undo, field_manager=PERSON)
    for ref in reversed(arranged.objects):
        with suppress(NotFoundError):
            world.api.delete(ref)


def hurry(world: World, kustomizations: Iterable[ObjectRef]) -> None:
    """Ask for a reconcile of what exists: after the judgement nobody need wait for an interval."""
    for ref in (GIT_REPOSITORY, *kustomizations):
        with suppress(NotFoundError):
            request(world.api, ref)
