"""Faults of admission: what the API server takes is denied, delayed, or limited by objects of the harness's own."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from fluxdrill.cluster.ports import HOST
from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State
from fluxdrill.faults.world import World
from fluxdrill.kube.errors import ApiError, NotFoundError
from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.model.refs import ObjectRef, Resource
from fluxdrill.repository.addresses import is_loopback

ADMISSION = "admissionregistration.k8s.io"
TRY_DEADLINE = 35.0
"""Seconds for one dry run: longer than any webhook may take."""
DENIED = "denied by fluxdrill"
HANGS = "hangs.fluxdrill.dev"

Operation = Literal["CREATE", "UPDATE", "DELETE"]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]


class _Made(Fault[Args]):
    """A fault made of objects of the harness's own; `prepare` chooses their name, healing removes them."""

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
            with suppress(NotFoundError):
                world.api.delete(ref)


class Concerned(Args):
    """Which operations on which kinds (plural, as the API has them) in which namespace."""

    operations: Annotated[tuple[Operation, ...], Field(min_length=1)] = ("DELETE",)
    resources: Annotated[tuple[str, ...], Field(min_length=1)]
    groups: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    namespace: Namespace


class _OnRequests(_Made):
    """A fault that requests meet; a dry run of our own shows it."""

    arguments: ClassVar[type[Args]] = Concerned

    @property
    def takes(self) -> frozenset[str]:
        """Admission."""
        return frozenset({"admission"})

    @property
    def concerned(self) -> Concerned:
        """What it concerns."""
        assert isinstance(self.args, Concerned)
        return self.args

    @property
    def rule(self) -> dict[str, Any]:
        """What it concerns, as admission configuration says it."""
        args = self.concerned
        return {
            "apiGroups": list(args.groups),
            "apiVersions": ["*"],
            "operations": list(args.operations),
            "resources": list(args.resources),
        }

    @property
    def selector(self) -> dict[str, Any]:
        """The namespace, as admission configuration says it."""
        return {"matchLabels": {"kubernetes.io/metadata.name": self.concerned.namespace}}

    def prepare(self, world: World) -> State:
        """See that there is something to try it on."""
        require_namespace(world, self.concerned.namespace)
        target = next(_targets(world, self.concerned), None)
        if target is None:
            raise NotInjectedError(
                f"{self.concerned.namespace} holds no object of {', '.join(self.concerned.resources)}: nothing can show it."
            )
        return super().prepare(world)

    def refused(self, world: World, words: str) -> Probe:
        """Return a probe that is met when a dry run is refused with `words`, and not for another reason."""

        def ask() -> tuple[bool, str]:
            for resource, obj in _targets(world, self.concerned):
                try:
                    _try(world, self.concerned.operations[0], resource, obj)
                except NotFoundError:
                    continue  # it went meanwhile
                except ApiError as error:
                    return words in error.message, f"a dry run was refused: {error.message[:200]}"
                return False, "a dry run was taken"
            return False, "there is no object to try it on"

        return Probe(ask)


class Deny(_OnRequests):
    """An admission policy denies some operations; healing removes the policy."""

    name = "admission.deny"

    def made(self, state: State) -> list[ObjectRef]:
        """Return the policy and its binding."""
        kinds = ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy")
        return [ObjectRef(ADMISSION, kind, "", state["name"]) for kind in kinds]

    def inject(self, world: World, state: State) -> None:
        """Apply the policy."""
        head = {"apiVersion": f"{ADMISSION}/v1", "metadata": {"name": state["name"]}}
        policy = {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [self.rule], "namespaceSelector": self.selector},
            "validations": [{"expression": "false", "message": DENIED}],
        }
        world.api.apply({**head, "kind": "ValidatingAdmissionPolicy", "spec": policy})
        spec = {"policyName": state["name"], "validationActions": ["Deny"]}
        world.api.apply({**head, "kind": "ValidatingAdmissionPolicyBinding", "spec": spec})

    def observe(self, world: World, state: State) -> Probe:
        """The API server has taken up the policy and denies a dry run of our own in its name."""
        return self.refused(world, f"{state['name']}' denied request: {DENIED}")


class Hung(Concerned):
    """What hangs, for so many seconds."""

    operations: Annotated[tuple[Operation, ...], Field(min_length=1)] = ("CREATE", "UPDATE")
    resources: Annotated[tuple[str, ...], Field(min_length=1)] = ("configmaps",)
    seconds: Annotated[int, Field(ge=1, le=30)] = 3


class Hang(_OnRequests):
    """A webhook on the lab's host accepts connections and never answers (failurePolicy Fail); healing removes it."""

    name = "admission.hang"
    arguments = Hung

    def __init__(self, args: Args) -> None:
        super().__init__(args)
        self._listener: socket.socket | None = None

    def prepare(self, world: World) -> State:
        """See that the API server runs where we listen."""
        if not is_loopback(urlsplit(world.api.server).hostname or ""):
            raise NotInjectedError(f"The API server {world.api.server} is on another host: it cannot ask us.")
        return super().prepare(world)

    def made(self, state: State) -> list[ObjectRef]:
        """Return the webhook's configuration."""
        return [ObjectRef(ADMISSION, "ValidatingWebhookConfiguration", "", state["name"])]

    def inject(self, world: World, state: State) -> None:
        """Listen without answering, and tell the API server to ask there."""
        assert isinstance(self.args, Hung)
        host = world.lab.host if world.lab is not None else HOST
        self._listener = socket.create_server((host, 0), backlog=64)  # the kernel accepts, nobody reads
        webhook = {
            "name": HANGS,
            "clientConfig": {"url": f"https://{host}:{self._listener.getsockname()[1]}/"},
            "rules": [self.rule],
            "namespaceSelector": self.selector,
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": self.args.seconds,
        }
        head = {"apiVersion": f"{ADMISSION}/v1", "kind": "ValidatingWebhookConfiguration"}
        world.api.apply({**head, "metadata": {"name": state["name"]}, "webhooks": [webhook]})

    def observe(self, world: World, state: State) -> Probe:
        """A dry run of our own is refused after the timeout, in the webhook's name."""
        del state
        return self.refused(world, f'failed calling webhook "{HANGS}"')

    def heal(self, world: World, state: State) -> None:
        """Remove the configuration, then the listener."""
        super().heal(world, state)
        if self._listener is not None:
            self._listener.close()
            self._listener = None


class Limits(Args):
    """The namespace and its limits, such as `pods: "0"`."""

    namespace: Namespace
    hard: Annotated[Mapping[str, str], Field(min_length=1)]


class Quota(_Made):
    """A ResourceQuota forbids more of something; healing removes it."""

    name = "objects.quota"
    arguments = Limits
    rights: ClassVar[str] = "to write ResourceQuotas"

    @property
    def takes(self) -> frozenset[str]:
        """The namespace's quota."""
        assert isinstance(self.args, Limits)
        return frozenset({f"quota/{self.args.namespace}"})

    def prepare(self, world: World) -> State:
        """See that the namespace exists."""
        assert isinstance(self.args, Limits)
        require_namespace(world, self.args.namespace)
        return super().prepare(world)

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


def require_namespace(world: World, name: str) -> None:
    """Raise NotInjectedError where there is no such namespace."""
    try:
        world.api.get(ObjectRef("", "Namespace", "", name))
    except NotFoundError:
        raise NotInjectedError(f"There is no namespace {name}: there is nothing to hit.") from None


def _targets(world: World, args: Concerned) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
    """Yield what is there of the kinds concerned."""
    for resource in world.api.discovery.all():
        named = "*" in args.groups or resource.group in args.groups
        if named and resource.plural in args.resources and resource.namespaced:
            for obj in world.api.list(resource, namespace=args.namespace).items:
                yield resource, obj


def _try(world: World, operation: Operation, resource: Resource, obj: Mapping[str, Any]) -> None:
    """Do a dry run of one operation, such as would succeed; raises what the API says."""
    ref = ObjectRef.of(obj)
    item, query = resource.path(ref.namespace, ref.name), {"dryRun": "All"}
    if operation == "DELETE":
        world.api.request("DELETE", item, query=query, body={}, deadline=TRY_DEADLINE)
    elif operation == "UPDATE":
        body = {"metadata": {"annotations": {"fluxdrill.dev/probe": "dry run"}}}
        merge = "application/merge-patch+json"
        world.api.request("PATCH", item, query=query, body=body, content_type=merge, deadline=TRY_DEADLINE)
    else:
        copy = {key: value for key, value in obj.items() if key != "status"}
        copy["metadata"] = {"name": f"fluxdrill-{secrets.token_hex(4)}", "namespace": ref.namespace}
        world.api.request("POST", resource.path(ref.namespace), query=query, body=copy, deadline=TRY_DEADLINE)


FAULTS: tuple[type[Fault[Any]], ...] = (Deny, Hang, Quota)
