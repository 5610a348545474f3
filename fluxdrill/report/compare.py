"""The same suites on several providers side by side: how long, which verdicts, and every test that ended otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from fluxdrill.errors import ExitCode, UsageError
from fluxdrill.report.journal import Entry, read_journal
from fluxdrill.report.seal import JOURNAL

ABSENT = "not run"
_GOOD = frozenset({"passed", "xfailed"})


@dataclass(frozen=True, slots=True)
class End:
    """How one test ended, in how many seconds, and its first words where it did not pass."""

    outcome: str
    seconds: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what its labs were made by, its tests by their ids, how long it took and its labs took to start (seconds)."""

    name: str
    provider: str
    ends: Mapping[str, End]
    seconds: float
    starts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A test that did not end alike in all runs: its ends by the runs' names."""

    test: str
    ends: Mapping[str, End]

    @property
    def bad(self) -> bool:
        """Whether it failed anywhere: what is skipped says itself what it would need."""
        return any(one.outcome in ("failed", "error") for one in self.ends.values())


def read_run(folder: Path) -> Run:
    """Read a run's folder; raises UsageError where it holds no journal, or one without any test."""
    entries = read_journal(folder / JOURNAL)
    run = run_of(entries)
    if not run.ends:
        raise UsageError(f"{folder} holds no test that could be compared.", hint="Name runs of suites.")
    return run


def run_of(entries: Sequence[Entry]) -> Run:
    """Return what a journal tells of a run of suites; with reruns the last end of a test counts."""
    facts: dict[str, object] = {}
    for entry in entries:
        if entry.get("type") == "run":
            facts |= entry.get("facts", {})
    ends = {str(one["id"]): _end(one) for one in entries if one.get("type") == "test"}
    starts = tuple(float(one["seconds"]) for one in entries if one.get("type") == "lab")
    provider = str(facts.get("provider", "embedded"))
    return Run(provider, provider, ends, max((float(one["t"]) for one in entries), default=0.0), starts)


def _end(entry: Entry) -> End:
    outcome = str(entry["outcome"])
    lines = str(entry.get("message", "")).strip().splitlines() if outcome not in _GOOD else []
    return End(outcome, float(entry.get("seconds", 0.0)), lines[0][:300] if lines else "")


def named(runs: Iterable[Run]) -> list[Run]:
    """Return the runs with names that tell them apart: their providers, numbered where one comes twice."""
    runs, seen = list(runs), Counter[str]()
    twice = {name for name, count in Counter(one.provider for one in runs).items() if count > 1}
    found = []
    for one in runs:
        seen[one.provider] += 1
        name = f"{one.provider} {seen[one.provider]}" if one.provider in twice else one.provider
        found.append(Run(name, one.provider, one.ends, one.seconds, one.starts))
    return found


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Return every test that did not end alike everywhere, failures first."""
    tests = dict.fromkeys(test for run in runs for test in run.ends)
    every = [Difference(test, {run.name: run.ends.get(test, End(ABSENT, 0.0)) for run in runs}) for test in tests]
    found = [one for one in every if len({end.outcome for end in one.ends.values()}) > 1]
    return sorted(found, key=lambda one: not one.bad)


def table(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the runs as lines of a Markdown table: verdicts and times of each."""
    yield "| | " + " | ".join(run.name for run in runs) + " |"
    yield "| --- |" + " ---: |" * len(runs)
    counts = [Counter(end.outcome for end in run.ends.values()) for run in runs]
    for outcome in sorted({outcome for one in counts for outcome in one}):
        yield _row(outcome, (str(one[outcome]) for one in counts))
    yield _row("whole run", (f"{run.seconds:.0f} s" for run in runs))
    yield _row("labs started", (str(len(run.starts)) for run in runs))
    yield _row("a lab ready after (median)", (f"{median(run.starts):.1f} s" if run.starts else "-" for run in runs))
    common = [test for test in runs[0].ends if all(_passed(run, test) for run in runs)]
    yield _row(f"the {len(common)} that passed everywhere", (f"{_sum(run, common):.0f} s" for run in runs))


def _row(title: str, cells: Iterable[str]) -> str:
    return f"| {title} | {' | '.join(cells)} |"


def _passed(run: Run, test: str) -> bool:
    return test in run.ends and run.ends[test].outcome in _GOOD


def _sum(run: Run, tests: Iterable[str]) -> float:
    return sum(run.ends[test].seconds for test in tests)


def lines(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the comparison as Markdown; raises UsageError for fewer than two runs."""
    if len(runs) < 2:
        raise UsageError("There is nothing to compare one run with.", hint="Name two runs or more.")
    yield from table(runs)
    found = differences(runs)
    yield ""
    yield f"{len(found)} of {len(dict.fromkeys(t for run in runs for t in run.ends))} tests did not end alike."
    for run in runs:
        if lacking := sum(one.ends[run.name].outcome == ABSENT for one in found):
            yield f"{lacking} of them were not run on {run.name}."
    for one in found:
        if not one.bad and any(end.outcome == ABSENT for end in one.ends.values()):
            continue  # counted above: a run of fewer suites would bury the rest
        yield ""
        yield f"- `{one.test}`"
        for name, end in one.ends.items():
            yield f"  - {name}: {end.outcome}" + (f": {end.why}" if end.why else "")


def exit_code(runs: Sequence[Run]) -> ExitCode:
    """Return the code to gate on: passed only where no test that ended otherwise failed anywhere."""
    return ExitCode.FAILED if any(one.bad for one in differences(runs)) else ExitCode.PASS
