"""Measure labs on this machine: how fast one starts, how late a wait ends, how much memory it takes."""

from __future__ import annotations

import math
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import psutil
from rich.table import Table

import fluxdrill
from fluxdrill.errors import UsageError
from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.bootstrap import ROOT, Sync, bootstrap
from fluxdrill.flux.kinds import EVENT, KUSTOMIZATION, RECONCILED
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.predicates import Predicate, Verdict3, all_current
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import wait_for
from fluxdrill.lab.lab import CRDS, GIT_USER, LAB_BINARIES, Lab, LabSpec
from fluxdrill.lab.serve import HOMELAB_PATH, homelab, serve
from fluxdrill.model.clock import SYSTEM_CLOCK, Instant
from fluxdrill.model.critical_path import Span, critical_path
from fluxdrill.model.refs import ObjectRef
from fluxdrill.progress import Progress
from fluxdrill.repository.profile import Profile
from fluxdrill.repository.source import open_source
from fluxdrill.repository.tree import Expected
from fluxdrill.toolchain.build import ensure
from fluxdrill.toolchain.catalog import PINNED

WAITS = 100
POLLS = 20
POLL_INTERVAL = 1.0
"""Seconds between two requests of the poller that the watch is compared with."""
LABS_AT_ONCE = 4
DEADLINE = 60.0
HOMELAB_DEADLINE = 180.0
TOKEN = "fluxdrill.dev/bench"  # noqa: S105 - the name of an annotation
SUBJECT = ObjectRef("", "ConfigMap", "default", "bench")
FOLLOWED = (
    *RECONCILED,
    EVENT,
    *(GroupKind("notification.toolkit.fluxcd.io", kind) for kind in ("Alert", "Provider")),
    *(GroupKind("", kind) for kind in ("Pod", "Secret", "ConfigMap", "Service", "Namespace", "ServiceAccount")),
    *(GroupKind("apps", kind) for kind in ("Deployment", "ReplicaSet", "StatefulSet")),
    GroupKind.of(CRDS),
)
"""What a suite follows: the latency is measured with all of these watches at work."""


class Figure(TypedDict):
    """One measured figure: `median` and `p95` (nearest rank) of `n` samples, all in `unit`."""

    unit: str
    n: int
    median: float
    p95: float
    samples: list[float]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be at the most, on a machine of two cores."""

    statistic: str
    limit: float
    shown: str

    def reached(self, one: Figure) -> bool:
        """Tell whether the figure keeps to it."""
        value = one["p95"] if self.statistic == "p95" else one["median"]
        return value <= self.limit


TARGETS: Mapping[str, Target] = {
    "lab_start": Target("median", 6.0, "6 s"),
    "wait_latency": Target("p95", 100.0, "100 ms"),
    "homelab_ready": Target("median", 40.0, "40 s"),
    "homelab_factor": Target("median", 1.3, "1.3 times the critical path"),
    "lab_memory": Target("median", 1.2 * 1024, "1.2 GiB"),
    "plans_1000": Target("median", 10.0, "10 s"),
    "validate_folder": Target("median", 1.0, "1 s"),
}


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the figures were measured on; the load average is that of the minute before the start."""

    cores: int
    load: float
    versions: str

    @classmethod
    def now(cls) -> Conditions:
        """Look at this machine."""
        pins = {one.name: one.version for one in PINNED}
        versions = (
            f"fluxdrill {fluxdrill.version()}, Kubernetes {pins['kube-apiserver']}, etcd {pins['etcd']}, "
            f"Flux {pins['flux-rbac']}, Python {platform.python_version()}, {platform.system()} {platform.release()}"
        )
        return cls(os.cpu_count() or 1, os.getloadavg()[0], versions)


def measure(*, only: Collection[str] | None, rounds: int, progress: Progress) -> dict[str, Figure]:
    """Measure the figures named in `only` (default: all); `rounds` labs are started for `lab_start`.

    Raises UsageError for an unknown name, before anything is started, and what a lab raises that does not start.
    """
    wanted = chosen(only)
    ensure(LAB_BINARIES, progress=progress)
    return {name: _MEASURES[name](rounds, progress) for name in wanted}


def chosen(only: Collection[str] | None) -> list[str]:
    """Return the names to measure, in their own order; raises UsageError for an unknown one."""
    unknown = sorted(set(only or ()) - set(_MEASURES))
    if unknown:
        raise UsageError(f"There is no figure {unknown[0]!r}.", hint=f"Known: {', '.join(_MEASURES)}.")
    return [name for name in _MEASURES if not only or name in only]


def figure(unit: str, samples: Sequence[float]) -> Figure:
    """Return the figure of some samples; raises ValueError for none."""
    if not samples:
        raise ValueError("A figure needs a sample.")
    ordered = sorted(samples)
    return Figure(
        unit=unit,
        n=len(ordered),
        median=round(statistics.median(ordered), 3),
        p95=round(ordered[math.ceil(0.95 * len(ordered)) - 1], 3),
        samples=[round(one, 3) for one in samples],
    )


def table(figures: Mapping[str, Figure], conditions: Conditions) -> Table:
    """Return the figures for people, with their targets, and below what they were measured on."""
    caption = f"{conditions.cores} cores, load average {conditions.load:.2f} at the start; {conditions.versions}"
    made = Table("figure", "unit", box=None, pad_edge=False, caption=caption, caption_justify="left")
    for name in ("n", "median", "p95"):
        made.add_column(name, justify="right")
    made.add_column("target")
    for name, one in figures.items():
        numbers = (f"{one['n']}", f"{one['median']:.1f}", f"{one['p95']:.1f}")
        made.add_row(name, one["unit"], *numbers, _judged(TARGETS.get(name), one))
    return made


def _judged(target: Target | None, one: Figure) -> str:
    if target is None:
        return "-"
    return f"{target.statistic} <= {target.shown}: {'reached' if target.reached(one) else 'not reached'}"


def _lab_start(rounds: int, progress: Progress) -> Figure:
    """Seconds from nothing to every Flux controller ready."""
    samples: list[float] = []
    for number in range(rounds):
        progress.update(f"lab_start {number + 1}/{rounds}")
        with Lab.start() as lab:
            samples.append(lab.seconds)
    return figure("s", samples)


def _wait_latency(_rounds: int, progress: Progress) -> Figure:
    """Milliseconds from the API server's answer to a change until a wait for it has returned; 0 if that was first."""
    with _followed_lab(progress, "wait_latency") as lab, ThreadPoolExecutor(1) as pool:
        samples: list[float] = []
        for number in range(WAITS):
            progress.update(f"wait_latency {number + 1}/{WAITS}")
            samples.append(_late(lab, str(number), _start_wait(lab, str(number), pool)))
    return figure("ms", samples)


def _poll_latency(_rounds: int, progress: Progress) -> Figure:
    """Do the same with one GET per second, the change at evenly spread moments between two of them."""
    with _followed_lab(progress, "poll_latency") as lab, ThreadPoolExecutor(1) as pool:
        samples: list[float] = []
        for number in range(POLLS):
            progress.update(f"poll_latency {number + 1}/{POLLS}")
            waiting = _start_poll(lab, str(number), pool)
            time.sleep(POLL_INTERVAL * number / POLLS)
            samples.append(_late(lab, str(number), waiting))
    return figure("ms", samples)


def _lab_memory(_rounds: int, progress: Progress) -> Figure:
    """MiB that the processes of a lab took at their peaks, this one included, once a small repository is Ready."""
    progress.update("lab_memory")
    with Lab.start(prepare=_serve) as lab:
        # the run's own watches are part of what a lab takes
        for kind in FOLLOWED:
            lab.store.follow(kind)
        url = f"{lab.git.url}/bench.git"
        bootstrap(lab.api, Sync(url, "main", "entry", username=GIT_USER, password=lab.password))
        ready = all_current([ROOT, ObjectRef("kustomize.toolkit.fluxcd.io", "Kustomization", NAMESPACE, "apps")])
        wait_for(lab.store, ready, deadline=DEADLINE, what="the small repository")
        own = psutil.Process()
        peaks = [_peak(one.pid) for one in (own, *own.children(recursive=True))]
    return figure("MiB", [sum(peaks) / 2**20])


def _four_labs(_rounds: int, progress: Progress) -> Figure:
    """Seconds until the last of four labs that start at once is ready."""
    progress.update(f"four_labs: {LABS_AT_ONCE} labs at once")
    began = time.monotonic()
    starts: list[Future[Lab]] = []
    try:
        with ThreadPoolExecutor(LABS_AT_ONCE) as pool:
            starts += [pool.submit(Lab.start) for _ in range(LABS_AT_ONCE)]
        seconds = time.monotonic() - began
        for start in starts:
            start.result()
    finally:
        with ExitStack() as stack:
            for start in starts:
                if start.exception() is None:
                    stack.callback(start.result().close)
    return figure("s", [seconds])


def _homelab_ready(_rounds: int, progress: Progress) -> Figure:
    """Seconds from nothing to every object of the reference homelab Ready, at the fast profile."""
    progress.update("homelab_ready")
    began = time.monotonic()
    with Lab.start(LabSpec(sealed_secrets=True)) as lab:
        served = serve(lab, str(homelab()), path=HOMELAB_PATH, profile=Profile.FAST)
        served.wait_ready(deadline=HOMELAB_DEADLINE, on_event=progress.update)
        return figure("s", [time.monotonic() - began])


def _homelab_factor(_rounds: int, progress: Progress) -> Figure:
    """How many times as long the homelab takes, from nothing, as its critical path alone.

    The path begins with the first Kustomization and includes what each link takes itself: waits of helm-controller too.
    """
    progress.update("homelab_factor")
    began = SYSTEM_CLOCK.now()
    with Lab.start(LabSpec(sealed_secrets=True)) as lab:
        served = serve(lab, str(homelab()), path=HOMELAB_PATH, profile=Profile.FAST)
        served.wait_ready(deadline=HOMELAB_DEADLINE, on_event=progress.update)
        whole = SYSTEM_CLOCK.now().since(began)
        path = critical_path(_spans(lab, began), _waits_for(served.tree), end=whole)
        return figure("x", [whole / sum(link.own for link in path)])


def _spans(lab: Lab, began: Instant) -> dict[ObjectRef, Span]:
    """Return when each Kustomization was there and when it was first Ready."""
    spans: dict[ObjectRef, Span] = {}
    for one in lab.store.timeline.transitions:
        if GroupKind.of(one.ref) != KUSTOMIZATION or one.ref == ROOT:
            continue
        known = spans.setdefault(one.ref, Span(one.at.since(began), None))
        is_ready = any(c.type == "Ready" and c.status == "True" for c in one.conditions)
        if known.ready is None and is_ready:
            spans[one.ref] = Span(known.began, one.at.since(began))
    return spans


def _waits_for(tree: Expected) -> dict[ObjectRef, tuple[ObjectRef, ...]]:
    return {ref: node.depends_on for ref, node in tree.nodes.items()}


_MEASURES: Mapping[str, Callable[[int, Progress], Figure]] = {
    "lab_memory": _lab_memory,  # first: this process is part of it, and its peak would be that of the others
    "lab_start": _lab_start,
    "wait_latency": _wait_latency,
    "poll_latency": _poll_latency,
    "four_labs": _four_labs,
    "homelab_ready": _homelab_ready,
    "homelab_factor": _homelab_factor,
}


@contextmanager
def _followed_lab(progress: Progress, name: str) -> Iterator[Lab]:
    """Start a lab whose store follows what a suite follows, with the object to wait for."""
    progress.update(f"{name}: starting a lab")
    with Lab.start() as lab:
        lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bench", "namespace": "default"}})
        for kind in FOLLOWED:
            lab.store.follow(kind)
        known = Predicate(lambda _: Verdict3.met("listed"), kinds=frozenset(FOLLOWED))
        wait_for(lab.store, known, deadline=DEADLINE, what="every kind to be watched")
        yield lab


def _late(lab: Lab, token: str, waiting: Future[float]) -> float:
    """Set the token and return how many milliseconds after the answer `waiting` returned."""
    lab.api.patch(SUBJECT, {"metadata": {"annotations": {TOKEN: token}}})
    answered = time.monotonic()
    return max(0.0, waiting.result(DEADLINE) - answered) * 1000


def _start_wait(lab: Lab, token: str, pool: ThreadPoolExecutor) -> Future[float]:
    """Start a wait for the token; once it waits, return the future of the moment at which it has returned."""
    begun = threading.Event()

    def judge(view: View) -> Verdict3:
        return _verdict((view.get(SUBJECT) or {}).get("metadata", {}), token)

    def wait() -> float:
        wait_for(
            lab.store,
            Predicate(judge, frozenset([SUBJECT])),
            deadline=DEADLINE,
            what="the token",
            on_event=lambda _: begun.set(),
        )
        return time.monotonic()

    return _begun(pool.submit(wait), begun)


def _start_poll(lab: Lab, token: str, pool: ThreadPoolExecutor) -> Future[float]:
    """Start to poll for the token; return, after the first request, the future of the moment it was found."""
    begun = threading.Event()

    def poll() -> float:
        while lab.api.get(SUBJECT)["metadata"].get("annotations", {}).get(TOKEN) != token:
            begun.set()
            time.sleep(POLL_INTERVAL)
        return time.monotonic()

    return _begun(pool.submit(poll), begun)


def _begun(future: Future[float], begun: threading.Event) -> Future[float]:
    future.add_done_callback(lambda _: begun.set())  # a wait that failed at once is told by its future
    begun.wait(DEADLINE)
    return future


def _verdict(metadata: Mapping[str, Mapping[str, str]], token: str) -> Verdict3:
    found = metadata.get("annotations", {}).get(TOKEN)
    return Verdict3.met("it is there") if found == token else Verdict3.not_yet(f"it is {found}", SUBJECT)


def _peak(pid: int) -> int:
    """Return the largest resident size, in bytes, that a process has had (VmHWM); 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else 0


_SMALL_REPOSITORY = {
    "entry/apps.yaml": f"""\
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: apps, namespace: {NAMESPACE}}}
spec:
  interval: 10m
  path: ./apps
  prune: true
  wait: true
  sourceRef: {{kind: GitRepository, name: flux-system}}
""",
    "apps/deployment.yaml": """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: bench, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: bench}}
  template:
    metadata: {labels: {app: bench}}
    spec: {containers: [{name: bench, image: "bench.invalid/bench:1"}]}
""",
}


def _serve(git_root: Path) -> None:
    """Put the small repository where the lab's Git server looks."""
    source = git_root.parent / "bench"
    for name, text in _SMALL_REPOSITORY.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    open_source(str(source), ref=None, into=git_root / "bench.git", deadline=DEADLINE)
