"""Clusters that are there already: read, never made and never deleted; written to only where they are named twice.

A write is allowed to a lab of fluxdrill alone, and only where its id is given by an option and by the environment: a
shell that remembers one of the two is no intention.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fluxdrill.errors import RefusedError, UsageError
from fluxdrill.kube.api import Api
from fluxdrill.lab.marker import require_marker

OPTION = "--lab-write"
VARIABLE = "FLUXDRILL_LAB_WRITE_TO"
_READS = frozenset({"GET", "HEAD"})
_QUESTIONS = re.compile(r"/apis/(authorization|authentication)\.k8s\.io/v1/\w+reviews")
"""What is posted and asks only: it leaves nothing behind."""


@dataclass(frozen=True, slots=True)
class Existing:
    """Access to a cluster that is not ours to make; `lab` is its id where it may be written to, "" where it is read only."""

    api: Api
    lab: str = ""

    @classmethod
    def open(
        cls,
        kubeconfig: Path,
        *,
        context: str | None = None,
        write: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Existing:
        """Return access through `kubeconfig`, for reading unless `write` and the environment both name the lab it is.

        Raises RefusedError where only one of the two names it, or where the cluster is another or no lab at all, and
        UsageError for a kubeconfig that cannot be used. Nothing is written by it.
        """
        named = (environment if environment is not None else os.environ).get(VARIABLE, "")
        if not write and not named:
            return cls(Api.connect(kubeconfig, context=context, guard=refuse_writes))
        if write != named:
            raise RefusedError(
                f"{OPTION} names {write or 'nothing'} and {VARIABLE} names {named or 'nothing'}: nothing is written.",
                hint="Give the lab's id in both, or in neither to read only.",
            )
        api = Api.connect(kubeconfig, context=context)
        if (found := require_marker(api)) != write:
            api.close()
            raise RefusedError(f"The cluster is the lab {found}, not {write}.", hint="Name the lab that is meant.")
        return cls(api, found)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections; the cluster stays as it is."""
        self.api.close()


def refuse_writes(method: str, path: str) -> None:
    """Raise RefusedError for a request that could change anything."""
    if method not in _READS and not _QUESTIONS.fullmatch(path):
        raise RefusedError(
            f"{method} {path} was not sent: this cluster is open for reading only.",
            hint=f"To write to a lab, name its id twice: {OPTION} and {VARIABLE}.",
        )


def kubeconfig_of(named: str) -> Path:
    """Return the kubeconfig that is named, or that of the environment; raises UsageError where there is none."""
    text = named or os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    path = Path(text) if text else Path.home() / ".kube" / "config"
    if not path.is_file():
        raise UsageError("No kubeconfig was found.", hint="Name one with --kubeconfig, or set KUBECONFIG.")
    return path
