"""The five verdicts, how they are merged, and the three outcomes a scenario can expect."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from fluxdrill.errors import ExitCode


class Verdict(StrEnum):
    """What a run says; the order of the members is from best to worst."""

    PASS = "pass"  # noqa: S105 - a verdict
    DEVIATED = "deviated"
    UNKNOWN = "unknown"
    INVALID = "invalid"
    HARNESS_ERROR = "harness-error"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that ends with this verdict."""
        match self:
            case Verdict.PASS:
                return ExitCode.PASS
            case Verdict.HARNESS_ERROR:
                return ExitCode.HARNESS_ERROR
            case _:
                return ExitCode.FAILED


class Outcome(StrEnum):
    """How a fault ends: without help, after its cause was removed, or only after a documented manual step."""

    SELF_HEALED = "self-healed"
    RECOVERED = "recovered"
    STUCK = "stuck-as-documented"


_ORDER = tuple(Verdict)


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of `verdicts`; of none at all it is `invalid`, since nothing was looked at."""
    return max(verdicts, key=_ORDER.index, default=Verdict.INVALID)
