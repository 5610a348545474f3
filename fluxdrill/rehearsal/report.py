"""A rehearsal's result in words and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fluxdrill.model.refs import ObjectRef
from fluxdrill.rehearsal.outcome import Blocker, Finding, Outcome, State
from fluxdrill.rehearsal.seeds import wanted
from fluxdrill.repository.profile import ProfileReport
from fluxdrill.repository.tree import Build, Expected
from fluxdrill.toolchain.catalog import BINARIES

SIMULATED = ("pods (kwok)",)
MESSAGE_LIMIT = 600
BLOCKERS_SHOWN = 5


class Verdict(StrEnum):
    """What a rehearsal came to."""

    CONVERGED = "converged"
    BLOCKED = "blocked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was rehearsed and how; durations in seconds, `refused` is outside host:port -> refused attempts."""

    source: str
    revision: str
    path: str
    profile: str
    lab: str
    seeds: tuple[str, ...]
    lab_seconds: float
    seconds: float
    refused: Mapping[str, int]


def as_text(
    verdict: Verdict, outcome: Outcome, facts: Facts, tree: Expected, profile: ProfileReport, *, problem: str = ""
) -> str:
    """Return the result as an owner reads it: verdict, first blocker, what waits behind it, what to bring."""
    parts = [
        _headline(verdict, outcome, facts, problem),
        *_first_blocker(outcome),
        _kustomizations(outcome, tree),
        *_cycles(tree),
        *_more(outcome),
        *_others(outcome),
        *_outside(outcome, facts, tree),
        *_bring(outcome, facts),
        _how(facts, profile),
    ]
    return "\n\n".join(parts)


def as_data(verdict: Verdict, outcome: Outcome, facts: Facts, tree: Expected, profile: ProfileReport) -> dict[str, Any]:
    """Return the same as plain data, for JSON."""
    return {
        "verdict": str(verdict),
        "source": facts.source,
        "revision": facts.revision,
        "path": facts.path,
        "profile": facts.profile,
        "profile_fields_changed": profile.fields_changed,
        "seeds": list(facts.seeds),
        "seeds_wanted": list(_wishes(outcome)),
        "lab": facts.lab,
        "lab_seconds": round(facts.lab_seconds, 2),
        "seconds": round(facts.seconds, 2),
        "first_blocker": next((_blocker_data(one) for one in (*outcome.blockers, *outcome.outside)), None),
        "blockers": [_blocker_data(one) for one in outcome.blockers],
        "blockers_outside": [_blocker_data(one) for one in outcome.outside],
        "kustomizations": [_finding_data(one) for one in outcome.kustomizations],
        "others": [_finding_data(one) for one in outcome.others],
        "edges": sorted(_edges(tree)),
        "cycles": [[str(ref) for ref in cycle] for cycle in tree.cycles()],
        "outside": {"refused": dict(facts.refused), "declared": _declared(tree)},
        "simulated": list(SIMULATED),
        "versions": {one.name: one.version for one in BINARIES},
    }


def _headline(verdict: Verdict, outcome: Outcome, facts: Facts, problem: str) -> str:
    every = outcome.kustomizations
    done = sum(one.state is State.READY for one in every)
    count = f"{done} of {len(every)} Kustomizations Ready"
    where = f"{facts.source} ({facts.revision}), path {facts.path}"
    first = f"{verdict.upper()} after {facts.seconds:.1f} s: {count}."
    return "\n".join(filter(None, [f"Cold start of {where}", first, problem]))


def _first_blocker(outcome: Outcome) -> Iterator[str]:
    every = (*outcome.blockers, *outcome.outside)
    if not every:
        return
    first = every[0]
    lines = [f"First blocker: {first.subject}", *_explained(first)]
    if first.behind:
        lines.append(f"  waits behind it: {_names(first.behind, 8)}")
    yield "\n".join(lines)


def _explained(blocker: Blocker) -> list[str]:
    one = blocker.finding
    since = f", since {one.since:.1f} s after the bootstrap" if one.since is not None else ""
    lines = [f"  {one.ref} says {one.reason}{since}:", f"  {_short(one.message)}"]
    if one.outside:
        lines.append(f"  it needs the outside host {one.outside}, which a lab refuses; the repository may be right")
    if wish := wanted(one.message):
        lines.append(f"  what would have to be there before Flux: {wish}")
    return lines


def _kustomizations(outcome: Outcome, tree: Expected) -> str:
    """List the Kustomizations below what creates them."""
    rows = [(_depth(one.ref, tree), one) for one in _by_parent(outcome, tree)]
    width = max((2 * depth + len(one.ref.name) for depth, one in rows), default=0)
    lines = [f"  {'  ' * depth + one.ref.name:<{width}}  {one.state:<13}  {_why(one)}".rstrip() for depth, one in rows]
    return "\n".join(["Kustomizations", *lines])


def _by_parent(outcome: Outcome, tree: Expected) -> list[Finding]:
    def path(ref: ObjectRef) -> tuple[ObjectRef, ...]:
        node = tree.nodes.get(ref)
        return (*path(node.parent), ref) if node is not None and node.parent is not None else (ref,)

    # the root sorts first, everything else below its parent
    return sorted(outcome.kustomizations, key=lambda one: (one.ref not in tree.nodes, path(one.ref)))


def _depth(ref: ObjectRef, tree: Expected) -> int:
    node = tree.nodes.get(ref)
    return 0 if node is None or node.parent is None else 1 + _depth(node.parent, tree)


def _why(one: Finding) -> str:
    if one.state is State.NEVER_CREATED:
        return f"{one.waits_for[0].name} did not apply it" if one.waits_for else ""
    if one.state is State.BLOCKED:
        return "by " + _names(one.waits_for, 4)
    if one.state in (State.FAILING, State.MOVING):
        return f"{one.reason}: {_short(one.message, 120)}"
    return ""


def _cycles(tree: Expected) -> Iterator[str]:
    for cycle in tree.cycles():
        names = " -> ".join(ref.name for ref in (*cycle, cycle[0]))
        yield f"Circle of dependencies: {names}. Each waits for the other for ever, and Flux never calls it an error."


def _more(outcome: Outcome) -> Iterator[str]:
    rest = outcome.blockers[1:]
    if not rest:
        return
    lines = ["Further failures that wait for nobody"]
    for blocker in rest[:BLOCKERS_SHOWN]:
        lines += [f"  {blocker.finding.ref} ({blocker.finding.reason})", f"    {_short(blocker.finding.message, 200)}"]
    if len(rest) > BLOCKERS_SHOWN:
        lines.append(f"  ... and {len(rest) - BLOCKERS_SHOWN} more (see --json)")
    yield "\n".join(lines)


def _others(outcome: Outcome) -> Iterator[str]:
    if not outcome.others:
        return
    counted = Counter((one.ref.kind, one.state) for one in outcome.others)
    lines = [f"  {kind:<24} {count:>3} {state}" for (kind, state), count in sorted(counted.items())]
    yield "\n".join(["Other Flux objects", *lines])


def _outside(outcome: Outcome, facts: Facts, tree: Expected) -> Iterator[str]:
    declared = _declared(tree)
    if not facts.refused and not declared:
        return
    lines = ["Outside hosts the repository wants (a lab reaches none of them)"]
    for host, count in facts.refused.items():
        wanting = [one for one in outcome.outside if one.finding.outside == host.rpartition(":")[0]]
        behind = {ref for one in wanting for ref in one.behind}
        names = ", ".join(f"{one.finding.ref.kind}/{one.finding.ref.name}" for one in wanting) or "nothing that fails"
        lines.append(f"  {host}: refused {count} times; needed by {names}; {len(behind)} objects wait behind")
    asked = {host.rpartition(":")[0] for host in facts.refused}
    quiet = sorted({one["host"] + (" (ssh)" if one["ssh"] else "") for one in declared if one["host"] not in asked})
    if quiet:
        lines.append(f"  declared, not asked for yet: {', '.join(quiet)}")
    unbuilt = [node for node in tree.nodes.values() if node.build is not Build.BUILT and node.message]
    lines += [f"  {node.ref.name}: {_short(node.message, 160)}" for node in unbuilt]
    yield "\n".join(lines)


def _bring(outcome: Outcome, facts: Facts) -> Iterator[str]:
    wishes = _wishes(outcome)
    if not wishes and not facts.seeds:
        return
    lines = ["What the owner has to bring by hand (--seed FILE)"]
    lines += [f"  brought: {seed}" for seed in facts.seeds]
    lines += [f"  missing: {wish}" for wish in wishes]
    yield "\n".join(lines)


def _wishes(outcome: Outcome) -> tuple[str, ...]:
    return tuple(dict.fromkeys(wish for one in outcome.blockers if (wish := wanted(one.finding.message))))


def _how(facts: Facts, profile: ProfileReport) -> str:
    changed = f", {profile.fields_changed} fields of the served copy changed" if profile.fields_changed else ""
    return (
        f"How: profile {facts.profile}{changed}; real kube-apiserver, etcd and Flux controllers; "
        f"simulated: {', '.join(SIMULATED)}; outside hosts refused; lab started in {facts.lab_seconds:.1f} s."
    )


def _declared(tree: Expected) -> list[dict[str, Any]]:
    found = {(host.host, host.url, host.ssh, host.by) for node in tree.nodes.values() for host in node.hosts}
    rows = [{"host": host, "url": url, "ssh": ssh, "by": str(by)} for host, url, ssh, by in found]
    return sorted(rows, key=lambda row: (row["host"], row["by"]))


def _edges(tree: Expected) -> Iterator[tuple[str, str]]:
    """Yield what must be ready first and what waits for it; what depends on nothing waits for what creates it."""
    for node in tree.nodes.values():
        before = node.depends_on or (() if node.parent is None else (node.parent,))
        yield from ((str(ref), str(node.ref)) for ref in before)


def _blocker_data(blocker: Blocker) -> dict[str, Any]:
    return {
        "subject": blocker.subject,
        **_finding_data(blocker.finding),
        "behind": [str(ref) for ref in blocker.behind],
        "bring": wanted(blocker.finding.message),
    }


def _finding_data(one: Finding) -> dict[str, Any]:
    return {
        "object": str(one.ref),
        "state": str(one.state),
        "reason": one.reason,
        "message": one.message,
        "since": round(one.since, 2) if one.since is not None else None,
        "waits_for": [str(ref) for ref in one.waits_for],
        "outside": one.outside,
    }


def _names(refs: tuple[ObjectRef, ...], limit: int) -> str:
    names = ", ".join(f"{ref.kind}/{ref.name}" for ref in refs[:limit])
    return f"{names} and {len(refs) - limit} more" if len(refs) > limit else names


def _short(message: str, limit: int = MESSAGE_LIMIT) -> str:
    flat = " ".join(message.split())
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
