"""A Git server over smart HTTP, with fault switches.

`git http-backend` does the Git part. Flux's source-controller and image-automation-controller (go-git, chunked bodies)
and git itself (gzipped bodies, protocol v2) can clone and push.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from fluxdrill.model.clock import SYSTEM_CLOCK, Clock
from fluxdrill.sources.front import HOST
from fluxdrill.sources.git_backend import GitBackend
from fluxdrill.sources.server import Server


class GitServer(Server):
    """Serves the bare repositories below a folder at `url`/<name>; push is allowed. `deadline` is in seconds per request.

    To start it raises UsageError where git has no HTTP backend or the folder is missing.
    """

    title: ClassVar[str] = "Git server"

    def __init__(
        self,
        root: Path,
        *,
        user: str = "",
        password: str = "",
        deadline: float = 60.0,
        clock: Clock = SYSTEM_CLOCK,
        host: str = HOST,
    ) -> None:
        super().__init__(GitBackend(root, deadline=deadline), user=user, password=password, clock=clock, host=host)
