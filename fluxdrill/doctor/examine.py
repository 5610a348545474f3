"""The whole look at a machine, in the order in which a person mends it, and the two answers it ends with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from fluxdrill.doctor import engines, kernel, machine, parts
from fluxdrill.doctor.finding import Finding, Level, fail, guarded, ok, warn

EMBEDDED = "embedded labs"
NODES = "kind/k3d"
EVERY_LAB = {
    "system": machine.system,
    "python": machine.python,
    "git": machine.git,
    "programs": machine.programs,
    "disk": machine.disk,
    "memory": machine.memory,
    "inotify": kernel.inotify,
    "ports": machine.ports,
    "runtime folder": machine.runtime,
}


def examine() -> list[Finding]:
    """Look at everything a lab needs, then at what only some tests need. Changes nothing but an empty folder or two."""
    found = [guarded(subject, look) for subject, look in EVERY_LAB.items()]
    found.append(guarded("leftovers", machine.leftovers, nodes=True))
    found += _of_nodes()
    found += [kernel.fuse(), machine.chromium(), machine.node_js()]
    return [*found, *conclude(found)]


def conclude(found: Sequence[Finding]) -> list[Finding]:
    """Return whether embedded labs, and whether clusters of real nodes are possible here."""
    return [_embedded(found), _nodes(found)]


def as_data(found: Sequence[Finding]) -> dict[str, object]:
    """Return what `examine` found as data for other programs: the two answers, and every line."""
    answers = {one.subject: one.level is Level.OK for one in found if one.subject in (EMBEDDED, NODES)}
    return {"possible": answers, "findings": [one.data for one in found]}


def _of_nodes() -> Iterator[Finding]:
    seen: list[engines.Engines] = []

    def ask() -> Finding:
        seen.append(engines.look())
        return engines.judge_engine(seen[0])

    yield guarded("engine", ask, nodes=True)
    for one in seen:
        yield engines.judge_sockets(one)
        yield engines.judge_client(one)
        yield engines.judge_engine_version(one)
        yield engines.judge_rights(one)
        yield engines.judge_groups(one)
        yield engines.engine_disk(one)
        yield guarded("skew", partial(parts.skew, one.groups), nodes=True)
    yield guarded("node programs", parts.programs, nodes=True)
    yield guarded("versions", parts.versions, nodes=True)
    yield guarded("images", parts.images, nodes=True)


def _embedded(found: Sequence[Finding]) -> Finding:
    failed = [one for one in found if one.level is Level.FAIL]
    if failed:
        return fail(EMBEDDED, f"not possible here: {_reasons(failed)}.", fix="Mend what is marked fail.")
    return ok(EMBEDDED, "possible here")


def _nodes(found: Sequence[Finding]) -> Finding:
    barred = [one for one in found if one.bars_nodes or one.level is Level.FAIL]
    if not barred:
        return ok(NODES, "possible here")
    embedded = "are not, either" if any(one.level is Level.FAIL for one in barred) else "are"
    text = f"not possible here because: {_reasons(barred)}; embedded labs {embedded}."
    return warn(NODES, text, fix=f"Mend: {', '.join(one.subject for one in barred)}.")


def _reasons(found: Sequence[Finding]) -> str:
    return "; ".join(one.text.rstrip(".") for one in found)
