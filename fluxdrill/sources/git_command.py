"""How fluxdrill runs git: no user configuration, no prompt, a deadline, and the process group ended with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.model.clock import SYSTEM_CLOCK, Clock
from fluxdrill.process import run

CONFIG = Path(__file__).with_name("gitconfig")

DATE = "1577836800 +0000"  # 2020-01-01
IDENTITY = {
    "GIT_AUTHOR_NAME": "fluxdrill",
    "GIT_AUTHOR_EMAIL": "fluxdrill@fluxdrill.invalid",
    "GIT_AUTHOR_DATE": DATE,
    "GIT_COMMITTER_NAME": "fluxdrill",
    "GIT_COMMITTER_EMAIL": "fluxdrill@fluxdrill.invalid",
    "GIT_COMMITTER_DATE": DATE,
}
"""Author and date of every commit fluxdrill makes: fixed, so that the same content gives the same commit."""


class GitError(HarnessError):
    """git ended with an error; `stderr` is what it said."""

    def __init__(self, problem: str, *, stderr: str, hint: str = "") -> None:
        super().__init__(problem, hint=hint)
        self.stderr = stderr


def git_program() -> str:
    """Return the path of git; raises UsageError where PATH has none."""
    program = shutil.which("git")
    if program is None:
        raise UsageError("There is no git on PATH.", hint="Install git and run the command again.")
    return program


def git_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the whole environment of a git process: nothing of the user's, only local protocols unless `extra` says so."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,  # git's HTTP client would read ~/.netrc
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": str(CONFIG),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",  # reading a user's repository must not write its index
        "GIT_ALLOW_PROTOCOL": "file",
        **IDENTITY,
        **(extra or {}),
    }


@dataclass(frozen=True, slots=True)
class Git:
    """git with one working directory and one deadline for all its calls.

    `until` is a moment on the clock's monotonic scale (seconds); see `Git.within`.
    """

    folder: Path
    until: float
    environment: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = SYSTEM_CLOCK

    @classmethod
    def within(cls, folder: Path, seconds: float, *, environment: Mapping[str, str] | None = None) -> Git:
        """Return git in `folder`, with `seconds` from now for everything it is asked to do."""
        return cls(folder, SYSTEM_CLOCK.now().monotonic + seconds, environment or {})

    def at(self, folder: Path, environment: Mapping[str, str] | None = None) -> Git:
        """Return git with the same deadline in another folder, with `environment` on top."""
        return Git(folder, self.until, {**self.environment, **(environment or {})}, self.clock)

    def run(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        """Return what git printed.

        Raises GitError when it fails, DeadlineExceededError when the deadline passes (the process group is dead then),
        UsageError when there is no git.
        """
        done = run(
            [git_program(), *arguments],
            deadline=max(self.until - self.clock.now().monotonic, 0.001),
            cwd=self.folder,
            env=git_environment(self.environment),
            stdin=stdin,
        )
        if done.returncode != 0:
            said = done.stderr.strip()
            raise GitError(f"git {arguments[0]} failed: {said or f'exit code {done.returncode}'}.", stderr=said)
        return done.stdout

    def text(self, *arguments: str) -> str:
        """Return what git printed, as text without the last line end; raises like `run`."""
        return self.run(*arguments).decode(errors="replace").rstrip("\n")
