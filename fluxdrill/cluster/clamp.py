"""The container runtime's wrapper for machines that lack CAP_SYS_RESOURCE: it asks runc only for what it can grant.

Run as a file of its own, with the standard library alone: containerd starts it for every container and every exec.
Without it runc ends with "unable to apply caps: operation not permitted".
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LACKING = "CAP_SYS_RESOURCE"
CREATES = {"create", "run"}


def clamped(process: Mapping[str, Any], hard: Mapping[str, int]) -> dict[str, Any]:
    """Return an OCI process without the capability, without a negative OOM score, and without limits above `hard`.

    `hard` has the hard limits by their OCI names (RLIMIT_NOFILE, ...); -1 is no limit.
    """
    capabilities = {
        kind: [one for one in names or [] if one != LACKING]
        for kind, names in (process.get("capabilities") or {}).items()
    }
    limits = [one for one in process.get("rlimits") or [] if _allowed(one, hard)]
    score = process.get("oomScoreAdj")
    raised = {"oomScoreAdj": max(score, 0)} if isinstance(score, int) else {}
    return {**process, "capabilities": capabilities, "rlimits": limits, **raised}


def _allowed(limit: Mapping[str, Any], hard: Mapping[str, int]) -> bool:
    highest = hard.get(str(limit.get("type")), -1)
    return highest < 0 or int(limit.get("hard", 0)) <= highest


def hard_limits() -> dict[str, int]:
    """Return this machine's hard limits by their OCI names."""
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: resource.getrlimit(getattr(resource, name))[1] for name in names}


def files(arguments: Sequence[str], cwd: Path) -> list[tuple[Path, bool]]:
    """Return the JSON files that describe what runc is to start; True where the file is a bundle's whole configuration."""
    if CREATES & set(arguments):
        bundle = _option(arguments, "--bundle", "-b")
        return [((Path(bundle) if bundle else cwd) / "config.json", True)]
    process = _option(arguments, "--process", "-p") if "exec" in arguments else ""
    return [(Path(process), False)] if process else []


def _option(arguments: Sequence[str], long: str, short: str) -> str:
    for number, one in enumerate(arguments):
        if one in {long, short} and number + 1 < len(arguments):
            return arguments[number + 1]
        if one.startswith(f"{long}="):
            return one.partition("=")[2]
    return ""


def main(runc: str, arguments: Sequence[str]) -> None:
    """Rewrite what runc is to start, and become runc."""
    hard = hard_limits()
    for path, whole in files(arguments, Path.cwd()):
        document = json.loads(path.read_text(encoding="utf-8"))
        changed = {**document, "process": clamped(document["process"], hard)} if whole else clamped(document, hard)
        path.write_text(json.dumps(changed), encoding="utf-8")
    os.execv(runc, [runc, *arguments])  # noqa: S606 - the program that was named when the engine started


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
