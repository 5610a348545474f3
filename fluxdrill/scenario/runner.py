"""Run a plan: one step after the other, each written down as it ends, and whatever is broken is healed at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from fluxdrill.errors import FluxdrillError, HarnessError
from fluxdrill.faults.fault import Fault, NotInjectedError
from fluxdrill.faults.world import World
from fluxdrill.kube.errors import ForbiddenError
from fluxdrill.kube.wait import DeviatedTimeoutError, UndecidedTimeoutError, WaitFailedError
from fluxdrill.model.clock import Instant
from fluxdrill.progress import Progress, Silent
from fluxdrill.scenario import actions
from fluxdrill.scenario.bind import Baseline
from fluxdrill.scenario.checks import Action, Check
from fluxdrill.scenario.converge import Rendering
from fluxdrill.scenario.ledger import Entry, Ledger
from fluxdrill.scenario.looking import Look, Looking, Sightings
from fluxdrill.scenario.plan import Plan, Step, Verb
from fluxdrill.scenario.record import Facts, Record, Result, record_entry


class Journal(Protocol):
    """Where a run is written down as it happens."""

    def tell(self, type: str, /, *, at: Instant | None = None, **fields: Any) -> None:  # noqa: A002
        """Append an entry."""

    def seconds(self, at: Instant) -> float:
        """Return the seconds of a moment since the run began."""


@dataclass(frozen=True, slots=True)
class _End:
    result: Result
    why: str
    met: Instant | None = None


_ENDS_EARLY = {Verb.ARRANGE, Verb.STEADY, Verb.BEFORE, Verb.AWAIT, Verb.INJECT, Verb.OBSERVE}
"""If one of these does not succeed, the fault's part of the plan proves nothing: it is skipped, healing is not."""
_READS = {Verb.STEADY}
"""What a dry run does; everything after the first fault has nothing to look for."""
_ALWAYS = {Verb.HEAL, Verb.CLEAN, Verb.AFTER, Verb.DECOY, Verb.QUIET}


class Runner:
    """Runs one plan in one world. `records` grows as steps end."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        ledger: Ledger,
        journal: Journal,
        *,
        progress: Progress | None = None,
        dry: bool = False,
    ) -> None:
        self.world = world
        self.plan = plan
        self.records: list[Record] = []
        self._ledger, self._journal = ledger, journal
        self._progress = progress or Silent()
        self._rendering = Rendering(world)
        self._baseline = Baseline()
        self._looking = Looking(world, self._rendering)
        self._sightings: Sightings | None = None
        self._open: dict[int, Entry] = {}
        self._dry = dry
        self._abandoned = False
        self._arranged = actions.Arranged()
        self._scope: tuple[str, ...] = ()

    def run(self) -> list[Record]:
        """Run every step; faults that are open at the end, or after an interrupt, are healed."""
        try:
            for step in self.plan.steps:
                self._run(step)
        finally:
            if self._sightings is not None:
                self._sightings.end()
            self._heal_all()
        return self.records

    @property
    def dirty(self) -> bool:
        """Whether a fault is still open."""
        return bool(self._ledger.open)

    def facts(self) -> Facts:
        """Return what the verdict must know; complete once the steady state was reached."""
        scenario = self.plan.scenario
        return Facts(
            id=scenario.id,
            title=scenario.title,
            proves=scenario.proves,
            outcome=str(scenario.outcome),
            seed=self.plan.seed,
            affected=tuple(map(str, scenario.affected)),
            decoy=tuple(map(str, scenario.decoy)),
            scope=self._scope,
            silences=bool({"apiserver", "etcd"} & self.plan.takes),
            detect=scenario.budgets.detect,
            recover=scenario.budgets.recover,
            total=scenario.budgets.total,
            faults=tuple(fault.text for fault in self.plan.faults),
            lab=self.world.lab.lab_id if self.world.lab is not None else "",
            uncompared=self._looking.uncompared,
            provider=self.world.lab.spec.provider if self.world.lab is not None else "embedded",
        )

    def _run(self, step: Step) -> None:
        if self._dry and step.verb not in _READS:
            self._dry_run(step)
            return
        if self._abandoned and step.verb not in _ALWAYS:
            self._write(step, _End(Result.SKIPPED, "an earlier step did not succeed"), self._now())
            return
        self._progress.update(f"{self.plan.scenario.id}: {step.number}/{len(self.plan.steps)} {step.verb} {step.text}")
        started = self._now()
        end = self._attempt(step)
        self._write(step, end, started)
        if end.result is not Result.DONE and step.verb in _ENDS_EARLY:
            self._abandoned = True

    def _dry_run(self, step: Step) -> None:
        """Do what a step would read, and nothing that it would write."""
        started = self._now()
        end = _End(Result.SKIPPED, "not done: a dry run writes nothing")
        if step.verb is Verb.INJECT:
            try:
                _fault(step).prepare(self.world)
                end = _End(Result.SKIPPED, "it would hit what it names; not injected: a dry run writes nothing")
            except FluxdrillError as error:
                end = _End(Result.VOID, str(error))
        self._write(step, end, started)

    def _attempt(self, step: Step) -> _End:
        try:
            return self._do(step)
        except (DeviatedTimeoutError, WaitFailedError) as error:
            return _End(Result.MISSED, str(error))
        except UndecidedTimeoutError as error:
            return _End(Result.UNDECIDED, str(error))
        except (NotInjectedError, ForbiddenError) as error:
            return _End(Result.VOID, str(error))
        except FluxdrillError as error:
            return _End(Result.BROKE, str(error))
        except Exception as error:  # noqa: BLE001 - one step's defect must not keep the others from healing
            return _End(Result.BROKE, f"unexpected {type(error).__name__}: {error}")

    def _do(self, step: Step) -> _End:
        handlers: dict[Verb, Callable[[Step], _End]] = {
            Verb.ARRANGE: self._act,
            Verb.STEADY: self._steady,
            Verb.BEFORE: self._act,
            Verb.AWAIT: self._check,
            Verb.INJECT: self._inject,
            Verb.OBSERVE: self._observe,
            Verb.SEE: self._see,
            Verb.ACT: self._act,
            Verb.HEAL: self._heal,
            Verb.STUCK: self._check,
            Verb.MANUAL: self._act,
            Verb.RECOVER: self._check,
            Verb.DECOY: self._check,
            Verb.CLEAN: self._clean,
            Verb.AFTER: self._check,
            Verb.QUIET: self._quiet,
        }
        return handlers[step.verb](step)

    def _check(self, step: Step) -> _End:
        assert isinstance(step.what, Check)
        return _done(self._looking.wait(step.what, self._baseline))

    def _steady(self, step: Step) -> _End:
        end = self._check(step)
        rendered = (
            {ref for node in self._tree().nodes.values() for ref in node.objects} if self.world.repository else set()
        )
        scenario = self.plan.scenario
        named = {*scenario.affected, *scenario.decoy}
        checks = (*scenario.seen, *scenario.recovered, *scenario.stuck, *scenario.steady)
        refs = {ref for check in checks for ref in check.refs} | named
        self._looking.follow(rendered | refs)
        self._baseline = Baseline.take(self.world, refs)
        self._scope = tuple(sorted({str(ref) for ref in rendered | named}))
        if missing := [str(ref) for ref in scenario.decoy if ref not in self._baseline.identities]:
            return _End(Result.VOID, f"the decoy {', '.join(missing)} does not exist, so it proves nothing")
        return end

    def _tree(self) -> Any:
        return self._rendering.at_head()[1]

    def _inject(self, step: Step) -> _End:
        fault = _fault(step)
        if self._sightings is None or self._sightings.cycle != step.cycle:
            held = self._look_ahead(step.cycle)
            if held:
                return _End(Result.VOID, f"{held}: it held before the fault, so seeing it proves nothing")
        state = fault.prepare(self.world)
        self._open[step.fault] = self._ledger.intend(fault, state)
        fault.inject(self.world, state)
        self._open[step.fault] = self._ledger.injected(self._open[step.fault])
        return _End(Result.DONE, "injected", self._now())

    def _look_ahead(self, cycle: int) -> str:
        """Start to look for what must be seen, before the fault comes; return what is there already."""
        if self._sightings is not None:
            self._sightings.end()
        self._baseline.since = self._now().utc
        self._sightings = Sightings(self._looking, self.plan.scenario.seen, self._baseline, cycle)
        return self._sightings.begin()

    def _observe(self, step: Step) -> _End:
        fault = _fault(step)
        entry = self._open[step.fault]
        return _done(self._looking.bite(fault, entry.state))

    def _see(self, step: Step) -> _End:
        assert isinstance(step.what, Check)
        assert self._sightings is not None
        return _done(self._sightings.result(step.what))

    def _act(self, step: Step) -> _End:
        assert isinstance(step.what, Action)
        if step.what.expect is not None:
            return _done(self._looking.wait(step.what.expect, self._baseline))
        keep = self._arranged if step.verb is Verb.ARRANGE else None
        return _End(Result.DONE, actions.perform(self.world, step.what, self._baseline, keep), self._now())

    def _heal(self, step: Step) -> _End:
        if step.fault not in self._open:
            return _End(Result.DONE, "it was never injected")
        self._heal_one(step.fault)
        return _End(Result.DONE, "healed" if _fault(step).reversible else "nothing to take back", self._now())

    def _heal_one(self, number: int) -> None:
        entry = self._open[number]
        self.plan.faults[number].heal(self.world, entry.state)
        self._ledger.healed(entry)
        del self._open[number]

    def _clean(self, step: Step) -> _End:
        del step
        problems = self._heal_all()
        actions.restore(self.world, self._baseline, self._arranged)
        if self.world.repository is not None:
            actions.hurry(self.world, self._tree().nodes)
        if problems:
            raise HarnessError(problems[0], hint="Run `fluxdrill recover`.")
        return _End(Result.DONE, "clean")

    def _quiet(self, step: Step) -> _End:
        del step
        return _done(self._looking.quiet())

    def _heal_all(self) -> list[str]:
        problems = []
        for number, entry in list(self._open.items())[::-1]:
            try:
                self._heal_one(number)
            except Exception as error:  # noqa: BLE001 - one that fails must not keep the others from being healed
                problems.append(f"{entry.fault} is not healed: {error}")
        return problems

    def _write(self, step: Step, end: _End, started: Instant) -> None:
        record = Record(
            number=step.number,
            verb=step.verb,
            text=step.text,
            cycle=step.cycle,
            fault=step.fault,
            result=end.result,
            why=end.why[:2000],
            started=self._journal.seconds(started),
            ended=self._journal.seconds(self._now()),
            met=self._journal.seconds(end.met) if end.met is not None else None,
        )
        self.records.append(record)
        self._journal.tell("step", scenario=self.plan.scenario.id, lab=self.facts().lab, **record_entry(record))

    def _now(self) -> Instant:
        return self.world.store.clock.now()


def _done(look: Look) -> _End:
    return _End(look.result, look.why, look.met)


def _fault(step: Step) -> Fault[Any]:
    assert isinstance(step.what, Fault)
    return step.what
