"""Faults of objects in the cluster: deleted, edited, or stuck in their deletion."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, ClassVar

from pydantic import Field

from fluxdrill.faults.change import change
from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State
from fluxdrill.faults.refs import Ref
from fluxdrill.faults.world import World
from fluxdrill.kube.errors import ConflictError, NotFoundError, UnknownKindError
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.model.refs import KubeObject, ObjectRef

FINALIZER = "fluxdrill.dev/stuck"
STRANGER = "kubectl-edit"
"""The field manager of changes by hand: kustomize-controller takes back what managers named kubectl own."""


class OfObject(Args):
    """Which object."""

    object: Ref


class _OnObject(Fault[OfObject]):
    """A fault of one object."""

    arguments: ClassVar[type[Args]] = OfObject
    rights: ClassVar[str] = "to change the object"

    @property
    def takes(self) -> frozenset[str]:
        """The object."""
        return frozenset({f"object/{self.args.object}"})

    def prepare(self, world: World) -> State:
        """Note the object's identity; one that does not exist cannot be hit."""
        return {"uid": uid_of(world, self.args.object)}

    def heal(self, world: World, state: State) -> None:
        """Do nothing: only Flux may bring back what Git says."""
        del world, state


class Delete(_OnObject):
    """It is deleted; only Flux brings it back."""

    name = "objects.delete"
    reversible = False

    def inject(self, world: World, state: State) -> None:
        """Delete that very object."""
        try:
            world.api.delete(self.args.object, uid=state["uid"])
        except (ConflictError, NotFoundError) as error:
            raise NotInjectedError(f"{self.args.object} is no longer the same: {error}") from None

    def observe(self, world: World, state: State) -> Predicate:
        """The object with that UID is gone."""
        del world
        return _gone(self.args.object, state["uid"])


class Edited(OfObject):
    """The object, and a JSON merge patch."""

    merge: Annotated[Mapping[str, Any], Field(min_length=1)]


class Edit(_OnObject):
    """It is changed by hand; only Flux takes the change back."""

    name = "objects.edit"
    arguments = Edited
    reversible = False

    def inject(self, world: World, state: State) -> None:
        """Patch it as kubectl would."""
        assert isinstance(self.args, Edited)
        merge = dict(self.args.merge)

        def decide(found: KubeObject) -> dict[str, Any]:
            _require_same(found, state)
            return merge

        state["before"], state["after"] = change(world.api, self.args.object, decide, field_manager=STRANGER)

    def observe(self, world: World, state: State) -> Probe:
        """The server wrote a new version of what it had: a patch that changes nothing writes none."""
        del world
        before, after = state.get("before"), state.get("after")
        return Probe(
            lambda: (before != after, f"version {before} {'is still' if before == after else 'became'} {after}")
        )


class Finalizer(_OnObject):
    """It is deleted while a finalizer that nobody serves holds it; healing takes the finalizer away."""

    name = "objects.finalizer"

    def inject(self, world: World, state: State) -> None:
        """Hold it, then delete it."""
        hold(world, self.args.object, state)
        world.api.delete(self.args.object, uid=state["uid"])

    def observe(self, world: World, state: State) -> Predicate:
        """It is being deleted and cannot go."""
        del world, state
        ref = self.args.object

        def judge(view: View) -> Verdict3:
            meta = (view.get(ref) or {"metadata": {}})["metadata"]
            if meta.get("deletionTimestamp") and FINALIZER in (meta.get("finalizers") or ()):
                return Verdict3.met(f"{ref} is being deleted and held")
            return Verdict3.not_yet(f"{ref} is not being deleted", ref)

        return Predicate(judge, frozenset([ref]))

    def heal(self, world: World, state: State) -> None:
        """Let it go."""
        del state
        release(world, self.args.object)


class Hold(_OnObject):
    """A finalizer that nobody serves is put on it: whoever deletes it waits; healing takes the finalizer away."""

    name = "objects.hold"

    def inject(self, world: World, state: State) -> None:
        """Hold it."""
        hold(world, self.args.object, state)

    def observe(self, world: World, state: State) -> Predicate:
        """The finalizer is on it."""
        del world, state
        ref = self.args.object

        def judge(view: View) -> Verdict3:
            held = FINALIZER in ((view.get(ref) or {"metadata": {}})["metadata"].get("finalizers") or ())
            return Verdict3.met(f"{ref} is held") if held else Verdict3.not_yet(f"{ref} is not held", ref)

        return Predicate(judge, frozenset([ref]))

    def heal(self, world: World, state: State) -> None:
        """Let it go."""
        del state
        release(world, self.args.object)


class OfNamespace(Args):
    """Which namespace."""

    namespace: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]


class NamespaceTerminating(Fault[OfNamespace]):
    """A namespace is deleted and cannot go, since something in it is held; healing lets it go."""

    name = "objects.namespace-terminating"
    arguments = OfNamespace

    @property
    def takes(self) -> frozenset[str]:
        """The namespace."""
        return frozenset({f"object/Namespace/{self.args.namespace}"})

    @property
    def _ref(self) -> ObjectRef:
        return ObjectRef("", "Namespace", "", self.args.namespace)

    @property
    def _holder(self) -> ObjectRef:
        return ObjectRef("", "ConfigMap", self.args.namespace, "fluxdrill-holds-this")

    def prepare(self, world: World) -> State:
        """Note its identity; one that goes already cannot be hit."""
        uid = uid_of(world, self._ref)
        if "deletionTimestamp" in world.api.get(self._ref)["metadata"]:
            raise NotInjectedError(f"{self._ref} is being deleted already.")
        return {"uid": uid}

    def inject(self, world: World, state: State) -> None:
        """Put a held object into it and delete it."""
        meta = {"name": self._holder.name, "namespace": self.args.namespace, "finalizers": [FINALIZER]}
        world.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})
        world.api.delete(self._ref, uid=state["uid"])

    def observe(self, world: World, state: State) -> Predicate:
        """The namespace says that it is terminating."""
        del world, state

        def judge(view: View) -> Verdict3:
            phase = ((view.get(self._ref) or {}).get("status") or {}).get("phase")
            met = phase == "Terminating"
            return Verdict3.met("it is terminating") if met else Verdict3.not_yet(f"it is {phase}", self._ref)

        return Predicate(judge, frozenset([self._ref]))

    def heal(self, world: World, state: State) -> None:
        """Let it go; where it never was deleted, take out what was put into it."""
        del state
        with suppress(NotFoundError):
            world.api.delete(self._holder)
        release(world, self._holder)


def uid_of(world: World, ref: ObjectRef) -> str:
    """Return the UID of an object; raises NotInjectedError where there is none."""
    try:
        return str(world.api.get(ref)["metadata"]["uid"])
    except (NotFoundError, UnknownKindError):
        raise NotInjectedError(f"{ref} does not exist: there is nothing to hit.") from None


def hold(world: World, ref: ObjectRef, state: State) -> None:
    """Put our finalizer on the object that `prepare` saw."""

    def decide(found: KubeObject) -> dict[str, Any]:
        _require_same(found, state)
        return {"metadata": {"finalizers": [*_finalizers(found), FINALIZER]}}

    change(world.api, ref, decide)


def release(world: World, ref: ObjectRef) -> None:
    """Take our finalizer from an object; fine if it or the finalizer is gone."""

    def decide(found: KubeObject) -> dict[str, Any] | None:
        left = [one for one in _finalizers(found) if one != FINALIZER]
        return {"metadata": {"finalizers": left}} if left != _finalizers(found) else None

    with suppress(NotFoundError, UnknownKindError):
        change(world.api, ref, decide)


def _finalizers(obj: KubeObject) -> list[str]:
    return list(obj["metadata"].get("finalizers") or ())


def _require_same(found: KubeObject, state: State) -> None:
    """Raise NotInjectedError where it is a namesake of the object that `prepare` saw."""
    if found["metadata"]["uid"] != state["uid"]:
        raise NotInjectedError(f"{ObjectRef.of(found)} is no longer the same: it was replaced meanwhile.")


def _gone(ref: ObjectRef, uid: str) -> Predicate:
    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        if obj is None or obj["metadata"]["uid"] != uid:
            return Verdict3.met(f"{ref} with UID {uid[:8]} is gone")
        if obj["metadata"].get("deletionTimestamp"):
            return Verdict3.met(f"{ref} is being deleted")
        return Verdict3.not_yet(f"{ref} is still there", ref)

    return Predicate(judge, frozenset([ref]))


FAULTS: tuple[type[Fault[Any]], ...] = (Delete, Edit, Finalizer, Hold, NamespaceTerminating)
