"""Read the writes of a lab's API server from its audit log: exact times, users and objects, no bodies."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fluxdrill.errors import HarnessError
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.model.ordering import Write
from fluxdrill.model.refs import ObjectRef, Resource

NAMESPACES = GroupKind("", "Namespace")
WRITES = ("create", "update", "patch", "delete")


def read_writes(log: Path, served: Iterable[Resource]) -> list[Write]:
    """Return every write that succeeded, in the order of the log; dry runs are none.

    `served` are the kinds to look for (`api.discovery.all()`); writes to others are left out. Raises HarnessError where there is
    no log: a lab keeps one only if it is asked to.
    """
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise HarnessError(
            f"The audit log cannot be read: {error.strerror}.", hint="Start the lab with ClusterOptions(audit=True)."
        ) from error
    return list(_writes(lines, {(one.group, one.plural): GroupKind.of(one) for one in served}))


def _writes(lines: list[str], kinds: dict[tuple[str, str], GroupKind]) -> Iterator[Write]:
    for line in lines:
        event: dict[str, Any] = json.loads(line)
        about = event.get("objectRef") or {}
        kind = kinds.get((about.get("apiGroup", ""), about.get("resource", "")))
        if kind is None or event.get("verb") not in WRITES or not _took(event):
            continue
        yield Write(
            at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
            user=event["user"]["username"],
            verb=event["verb"],
            ref=_ref(kind, about),
            subresource=about.get("subresource", ""),
        )


def _ref(kind: GroupKind, about: dict[str, Any]) -> ObjectRef:
    """Return what a write was about; of a Namespace the log says that it lies in itself."""
    namespace = "" if kind == NAMESPACES else about.get("namespace", "")
    return ObjectRef(kind.group, kind.kind, namespace, about.get("name", ""))


def _took(event: dict[str, Any]) -> bool:
    """Whether the server took the write: answered well, and no dry run."""
    code = int((event.get("responseStatus") or {}).get("code", 0))
    return code < 300 and "dryRun" not in parse_qs(urlsplit(event.get("requestURI", "")).query)
