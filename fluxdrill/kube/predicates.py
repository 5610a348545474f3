"""What can be waited for: pure rules on a view, each with three answers and a sentence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fluxdrill.errors import UsageError
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.view import Following, View
from fluxdrill.model.conditions import condition as condition_of
from fluxdrill.model.conditions import handled_token
from fluxdrill.model.kstatus import Result, Status, compute_strict, flux_readiness
from fluxdrill.model.refs import KubeObject, ObjectRef

_FLUX = ".toolkit.fluxcd.io"


class Answer(StrEnum):
    """The three answers."""

    MET = "met"
    NOT_YET = "not yet"
    TERMINAL = "terminal"


@dataclass(frozen=True, slots=True)
class Verdict3:
    """One answer, why, and which objects stand in the way."""

    answer: Answer
    why: str
    blocking: tuple[ObjectRef, ...] = ()

    @classmethod
    def met(cls, why: str) -> Verdict3:
        """Return "met"."""
        return cls(Answer.MET, why)

    @classmethod
    def not_yet(cls, why: str, *blocking: ObjectRef) -> Verdict3:
        """Return "not yet": waiting on can help."""
        return cls(Answer.NOT_YET, why, blocking)

    @classmethod
    def terminal(cls, why: str, *blocking: ObjectRef) -> Verdict3:
        """Return "terminal": waiting on cannot help, as far as the controllers themselves say."""
        return cls(Answer.TERMINAL, why, blocking)


@dataclass(frozen=True, slots=True)
class Predicate:
    """A rule on a view. It is asked again when one of `refs` changes, or without refs any object of `kinds`.

    It must say something about at least one kind: a rule that looks at nothing would be met by nothing.
    """

    judge: Callable[[View], Verdict3]
    refs: frozenset[ObjectRef] = frozenset()
    kinds: frozenset[GroupKind] = field(default=frozenset())

    def __post_init__(self) -> None:
        """Add the kinds of the refs; raise UsageError when there is neither."""
        object.__setattr__(self, "kinds", self.kinds | {GroupKind.of(ref) for ref in self.refs})
        if not self.kinds:
            raise UsageError("The wait is for no object at all.", hint="Name at least one object or kind.")


def readiness(obj: KubeObject | None, *, now: datetime) -> Result:
    """Return whether an object is ready: Flux's kinds by the rule of the flux CLI, all others by strict kstatus."""
    if obj is not None and str(obj.get("apiVersion", "")).partition("/")[0].endswith(_FLUX):
        return flux_readiness(obj)
    return compute_strict(obj, now=now)


def ready(ref: ObjectRef) -> Predicate:
    """Met when `ref` is ready for its present generation; terminal when its controller has given up."""
    return all_current([ref])


def all_current(refs: Collection[ObjectRef]) -> Predicate:
    """Met when every one of `refs` is ready; terminal when one has failed. Raises UsageError for no refs."""
    wanted = tuple(sorted(set(refs)))
    remembered: dict[ObjectRef, tuple[KubeObject, Result]] = {}

    def result_of(view: View, ref: ObjectRef) -> Result:
        obj = view.get(ref)
        known = remembered.get(ref)
        # Objects are replaced, never changed, so the same object has the same result. Pods also depend on the time.
        if known is not None and known[0] is obj and ref.kind != "Pod":
            return known[1]
        result = readiness(obj, now=view.at.utc)
        if obj is not None:
            remembered[ref] = (obj, result)
        return result

    def judge(view: View) -> Verdict3:
        results = {ref: result_of(view, ref) for ref in wanted}
        open_ = {ref: result for ref, result in results.items() if result.status is not Status.CURRENT}
        failed = [ref for ref, result in open_.items() if result.status is Status.FAILED]
        if failed:
            return Verdict3.terminal(_sentence(failed[0], open_[failed[0]]), *failed)
        if open_:
            return Verdict3.not_yet(_count(open_, len(wanted)), *open_)
        return Verdict3.met(f"{len(wanted)} of {len(wanted)} ready")

    return Predicate(judge, frozenset(wanted))


def absent(ref: ObjectRef) -> Predicate:
    """Met when `ref` does not exist, or its kind is not served (any more)."""

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        if obj is not None:
            return Verdict3.not_yet(f"{ref} exists{_finalizers(obj)}", ref)
        kind_gone = view.part(GroupKind.of(ref), ref.namespace).following is Following.ABSENT
        return Verdict3.met(f"{ref} does not exist" + (", as its kind is not served" if kind_gone else ""))

    return Predicate(judge, frozenset([ref]))


def present(ref: ObjectRef) -> Predicate:
    """Met when `ref` exists, in whatever state."""

    def judge(view: View) -> Verdict3:
        return (
            Verdict3.not_yet(f"{ref} does not exist", ref) if view.get(ref) is None else Verdict3.met(f"{ref} exists")
        )

    return Predicate(judge, frozenset([ref]))


def condition(ref: ObjectRef, type: str, status: str, reason: str | None = None) -> Predicate:  # noqa: A002 - its name
    """Met when `ref` has the condition `type` with `status`, and `reason` where given, about its present generation."""
    wanted = f"{type}={status}" + (f" ({reason})" if reason else "")

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        found = condition_of(obj, type) if obj is not None else None
        if obj is None or found is None:
            return Verdict3.not_yet(f"{ref} {'has no condition ' + type if obj is not None else 'does not exist'}", ref)
        if _outdated(obj, found.observed_generation):
            return Verdict3.not_yet(f"{ref}: {type} is about an older generation", ref)
        if found.status == status and reason in (None, found.reason):
            return Verdict3.met(f"{ref} has {wanted}")
        return Verdict3.not_yet(f"{ref}: {type}={found.status} ({found.reason}): {found.message}", ref)

    return Predicate(judge, frozenset([ref]))


def handled(ref: ObjectRef, token: str) -> Predicate:
    """Met when the controller has taken up exactly the reconcile request `token`; it says nothing about success."""
    if not token:
        raise UsageError("The reconcile token is empty.", hint="Give the value of the requestedAt annotation.")

    def judge(view: View) -> Verdict3:
        obj = view.get(ref)
        found = handled_token(obj) if obj is not None else None
        if found == token:
            return Verdict3.met(f"{ref} has taken up request {token}")
        return Verdict3.not_yet(f"{ref} took up request {found or 'none'} last, not {token}", ref)

    return Predicate(judge, frozenset([ref]))


def all_of(*predicates: Predicate) -> Predicate:
    """Met when every predicate is met at the same moment; terminal when one is."""

    def judge(view: View) -> Verdict3:
        verdicts = [predicate.judge(view) for predicate in predicates]
        for answer in (Answer.TERMINAL, Answer.NOT_YET):
            chosen = [verdict for verdict in verdicts if verdict.answer is answer]
            if chosen:
                blocking = tuple(ref for verdict in chosen for ref in verdict.blocking)
                return Verdict3(answer, "; ".join(verdict.why for verdict in chosen), blocking)
        return Verdict3.met("; ".join(verdict.why for verdict in verdicts))

    # One without refs must be asked again for every object of its kinds, so all are then.
    every = all(predicate.refs for predicate in predicates)
    refs = frozenset(ref for predicate in predicates for ref in predicate.refs) if every else frozenset()
    return Predicate(judge, refs, frozenset(kind for predicate in predicates for kind in predicate.kinds))


def _outdated(obj: KubeObject, about: int | None) -> bool:
    generation = obj["metadata"].get("generation")
    if about is not None:
        return bool(about != generation)
    observed = (obj.get("status") or {}).get("observedGeneration")
    return isinstance(observed, int) and observed != generation


def _sentence(ref: ObjectRef, result: Result) -> str:
    return f"{ref} is {result}"


def _count(open_: dict[ObjectRef, Result], total: int) -> str:
    first = next(iter(open_))
    rest = f" (and {len(open_) - 1} more)" if len(open_) > 1 else ""
    return f"{total - len(open_)} of {total} ready; {_sentence(first, open_[first])}{rest}"


def _finalizers(obj: KubeObject) -> str:
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta:
        return " and nobody has asked for its deletion"
    held: Iterable[str] = meta.get("finalizers") or ()
    return f"; its deletion waits for {', '.join(held) or 'the garbage collector'}"
