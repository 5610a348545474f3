"""The `fluxdrill images` commands: container images made of pinned programs and Debian packages, without a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from fluxdrill.progress import TerminalProgress

if TYPE_CHECKING:
    from fluxdrill.cluster.images.components import Archive

NODE, K3D = "node", "k3d"
images = typer.Typer(no_args_is_help=True, help="Container images for clusters of real nodes, made without a registry.")
out = Console(width=10_000, highlight=False, soft_wrap=True, markup=False, emoji=False)


@images.command("build")
def images_build(
    names: Annotated[list[str] | None, typer.Argument(help="Images by their short names; default: all.")] = None,
    *,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask apt for newer packages first.")] = False,
) -> None:
    """Make what is missing into the cache; needs no engine. A second call finds everything.

    The image called k3d keeps k3d's contract with upstream Kubernetes: the k3d driver is proved with it, k3s itself is not.
    """
    from fluxdrill.cluster.images.components import IMAGES, ensure_archives, find
    from fluxdrill.cluster.images.k3d import ensure_k3d_image
    from fluxdrill.cluster.images.node import ensure_node_image

    wanted = list(dict.fromkeys(names or [*(one.name for one in IMAGES), NODE, K3D]))
    others = [find(name) for name in wanted if name not in (NODE, K3D)]
    with TerminalProgress().running() as progress:
        made = ensure_archives(others, refresh=refresh, progress=progress)
        if NODE in wanted:
            made[NODE] = ensure_node_image(refresh=refresh, progress=progress)
        if K3D in wanted:
            made[K3D] = ensure_k3d_image(refresh=refresh and NODE not in wanted, progress=progress)
    _show(list(made.values()))


@images.command("list")
def images_list() -> None:
    """List the images in the cache; what is not there is made when a cluster wants it."""
    from fluxdrill.cluster.images.places import images_cache

    found = sorted((images_cache() / "archives").glob("*.tar"))
    if not found:
        out.print("There are no images yet: run `fluxdrill images build`.")
        return
    table = Table("file", "MiB", box=None, pad_edge=False)
    for path in found:
        table.add_row(str(path), f"{path.stat().st_size / 2**20:.0f}")
    out.print(table)


def _show(archives: list[Archive]) -> None:
    table = Table("image", "MiB", "made in", "file", box=None, pad_edge=False)
    for one in archives:
        seconds = f"{one.seconds:.1f} s" if one.seconds else "was there"
        table.add_row(one.reference, f"{one.path.stat().st_size / 2**20:.0f}", seconds, str(one.path))
    out.print(table)
    new = [one for one in archives if one.seconds]
    size = sum(one.path.stat().st_size for one in archives) / 2**20
    out.print(f"{len(archives)} images, {size:.0f} MiB; {len(new)} made in {sum(one.seconds for one in new):.1f} s.")
