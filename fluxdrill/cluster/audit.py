"""The audit log of a lab's API server: every write, and nothing that is only read."""

from __future__ import annotations

from pathlib import Path

POLICY = "audit-policy.yaml"
LOG = "audit.log"


def write_policy(folder: Path) -> Path:
    """Write the policy into `folder` and return where it is."""
    path = folder / POLICY
    path.write_text(_POLICY, encoding="utf-8")
    return path


def arguments(folder: Path) -> dict[str, str]:
    """Return the API server's flags (without dashes) for a policy and a log in `folder`, as it sees that folder."""
    return {"audit-policy-file": str(folder / POLICY), "audit-log-path": str(folder / LOG)}


_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    verbs: [get, list, watch]
  - level: None
    resources: [{group: coordination.k8s.io, resources: [leases]}, {group: "", resources: [events]}]
  - level: Metadata
"""
