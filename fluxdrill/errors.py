"""One root for every error, split by who is to blame; each carries its exit code and the next step."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command and nox job; they agree with pytest's own where pytest has one."""

    PASS = 0
    FAILED = 1
    INTERRUPTED = 2
    HARNESS_ERROR = 3
    USAGE = 4
    NOTHING_RAN = 5
    LEFT_DIRTY = 75


class FluxdrillError(Exception):
    """Root of fluxdrill's errors: `problem` says what is wrong, `hint` what to do, one sentence each."""

    exit_code: ExitCode = ExitCode.HARNESS_ERROR

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem} {self.hint}".strip()


class ProductDeviatedError(FluxdrillError):
    """The cluster under test did something else than was promised."""

    exit_code = ExitCode.FAILED


class HarnessError(FluxdrillError):
    """fluxdrill itself, or the machine under it, failed: the result says nothing about the cluster."""

    exit_code = ExitCode.HARNESS_ERROR


class UsageError(FluxdrillError):
    """The call is wrong: an option, a path, a file that cannot be read."""

    exit_code = ExitCode.USAGE


class RefusedError(FluxdrillError):
    """Refused for safety: nothing was done."""

    exit_code = ExitCode.USAGE
