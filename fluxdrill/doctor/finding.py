"""One line of the doctor: what was looked at, how it is, and the fix where it is not well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from fluxdrill.errors import FluxdrillError

GIB = 2**30
_NO_HINT = "Run `fluxdrill --debug doctor` and report what it prints."


class Level(StrEnum):
    """How it is: WARN leaves embedded labs possible, FAIL leaves no lab possible."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. Whatever is not OK has a fix; `bars_nodes` is a warning that leaves no kind or k3d possible.

    Raises ValueError for a finding without a fix that needs one, or with one that needs none.
    """

    subject: str
    level: Level
    text: str
    fix: str = ""
    bars_nodes: bool = False

    def __post_init__(self) -> None:
        if (self.level is Level.OK) == bool(self.fix):
            raise ValueError(f"{self.subject} is {self.level}, and its fix is {self.fix!r}.")

    @property
    def line(self) -> str:
        """The finding as a line for people."""
        return f"{self.level:<4}  {self.subject}: {self.text} {self.fix}".rstrip()

    @property
    def data(self) -> dict[str, str]:
        """The finding as data."""
        return {"subject": self.subject, "level": self.level.value, "text": self.text, "fix": self.fix}


def ok(subject: str, text: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(subject, Level.OK, text)


def warn(subject: str, text: str, *, fix: str, bars_nodes: bool = False) -> Finding:
    """Return a finding that leaves embedded labs possible."""
    return Finding(subject, Level.WARN, text, fix, bars_nodes)


def fail(subject: str, text: str, *, fix: str) -> Finding:
    """Return a finding that leaves no lab possible."""
    return Finding(subject, Level.FAIL, text, fix)


def guarded(subject: str, look: Callable[[], Finding], *, nodes: bool = False) -> Finding:
    """Return what `look` finds, or the error that ends it: a FAIL, or a WARN about clusters of real nodes."""
    try:
        return look()
    except FluxdrillError as error:
        fix = error.hint or _NO_HINT
        if nodes:
            return warn(subject, error.problem, fix=fix, bars_nodes=True)
        return fail(subject, error.problem, fix=fix)


def gib(count: int) -> str:
    """Return bytes as people read them."""
    return f"{count / GIB:.1f} GiB"
