"""Faults of objects in the cluster: deleted, edited, stuck, or refused by admission."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State
from fluxdrill.faults.refs import Ref
from fluxdrill.faults.world import World
from fluxdrill.kube.errors import ApiError, ConflictError, NotFoundError, UnknownKindError
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.model.refs import KubeObject, ObjectRef

FINALIZER = "fluxdrill.dev/stuck"
ADMISSION = "admissionregistration.k8s.io"
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
        meta = self.live(world)["metadata"]
        return {"uid": meta["uid"], "version": meta["resourceVersion"]}

    def live(self, world: World) -> KubeObject:
        """Return the object; raises NotInjectedError where there is none."""
        try:
            return world.api.get(self.args.object)
        except (NotFoundError, UnknownKindError):
            raise NotInjectedError(f"{self.args.object} does not exist: there is nothing to hit.") from None

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
        changed = world.api.patch(self.args.object, dict(self.args.merge), field_manager=STRANGER)
        state["written"] = changed["metadata"]["resourceVersion"]

    def observe(self, world: World, state: State) -> Probe:
        """The server wrote a new version: a patch that changes nothing writes none."""
        del world
        written = state.get("written", state["version"])
        bit = written != state["version"]
        return Probe(lambda: (bit, f"version {state['version']} {'became' if bit else 'is still'} {written}"))


class Finalizer(_OnObject):
    """It is deleted while a finalizer that nobody serves holds it; healing takes the finalizer away."""

    name = "objects.finalizer"

    def inject(self, world: World, state: State) -> None:
        """Hold it, then delete it."""
        held = [*(self.live(world)["metadata"].get("finalizers") or ()), FINALIZER]
        world.api.patch(self.args.object, {"metadata": {"finalizers": held}})
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
        del state
        held = [*(self.live(world)["metadata"].get("finalizers") or ()), FINALIZER]
        world.api.patch(self.args.object, {"metadata": {"finalizers": held}})

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
        """Note its identity."""
        try:
            return {"uid": world.api.get(self._ref)["metadata"]["uid"]}
        except NotFoundError:
            raise NotInjectedError(f"{self._ref} does not exist: there is nothing to hit.") from None

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
        """Let it go."""
        del state
        release(world, self._holder)


class _Admission(Fault[Args]):
    """A fault made of objects of the harness's own that change what the API server takes."""

    rights: ClassVar[str] = "to write admission configuration"

    def prepare(self, world: World) -> State:
        """Choose the name."""
        del world
        return {"name": f"fluxdrill-{secrets.token_hex(4)}"}

    def made(self, state: State) -> list[ObjectRef]:
        """Return what it makes."""
        raise NotImplementedError

    def heal(self, world: World, state: State) -> None:
        """Remove what it made."""
        for ref in self.made(state):
            try:
                world.api.delete(ref)
            except NotFoundError:
                continue


class Denied(Args):
    """What is denied: operations on kinds (plural, as the API has them) in a namespace."""

    operations: tuple[str, ...] = ("DELETE",)
    resources: Annotated[tuple[str, ...], Field(min_length=1)]
    groups: tuple[str, ...] = ("*",)
    namespace: str = Field(min_length=1)


class Deny(_Admission):
    """An admission policy denies some operations; healing removes the policy."""

    name = "admission.deny"
    arguments = Denied

    @property
    def takes(self) -> frozenset[str]:
        """Admission."""
        return frozenset({"admission"})

    def made(self, state: State) -> list[ObjectRef]:
        """Return the policy and its binding."""
        kinds = ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy")
        return [ObjectRef(ADMISSION, kind, "", state["name"]) for kind in kinds]

    def inject(self, world: World, state: State) -> None:
        """Apply the policy."""
        assert isinstance(self.args, Denied)
        head = {"apiVersion": f"{ADMISSION}/v1", "metadata": {"name": state["name"]}}
        rules = [
            {
                "apiGroups": list(self.args.groups),
                "apiVersions": ["*"],
                "operations": list(self.args.operations),
                "resources": list(self.args.resources),
            }
        ]
        here = {"matchLabels": {"kubernetes.io/metadata.name": self.args.namespace}}
        policy = {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": rules, "namespaceSelector": here},
            "validations": [{"expression": "false", "message": "denied by fluxdrill"}],
        }
        world.api.apply({**head, "kind": "ValidatingAdmissionPolicy", "spec": policy})
        spec = {"policyName": state["name"], "validationActions": ["Deny"]}
        world.api.apply({**head, "kind": "ValidatingAdmissionPolicyBinding", "spec": spec})

    def observe(self, world: World, state: State) -> Probe:
        """The API server has taken up the policy and denies a dry run of our own."""
        del state
        args = self.args
        assert isinstance(args, Denied)
        return Probe(lambda: _is_denied(world, args.namespace, args.resources, args.operations))


class Hung(Args):
    """What hangs: operations on kinds (plural) in a namespace, for so many seconds."""

    operations: tuple[str, ...] = ("CREATE", "UPDATE")
    resources: Annotated[tuple[str, ...], Field(min_length=1)] = ("configmaps",)
    namespace: str = Field(min_length=1)
    seconds: Annotated[int, Field(ge=1, le=30)] = 3


class Hang(_Admission):
    """A webhook accepts connections and never answers (failurePolicy Fail); healing removes it."""

    name = "admission.hang"
    arguments = Hung

    def __init__(self, args: Args) -> None:
        super().__init__(args)
        self._listener: socket.socket | None = None

    @property
    def takes(self) -> frozenset[str]:
        """Admission."""
        return frozenset({"admission"})

    def made(self, state: State) -> list[ObjectRef]:
        """Return the webhook's configuration."""
        return [ObjectRef(ADMISSION, "ValidatingWebhookConfiguration", "", state["name"])]

    def inject(self, world: World, state: State) -> None:
        """Listen without answering, and tell the API server to ask there."""
        assert isinstance(self.args, Hung)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)  # the kernel accepts, nobody reads
        port = self._listener.getsockname()[1]
        rule = {"apiGroups": ["*"], "apiVersions": ["*"]}
        webhook = {
            "name": "hangs.fluxdrill.dev",
            "clientConfig": {"url": f"https://127.0.0.1:{port}/"},
            "rules": [{**rule, "operations": list(self.args.operations), "resources": list(self.args.resources)}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.args.namespace}},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": self.args.seconds,
        }
        head = {"apiVersion": f"{ADMISSION}/v1", "kind": "ValidatingWebhookConfiguration"}
        world.api.apply({**head, "metadata": {"name": state["name"]}, "webhooks": [webhook]})

    def observe(self, world: World, state: State) -> Probe:
        """A dry run of our own is refused after the timeout."""
        del state
        args = self.args
        assert isinstance(args, Hung)
        return Probe(lambda: _is_denied(world, args.namespace, args.resources, args.operations))

    def heal(self, world: World, state: State) -> None:
        """Remove the configuration, then the listener."""
        super().heal(world, state)
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class Limits(Args):
    """The namespace and its limits, such as `pods: "0"`."""

    namespace: str = Field(min_length=1)
    hard: Annotated[Mapping[str, str], Field(min_length=1)]


class Quota(_Admission):
    """A ResourceQuota forbids more of something; healing removes it."""

    name = "objects.quota"
    arguments = Limits

    @property
    def takes(self) -> frozenset[str]:
        """The namespace's quota."""
        assert isinstance(self.args, Limits)
        return frozenset({f"quota/{self.args.namespace}"})

    def made(self, state: State) -> list[ObjectRef]:
        """Return the quota."""
        assert isinstance(self.args, Limits)
        return [ObjectRef("", "ResourceQuota", self.args.namespace, state["name"])]

    def inject(self, world: World, state: State) -> None:
        """Apply the quota."""
        assert isinstance(self.args, Limits)
        meta = {"name": state["name"], "namespace": self.args.namespace}
        spec = {"hard": dict(self.args.hard)}
        world.api.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": spec})

    def observe(self, world: World, state: State) -> Predicate:
        """The quota is in force: the controller-manager has counted."""
        del world
        ref = self.made(state)[0]

        def judge(view: View) -> Verdict3:
            used = ((view.get(ref) or {}).get("status") or {}).get("used")
            return Verdict3.met(f"in force, used {used}") if used else Verdict3.not_yet("not in force yet", ref)

        return Predicate(judge, frozenset([ref]))


def release(world: World, ref: ObjectRef) -> None:
    """Take our finalizer from an object; fine if it or the finalizer is gone."""
    try:
        found = world.api.get(ref)["metadata"].get("finalizers") or []
        if FINALIZER in found:
            left = [one for one in found if one != FINALIZER]
            world.api.patch(ref, {"metadata": {"finalizers": left or None}})
    except (NotFoundError, UnknownKindError):
        return


def _gone(ref: ObjectRef, uid: str) -> Predicate:
    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        if obj is None or obj["metadata"]["uid"] != uid:
            return Verdict3.met(f"{ref} with UID {uid[:8]} is gone")
        if obj["metadata"].get("deletionTimestamp"):
            return Verdict3.met(f"{ref} is being deleted")
        return Verdict3.not_yet(f"{ref} is still there", ref)

    return Predicate(judge, frozenset([ref]))


def _is_denied(
    world: World, namespace: str, resources: tuple[str, ...], operations: tuple[str, ...]
) -> tuple[bool, str]:
    """Try a dry run of the first operation that can be tried without harm."""
    resource = next((one for one in world.api.discovery.all() if one.plural == resources[0]), None)
    if resource is None:
        return False, f"no kind is called {resources[0]}"
    try:
        if "DELETE" in operations:
            found = world.api.list(resource, namespace=namespace if resource.namespaced else None).items
            if not found:
                return False, f"there is no object of {resources[0]} in {namespace} to try it on"
            path = resource.path(namespace if resource.namespaced else "", found[0]["metadata"]["name"])
            world.api.request("DELETE", path, query={"dryRun": "All"}, body={}, deadline=35)
        else:
            meta = {"name": "fluxdrill-probe", "namespace": namespace}
            body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta}
            world.api.apply(body, dry_run=True, deadline=35)
    except ApiError as error:
        return True, f"a dry run was refused: {error.message[:150]}"
    return False, "a dry run was taken"


FAULTS: tuple[type[Fault[Any]], ...] = (
    Delete, Edit, Finalizer, Hold, NamespaceTerminating, Deny, Hang, Quota,
)  # fmt: skip
