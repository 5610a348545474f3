"""Run the same scenarios many times and tell every difference: a flake is a defect to find, not to retry.

What ended is noted in a file as it ends, so that a soak that was cut off goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fluxdrill.errors import UsageError


@dataclass(frozen=True, slots=True)
class Ended:
    """How one scenario ended in one round."""

    round: int
    scenario: str
    verdict: str
    why: str
    seconds: float


def read(path: Path) -> list[Ended]:
    """Return what is noted in `path`, nothing if it is not there; raises UsageError where it is no note of a soak."""
    if not path.exists():
        return []
    try:
        return [Ended(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (ValueError, TypeError):
        raise UsageError(f"{path} is not a note of a soak.", hint="Name another file, or remove it.") from None


def note(path: Path, ended: Ended) -> None:
    """Append one end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(ended)) + "\n")


def left(known: Iterable[Ended], scenarios: Sequence[str], times: int) -> Iterator[tuple[int, str]]:
    """Yield round and scenario of everything that has not ended yet, round by round."""
    done = {(one.round, one.scenario) for one in known}
    for number in range(1, times + 1):
        for scenario in scenarios:
            if (number, scenario) not in done:
                yield number, scenario


def differences(known: Sequence[Ended]) -> list[str]:
    """Return a line for each scenario that did not end the same in every round."""
    told = []
    for scenario in sorted({one.scenario for one in known}):
        own = [one for one in known if one.scenario == scenario]
        verdicts = {one.verdict for one in own}
        if len(verdicts) > 1:
            rounds = ", ".join(f"{one.verdict} in round {one.round} ({one.why.splitlines()[0][:150]})" for one in own)
            told.append(f"{scenario}: {rounds}")
    return told


def summary(known: Sequence[Ended]) -> str:
    """Return how many ended how, and every difference."""
    if not known:
        return "Nothing ran."
    rounds = max(one.round for one in known)
    counts = {one.verdict: sum(other.verdict == one.verdict for other in known) for one in known}
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    different = differences(known)
    tail = "\n".join(different) if different else "Every scenario ended the same each time."
    return f"{rounds} rounds, {len(known)} runs: {told}\n{tail}"
