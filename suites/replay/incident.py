"""The root-composition incident of August 2026 in a public homelab's history: three revisions, ready to be served.

The history is read from a bundle beside this checkout, and nothing of it is part of this repository. What is changed in
the served copy is listed in `EDITS`; everything else is as the owner wrote it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.repository.kustomize import FILE_NAMES, REMOTE, KustomizeBuilder
from fluxdrill.repository.permissive import is_of
from fluxdrill.repository.profile import Profile, ProfileReport, apply_profile
from fluxdrill.repository.served import Served, commit_files, export, files, restore
from fluxdrill.repository.source import open_source
from fluxdrill.repository.tree import Expected, expected
from fluxdrill.sources.git_command import Git
from fluxdrill.toolchain.build import ensure

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "elysium.bundle"
PATH = "clusters/kyrion"
"""The entry path of that repository."""
CHILDREN = ("infra-controllers", "infra-configs", "monitoring-controllers", "monitoring-configs", "apps")
OVERLAYS = tuple(
    f"{PATH}/{layer}/kustomization.yaml"
    for layer in ("infrastructure/controllers", "infrastructure/configs", "monitoring/controllers")
)
"""The nested layers that the root took in."""

INTRODUCED, FIXED = "b70016d59d10", "3fa9c18c9342"
"""The commits that moved the layers below the root's path, and that gave the root its list of files."""

GUARDS = "\ncommonAnnotations:\n  kustomize.toolkit.fluxcd.io/prune: disabled\n"
_REMOTE_ENTRY = re.compile(r"^[ \t]*-[ \t]+['\"]?(?P<url>[^\s'\"]+)['\"]?[ \t]*\n", re.MULTILINE)
_WAITS = re.compile(r"^(?P<indent>[ \t]+)wait: true[ \t]*$", re.MULTILINE)
_SCRUBBED = "name: U0NSVUJCRUQ="


class Stage(StrEnum):
    """One revision of the history."""

    BEFORE = "before"
    """The root renders its own files."""
    TAKEN_IN = "taken in"
    """The root renders every nested layer too."""
    GUARDED = "taken in, and guarded"
    """The same, and what the layers render carries `prune: disabled`: ours, not the owner's."""
    FIXED = "fixed"
    """The root has its list of files."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One stage in the served repository: its commit there, and what it wants."""

    commit: str
    tree: Expected


@dataclass(frozen=True, slots=True)
class History:
    """The served repository, and its stages."""

    served: Served
    revisions: Mapping[Stage, Revision]

    @property
    def rendered(self) -> list[KubeObject]:
        """Everything that any stage renders."""
        nodes = (node for one in self.revisions.values() for node in one.tree.nodes.values())
        return [obj for node in nodes for obj in node.rendered]

    @property
    def profile(self) -> ProfileReport:
        """What the copy's pace is; the stages hold it already."""
        return ProfileReport(Profile.FAST, self.served.commit, {}, {})

    def move_to(self, stage: Stage) -> str:
        """Make `stage` the tip of the served branch, as one commit, and return that commit."""
        return restore(self.served, self.revisions[stage].commit, f"Stage: {stage}")


def open_history(into: Path, *, stages: tuple[Stage, ...] = tuple(Stage)) -> History:
    """Make `into` a bare repository that holds every stage; the first of `stages` is its tip."""
    served = open_source(str(CORPUS), ref=None, into=into, deadline=60)
    builder = KustomizeBuilder(ensure(["kustomize"])[0]["kustomize"])
    revisions = {stage: _revision(served, stage, builder) for stage in stages}
    history = History(served, revisions)
    history.move_to(stages[0])
    return history


def _revision(served: Served, stage: Stage, builder: KustomizeBuilder) -> Revision:
    restore(served, _upstream(served, stage), f"As written: {stage}")
    commit_files(served, edited(files(served), guarded=stage is Stage.GUARDED), f"Edited: {stage}")
    report = apply_profile(served, Profile.FAST)
    with tempfile.TemporaryDirectory(prefix="fluxdrill-replay-") as scratch:
        export(served, Path(scratch))
        return Revision(report.commit, expected(Path(scratch), PATH, builder))


def _upstream(served: Served, stage: Stage) -> str:
    """Return the commit that the owner had at that stage: the parents of the two that changed the composition."""
    git = Git.within(served.path, 30)
    name = {Stage.BEFORE: f"{INTRODUCED}^", Stage.FIXED: FIXED}.get(stage, f"{FIXED}^")
    commit = git.text("log", "--all", "--format=%H", "--max-count=1", f"--grep={name.removesuffix('^')}")
    return git.text("rev-parse", "--verify", commit + "^" * name.count("^"))


# What is changed in the copy.

Text = Callable[[str], str]


def without_remote_bases(text: str) -> str:
    """Leave out every remote base: a lab has no way out, and its kustomize-controller refuses them."""
    return _REMOTE_ENTRY.sub(lambda found: "" if REMOTE.search(found["url"]) else found[0], text)


def without_waiting(text: str) -> str:
    """Have no Kustomization wait for health: charts cannot be fetched, so no release of them ever becomes healthy."""
    return _WAITS.sub(r"\g<indent>wait: false", text)


def with_valid_names(text: str) -> str:
    """Give an object a name again whose name was taken for a secret when the history was published."""
    return text.replace(_SCRUBBED, "name: scrubbed")


EDITS: Mapping[str, str] = {
    "remote bases": str(without_remote_bases.__doc__),
    "wait: false": str(without_waiting.__doc__),
    "names": str(with_valid_names.__doc__),
    "pace": "Sources are looked at every 2 s, failures are tried again after 2 s.",
}
"""Every change of the served copy, and why."""


def edited(tree: Mapping[str, bytes], *, guarded: bool = False) -> dict[str, str | None]:
    """Return the files of `tree` that the edits change, with their new text."""
    return dict(_edited(tree, guarded=guarded))


def _edited(tree: Mapping[str, bytes], *, guarded: bool) -> Iterator[tuple[str, str]]:
    for path, content in tree.items():
        if not path.endswith((".yaml", ".yml")):
            continue
        before = content.decode()
        after = with_valid_names(before)
        if Path(path).name in FILE_NAMES:
            after = without_remote_bases(after)
        if Path(path).parent.as_posix() == PATH:
            after = without_waiting(after)
        if guarded and path in OVERLAYS:
            after = after.rstrip("\n") + GUARDS
        if after != before:
            yield path, after


# What the warm cluster had and an empty lab has not.


def variables(history: History) -> list[dict[str, Any]]:
    """Return the Secrets that substitution needs, with made-up values: their keys are those that any stage seals."""
    nodes = [node for one in history.revisions.values() for node in one.tree.nodes.values()]
    wanted = {one.ref for node in nodes for one in node.substitute_from if one.ref.kind == "Secret"}
    keys: dict[ObjectRef, set[str]] = {ref: set() for ref in wanted}
    for obj in history.rendered:
        ref = replace(ObjectRef.of(obj), group="", kind="Secret")
        if is_of(obj, "bitnami.com", "SealedSecret") and ref in wanted:
            keys[ref] |= set(obj["spec"]["encryptedData"])
    return [_made_up(ref, found) for ref, found in sorted(keys.items())]


def _made_up(ref: ObjectRef, keys: set[str]) -> dict[str, Any]:
    data = {key: f"{key.lower().replace('_', '-')}.example" for key in sorted(keys)}
    meta = {"name": ref.name, "namespace": ref.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data}
