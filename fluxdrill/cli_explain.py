"""The `fluxdrill explain` commands: what state something is in, whether it goes on by itself, and what helps."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fluxdrill.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from fluxdrill.flux.advice.case import Advice

explain = typer.Typer(
    no_args_is_help=True, help="Say what state something is in, and the one thing that helps. Read-only."
)
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


@explain.callback()
def about() -> None:
    """Keep `hr` a command of its own; others will stand beside it."""


@explain.command("hr")
def explain_release(
    name: Annotated[str, typer.Argument(help="The HelmRelease, as NAMESPACE/NAME.")],
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Default: the environment's KUBECONFIG, else ~/.kube/config.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="A context of it instead of its current one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Explain a live HelmRelease, down to the object at which the cause is; exit code 0 only where there is nothing to do."""
    from fluxdrill.flux.advice.case import Retries, text
    from fluxdrill.flux.advice.collect import explain as explain_live
    from fluxdrill.flux.kinds import HELM_RELEASE
    from fluxdrill.lab.existing import Existing, kubeconfig_of
    from fluxdrill.model.refs import ObjectRef

    namespace, slash, own = name.partition("/")
    if not (namespace and slash and own) or "/" in own:
        raise UsageError(f"{name!r} names no HelmRelease.", hint="Write NAMESPACE/NAME.")
    with Existing.open(kubeconfig_of(str(kubeconfig or "")), context=context, environment={}) as cluster:
        chain = explain_live(cluster.api, ObjectRef(HELM_RELEASE.group, HELM_RELEASE.kind, namespace, own))
    out.print(json.dumps([_plain(one) for one in chain], indent=2) if as_json else text(chain))
    if chain[0].retries is not Retries.NOTHING_TO_DO:
        raise typer.Exit(ExitCode.FAILED)


def _plain(advice: Advice) -> dict[str, object]:
    return {**asdict(advice), "about": str(advice.about), "leaf": str(advice.leaf)}
