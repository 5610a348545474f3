"""`fluxdrill report ...`: thin, like cli.py; what it calls is loaded late, so that `fluxdrill --help` stays fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fluxdrill.errors import ExitCode


class PageByDefault(TyperGroup):
    """`fluxdrill report RUN` is `fluxdrill report page RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command before what names none."""
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["page", *args])


report = typer.Typer(cls=PageByDefault, help="The reports of runs.")
RunPath = Annotated[Path, typer.Argument(help="A run's folder below reports/.")]
LATEST = Path("reports/latest")


@report.command("page")
def report_page(run: RunPath = LATEST) -> None:
    """Write the page of a run again, for example of one that was killed before it could; `report RUN` is the same."""
    from fluxdrill.report.files import write_files  # noqa: PLC0415 - see above

    typer.echo(str(write_files(run)))


@report.command("rejudge")
def report_rejudge(run: RunPath = LATEST) -> None:
    """Judge the scenarios of an old run with today's rules and say what differs; the exit code is today's verdict."""
    from fluxdrill.report.rejudge import rejudge_run  # noqa: PLC0415 - see above

    lines, code = rejudge_run(run)
    typer.echo("\n".join(lines))
    raise typer.Exit(code)


@report.command("verify")
def report_verify(run: RunPath = LATEST) -> None:
    """Say whether a run's journal and verdict are as they were when it ended."""
    from fluxdrill.report.seal import verify  # noqa: PLC0415 - see above

    problems = verify(run)
    typer.echo("\n".join(problems) or "Journal and verdict are as the run left them.")
    raise typer.Exit(ExitCode.FAILED if problems else ExitCode.PASS)


@report.command("compare")
def report_compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs below reports/, two or more.")],
    reports: Annotated[Path, typer.Option(help="Folder for the report of the comparison.")] = Path("reports"),
) -> None:
    """Lay runs of the same suites on several providers side by side; exit code 1 where a test failed on one only."""
    from fluxdrill.report import compare  # noqa: PLC0415 - see above
    from fluxdrill.report.folder import RunFolder  # noqa: PLC0415 - see above

    known = compare.named(map(compare.read_run, runs))
    text, code = "\n".join(compare.lines(known)), compare.exit_code(known)
    title = f"{' and '.join(one.name for one in known)} compared"
    with RunFolder(reports, "compare", title=title, facts={"runs": ", ".join(one.name for one in runs)}) as folder:
        folder.journal.tell("text", title=title, text=text)
    page = folder.finish(verdict="deviated" if code else "pass")
    typer.echo(f"{text}\n\nReport: {page}")
    raise typer.Exit(code)
