"""Waits on a real API server: what was written before a wait began is never taken for what is there now."""

from __future__ import annotations

import pytest

from fluxdrill.kube.wait import DeviatedTimeoutError, absent, present, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef

pytestmark = [pytest.mark.live, pytest.mark.ci]

SUBJECT = ObjectRef("", "ConfigMap", "default", "written-just-now")
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": SUBJECT.name, "namespace": "default"}}


def test_a_wait_right_after_a_deletion_does_not_see_the_object_of_before(lab: Lab) -> None:
    for _ in range(15):
        lab.api.apply(BODY)
        wait_for(lab.store, present(SUBJECT), deadline=10, what="the object")
        lab.api.delete(SUBJECT)
        with pytest.raises(DeviatedTimeoutError):
            wait_for(lab.store, present(SUBJECT), deadline=0.2, what="the deleted object")


def test_a_wait_right_after_a_creation_does_not_see_the_absence_of_before(lab: Lab) -> None:
    for _ in range(15):
        lab.api.apply(BODY)
        with pytest.raises(DeviatedTimeoutError):
            wait_for(lab.store, absent(SUBJECT), deadline=0.2, what="the created object to be gone")
        lab.api.delete(SUBJECT)
        wait_for(lab.store, absent(SUBJECT), deadline=10, what="its absence")
