"""Talk to Flux objects as the flux command does: reconcile, suspend, resume; with a request token of our own.

Flux records the token of a request in status.lastHandledReconcileAt, also when the reconcile failed (all controllers
of Flux 2.9): handled is not succeeded. A token that only we know tells our request from everybody else's.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from fluxdrill.errors import UsageError
from fluxdrill.flux.kinds import HELM_RELEASE
from fluxdrill.kube.api import Api
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.wait import WaitResult, handled, wait_for
from fluxdrill.kube.watch import Store
from fluxdrill.model.refs import ObjectRef

REQUESTED = "reconcile.fluxcd.io/requestedAt"
FORCE = "reconcile.fluxcd.io/forceAt"
RESET = "reconcile.fluxcd.io/resetAt"


def request(api: Api, ref: ObjectRef, *, force: bool = False, reset: bool = False) -> str:
    """Ask for a reconcile of `ref` and return the request's token; `force` and `reset` are for HelmReleases only."""
    if (force or reset) and GroupKind.of(ref) != HELM_RELEASE:
        raise UsageError(f"{ref} cannot be forced or reset.", hint="Only a HelmRelease can.")
    token = f"fluxdrill-{secrets.token_hex(8)}"
    names = [REQUESTED, *([FORCE] if force else []), *([RESET] if reset else [])]
    api.patch(ref, {"metadata": {"annotations": dict.fromkeys(names, token)}}, kind="merge")
    return token


def reconcile(
    api: Api,
    store: Store,
    ref: ObjectRef,
    *,
    deadline: float,
    force: bool = False,
    reset: bool = False,
    on_event: Callable[[str], None] | None = None,
) -> WaitResult:
    """Ask for a reconcile and wait until Flux has handled exactly this request; whether it succeeded is another wait.

    A source that the object is made from is not asked: ask it first if its newest revision is wanted. Raises what
    `wait_for` raises.
    """
    token = request(api, ref, force=force, reset=reset)
    return wait_for(
        store, handled(ref, token), deadline=deadline, what=f"{ref} to handle our request", on_event=on_event
    )


def suspend(api: Api, ref: ObjectRef) -> None:
    """Stop Flux from reconciling `ref`; an attempt that is under way still ends."""
    _set_suspend(api, ref, suspended=True)


def resume(api: Api, ref: ObjectRef) -> None:
    """Let Flux reconcile `ref` again; it does so at once."""
    _set_suspend(api, ref, suspended=False)


def _set_suspend(api: Api, ref: ObjectRef, *, suspended: bool) -> None:
    patch: dict[str, Any] = {"spec": {"suspend": suspended}}
    api.patch(ref, patch, kind="merge")
