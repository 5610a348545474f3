"""Build a folder the way kustomize-controller 1.9 does (its `kustomize` package 1.35), with the kustomize program."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from fluxdrill.errors import ProductDeviatedError
from fluxdrill.process import run
from fluxdrill.repository.addresses import without_credentials

FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
CLOSED = "http://127.0.0.1:1"
"""A proxy nobody listens at: the last guard against a download."""

REMOTE = re.compile(r"^(?:[a-z+]+://|git::|git@|gh:|github\.com[:/])|[?&](?:ref|version)=", re.IGNORECASE)
PATH_LISTS = (
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "transformers",
    "generators",
    "validators",
    "patchesStrategicMerge",
)
PATH_HOLDERS = ("patches", "patchesJson6902", "replacements", "openapi")
GENERATORS = ("configMapGenerator", "secretGenerator")
SPEC_FIELDS = {"targetNamespace": "namespace", "namePrefix": "namePrefix", "nameSuffix": "nameSuffix"}
SPEC_LISTS = ("patches", "components", "images")


class BuildError(ProductDeviatedError):
    """A folder does not build; `problem` is what kustomize said."""


class Builder(Protocol):
    """Renders a folder that has a kustomization file."""

    def __call__(self, folder: Path, /) -> str:
        """Return the rendered YAML stream; raises BuildError with the program's own words."""
        ...


@dataclass(frozen=True, slots=True)
class KustomizeBuilder:
    """Runs the kustomize at `program`, `deadline` seconds per build, with no way to the network and no plugins."""

    program: Path
    deadline: float = 60.0

    def __call__(self, folder: Path, /) -> str:
        """Return the rendered YAML; raises BuildError, or HarnessError when kustomize cannot run or end in time."""
        proxies = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        nowhere = {"PATH": os.devnull, "HOME": os.devnull}  # kustomize clones with the git on PATH
        done = run(
            [self.program, "build", "--load-restrictor=LoadRestrictionsNone", "."],
            deadline=self.deadline,
            cwd=folder,
            env={**nowhere, **dict.fromkeys(proxies, CLOSED)},
        )
        if done.returncode != 0:
            raise BuildError(done.stderr.strip().removeprefix("Error: ") or f"exit code {done.returncode}")
        return done.text


@dataclass(slots=True)
class References:
    """What the kustomizations below a folder refer to beyond the repository."""

    remote: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


def references(folder: Path, root: Path) -> References:
    """Follow every kustomization from `folder` and return what it would fetch or read outside `root`, without doing so."""
    found = References()
    pending, seen = [folder.resolve()], set[Path]()
    while pending:
        here = pending.pop()
        if here in seen:
            continue
        seen.add(here)
        for reference in _referred(here):
            target = (here / reference).resolve()
            if REMOTE.search(reference):
                found.remote.append(without_credentials(reference))
            elif not target.is_relative_to(root.resolve()):
                found.outside.append(reference)
            elif target.is_dir():
                pending.append(target)
    return found


@contextmanager
def as_flux_builds(folder: Path, spec: Mapping[str, Any]) -> Iterator[None]:
    """Give `folder` the kustomization file that kustomize-controller would build with, and take it away again.

    A missing file is generated from every YAML below; namespace, prefixes, patches, components and images of the
    Flux Kustomization's `spec` are merged in. Raises BuildError where the existing file is no mapping.
    """
    path = kustomization_file(folder)
    before = path.read_bytes() if path else None
    wanted = _merged(folder, _load(path) if path else _generated(folder), spec)
    written = path or folder / FILE_NAMES[0]
    if before is None or wanted != _load(written):
        written.write_text(yaml.safe_dump(wanted))
    try:
        yield
    finally:
        if before is None:
            written.unlink()
        else:
            written.write_bytes(before)


def kustomization_file(folder: Path) -> Path | None:
    """Return the folder's kustomization file."""
    return next((folder / name for name in FILE_NAMES if (folder / name).is_file()), None)


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BuildError(f"invalid Kustomization: {error}") from None
    if not isinstance(content, dict | None):
        raise BuildError(f"invalid Kustomization: it is a {type(content).__name__}")
    return content or {}


def _generated(folder: Path) -> dict[str, Any]:
    """Return a kustomization of every YAML below `folder`; a sub-folder that has its own is one resource."""
    resources: list[str] = []
    for parent, names, leaves in os.walk(folder):
        here = Path(parent)
        whole = [name for name in names if kustomization_file(here / name)]
        names[:] = [name for name in names if name not in whole]
        resources += [(here / name).relative_to(folder).as_posix() for name in whole]
        resources += [
            (here / name).relative_to(folder).as_posix() for name in leaves if name.endswith((".yaml", ".yml"))
        ]
    return {"resources": sorted(resources)}


def _merged(folder: Path, kustomization: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(kustomization)
    if not merged.get("resources"):
        merged["buildMetadata"] = ["originAnnotations"]  # the controller's way around "kustomization.yaml is empty"
    merged |= {ours: spec[theirs] for theirs, ours in SPEC_FIELDS.items() if spec.get(theirs)}
    for name in SPEC_LISTS:
        added = _list(spec.get(name))
        if name == "components" and spec.get("ignoreMissingComponents"):
            added = [path for path in added if (folder / str(path)).exists()]
        if added:
            merged[name] = [*_list(merged.get(name)), *added]
    return merged


def _referred(folder: Path) -> Iterator[str]:
    """Yield every path or URL that the folder's kustomization names; nothing where it cannot be read (the build tells)."""
    path = kustomization_file(folder)
    try:
        kustomization = _load(path) if path else _generated(folder)
    except BuildError:
        return
    named = [entry for name in PATH_LISTS for entry in _list(kustomization.get(name))]
    named += [entry.get("path") for name in PATH_HOLDERS for entry in _mappings(kustomization.get(name))]
    for entry in (entry for name in GENERATORS for entry in _mappings(kustomization.get(name))):
        named += [*_list(entry.get("envs")), entry.get("env")]
        named += [_file_of(str(file)) for file in _list(entry.get("files"))]
    yield from (entry for entry in named if isinstance(entry, str) and entry and "\n" not in entry)


def _file_of(entry: str) -> str:
    """Return the path in `path` or `key=path`."""
    key, _, path = entry.partition("=")
    return entry if REMOTE.search(entry) else path or key


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _mappings(value: object) -> list[dict[str, Any]]:
    return [entry for entry in _list(value) if isinstance(entry, dict)]
