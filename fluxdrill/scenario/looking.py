"""Look for what a scenario wants to see: on the watch, at the moment it happens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fluxdrill.errors import FluxdrillError, HarnessError
from fluxdrill.faults.fault import Fault, Probe, State
from fluxdrill.faults.world import World
from fluxdrill.flux.kinds import EVENT
from fluxdrill.kube.discovery import GroupKind
from fluxdrill.kube.errors import KubeError
from fluxdrill.kube.predicates import Answer, Predicate, Verdict3
from fluxdrill.kube.view import View
from fluxdrill.kube.wait import DeviatedTimeoutError, UndecidedTimeoutError, WaitFailedError, wait_for
from fluxdrill.model.clock import Instant
from fluxdrill.model.refs import ObjectRef
from fluxdrill.scenario.bind import Baseline, bind
from fluxdrill.scenario.checks import Check
from fluxdrill.scenario.converge import Rendering, compare, names
from fluxdrill.scenario.record import Result

PROBE_INTERVAL = 0.05
"""Seconds between two questions to our own servers; no poll decides anything about the cluster."""
_DATED = {"event", "silent"}
"""Checks that look only at what is newer than the fault."""
QUIET = 3.0
QUIET_DEADLINE = 45.0


@dataclass(frozen=True, slots=True)
class Look:
    """What came of looking, and when it came about."""

    result: Result
    why: str
    met: Instant | None = None


class Looking:
    """Looks in one world."""

    def __init__(self, world: World, rendering: Rendering) -> None:
        self._world = world
        self._rendering = rendering
        self.uncompared: tuple[str, ...] = ()
        """What the last comparison with Git left out, each with the reason."""

    def follow(self, refs: Iterable[ObjectRef]) -> None:
        """Have the store follow the kinds of `refs`, so that the timeline shows them."""
        for kind in sorted({GroupKind.of(ref) for ref in refs}):
            self._world.store.follow(kind)

    def rule(self, check: Check, baseline: Baseline) -> Predicate:
        """Return the rule of a check."""
        return bind(check, self._world, baseline, self._rendering)

    def holds(self, check: Check, baseline: Baseline) -> bool:
        """Tell whether `check` holds at this moment, as far as the watch knows for certain."""
        rule, view = self.rule(check, baseline), self._world.store.view()
        return view.decidable(rule.kinds) and rule.judge(view).answer is Answer.MET

    def wait(self, check: Check, baseline: Baseline) -> Look:
        """Wait until `check` holds; raises what `wait_for` raises."""
        if check.verb == "converged":
            return self._converged(check, baseline)
        if check.verb == "silent":
            return self._silent(check, baseline)
        met = wait_for(
            self._world.store,
            self.rule(check, baseline),
            deadline=check.within,
            dwell=check.stays,
            what=check.text,
            fail_fast=False,
        )
        return Look(Result.DONE, met.why, met.met)

    def _converged(self, check: Check, baseline: Baseline) -> Look:
        """Wait until all is Ready at the newest commit, then compare; a difference is waited on until it changes."""
        end = time.monotonic() + check.within
        why = ""
        while True:
            left = end - time.monotonic()
            if left <= check.stays:
                raise DeviatedTimeoutError(
                    f"Not converged within {check.within:g} s: {why}.", lines=[], transitions=(), hint=""
                )
            rule = self.rule(check, baseline)
            met = wait_for(self._world.store, rule, deadline=left, dwell=check.stays, what=check.text, fail_fast=False)
            subscription, _ = self._world.store.subscribe(rule.kinds)
            try:
                found = compare(self._world.api, self._rendering.at_head()[1])
                self.uncompared = found.uncompared
                if not found.differences:
                    return Look(Result.DONE, f"{met.why}; {found.text}", met.met)
                why = found.text
                self.follow(names(found.differences))
                # until something changes, or at the latest soon: not every kind that differs is watched
                subscription.take(min(1.0, max(0.05, end - time.monotonic())))
            except KubeError as error:
                why = str(error)
                subscription.take(1.0)
            finally:
                self._world.store.unsubscribe(subscription)

    def _silent(self, check: Check, baseline: Baseline) -> Look:
        """Wait until the watch notes that the API server is silent; raises DeviatedTimeoutError."""
        end = time.monotonic() + check.within
        subscription, _ = self._world.store.subscribe({EVENT})  # a gap is told to every subscriber
        try:
            while (left := end - time.monotonic()) > 0:
                for gap in self._world.store.gaps:
                    if baseline.since is None or gap.start.utc >= baseline.since:
                        return Look(Result.DONE, f"silent: {gap.why}", gap.start)
                subscription.take(left)
        finally:
            self._world.store.unsubscribe(subscription)
        problem = f"The API server was never silent within {check.within:g} s."
        raise DeviatedTimeoutError(problem, lines=[], transitions=(), hint="")

    def bite(self, fault: Fault[Any], state: State) -> Look:
        """Wait until the fault shows that it bit; raises what `wait_for` raises."""
        found = fault.observe(self._world, state)
        if isinstance(found, Probe):
            return self._probe(fault, found)
        met = wait_for(
            self._world.store, found, deadline=fault.bites_within, what=f"{fault.name} to bite", fail_fast=False
        )
        return Look(Result.DONE, met.why, met.met)

    def _probe(self, fault: Fault[Any], probe: Probe) -> Look:
        end = time.monotonic() + fault.bites_within
        while True:
            bit, why = probe.ask()
            if bit:
                return Look(Result.DONE, why, self._world.store.clock.now())
            if time.monotonic() > end:
                return Look(Result.MISSED, f"{fault.name} did not bite within {fault.bites_within:g} s: {why}")
            time.sleep(PROBE_INTERVAL)

    def quiet(self) -> Look:
        """Wait until no object that Git renders changes any more for a while: Flux has nothing left to do."""
        if self._world.repository is None:
            return Look(Result.DONE, "not looked at: the repository is not at hand")
        tree = self._rendering.at_head()[1]
        refs = {ref for node in tree.nodes.values() for ref in node.objects if not ref.group.endswith(".fluxcd.io")}
        if not refs:
            return Look(Result.VOID, "Git renders no object beside Flux's own")
        self.follow(refs)
        seen: dict[ObjectRef, str] = {}
        churn: list[ObjectRef] = []

        def judge(view: View) -> Verdict3:
            now = {ref: str((view.get(ref) or {"metadata": {}})["metadata"].get("resourceVersion")) for ref in refs}
            changed = [ref for ref, version in now.items() if seen.get(ref, version) != version]
            seen.update(now)
            churn.extend(changed)
            return Verdict3.met(f"{len(refs)} objects unchanged for {QUIET:g} s")

        rule = Predicate(judge, frozenset(refs))
        deadline = time.monotonic() + QUIET_DEADLINE
        while time.monotonic() < deadline:
            churn.clear()
            met = wait_for(self._world.store, rule, deadline=QUIET + 15, dwell=QUIET, what="quiet", fail_fast=False)
            if not churn:
                return Look(Result.DONE, met.why, met.met)
        return Look(
            Result.MISSED, f"still written after {QUIET_DEADLINE:g} s: {', '.join(sorted(map(str, set(churn))))}"
        )


class Sightings:
    """Looks for several things at once from before the fault on, so that none is missed that is gone again soon."""

    def __init__(self, looking: Looking, checks: Sequence[Check], baseline: Baseline, cycle: int) -> None:
        self.cycle = cycle
        self._looking, self._checks, self._baseline = looking, checks, baseline
        self._pool = ThreadPoolExecutor(max_workers=len(checks), thread_name_prefix="sighting")
        self._futures: dict[int, Future[Look]] = {}

    def begin(self) -> str:
        """Start to look; return the text of a check that holds already ("" for none): it could be seen without a fault."""
        self._looking.follow(ref for check in self._checks for ref in check.refs)
        for check in self._checks:
            if check.verb not in _DATED and self._looking.holds(check, self._baseline):
                return check.text
        for number, check in enumerate(self._checks):
            self._futures[number] = self._pool.submit(self._look, check)
        return ""

    def result(self, check: Check) -> Look:
        """Return what came of one check; waits for it."""
        if not self._futures:
            raise HarnessError("The sightings were never begun.")
        return self._futures[self._checks.index(check)].result()

    def end(self) -> None:
        """Let the threads end; what they still look for is of no interest any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _look(self, check: Check) -> Look:
        try:
            return self._looking.wait(check, self._baseline)
        except (DeviatedTimeoutError, WaitFailedError) as error:
            return Look(Result.MISSED, str(error))
        except UndecidedTimeoutError as error:
            return Look(Result.UNDECIDED, str(error))
        except FluxdrillError as error:
            return Look(Result.BROKE, str(error))
