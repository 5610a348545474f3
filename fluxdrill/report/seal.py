"""verdict.json: what a run came to, with a checksum of its journal and of itself, so that a later change is told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fluxdrill
from fluxdrill.errors import UsageError

VERDICT = "verdict.json"
JOURNAL = "journal.jsonl"
_OF_A_SCENARIO = ("id", "title", "verdict", "why", "outcome", "proves", "seed", "faults", "objectives", "numbers", "uncertain")  # fmt: skip


def sealed(data: Mapping[str, Any], journal: Path) -> dict[str, Any]:
    """Return the content of verdict.json for a run, from the page's data and its journal as it stands."""
    found = {
        "fluxdrill": fluxdrill.version(),
        **{
            key: data[key]
            for key in ("title", "verdict", "began", "seconds", "complete", "counts", "campaign", "facts")
        },
        "scenarios": [{key: one[key] for key in _OF_A_SCENARIO} for one in data["scenarios"]],
        "journal": {"file": journal.name, "sha256": _sha256(journal.read_bytes())},
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return {**plain, "checksum": checksum(plain)}


def checksum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything in a verdict.json but the checksum itself, in a canonical form."""
    rest = {key: value for key, value in content.items() if key != "checksum"}
    return _sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())


def verify(run: Path) -> list[str]:
    """Return what was changed in a run's folder since the run ended; [] where nothing was.

    Raises UsageError where there is nothing to verify. A checksum guards against accidents and idle hands: who writes
    both files anew is not found out.
    """
    try:
        content = json.loads((run / VERDICT).read_text(encoding="utf-8"))
        journal = (run / str(content["journal"]["file"])).read_bytes()
        said, recorded = content["checksum"], content["journal"]["sha256"]
    except OSError as error:
        hint = "Name a run's folder; `fluxdrill report RUN` completes that of a run that was killed."
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}.", hint=hint) from error
    except (ValueError, KeyError, TypeError):
        return [f"{VERDICT} is not as a run writes it"]
    problems = [] if checksum(content) == said else [f"{VERDICT} was changed since the run ended"]
    return problems if _sha256(journal) == recorded else [*problems, f"{JOURNAL} was changed since the run ended"]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
