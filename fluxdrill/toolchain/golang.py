"""Find Go and turn what it complains about into one sentence with a remedy."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fluxdrill.errors import HarnessError
from fluxdrill.process import run

_REMEDIES: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left on device|disk quota exceeded",
        "The disk is full",
        "Free about 12 GB, or point GOCACHE, GOMODCACHE and FLUXDRILL_CACHE elsewhere; what is built stays built.",
    ),
    (
        r"checksum mismatch|SECURITY ERROR",
        "A downloaded module does not match its checksum",
        "Do not switch the check off; run `go clean -modcache` and find out what sits between you and the proxy.",
    ),
    (
        r"403 Forbidden|410 Gone|404 Not Found",
        "The Go module proxy refuses a module",
        "Check that your proxy (GOPROXY) may serve it; a refusal is final for this pin.",
    ),
    (
        r"dial tcp|no such host|TLS handshake timeout|i/o timeout|connection refused|module lookup disabled by GOPROXY=off",
        "The Go module proxy cannot be reached",
        "Check the network or GOPROXY, then run the same command again; it goes on where it stopped.",
    ),
    (
        r"missing go\.sum entry|updates to go\.(?:mod|sum) needed",
        "The pins in go.mod and go.sum do not fit together",
        "Take both files from one commit, or run `go mod tidy` in the module's folder.",
    ),
    (r"permission denied|read-only file system", "A cache folder cannot be written", "Set GOCACHE and GOMODCACHE."),
    (
        r"requires go >= |invalid go version|toolchain not available",
        "Go is too old for a pinned module",
        "Install a newer Go, or allow Go to fetch one (GOTOOLCHAIN=auto).",
    ),
    (r"signal: killed", "The build was killed", "Usually memory ran out: close something and run it again."),
)


@dataclass(frozen=True, slots=True)
class Go:
    """The Go command of this machine: where it is, its version ("go1.26.0"), and whether it may fetch a newer self."""

    path: Path
    version: str
    may_fetch: bool

    def run(
        self,
        *arguments: str | Path,
        deadline: float,
        what: str,
        folder: Path = Path("/"),
        scratch: Path | None = None,
        on_stderr: Callable[[str], None] | None = None,
    ) -> str:
        """Run `go ARGUMENTS` in `folder` within `deadline` seconds; return its standard output.

        It keeps its temporary files below `scratch` and ends with this process, also when that is killed. Raises
        HarnessError, which starts with `what`, where it fails.
        """
        environment = _environment() | ({"GOTMPDIR": str(scratch)} if scratch else {})
        done = run(
            [*_mortal(), self.path, *arguments], deadline=deadline, cwd=folder, env=environment, on_stderr=on_stderr
        )
        if done.returncode:
            raise explain(done.stderr or done.text, what=what)
        return done.text


def find_go() -> Go | None:
    """Return the Go found through PATH, or None. Raises HarnessError where it cannot tell its version."""
    path = shutil.which("go")
    return _ask(Path(path), os.environ.get("GOTOOLCHAIN")) if path else None


def require_go(minimum: str) -> Go:
    """Return Go, at least `minimum` ("1.26.0"); raises HarnessError that names what to install."""
    go = find_go()
    if go is None:
        raise HarnessError(
            "Go is missing, and it builds the pinned Kubernetes and Flux programs.",
            hint=f"Install Go {minimum} or newer, or put ready binaries into a folder named by FLUXDRILL_BIN.",
        )
    if _numbers(go.version) < _numbers(minimum) and not go.may_fetch:
        raise HarnessError(
            f"Go {go.version.removeprefix('go')} is too old: the pinned modules need {minimum}.",
            hint=f"Install Go {minimum} or newer, or allow Go to fetch it (GOTOOLCHAIN=auto).",
        )
    return go


def explain(stderr: str, *, what: str) -> HarnessError:
    """Turn the standard error of a failed `go` call into the error a user sees."""
    for pattern, problem, hint in _REMEDIES:
        if match := re.search(rf"^.*(?:{pattern}).*$", stderr, re.MULTILINE):
            return HarnessError(f"{what} failed: {problem} ({match[0].strip()[:300]}).", hint=hint)
    tail = " / ".join(line.strip() for line in stderr.strip().splitlines()[-4:])
    return HarnessError(
        f"{what} failed: {tail or 'go said nothing'}.", hint="Run the same `go build` by hand to see all."
    )


def build_info(go: Go, binary: Path) -> Mapping[str, str]:
    """Return module path -> version as Go's linker wrote them into `binary`; HarnessError if it is not a Go program."""
    text = go.run("version", "-m", binary, deadline=30, what=f"Reading {binary}")
    fields = (line.split() for line in text.splitlines())
    return {entry[1]: entry[2] for entry in fields if len(entry) >= 3 and entry[0] in ("mod", "dep", "=>")}


@cache
def _ask(path: Path, toolchain: str | None) -> Go:
    """Ask Go for its version, once per process; GOTOOLCHAIN (`toolchain`) decides which version answers."""
    text = Go(path, "", may_fetch=False).run(
        "env", "GOVERSION", "GOTOOLCHAIN", deadline=30, what=f"Asking {path} for its version"
    )
    version, switch = (*text.splitlines(), "", "")[:2]
    return Go(path, version, may_fetch=(toolchain or switch).endswith("auto"))


def _environment() -> dict[str, str]:
    """Return the environment for Go: the user's proxy and caches, but only flags that we know."""
    kept = {key: value for key, value in os.environ.items() if key not in ("GOOS", "GOARCH", "GOFLAGS", "GOWORK")}
    return kept | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false", "GOWORK": "off"}


def _mortal() -> list[str]:
    """Return what runs a program so that it is interrupted when this process dies: Go then removes what it made."""
    return ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
