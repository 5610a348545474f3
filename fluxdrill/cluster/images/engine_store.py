"""Bring an image into a container engine, and forget the ones it replaces."""

from __future__ import annotations

from fluxdrill.cluster.containers import Docker
from fluxdrill.cluster.images.components import Archive

LOAD_DEADLINE = 300.0


def has(docker: Docker, reference: str) -> bool:
    """Whether the engine has the image."""
    return docker.run("image", "inspect", "--format", "{{.Id}}", reference).returncode == 0


def load(docker: Docker, archive: Archive) -> bool:
    """Load the image unless the engine has it; tell whether it was loaded. Older ones of its name, unused, are removed.

    Raises HarnessError where the engine does not take it.
    """
    if has(docker, archive.reference):
        return False
    docker.must(
        *("load", "--quiet", "--input", archive.path),
        what=f"The engine does not load {archive.reference}",
        deadline=LOAD_DEADLINE,
    )
    name = archive.reference.rpartition(":")[0]
    words = ("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name)
    listed = docker.must(*words, what="Images cannot be listed").splitlines()
    for old in set(listed) - {archive.reference}:
        docker.run("image", "rm", old)  # refused for one in use, which is right
    return True
