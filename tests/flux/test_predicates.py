"""Ready at exactly one revision: an older one, a newer one, or not Ready is not it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fluxdrill.errors import UsageError
from fluxdrill.flux.predicates import at_revision
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import Answer
from fluxdrill.kube.view import Following, Part, View
from fluxdrill.model.clock import Instant
from fluxdrill.model.refs import ObjectRef

APPS = ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", "apps")
NOW = Instant(1.0, datetime(2026, 1, 1, tzinfo=UTC))


def seen(status: str, revision: str | None) -> View:
    condition = {"type": "Ready", "status": status, "reason": "R", "message": "m", "observedGeneration": 1}
    obj: dict[str, Any] = {
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
        "kind": "Kustomization",
        "metadata": {"name": "apps", "namespace": "flux-system", "generation": 1},
        "status": {"observedGeneration": 1, "conditions": [condition], "lastAppliedRevision": revision},
    }
    kind = GroupKind.of(APPS)
    return View(NOW, heard=NOW, parts={(kind, None): Part(kind, None, Following.LIVE, objects={APPS: obj})})


@pytest.mark.parametrize(
    ("status", "revision", "answer"),
    [
        ("True", "main@sha1:2", Answer.MET),
        ("True", "main@sha1:1", Answer.NOT_YET),
        ("True", None, Answer.NOT_YET),
        ("False", "main@sha1:2", Answer.NOT_YET),
        ("Unknown", "main@sha1:2", Answer.NOT_YET),
    ],
)
def test_met_only_when_ready_and_at_exactly_that_revision(status: str, revision: str | None, answer: Answer) -> None:
    assert at_revision([APPS], "main@sha1:2").judge(seen(status, revision)).answer is answer


def test_an_object_that_does_not_exist_is_not_at_any_revision() -> None:
    assert at_revision([APPS], "r").judge(View(NOW, heard=NOW)).answer is Answer.NOT_YET


def test_no_objects_at_all_are_refused() -> None:
    with pytest.raises(UsageError):
        at_revision([], "r")
