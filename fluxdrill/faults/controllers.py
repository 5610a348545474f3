"""Faults of Flux's controllers: killed, ended, paused, restarted, or without their rights."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar, Literal

from fluxdrill.cluster.part import Part
from fluxdrill.cluster.part import State as ProcessState
from fluxdrill.faults.change import change
from fluxdrill.faults.fault import Args, Fault, NotInjectedError, Probe, State, Where
from fluxdrill.faults.world import World
from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.controllers import READY_DEADLINE
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.model.capabilities import Capability
from fluxdrill.model.refs import KubeObject, ObjectRef

Controller = Literal[
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
]
RBAC = "rbac.authorization.k8s.io"


class OfController(Args):
    """Which controller."""

    controller: Controller


class _OnProcess(Fault[OfController]):
    """A fault of a controller's process."""

    arguments = OfController
    where = Where.HOST
    needs = frozenset({Capability.STOP_CONTROLLER})
    rights: ClassVar[str] = "signals to the controller's process"

    @property
    def takes(self) -> frozenset[str]:
        """The controller."""
        return frozenset({f"controller/{self.args.controller}"})

    def process(self, world: World) -> Part:
        """Return the controller's process in this lab; raises NotInjectedError where it has none."""
        if self.args.controller not in world.own_lab.flux:
            raise NotInjectedError(f"This lab has no {self.args.controller}: there is nothing to hit.")
        return world.own_lab.flux[self.args.controller]

    def prepare(self, world: World) -> State:
        """Note the process; one that does not run cannot be hit."""
        process = self.process(world)
        if process.state is not ProcessState.RUNNING:
            raise NotInjectedError(f"{process.name} does not run ({process.state}): there is nothing to hit.")
        return {"run": process.identity}

    def observe(self, world: World, state: State) -> Probe:
        """The process that was running is gone."""
        process = self.process(world)

        def ask() -> tuple[bool, str]:
            if process.identity != state["run"] or process.state is ProcessState.EXITED:
                return True, f"run {state['run']} of {process.name} is gone"
            return False, f"run {state['run']} of {process.name} is {process.state}"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Do what the kubelet would: start it again."""
        del state
        process = self.process(world)
        if process.state is ProcessState.PAUSED:
            process.resume()
        if process.state is ProcessState.EXITED:
            process.start()
        process.wait_ready(READY_DEADLINE)


class Kill(_OnProcess):
    """SIGKILL: no chance to finish anything, as after an OOM kill; healing starts it again, as the kubelet would."""

    name = "controllers.kill"

    def inject(self, world: World, state: State) -> None:
        """Kill it."""
        del state
        self.process(world).kill()


class Term(_OnProcess):
    """SIGTERM: it ends in order, as when its pod is moved; healing starts it again."""

    name = "controllers.term"

    def inject(self, world: World, state: State) -> None:
        """End it."""
        del state
        self.process(world).stop(deadline=30)


class Restart(_OnProcess):
    """SIGTERM and started again at once, as a rollout does: there is nothing left to heal."""

    name = "controllers.restart"
    reversible = False

    def inject(self, world: World, state: State) -> None:
        """Restart it."""
        del state
        self.process(world).restart(ready_within=READY_DEADLINE)


class Pause(_OnProcess):
    """SIGSTOP: it keeps its connections and caches and does nothing, as on a frozen node; healing lets it go on."""

    name = "controllers.pause"

    def inject(self, world: World, state: State) -> None:
        """Stop it."""
        del state
        self.process(world).pause()

    def observe(self, world: World, state: State) -> Probe:
        """The kernel says that it is stopped."""
        process = self.process(world)

        def ask() -> tuple[bool, str]:
            if process.identity != state["run"]:
                return False, "it was started anew"
            frozen = process.frozen
            return frozen, f"the kernel says that it is {'' if frozen else 'not '}stopped"

        return Probe(ask)


class Revoke(Fault[OfController]):
    """Its account is taken out of every ClusterRoleBinding: the API server then forbids what it does."""

    name = "controllers.revoke"
    arguments = OfController
    rights: ClassVar[str] = "to change ClusterRoleBindings"

    @property
    def takes(self) -> frozenset[str]:
        """The controller's rights."""
        return frozenset({f"rights/{self.args.controller}", f"controller/{self.args.controller}"})

    def prepare(self, world: World) -> State:
        """Note every binding that names the account."""
        found = world.api.list(world.api.resource(RBAC, "ClusterRoleBinding")).items
        ours = [one["metadata"]["name"] for one in found if any(map(self._is, one.get("subjects") or ()))]
        if not ours:
            raise NotInjectedError(f"No ClusterRoleBinding names {self.args.controller}: there is nothing to revoke.")
        return {"bindings": ours}

    def inject(self, world: World, state: State) -> None:
        """Take the account out."""
        for name in state["bindings"]:
            change(world.api, ObjectRef(RBAC, "ClusterRoleBinding", "", name), self._without)

    def observe(self, world: World, state: State) -> Probe:
        """The API server itself says that the account may no longer write."""
        del state
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "metadata": {},  # it is a question, not an object
            "spec": {
                "user": f"system:serviceaccount:{NAMESPACE}:{self.args.controller}",
                "groups": ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"],
                "resourceAttributes": {"verb": "patch", "resource": "configmaps", "namespace": "default"},
            },
        }

        def ask() -> tuple[bool, str]:
            allowed = bool(world.api.create(review)["status"]["allowed"])
            return not allowed, f"{self.args.controller} may{'' if allowed else ' not'} patch ConfigMaps"

        return Probe(ask)

    def heal(self, world: World, state: State) -> None:
        """Put the account back where it is missing; what else was changed meanwhile stays."""
        for name in state["bindings"]:
            with suppress(NotFoundError):
                change(world.api, ObjectRef(RBAC, "ClusterRoleBinding", "", name), self._with)

    def _is(self, subject: Mapping[str, Any]) -> bool:
        wanted = ("ServiceAccount", NAMESPACE, self.args.controller)
        return (subject.get("kind"), subject.get("namespace"), subject.get("name")) == wanted

    def _without(self, binding: KubeObject) -> dict[str, Any] | None:
        subjects = list(binding.get("subjects") or ())
        left = [one for one in subjects if not self._is(one)]
        return {"subjects": left} if left != subjects else None

    def _with(self, binding: KubeObject) -> dict[str, Any] | None:
        subjects = list(binding.get("subjects") or ())
        own = {"kind": "ServiceAccount", "namespace": NAMESPACE, "name": self.args.controller}
        return None if any(map(self._is, subjects)) else {"subjects": [*subjects, own]}


FAULTS: tuple[type[Fault[Any]], ...] = (Kill, Term, Restart, Pause, Revoke)
