"""Objects as scenario files name them: Kind/namespace/name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated

from pydantic import BeforeValidator, Field

from fluxdrill.flux.kinds import RECONCILED, WORKLOADS
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.model.refs import ObjectRef

_CORE = ("ConfigMap", "Secret", "Namespace", "Service", "ServiceAccount", "Node", "PersistentVolume", "ResourceQuota")
_RBAC = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
_CLUSTER_WIDE = frozenset({"Namespace", "Node", "PersistentVolume", "ClusterRole", "ClusterRoleBinding"})
KNOWN_KINDS: Mapping[str, GroupKind] = {
    one.kind: one
    for one in (
        *RECONCILED,
        *WORKLOADS,
        *(GroupKind("", kind) for kind in _CORE),
        *(GroupKind("apps", kind) for kind in ("StatefulSet", "DaemonSet", "ReplicaSet")),
        *(GroupKind("rbac.authorization.k8s.io", kind) for kind in _RBAC),
        GroupKind("apiextensions.k8s.io", "CustomResourceDefinition"),
        GroupKind("bitnami.com", "SealedSecret"),
        GroupKind("notification.toolkit.fluxcd.io", "Alert"),
        GroupKind("notification.toolkit.fluxcd.io", "Provider"),
    )
}
"""Kinds that a scenario may name without their group; any other is written Kind.group."""

_REF = re.compile(r"^(?P<kind>[A-Z]\w*)(?:\.(?P<group>[\w.-]+))?/(?:(?P<namespace>[\w.-]+)/)?(?P<name>[\w.:-]+)$")


def parse_ref(text: object) -> ObjectRef:
    """Read Kind/namespace/name, Kind/name for what is cluster-wide; another group's kind is written Kind.group.

    Raises ValueError (pydantic's way) with the right spelling.
    """
    found = _REF.match(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r} is no object: write Kind/namespace/name, or Kind/name if it is cluster-wide")
    kind, group = found["kind"], found["group"]
    if group is None and kind not in KNOWN_KINDS:
        raise ValueError(f"the group of {kind} is not known: write {kind}.<group>/...")
    if found["namespace"] is None and group is None and kind not in _CLUSTER_WIDE | {"CustomResourceDefinition"}:
        raise ValueError(f"{text} has no namespace: write {kind}/<namespace>/{found['name']}")
    return ObjectRef(KNOWN_KINDS[kind].group if group is None else group, kind, found["namespace"] or "", found["name"])


def _as_ref(value: object) -> ObjectRef:
    if isinstance(value, Mapping) and set(value) == {field.name for field in fields(ObjectRef)}:
        return ObjectRef(**value)  # as a ledger has it
    return value if isinstance(value, ObjectRef) else parse_ref(value)


Ref = Annotated[
    ObjectRef,
    BeforeValidator(_as_ref, json_schema_input_type=Annotated[str, Field(pattern=_REF.pattern.replace("?P<", "?<"))]),
]
"""An object, written Kind/namespace/name."""
