"""The fluxdrill command: thin, calls the folders below; every nox job of the same name calls it."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer.exceptions import TyperException

import fluxdrill
from fluxdrill.cli_engine import engine
from fluxdrill.cli_explain import explain
from fluxdrill.cli_images import images
from fluxdrill.cli_report import report
from fluxdrill.cli_scenario import campaign, recover, scenario, soak
from fluxdrill.errors import ExitCode, FluxdrillError, UsageError
from fluxdrill.progress import TerminalProgress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Test, break and recover Kubernetes clusters managed by Flux CD, in throwaway labs.",
)
toolchain = typer.Typer(no_args_is_help=True, help="The pinned programs a lab is made of.")
app.add_typer(toolchain, name="toolchain")
app.add_typer(scenario, name="scenario")
app.add_typer(report, name="report")
app.add_typer(explain, name="explain")
app.add_typer(engine, name="engine")
app.add_typer(images, name="images")
for one in (campaign, soak, recover):
    app.command()(one)
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
TYPER_INTERRUPTED = 130
"""What typer turns a KeyboardInterrupt into; no command of ours ends with it."""


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> None:
    """Take the options that every command has."""
    del debug  # run() reads it; here it stands for --help


@app.command()
def version() -> None:
    """Print fluxdrill's version."""
    out.print(fluxdrill.version())


@toolchain.command("list")
def toolchain_list() -> None:
    """List every pinned program and file set: version, where it is, and why a ready binary was passed over."""
    from fluxdrill.toolchain.catalog import PINNED
    from fluxdrill.toolchain.store import Origin, locate

    places = [locate(item) for item in PINNED]
    table = Table("name", "version", "from", "path", box=None, pad_edge=False)
    for place in places:
        missing = place.origin is Origin.MISSING
        table.add_row(place.item.name, place.item.version, place.origin.value, "-" if missing else str(place.path))
    _show(table)
    for remark in (remark for place in places for remark in place.remarks):
        out.print(f"note: {remark}")
    if missing_count := sum(place.origin is Origin.MISSING for place in places):
        out.print(f"{missing_count} of {len(places)} missing: run `fluxdrill toolchain build`.")


@toolchain.command("build")
def toolchain_build(names: Annotated[list[str] | None, typer.Argument(help="Programs; default: all.")] = None) -> None:
    """Build what is missing; a second call finds everything and builds nothing."""
    from fluxdrill.toolchain.build import ensure
    from fluxdrill.toolchain.store import cache_root, cache_size

    with TerminalProgress().running() as progress:
        tools, built = ensure(names or None, progress=progress)
    made = f"{len(built)} made in {sum(one.seconds for one in built):.0f} s" if built else "nothing to build"
    out.print(
        f"{len(tools.binaries)} programs and {len(tools.files)} file sets ready, {made}; "
        f"the cache {cache_root()} holds {cache_size() / 2**20:.0f} MiB."
    )


@toolchain.command("path")
def toolchain_path(name: Annotated[str, typer.Argument(help="A program or file set.")]) -> None:
    """Print the path of one program or file set."""
    from fluxdrill.toolchain.build import path_of

    out.print(str(path_of(name)))


@app.command()
def up(
    hours: Annotated[float, typer.Option(help="The lab ends by itself after this many hours.", min=0.01)] = 8.0,
    provider: Annotated[str, typer.Option(help="embedded, kind or k3d (docs/nodes.md).")] = "embedded",
) -> None:
    """Start a lab with Flux and keep it for hand use."""
    from fluxdrill.lab import keeper
    from fluxdrill.model.capabilities import SIMULATED

    with TerminalProgress().running() as progress:
        lease = keeper.up(hours=hours, provider=provider, progress=progress)
    simulated = ", ".join(SIMULATED[provider])
    out.print(f"Lab {lease.lab_id} is up: real control plane and Flux controllers; simulated: {simulated}.\n")
    out.print(f"  export KUBECONFIG={keeper.kubeconfig(lease)}")
    out.print("  kubectl -n flux-system get gitrepositories,kustomizations   # any kubectl you have")
    if provider == "embedded":
        out.print(f"  less {lease.folder}/logs/kustomize-controller.log\n")
    else:
        out.print("  kubectl -n flux-system logs deployment/kustomize-controller\n")
    out.print(f"It ends after {hours:g} h, or with: fluxdrill down {lease.lab_id}")


@app.command()
def down(lab: Annotated[str, typer.Argument(help="A lab's id, or 'all'.")]) -> None:
    """End a kept lab."""
    from fluxdrill.cluster import leases
    from fluxdrill.lab import keeper

    ids = [one.lab_id for one in leases.leases() if one.kept] if lab == "all" else [lab]
    for lab_id in ids:
        keeper.down(lab_id)
        out.print(f"Lab {lab_id} is gone.")
    if not ids:
        out.print("There is no kept lab.")


@app.command("list")
def list_labs() -> None:
    """List the labs and kind clusters of this user and whether their owner lives."""
    from fluxdrill.cluster import leases
    from fluxdrill.lab import keeper

    found = leases.leases()
    for _, cluster in (clusters := leases.clusters()):
        alive = any(one.folder == cluster.folder and one.alive for one in found)
        out.print(f"kind cluster {cluster.cluster}: {'in use' if alive else 'its lab is gone: run `fluxdrill reap`'}")
    if not found:
        out.print("There is no lab." if not clusters else "There is no lab beside them.")
        return
    table = Table("lab", "owner", "kind", "kubeconfig", box=None, pad_edge=False)
    for lease in found:
        state = f"pid {lease.owner}" if lease.alive else "gone: run `fluxdrill reap`"
        table.add_row(lease.lab_id, state, "kept" if lease.kept else "run", str(keeper.kubeconfig(lease)))
    _show(table)


@app.command()
def reap() -> None:
    """Remove what runs that were killed left behind; labs with a living owner stay. Safe to run from cron."""
    from fluxdrill.cluster import leases

    reaped = leases.reap()
    for one in reaped:
        clusters = f", {one.clusters} kind clusters" if one.clusters else ""
        out.print(f"Removed {one.lab_id}: {one.processes} processes{', its folder' if one.folder else ''}{clusters}.")
    if not reaped:
        out.print("Nothing to remove.")


@app.command()
def doctor(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the findings as data to this file.")] = None,
) -> None:
    """Check this machine: each line is ok, warn or fail and says what to do; only what no lab can do without fails."""
    _require_place(json_file)
    from fluxdrill.doctor.examine import as_data, examine
    from fluxdrill.doctor.finding import Level

    findings = examine()
    for finding in findings:
        out.print(finding.line)
    if json_file is not None:
        json_file.write_text(json.dumps(as_data(findings), indent=1) + "\n", encoding="utf-8")
    if any(finding.level is Level.FAIL for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def rehearse(
    source: Annotated[str, typer.Argument(help="A folder, a Git work tree, a bundle or a Git URL.")],
    path: Annotated[str, typer.Option(help="The entry path: what Flux is bootstrapped with.")],
    ref: Annotated[str | None, typer.Option(help="Branch, tag or commit; default: what is checked out.")] = None,
    seed: Annotated[
        list[Path] | None, typer.Option(help="Objects applied before Flux: what the owner brings by hand. Repeatable.")
    ] = None,
    profile: Annotated[str, typer.Option(help="How fast time runs: fast or as-written.")] = "fast",
    cap: Annotated[float, typer.Option(help="Seconds after which an unsettled run ends as unknown.", min=1)] = 600.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result as data to this file.")] = None,
    reports: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("reports"),
) -> None:
    """Cold-start a repository in an empty lab and say how far it comes, what blocks it and what waits behind."""
    _require_place(json_file)
    from fluxdrill.rehearsal.command import run_rehearsal
    from fluxdrill.report.folder import RunFolder
    from fluxdrill.report.rehearsed import tell

    folder = RunFolder(reports, "rehearse", title=f"Cold start of {source}, path {path}", facts={})
    with folder, TerminalProgress().running() as progress:
        result = run_rehearsal(
            source,
            path=path,
            ref=ref,
            seeds=seed or [],
            profile=profile,
            cap=cap,
            progress=progress,
            observer=folder.journal.observe,
        )
    verdict = tell(folder.journal, result.data, result.text)
    page = folder.finish(verdict=verdict)
    out.print(result.text)
    out.print(f"\nReport: {page}", markup=False)
    if json_file is not None:
        json_file.write_text(json.dumps(result.data, indent=1) + "\n", encoding="utf-8")
    raise typer.Exit(result.exit_code)


@app.command()
def bench(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures as data to this file.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Measure only these figures. Repeatable.")] = None,
    rounds: Annotated[int, typer.Option(help="Labs started for lab_start.", min=1)] = 5,
) -> None:
    """Measure lab start, wait latency, memory, four labs at once, planning and the page on this machine."""
    _require_place(json_file)
    from fluxdrill.lab.bench import Conditions, table
    from fluxdrill.report.bench import measure

    conditions = Conditions.now()
    with TerminalProgress().running() as progress:
        figures = measure(only=only, rounds=rounds, progress=progress)
    _show(table(figures, conditions))
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _show(table: Table) -> None:
    """Print a table as wide as it is: a path cut short is of no use, and a terminal wraps it by itself."""
    Console(width=10_000, highlight=False, markup=False, emoji=False).print(table)


def _require_place(file: Path | None) -> None:
    """Refuse, before the work, a file that could not be written after it."""
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        raise UsageError(
            f"{file} cannot be written: its folder does not exist.", hint="Name a file in a folder that does."
        )


def main() -> None:
    """Run the command and turn every outcome into fluxdrill's exit codes."""
    hear_interrupts()
    sys.exit(run(sys.argv[1:]))


def hear_interrupts() -> None:
    """Undo that a shell started us in its background with SIGINT ignored: what we run would never hear it either."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def run(argv: list[str]) -> int:
    """Run the command line `argv`; return the exit code, with errors told in plain words on standard error."""
    debug = "--debug" in argv  # wherever it stands, also behind a command
    try:
        result = app([word for word in argv if word != "--debug"], prog_name="fluxdrill", standalone_mode=False)
    except FluxdrillError as error:
        return _tell(error.problem, error.hint, error.exit_code, debug=debug)
    except TyperException as error:
        if not error.format_message():  # the help was wanted, or stands there instead of a message
            return ExitCode.USAGE
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "fluxdrill"
        return _tell(error.format_message(), f"See `{command} --help`.", ExitCode.USAGE, debug=debug)
    except typer.Abort:
        result = TYPER_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place: a defect must still end in words and an exit code
        hint = "This is a defect of fluxdrill. Run it again with --debug and report what it prints."
        return _tell(f"unexpected {type(error).__name__}: {error}", hint, ExitCode.HARNESS_ERROR, debug=debug)
    if result == TYPER_INTERRUPTED:
        return _tell("interrupted.", "", ExitCode.INTERRUPTED, debug=False)
    return int(result or 0)


def _tell(problem: str, hint: str, code: ExitCode, *, debug: bool) -> ExitCode:
    """Say on standard error what is wrong and what to do, after the traceback if it is wanted; return `code`."""
    if debug:
        traceback.print_exc()
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
    errors.print(f"fluxdrill: {problem}")
    if hint:
        errors.print(f"  {hint}")
    return code
