"""The label by which a cluster is known as a lab of fluxdrill: everything destructive asks for it first."""

from __future__ import annotations

from fluxdrill.errors import RefusedError
from fluxdrill.flux import NAMESPACE
from fluxdrill.kube.api import Api
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.model.refs import ObjectRef

MARKER = "fluxdrill.dev/lab"
"""Label of the flux-system namespace of every lab; its value is the lab's id."""


def require_marker(api: Api) -> str:
    """Return the id of the lab that a cluster is; raises RefusedError where it is not one of ours.

    Everything destructive asks this first.
    """
    try:
        namespace = api.get(ObjectRef("", "Namespace", "", NAMESPACE))
    except NotFoundError:
        namespace = {}
    lab = str(((namespace.get("metadata") or {}).get("labels") or {}).get(MARKER, ""))
    if not lab:
        raise RefusedError(
            f"The cluster at {api.server} does not carry the label {MARKER}: it is not a lab of fluxdrill.",
            hint="Scenarios break things, so they run only in labs: leave --kubeconfig out.",
        )
    return lab
