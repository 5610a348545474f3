"""Reading writes from an audit log: what counts as a write, and what must not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.errors import HarnessError
from fluxdrill.lab.audit import read_writes
from fluxdrill.model.refs import ObjectRef, Resource

SPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
CONFIGS = Resource("", "v1", "ConfigMap", "configmaps", namespaced=True)


def event(
    verb: str = "patch", code: int = 200, uri: str = "/api/v1/x", resource: str = "configmaps", **about: Any
) -> dict[str, Any]:
    return {
        "verb": verb,
        "requestURI": uri,
        "user": {"username": "flux"},
        "objectRef": {"resource": resource, "namespace": "n", "name": "c", **about},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.123456Z",
    }


def read(tmp_path: Path, *events: dict[str, Any]) -> list[Any]:
    log = tmp_path / "audit.log"
    log.write_text("".join(json.dumps(one) + "\n" for one in events), encoding="utf-8")
    return read_writes(log, [CONFIGS, SPACES])


def test_a_write_has_its_microsecond_user_and_object(tmp_path: Path) -> None:
    (one,) = read(tmp_path, event())
    assert (one.at.microsecond, one.user, one.ref) == (123456, "flux", ObjectRef("", "ConfigMap", "n", "c"))


@pytest.mark.parametrize(
    "other",
    [
        event(verb="get"),
        event(code=403),
        event(uri="/api/v1/x?dryRun=All&fieldManager=k"),
        event(resource="secrets"),
    ],
    ids=["a read", "refused", "a dry run", "another kind"],
)
def test_what_changed_nothing_is_no_write(other: dict[str, Any], tmp_path: Path) -> None:
    assert read(tmp_path, other) == []


def test_a_lab_without_audit_log_is_an_error_and_not_an_empty_list(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="audit log"):
        read_writes(tmp_path / "absent", [CONFIGS])


def test_a_namespace_does_not_lie_in_itself(tmp_path: Path) -> None:
    """The log says so; an object that is compared with the cluster's would not be found."""
    (one,) = read(tmp_path, event("delete", resource="namespaces", namespace="shop", name="shop"))
    assert one.ref == ObjectRef("", "Namespace", "", "shop")
