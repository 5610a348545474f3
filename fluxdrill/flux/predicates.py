"""What can be waited for on Flux objects, beyond what every object has."""

from __future__ import annotations

from collections.abc import Collection

from fluxdrill.kube.predicates import Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.model.kstatus import Status, flux_readiness
from fluxdrill.model.refs import ObjectRef


def at_revision(refs: Collection[ObjectRef], revision: str) -> Predicate:
    """Met when every one of `refs` (Kustomizations) is Ready and has applied exactly `revision` ("main@sha1:...")."""
    wanted = tuple(sorted(set(refs)))

    def judge(view: View) -> Verdict3:
        waiting = {ref: why for ref in wanted if (why := _behind(view, ref, revision))}
        if not waiting:
            return Verdict3.met(f"{len(wanted)} of {len(wanted)} applied {revision}")
        first, why = next(iter(waiting.items()))
        count = f"{len(wanted) - len(waiting)} of {len(wanted)} applied {revision}"
        return Verdict3.not_yet(f"{count}; {first}: {why}", *waiting)

    return Predicate(judge, frozenset(wanted))


def _behind(view: View, ref: ObjectRef, revision: str) -> str:
    obj = view.get(ref)
    result = flux_readiness(obj)
    if obj is None or result.status is not Status.CURRENT:
        return str(result)
    applied = (obj.get("status") or {}).get("lastAppliedRevision")
    return "" if applied == revision else f"Ready at {applied}"
