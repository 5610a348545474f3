"""Switch each guard against a false green off, one at a time, and see its test go red: `nox -s mutations`.

Each mutation is made in a copy of the package, so that nothing here is touched. The result is docs/false-greens.md.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "false-greens.md"
DEADLINE = 300


@dataclass(frozen=True, slots=True)
class Guard:
    """One way to go green wrongly, the guard against it (text in a file and what is left without it), and its test."""

    wrong: str
    file: str
    text: str
    without: str
    test: str


JUDGE = "tests/scenario/test_judge.py::"
LOAD = "tests/scenario/test_load.py::"
PLAN = "tests/scenario/test_plan.py::"
GUARDS = (
    Guard(
        "an injection that was denied counts as done",
        "fluxdrill/scenario/judge.py",
        "_ASSUMPTION = {Result.MISSED: Verdict.INVALID, Result.VOID: Verdict.INVALID}",
        "_ASSUMPTION = {Result.MISSED: Verdict.INVALID, Result.VOID: Verdict.PASS}",
        f"{JUDGE}test_one_step_that_did_not_succeed_is_never_a_pass",
    ),
    Guard(
        "a fault without effect counts as injected",
        "fluxdrill/scenario/judge.py",
        '("the fault bit", frozenset({Verb.OBSERVE}), _ASSUMPTION),',
        "",
        f"{JUDGE}test_one_step_that_did_not_succeed_is_never_a_pass",
    ),
    Guard(
        "a fault that never shows is taken for one that bit",
        "fluxdrill/scenario/looking.py",
        'return Look(Result.MISSED, f"{fault.name} did not bite',
        'return Look(Result.DONE, f"{fault.name} did not bite',
        "tests/scenario/test_looking.py::test_a_fault_that_does_not_show_is_missed",
    ),
    Guard(
        "a selector that matches nothing is accepted",
        "fluxdrill/scenario/checks.py",
        "        if len(given) != 1:",
        "        if len(given) > 1:",
        f"{LOAD}test_bad_input_is_refused_with_its_line",
    ),
    Guard(
        "evidence that could not be read counts as good",
        "fluxdrill/scenario/judge.py",
        "    if blind and not facts.silences:",
        "    if blind and facts.silences:",
        f"{JUDGE}test_a_watch_that_was_blind_leaves_the_blast_radius_unknown",
    ),
    Guard(
        "a watch that told of nothing counts as calm",
        "fluxdrill/scenario/judge.py",
        '    if not any(one.get("type") == "transition" and _of(one, facts) for one in entries):',
        "    if False:",
        f"{JUDGE}test_a_watch_that_told_of_nothing_leaves_it_unknown",
    ),
    Guard(
        "a scenario without a steady state passes",
        "fluxdrill/scenario/schema.py",
        "    steady: Annotated[tuple[Check, ...], Field(min_length=1)] = (CONVERGED,)",
        "    steady: tuple[Check, ...] = (CONVERGED,)",
        f"{LOAD}test_bad_input_is_refused_with_its_line",
    ),
    Guard(
        "nothing judged is a pass",
        "fluxdrill/model/verdicts.py",
        "default=Verdict.INVALID",
        "default=Verdict.PASS",
        "tests/model/test_verdicts.py::test_nothing_judged_is_invalid",
    ),
    Guard(
        "the recovery clock starts after the recovery",
        "fluxdrill/scenario/measure.py",
        'yield Sample("recovery", "", cycle, _seconds(start, max(back)))',
        'yield Sample("recovery", "", cycle, _seconds(max(back), max(back)))',
        f"{JUDGE}test_recovery_counts_from_the_healing_and_to_the_moment_it_held",
    ),
    Guard(
        "one recovery is counted twice",
        "fluxdrill/scenario/measure.py",
        "own[-1].until",
        "own[0].until",
        f"{JUDGE}test_two_falls_of_one_object_are_one_recovery_of_the_last",
    ),
    Guard(
        "an unrelated object is taken for one of ours",
        "fluxdrill/scenario/judge.py",
        "if fall.object in scope and begin",
        "if begin",
        f"{JUDGE}test_an_unrelated_object_that_appears_and_goes_is_not_taken_for_one_of_ours",
    ),
    Guard(
        "healthy only because the harness healed it",
        "fluxdrill/scenario/plan.py",
        "    lasts = [scenario.outcome is Outcome.SELF_HEALED or use.lasting for use in uses]",
        "    lasts = [use.lasting for use in uses]",
        f"{PLAN}test_what_heals_itself_is_judged_before_anything_is_healed",
    ),
    Guard(
        "a healing that failed does not matter",
        "fluxdrill/scenario/judge.py",
        '    ("the fault was healed", frozenset({Verb.HEAL}), _HARNESS),\n',
        "",
        f"{JUDGE}test_one_step_that_did_not_succeed_is_never_a_pass",
    ),
    Guard(
        "Ready=True at an old revision counts as converged",
        "fluxdrill/flux/predicates.py",
        'return "" if applied == revision else f"Ready at {applied}"',
        'return ""',
        "tests/flux/test_predicates.py",
    ),
    Guard(
        "an exit code says success for a bad verdict",
        "fluxdrill/model/verdicts.py",
        "                return ExitCode.FAILED",
        "                return ExitCode.PASS",
        "tests/model/test_verdicts.py::test_only_a_pass_ends_with_zero",
    ),
    Guard(
        "a check that held before the fault is taken for its effect",
        "fluxdrill/scenario/looking.py",
        "            if check.verb not in _DATED and self._looking.holds(check, self._baseline):",
        "            if False:",
        "tests/scenario/test_looking.py::test_what_holds_before_the_fault_is_no_sighting",
    ),
    Guard(
        "an object changed by hand counts as converged",
        "fluxdrill/scenario/converge.py",
        "            if changed:\n",
        "            if False:\n",
        "tests/scenario/test_converge_live.py",
    ),
)


def verdict(guard: Guard) -> str:
    """Return how the guard's test ends without the guard: "red" is what is wanted."""
    with tempfile.TemporaryDirectory(prefix="fluxdrill-mutation-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".nox", "reports", "__pycache__", ".*_cache"))
        changed = copy / guard.file
        text = changed.read_text(encoding="utf-8")
        if text.count(guard.text) < 1:
            return "the guard is not where it was"
        changed.write_text(text.replace(guard.text, guard.without, 1), encoding="utf-8")
        return _run(copy, guard.test)


def _run(copy: Path, *tests: str) -> str:
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(argv, cwd=copy, env=env, capture_output=True, text=True, timeout=DEADLINE, check=False)
    except subprocess.TimeoutExpired:
        return "no end"
    return {0: "green", 1: "red"}.get(done.returncode, f"exit code {done.returncode}")


def page(results: dict[Guard, str]) -> str:
    """Return the page."""
    rows = [f"| {guard.wrong} | `{guard.test.replace('tests/', '')}` | {ended} |" for guard, ended in results.items()]
    red = sum(ended == "red" for ended in results.values())
    head = [
        "# False greens",
        "",
        "Each row is a way in which a chaos tool goes green wrongly. The guard against it was switched off in a copy of",
        f"the project, and its test was run: {red} of {len(results)} went red, as they must (`nox -s mutations`).",
        "",
        "| what would go green wrongly | the test | without the guard |",
        "| --- | --- | --- |",
    ]
    return "\n".join([*head, *rows]) + "\n"


def main() -> int:
    """Run every mutation, write the page, and return 0 only if every test went red."""
    if (untouched := _run(ROOT, *sorted({guard.test for guard in GUARDS}))) != "green":
        print(f"With every guard in place the tests end {untouched}: nothing can be proved by breaking one.")  # noqa: T201
        return 1
    results = {}
    for guard in GUARDS:
        results[guard] = verdict(guard)
        print(f"{results[guard]:<12} {guard.wrong}", flush=True)  # noqa: T201 - a script's output
    PAGE.write_text(page(results), encoding="utf-8")
    return 0 if set(results.values()) == {"red"} else 1


if __name__ == "__main__":
    sys.exit(main())
