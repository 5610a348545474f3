"""Find Go and turn what it complains about into one sentence with a remedy."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
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
        r"(?:403 Forbidden|410 Gone|404 Not Found)",
        "The Go module proxy refuses a module",
        "Check that your proxy (GOPROXY) may serve it; a refusal is final for this pin.",
    ),
    (
        r"checksum mismatch|verifying .*: ",
        "A downloaded module does not match its checksum",
        "Do not switch the check off; run `go clean -modcache` and find out what sits between you and the proxy.",
    ),
    (
        r"dial tcp|no such host|TLS handshake timeout|i/o timeout|connection refused",
        "The Go module proxy cannot be reached",
        "Check the network or GOPROXY, then run the same command again; it goes on where it stopped.",
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
    """The Go command of this machine."""

    path: Path
    version: str
    platform: str


@cache
def find_go() -> Go | None:
    """Return the Go found through PATH, or None; asked once per process."""
    path = shutil.which("go")
    if path is None:
        return None
    done = run([path, "env", "GOVERSION", "GOOS", "GOARCH"], deadline=30, env=environment())
    version, goos, goarch = (done.text.split() + ["", "", ""])[:3]
    return Go(Path(path), version, f"{goos}-{goarch}")


def require_go(minimum: str) -> Go:
    """Return Go, at least `minimum` ("1.26.0"); raises HarnessError that names what to install."""
    go = find_go()
    if go is None:
        raise HarnessError(
            "Go is missing, and it builds the pinned Kubernetes and Flux programs.",
            hint=f"Install Go {minimum} or newer, or put ready binaries into a folder named by FLUXDRILL_BIN.",
        )
    may_fetch = "GOTOOLCHAIN" not in os.environ or os.environ["GOTOOLCHAIN"] != "local"
    if _numbers(go.version) < _numbers(minimum) and not may_fetch:
        raise HarnessError(
            f"Go {go.version.removeprefix('go')} is too old: the pinned modules need {minimum}.",
            hint=f"Install Go {minimum} or newer.",
        )
    return go


def environment() -> dict[str, str]:
    """Return the environment for Go: the user's proxy and caches, but only flags that we know."""
    kept = {key: value for key, value in os.environ.items() if key not in ("GOOS", "GOARCH", "GOFLAGS", "GOWORK")}
    return kept | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false", "GOWORK": "off"}


def explain(stderr: str, *, what: str) -> HarnessError:
    """Turn the standard error of a failed `go` call into the error a user sees."""
    for pattern, problem, hint in _REMEDIES:
        if match := re.search(rf"^.*(?:{pattern}).*$", stderr, re.MULTILINE):
            return HarnessError(f"{what} failed: {problem} ({match[0].strip()[:300]}).", hint=hint)
    tail = " / ".join(line.strip() for line in stderr.strip().splitlines()[-4:])
    return HarnessError(f"{what} failed: {tail or 'go said nothing'}.", hint="Run it again with --debug.")


def build_info(go: Go, binary: Path) -> Mapping[str, str]:
    """Return module path -> version as Go's linker wrote them into `binary`; empty if it is not a Go program."""
    done = run([go.path, "version", "-m", binary], deadline=30, env=environment())
    fields = (line.split() for line in done.text.splitlines())
    return {entry[1]: entry[2] for entry in fields if len(entry) >= 3 and entry[0] in ("mod", "dep", "=>")}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
