"""Run one rehearsal: an empty lab, the seeds, the bootstrap, then watch until everything has settled."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxdrill.errors import ExitCode, UsageError
from fluxdrill.flux.bootstrap import ROOT
from fluxdrill.flux.kinds import RECONCILED
from fluxdrill.kube.errors import ApiError
from fluxdrill.kube.wait import DeviatedTimeoutError, ready, wait_for
from fluxdrill.lab.lab import Lab, LabSpec, Observer
from fluxdrill.lab.profiles import pace_of
from fluxdrill.lab.serve import REPOSITORY, Copy, prepare, sync
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.model.timeline import Timeline
from fluxdrill.progress import Progress
from fluxdrill.rehearsal import seeds as seed_files
from fluxdrill.rehearsal.outcome import Outcome, judge
from fluxdrill.rehearsal.report import Facts, Verdict, as_data, as_text
from fluxdrill.rehearsal.settle import Settling
from fluxdrill.repository.kustomize import KustomizeBuilder
from fluxdrill.repository.profile import Profile, ProfileReport
from fluxdrill.repository.source import Served, export
from fluxdrill.repository.tree import Expected, expected
from fluxdrill.toolchain.build import ensure

DWELL = 3.0
"""Seconds that everything must stay settled: longer than the requeue of a `fast` lab, so that nothing is on its way."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The result of a rehearsal as text, as data, and as exit code."""

    text: str
    data: dict[str, Any]
    exit_code: ExitCode


def run_rehearsal(
    source: str,
    *,
    path: str,
    ref: str | None,
    seeds: Sequence[Path],
    profile: str,
    cap: float,
    progress: Progress,
    observer: Observer | None = None,
) -> Rehearsed:
    """Cold-start `source` in an empty lab and report how far it comes.

    Exit code 0 only when everything is Ready; 1 when something is not, or when `cap` seconds pass before everything
    has settled (then the verdict is `unknown`). `observer` is told what the watch sees, as it happens. Raises UsageError for a source, path, ref or seed that cannot be used.
    """
    pace = _profile(profile)
    objects = [obj for file in seeds for obj in seed_files.read(file)]
    builder = KustomizeBuilder(ensure(["kustomize"], progress=progress)[0]["kustomize"])
    copies: list[Copy] = []

    def before(root: Path) -> None:
        copies.append(prepare(source, into=root / REPOSITORY, path=path, profile=pace, ref=ref))

    with (
        Lab.start(LabSpec(pace=pace_of(pace)), progress=progress, prepare=before, observer=observer) as lab,
        ThreadPoolExecutor() as pool,
    ):
        (copy,) = copies
        tree = pool.submit(_tree, lab.folder / "worktree", copy.served, path, builder)
        _plant(lab, objects)
        run = _cold_start(lab, copy, cap, progress)
        return _result(run, tree.result(), copy.report, _facts(source, path, pace, seeds, copy, lab, run))


@dataclass(frozen=True, slots=True)
class _Run:
    objects: Mapping[ObjectRef, KubeObject]
    moving: frozenset[ObjectRef]
    timeline: Timeline
    began: float
    seconds: float
    problem: str = ""


def _profile(name: str) -> Profile:
    try:
        return Profile(name)
    except ValueError:
        known = ", ".join(Profile)
        raise UsageError(f"There is no profile {name!r}.", hint=f"Known: {known}.") from None


def _tree(worktree: Path, served: Served, path: str, builder: KustomizeBuilder) -> Expected:
    """Read what the repository wants from the copy that is served."""
    worktree.mkdir()
    export(served, worktree)
    return expected(worktree, path, builder)


def _plant(lab: Lab, objects: Sequence[Mapping[str, Any]]) -> None:
    """Apply the seeds and wait for their CRDs, so that Flux meets them as if they had always been there."""
    definitions: list[ObjectRef] = []
    for obj in objects:
        try:
            lab.api.apply(obj)
        except ApiError as error:
            name = f"{obj['kind']}/{obj['metadata']['name']}"
            raise UsageError(f"The seed {name} is refused: {error.message}", hint="Correct it.") from error
        if obj["kind"] == "CustomResourceDefinition":
            definitions.append(ObjectRef.of(obj))
    for definition in definitions:
        wait_for(lab.store, ready(definition), deadline=30, what=f"seed {definition.name}")


def _cold_start(lab: Lab, copy: Copy, cap: float, progress: Progress) -> _Run:
    settling = Settling()
    began = time.monotonic()
    sync(lab, copy)
    problem = ""
    try:
        wait_for(
            lab.store,
            settling.predicate,
            deadline=cap,
            dwell=min(DWELL, cap / 2),
            what="the cold start to settle",
            on_event=progress.update,
        )
    except DeviatedTimeoutError as error:
        problem = f"The cap of {cap:g} s was reached before everything had settled ({error.problem})"
    view = lab.store.view()
    objects = settling.completed({ObjectRef.of(obj): obj for kind in RECONCILED for obj in view.list(kind)})
    moving = frozenset(settling.unsettled(objects)) if problem else frozenset[ObjectRef]()
    return _Run(objects, moving, lab.store.timeline, began, time.monotonic() - began, problem)


def _facts(source: str, path: str, profile: Profile, seeds: Sequence[Path], copy: Copy, lab: Lab, run: _Run) -> Facts:
    served = copy.served
    return Facts(
        source=source,
        revision=f"{served.branch}@{(served.revision_of or served.commit)[:12]}",
        path=path,
        profile=str(profile),
        lab=lab.lab_id,
        seeds=tuple(str(seed) for seed in seeds),
        lab_seconds=lab.seconds,
        seconds=run.seconds,
        refused=lab.outside.hosts(),
    )


def _result(run: _Run, tree: Expected, report: ProfileReport, facts: Facts) -> Rehearsed:
    outcome = judge(
        run.objects,
        parents={ref: node.parent for ref, node in tree.nodes.items()},
        depends_on={ref: node.depends_on for ref, node in tree.nodes.items()},
        since=_since(run),
        moving=run.moving,
        refused={host.rpartition(":")[0] for host in facts.refused},
    )
    verdict = _verdict(outcome, run.problem)
    data = as_data(verdict, outcome, facts, tree, report)
    code = ExitCode.PASS if verdict is Verdict.CONVERGED else ExitCode.FAILED
    return Rehearsed(as_text(verdict, outcome, facts, tree, report, problem=run.problem), data, code)


def _verdict(outcome: Outcome, problem: str) -> Verdict:
    if problem or ROOT not in outcome.findings:
        return Verdict.UNKNOWN
    return Verdict.CONVERGED if outcome.converged else Verdict.BLOCKED


def _since(run: _Run) -> dict[ObjectRef, float]:
    """Return when each object began to be what it is: the start of its last unbroken run of not being Ready."""
    since: dict[ObjectRef, float] = {}
    ready_now: dict[ObjectRef, bool] = {}
    for one in run.timeline.transitions:
        found = next((c for c in one.conditions if c.type == "Ready"), None)
        if found is None or found.status == "Unknown":
            continue
        state = found.status == "True"
        if ready_now.get(one.ref) is not state:
            ready_now[one.ref] = state
            since[one.ref] = one.at.monotonic - run.began
    return since
