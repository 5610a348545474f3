"""What is asked of Flux: a token of our own, force and reset where Flux knows them."""

from __future__ import annotations

from typing import Any

import pytest

from fluxdrill.errors import UsageError
from fluxdrill.flux.operations import FORCE, REQUESTED, RESET, request, resume, suspend
from fluxdrill.model.refs import ObjectRef

RELEASE = ObjectRef("helm.toolkit.fluxcd.io", "HelmRelease", "web", "web")
APPS = ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", "apps")


class Recorder:
    """Stands where an Api stands and keeps the patches: what is sent is the subject here, not what a server does."""

    def __init__(self) -> None:
        self.patches: list[tuple[ObjectRef, dict[str, Any]]] = []

    def patch(self, ref: ObjectRef, body: dict[str, Any], *, kind: str) -> None:
        assert kind == "merge"
        self.patches.append((ref, body))


def annotated(api: Recorder) -> dict[str, str]:
    ((_, body),) = api.patches
    return dict(body["metadata"]["annotations"])


def test_every_request_carries_a_token_of_its_own() -> None:
    first, second = Recorder(), Recorder()
    assert request(first, APPS) != request(second, APPS)  # type: ignore[arg-type]
    assert set(annotated(first)) == {REQUESTED}


def test_force_and_reset_carry_the_same_token_as_the_request_since_flux_ignores_any_other() -> None:
    api = Recorder()
    token = request(api, RELEASE, force=True, reset=True)  # type: ignore[arg-type]
    assert annotated(api) == {REQUESTED: token, FORCE: token, RESET: token}


@pytest.mark.parametrize("how", [{"force": True}, {"reset": True}])
def test_what_is_no_helm_release_cannot_be_forced_or_reset(how: dict[str, bool]) -> None:
    api = Recorder()
    with pytest.raises(UsageError, match="cannot be forced"):
        request(api, APPS, **how)  # type: ignore[arg-type]
    assert api.patches == []


def test_suspend_and_resume_change_only_the_suspend_field() -> None:
    api = Recorder()
    suspend(api, APPS)  # type: ignore[arg-type]
    resume(api, APPS)  # type: ignore[arg-type]
    assert [body for _, body in api.patches] == [{"spec": {"suspend": True}}, {"spec": {"suspend": False}}]
