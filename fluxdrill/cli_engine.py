"""The `fluxdrill engine` commands: a private container engine where none runs."""

from __future__ import annotations

import typer
from rich.console import Console

engine = typer.Typer(
    no_args_is_help=True, help="A private container engine, for machines where none runs (needs root)."
)
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


@engine.command("up")
def engine_up() -> None:
    """Start it, unless one answers already, and print its address; images of an earlier one are still there."""
    from fluxdrill.cluster import engine as engines

    found = engines.find() or engines.up()
    whose = "fluxdrill's own" if found.own else "this machine's own, left as it is"
    out.print(f"Engine {found.version} answers ({whose}).\n\n  export DOCKER_HOST={found.address}\n")
    if found.own:
        out.print("It runs until: fluxdrill engine down")


@engine.command("down")
def engine_down() -> None:
    """End it with all its containers; images are kept. An engine that is not fluxdrill's is never touched."""
    from fluxdrill.cluster import engine as engines

    ended = engines.down()
    out.print(f"The engine is gone ({ended} processes)." if ended else "No engine of fluxdrill runs.")
