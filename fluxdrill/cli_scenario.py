"""`fluxdrill scenario ...`, `campaign`, `soak` and `recover`: thin; what they call is loaded late."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fluxdrill.errors import ExitCode
from fluxdrill.progress import TerminalProgress

out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
scenario = typer.Typer(no_args_is_help=True, help="Declared chaos: break a lab on purpose and prove its recovery.")

Places = Annotated[list[Path] | None, typer.Argument(help="Scenario files or folders; default: scenarios/.")]
Seed = Annotated[int, typer.Option(help="Decides every random choice: same seed, same plan.")]


@scenario.command("validate")
def scenario_validate(places: Places = None) -> None:
    """Check scenario files without a cluster; each problem is told with its file and line."""
    from fluxdrill.scenario.command import scenarios

    found = scenarios(places or [])
    out.print(f"{len(found)} scenarios are valid.")


@scenario.command("list")
def scenario_list(places: Places = None) -> None:
    """List scenarios: what each proves, what it needs, and what outcome it expects."""
    from fluxdrill.scenario.command import scenarios

    table = Table("scenario", "proves", "outcome", "needs", "title", box=None, pad_edge=False)
    for one in scenarios(places or []).values():
        table.add_row(one.id, " ".join(one.proves) or "-", str(one.outcome), ", ".join(sorted(one.needs)), one.title)
    show(table)


@scenario.command("plan")
def scenario_plan(places: Places = None, seed: Seed = 1) -> None:
    """Print the numbered steps of scenarios; no cluster is needed and nothing is touched."""
    from fluxdrill.scenario.command import plans, scenarios

    for one in plans(scenarios(places or []).values(), seed):
        out.print(one.text())


@scenario.command("faults")
def scenario_faults() -> None:
    """List every fault: where it lives, what it needs and what it does."""
    from fluxdrill.scenario.command import fault_lines

    table = Table("fault", "where", "needs", "what it does", box=None, pad_edge=False)
    for line in fault_lines():
        table.add_row(*line)
    show(table)


@scenario.command("schema")
def scenario_schema() -> None:
    """Print the JSON Schema of scenario files, for an editor."""
    from fluxdrill.scenario.command import json_schema

    out.print(json_schema(), end="")


@scenario.command("run")
def scenario_run(
    places: Places = None,
    seed: Seed = 1,
    only: Annotated[list[str] | None, typer.Option("--id", help="Run only these scenarios. Repeatable.")] = None,
    repo: Annotated[str, typer.Option(help="Your own repository instead of the scenarios' one.")] = "",
    path: Annotated[str, typer.Option(help="The entry path in it.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do all reads and no writes.")] = False,
    reports: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("reports"),
) -> None:
    """Run scenarios in labs made for them, and end with a verdict that can be gated on."""
    from fluxdrill.report.scenario_run import Where, run_scenarios
    from fluxdrill.scenario import command

    found = command.plans(command.scenarios(places or [], ids=only or []).values(), seed)
    where = Where(places or [], reports, source=repo, path=path)
    with TerminalProgress().running() as progress:
        done = run_scenarios(found, where, seed=seed, progress=progress, dry=dry_run)
    out.print(f"{done.text}\n\nReport: {done.page}")
    raise typer.Exit(done.exit_code)


def campaign(
    places: Places = None,
    seed: Seed = 1,
    minutes: Annotated[float, typer.Option(help="No further scenario begins after this long.", min=0)] = 30.0,
    repo: Annotated[str, typer.Option(help="Your own repository instead of the scenarios' one.")] = "",
    path: Annotated[str, typer.Option(help="The entry path in it.")] = "",
    reports: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("reports"),
) -> None:
    """Run scenarios drawn by weight, one after the other, until the minutes are over; what runs then still ends."""
    from fluxdrill.report.scenario_run import Where, run_campaign
    from fluxdrill.scenario import command

    found = command.scenarios(places or []).values()
    where = Where(places or [], reports, source=repo, path=path)
    with TerminalProgress().running() as progress:
        done = run_campaign(found, where, seed=seed, minutes=minutes, progress=progress)
    out.print(f"{done.text}\n\nReport: {done.page}")
    raise typer.Exit(done.exit_code)


def soak(
    places: Places = None,
    seed: Seed = 1,
    times: Annotated[int, typer.Option(help="Rounds in all.", min=2)] = 10,
    state: Annotated[
        Path, typer.Option(help="Where ends are noted; a soak that was cut off goes on from here.")
    ] = Path("reports/soak.jsonl"),
    reports: Annotated[Path, typer.Option(help="Folder for the reports of the rounds.")] = Path("reports"),
) -> None:
    """Run scenarios many times and tell every difference between the rounds; exit code 0 only if all ended alike and well."""
    from fluxdrill.report.scenario_run import Where, run_soak
    from fluxdrill.scenario import command

    found = command.plans(command.scenarios(places or []).values(), seed)
    with TerminalProgress().running() as progress:
        text, code = run_soak(found, Where(places or [], reports), state, times=times, progress=progress)
    out.print(text)
    raise typer.Exit(code)


def recover(
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Heal what this cluster itself knows, from any machine.")
    ] = None,
) -> None:
    """Heal what killed runs left broken: on this host, or in the cluster of a kubeconfig."""
    from fluxdrill.scenario.recover import lines, recover_at, recover_host

    found = recover_at(kubeconfig) if kubeconfig is not None else recover_host()
    for line in lines(found):
        out.print(line)
    if any(one.left for one in found):
        raise typer.Exit(ExitCode.LEFT_DIRTY)


def show(table: Table) -> None:
    """Print a table as wide as it is."""
    Console(width=10_000, highlight=False, markup=False, emoji=False).print(table)
