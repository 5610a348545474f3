"""Kubernetes as raw JSON over the official client's pool: credentials and TLS are its job, everything else is ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from fluxdrill.errors import UsageError
from fluxdrill.kube.credentials import CredentialsError
from fluxdrill.kube.discovery import Discovery, GroupKind
from fluxdrill.kube.errors import (
    ApiError,
    Cause,
    ForbiddenError,
    NotFoundError,
    UnreachableError,
    error_of,
)
from fluxdrill.kube.stream import WatchStream
from fluxdrill.kube.transport import Guard, Transport
from fluxdrill.model.clock import SYSTEM_CLOCK
from fluxdrill.model.refs import KubeObject, ObjectRef, Resource, group_of

FIELD_MANAGER = "fluxdrill"
_PAGE = 500
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_SECRET = GroupKind("", "Secret")

Propagation = Literal["Background", "Foreground", "Orphan"]


class ObjectList(NamedTuple):
    """One consistent list: its items, each with apiVersion and kind, and the version the list was made at."""

    items: list[dict[str, Any]]
    resource_version: str


class Api:
    """One API server. Thread-safe; every call has a deadline in seconds and never retries by itself.

    Calls raise ApiError (or its subclasses) when the server answers with an error, UnreachableError when no answer
    comes, UnknownKindError when it serves no such kind. The data of a Secret is never part of an error's text.
    """

    def __init__(self, transport: Transport, *, deadline: float = 10.0) -> None:
        self._transport = transport
        self._deadline = deadline
        self.discovery = Discovery(self._fetch)

    @classmethod
    def connect(
        cls, kubeconfig: Path, *, context: str | None = None, deadline: float = 10.0, guard: Guard | None = None
    ) -> Api:
        """Return access with the credentials of `kubeconfig`; no request is sent yet.

        `deadline` is what every call gets that does not name its own, in seconds. `guard` is asked before each request,
        with method and path, and raises what refuses it, also for those of a `sibling`. Raises UsageError when the
        file cannot be used. The file itself is never written to.
        """
        try:
            return cls(Transport.of_kubeconfig(kubeconfig, context, guard), deadline=deadline)
        except CredentialsError as error:
            raise UsageError(
                f"The kubeconfig {kubeconfig} cannot be used: {error}.", hint="Give another file or another context."
            ) from None

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return self._transport.server

    def sibling(self) -> Api:
        """Return access to the same server with connections of its own, to be closed on its own."""
        return Api(self._transport.sibling(), deadline=self._deadline)

    def reset_connections(self) -> None:
        """Tear off all connections, but go on: what waits on a dead one fails at once, later calls connect anew."""
        self._transport.reset()

    def close(self) -> None:
        """Tear off all connections: calls and watches under way end at once with UnreachableError."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        ref: ObjectRef | None = None,
        deadline: float | None = None,
    ) -> Any:
        """Send one request and return the parsed JSON, or the text of an answer that is not JSON.

        `ref` is the object that errors name. The answer's body is read to its end within the deadline.
        """
        seconds = self._deadline if deadline is None else deadline
        until = SYSTEM_CLOCK.now().monotonic + seconds
        headers = {"Accept": accept, "User-Agent": FIELD_MANAGER}
        if body is not None:
            headers["Content-Type"] = content_type
        answer = self._transport.open(
            method, path, query=query or {}, body=body, headers=headers, connect=seconds, read=seconds
        )
        what = f"{method} {self.server}{path}"
        content = self._transport.read(answer, what, until=until)
        if answer.status >= 300:
            secret = body is not None and _is_about_a_secret(path, ref, body)
            raise error_of(answer.status, content, ref, retry_after=answer.headers.get("Retry-After"), secret=secret)
        return _parsed(content, answer.headers.get("Content-Type", ""), what)

    def resource(self, group: str, kind: str, *, version: str = "") -> Resource:
        """Return where a kind is served; raises UnknownKindError when it is not."""
        return self.discovery.find(GroupKind(group, kind), version)

    def get(
        self,
        target: ObjectRef | Resource,
        *,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        deadline: float | None = None,
    ) -> dict[str, Any]:
        """Return one object, by reference, or by resource, namespace and name."""
        ref = target if isinstance(target, ObjectRef) else ObjectRef(target.group, target.kind, namespace, name)
        resource = target if isinstance(target, Resource) else None
        return self._on(ref, "GET", resource=resource, subresource=subresource, deadline=deadline)

    def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        at: str = "",
        deadline: float | None = None,
    ) -> ObjectList:
        """Return all objects of a kind, page by page, and the resource version to watch from.

        `at` asks for the state at exactly that resource version (GoneError when the server has dropped it). The
        deadline is for all pages together.
        """
        until = SYSTEM_CLOCK.now().monotonic + (self._deadline if deadline is None else deadline)
        query = {"limit": str(_PAGE), "labelSelector": label_selector, "fieldSelector": field_selector}
        if at:
            query |= {"resourceVersion": at, "resourceVersionMatch": "Exact"}
        items: list[dict[str, Any]] = []
        while True:
            page = self.request(
                "GET",
                resource.path(namespace or ""),
                query={key: value for key, value in query.items() if value},
                ref=ObjectRef(resource.group, resource.kind, namespace or "", ""),
                deadline=max(0.001, until - SYSTEM_CLOCK.now().monotonic),
            )
            # Built-in kinds leave apiVersion and kind out of a list's items.
            items += (
                {"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in page["items"] or ()
            )
            meta = page["metadata"]
            if not meta.get("continue"):
                return ObjectList(items, meta["resourceVersion"])
            query = {"limit": str(_PAGE), "continue": meta["continue"], "labelSelector": label_selector,
                     "fieldSelector": field_selector}  # fmt: skip

    def apply(
        self,
        obj: KubeObject,
        *,
        field_manager: str = FIELD_MANAGER,
        force: bool = True,
        dry_run: bool = False,
        deadline: float | None = None,
    ) -> dict[str, Any]:
        """Apply an object server-side and return what the server made of it.

        Without `force` a field that another manager owns raises ConflictError.
        """
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        return self._on(
            ObjectRef.of(obj),
            "PATCH",
            resource=self._resource_of(obj),
            query=query,
            body=obj,
            content_type="application/apply-patch+yaml",
            deadline=deadline,
        )

    def create(
        self, obj: KubeObject, *, field_manager: str = FIELD_MANAGER, deadline: float | None = None
    ) -> dict[str, Any]:
        """Create an object; raises ConflictError when it exists. `metadata.generateName` may stand for the name."""
        resource = self._resource_of(obj)
        meta = obj["metadata"]
        ref = ObjectRef(resource.group, resource.kind, meta.get("namespace", ""), meta.get("name", ""))
        path = resource.path(_namespace(resource, ref))
        made: dict[str, Any] = self.request(
            "POST", path, query={"fieldManager": field_manager}, body=obj, ref=ref, deadline=deadline
        )
        return made

    def patch(
        self,
        ref: ObjectRef,
        body: Any,
        *,
        kind: Literal["merge", "json", "strategic"] = "merge",
        subresource: str = "",
        field_manager: str = FIELD_MANAGER,
        deadline: float | None = None,
    ) -> dict[str, Any]:
        """Patch an object, or its subresource (`status`, `scale`), and return the result."""
        query = {"fieldManager": field_manager}
        return self._on(
            ref,
            "PATCH",
            subresource=subresource,
            query=query,
            body=body,
            content_type=_PATCH_TYPES[kind],
            deadline=deadline,
        )

    def delete(
        self,
        ref: ObjectRef,
        *,
        propagation: Propagation = "Background",
        uid: str = "",
        grace_seconds: int | None = None,
        deadline: float | None = None,
    ) -> dict[str, Any]:
        """Ask for the deletion of an object; it is gone only when a watch says so.

        With `uid` only that very object is deleted, never a namesake (ConflictError). Raises NotFoundError when
        there is none.
        """
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        return self._on(ref, "DELETE", body=options, deadline=deadline)

    def watch(
        self,
        resource: Resource,
        *,
        resource_version: str,
        namespace: str | None = None,
        timeout_seconds: int = 30,
        grace: float = 5.0,
        connect: float = 10.0,
    ) -> WatchStream:
        """Open a watch that the server ends after `timeout_seconds`, and return its events, bookmarks included.

        The client gives a silent connection up `grace` seconds after the server should have ended it.
        Raises GoneError when `resource_version` is too old, here or while iterating.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        path = resource.path(namespace or "")
        answer = self._transport.open(
            "GET", path, query=query, body=None, headers=headers, connect=connect, read=timeout_seconds + grace
        )
        what = f"WATCH {self.server}{path}"
        ref = ObjectRef(resource.group, resource.kind, namespace or "", "")
        if answer.status >= 300:
            until = SYSTEM_CLOCK.now().monotonic + connect
            content = self._transport.read(answer, what, until=until)
            raise error_of(answer.status, content, ref, retry_after=answer.headers.get("Retry-After"))
        return WatchStream(
            answer, resource=resource, ref=ref, translate=lambda error: self._transport.unreachable(error, what)
        )

    def livez(self, deadline: float = 1.0) -> bool:
        """Return whether the API server answers and calls itself alive; a refusal of our credentials counts as alive."""
        try:
            self.request("GET", "/livez", accept="text/plain", deadline=deadline)
        except (ForbiddenError, NotFoundError):
            return True
        except (ApiError, UnreachableError):
            return False
        return True

    def version(self, *, deadline: float | None = None) -> dict[str, Any]:
        """Return the server's `/version`: gitVersion, major, minor and so on."""
        answer: dict[str, Any] = self.request("GET", "/version", deadline=deadline)
        return answer

    def _on(
        self, ref: ObjectRef, method: str, *, resource: Resource | None = None, subresource: str = "", **options: Any
    ) -> dict[str, Any]:
        found = resource or self.resource(ref.group, ref.kind)
        if not ref.name:
            raise UsageError(f"The reference {ref} has no name.", hint="Name the object.")
        path = found.path(_namespace(found, ref), ref.name, subresource)
        answer: dict[str, Any] = self.request(method, path, ref=ref, **options)
        return answer

    def _resource_of(self, obj: KubeObject) -> Resource:
        api_version = str(obj["apiVersion"])
        return self.resource(group_of(api_version), str(obj["kind"]), version=api_version.rpartition("/")[2])

    def _fetch(self, path: str, accept: str) -> Any:
        return self.request("GET", path, accept=accept)


def _namespace(resource: Resource, ref: ObjectRef) -> str:
    if resource.namespaced and not ref.namespace:
        raise UsageError(f"The reference {ref} has no namespace.", hint=f"{resource.kind} is a namespaced kind.")
    return ref.namespace


def _is_about_a_secret(path: str, ref: ObjectRef | None, body: Any) -> bool:
    named = ref is not None and GroupKind.of(ref) == _SECRET
    sent = isinstance(body, Mapping) and body.get("kind") == "Secret"
    return named or sent or "/secrets" in path


def _parsed(content: bytes, content_type: str, what: str) -> Any:
    if "json" not in content_type:
        return content.decode(errors="replace")
    try:
        return json.loads(content)
    except ValueError as error:
        raise UnreachableError(Cause.RESET, f"{what}: broken JSON") from error
