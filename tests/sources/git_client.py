"""The real git client, for tests of the Git server."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from fluxdrill.sources.git_command import git_environment, git_program

DEADLINE = 30.0


def git(folder: Path, *arguments: str, **environment: str) -> str:
    """Run git as a client of a server on loopback; raises CalledProcessError (with stderr) when it fails."""
    done = start_git(folder, *arguments, **environment)
    out, err = done.communicate(timeout=DEADLINE)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, arguments, out, err)
    return out.strip()


def start_git(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start git and do not wait for it."""
    return subprocess.Popen(
        [git_program(), *arguments],
        cwd=folder,
        env=git_environment({"GIT_ALLOW_PROTOCOL": "http:file", **environment}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def commit(work: Path, name: str, content: str) -> str:
    """Write and commit one file and return the commit."""
    (work / name).parent.mkdir(parents=True, exist_ok=True)
    (work / name).write_text(content)
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message", f"change {name}")
    return git(work, "rev-parse", "HEAD")


def wait_until(holds: Callable[[], bool]) -> None:
    """Return as soon as `holds`; raises TimeoutError after 10 s."""
    end = time.monotonic() + 10
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)
