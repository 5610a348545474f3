"""A run's folder: reports/<run>/ with its journal and page, and reports/latest pointing to the newest."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fluxdrill.errors import HarnessError, RefusedError, UsageError
from fluxdrill.model.clock import SYSTEM_CLOCK, Clock
from fluxdrill.report.files import write_files
from fluxdrill.report.journal import Journal
from fluxdrill.report.seal import JOURNAL


class RunFolder:
    """One run's folder below `root`; `journal` is open until `finish`."""

    def __init__(
        self, root: Path, kind: str, *, title: str, facts: Mapping[str, Any], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        moment = clock.now().utc
        self.path = root / f"{moment:%Y%m%d-%H%M%S}-{kind}-{secrets.token_hex(2)}"
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise HarnessError(
                f"The report folder {self.path} cannot be made: {error.strerror}.", hint="Name another with --reports."
            ) from error
        self._root = root
        self.journal = Journal(self.path / JOURNAL, clock=clock)
        self.journal.tell("run", title=title, facts=dict(facts))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """After an error still leave a page that says how far it came; a call that was wrong leaves nothing."""
        if isinstance(error, UsageError | RefusedError):
            self.journal.close()
            shutil.rmtree(self.path)
        elif error is not None:
            interrupted = isinstance(error, KeyboardInterrupt)
            self.journal.tell("headline", title=str(error) or type(error).__name__, lines=[])
            self.finish(verdict="interrupted" if interrupted else "harness-error")

    def finish(self, **end: Any) -> Path:
        """Close the journal, write page and other reports, point reports/latest here; return the page's path."""
        self.journal.tell("end", **end)
        self.journal.close()
        page = write_files(self.path)
        _point(self._root / "latest", self.path)
        return page


def _point(link: Path, target: Path) -> None:
    partial = link.with_name(f".latest-{os.getpid()}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target.name)
    partial.replace(link)
