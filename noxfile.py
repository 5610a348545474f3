"""The front door: every session is a thin call of the fluxdrill command of the same name; nox adds the environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2026.10.20"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["suites"]
nox.options.reuse_venv = "yes"

CGROUPS_V2 = Path("/sys/fs/cgroup/cgroup.controllers")
PYPROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PYPROJECT, "test")
LINT = nox.project.dependency_groups(PYPROJECT, "lint")


def fluxdrill(session: nox.Session, *arguments: str) -> None:
    """Run the fluxdrill command; nox knows only success and failure, so exit codes above 1 end it with theirs."""
    try:
        session.run("fluxdrill", *arguments)
    except CommandFailed as failed:
        if (failed.return_code or 1) > 1:
            raise SystemExit(failed.return_code) from failed
        raise


def run_live(session: nox.Session, folder: str, *, labs: int) -> None:
    """Run `folder`, unless the arguments name a place, with a report and as many labs at once."""
    named = any(Path(word.partition("::")[0]).exists() for word in session.posargs)
    where = [] if named else [folder]
    session.run("pytest", "--lab-reports=reports", "-n", str(labs), "-m", "not nightly", *where, *session.posargs)


def command(session: nox.Session, name: str) -> None:
    """Run the fluxdrill command of the same name with every program built."""
    session.install("-e", ".")
    fluxdrill(session, "toolchain", "build")
    fluxdrill(session, name, *session.posargs)


@nox.session
def suites(session: nox.Session) -> None:
    """Build what is missing, start a lab, run the suites (default). Arguments: suites or scenarios, pytest options."""
    session.install("-e", ".", *TEST)
    fluxdrill(session, "toolchain", "build")
    if nodes := bool({"kind", "--lab-provider=kind"} & set(session.posargs)):
        fluxdrill(session, "images", "build")  # before the clock of the first test runs
    run_live(session, "suites", labs=2 if nodes else 3)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the engine's own tests and the live items marked ci, with coverage."""
    session.install("-e", ".", *TEST)
    fluxdrill(session, "toolchain", "build")
    nodes = os.geteuid() == 0 and shutil.which("dockerd") and not CGROUPS_V2.exists()
    if nodes:
        fluxdrill(session, "images", "build")  # for clusters of kind; elsewhere their tests are skipped, and say why
    session.run(
        "pytest",
        "--cov",
        "--cov-report=term:skip-covered",
        "-m",
        "(not live or ci) and not nightly",
        "--lab-strict=yes",
        "-n",
        "2",  # most of it waits; two labs fit into what CI has
        *(session.posargs or ["tests", "suites", "scenarios"]),
    )
    if nodes and not session.posargs:  # the same suites on real pods, as far as they are their core
        # one after the other: two clusters at a time are what a machine of two cores has room for
        session.run("pytest", "-m", "core", "--lab-provider=kind", "--lab-strict=yes", "suites")


@nox.session
@nox.parametrize("client", ["36.0.2", "37.0.2"])
def clients(session: nox.Session, client: str) -> None:
    """Run the API layer's tests on the oldest and the newest supported Kubernetes client."""
    session.install("-e", ".", *TEST, f"kubernetes=={client}")
    session.run("pytest", "tests/kube", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types: ruff, ruff format, mypy strict."""
    session.install("-e", ".", *LINT)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def toolchain(session: nox.Session) -> None:
    """Build every pinned program into the cache and list them."""
    session.install("-e", ".")
    fluxdrill(session, "toolchain", *(session.posargs or ["build"]))
    fluxdrill(session, "toolchain", "list")


@nox.session
def images(session: nox.Session) -> None:
    """Make every container image into the cache, without a registry and an engine: [-- NAME ... --refresh]."""
    session.install("-e", ".")
    fluxdrill(session, "images", "build", *session.posargs)


@nox.session
def doctor(session: nox.Session) -> None:
    """Check this machine: each line says what is found and what to do about it."""
    session.install("-e", ".")
    fluxdrill(session, "doctor", *session.posargs)


@nox.session
def rehearse(session: nox.Session) -> None:
    """Cold-start a repository in an empty lab: -- SOURCE --path DIR [--ref REV] [--seed FILE] [--json FILE]."""
    command(session, "rehearse")


@nox.session
def docs(session: nox.Session) -> None:
    """Write the generated pages of docs/ from the tests and the runs in reports/: [-- RUN ...]."""
    session.install("-e", ".")
    session.run("python", "-m", "docs.generate", *session.posargs)
    session.run("python", "-m", "docs.remediation", *session.posargs)


@nox.session
def scenarios(session: nox.Session) -> None:
    """Run every scenario as a test, two labs at a time: [-- PATH ... pytest options]."""
    session.install("-e", ".", *TEST)
    fluxdrill(session, "toolchain", "build")
    run_live(session, "scenarios", labs=2)


@nox.session
def allure(session: nox.Session) -> None:
    """Render the newest run's Allure results to one HTML file, trackers off (needs Node's npx)."""
    results = Path("reports/latest/allure-results")
    if not results.is_dir():
        session.error("There are no Allure results in reports/latest: run `nox -s suites` first.")
    if shutil.which("npx") is None:
        session.error("npx is missing: install Node.js 20 or newer. The page in reports/latest/index.html needs none.")
    # only the allure2 report honours this switch; the default one embeds a tracker
    env = {"ALLURE_NO_ANALYTICS": "true"}
    command = (
        "npx",
        "--yes",
        "allure@3.18",
        "allure2",
        "--single-file",
        str(results),
        "-o",
        str(results.parent / "allure"),
    )
    session.run(*command, env=env, external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure lab start, wait latency and memory on this machine: [-- --json FILE]."""
    command(session, "bench")


@nox.session
def soak(session: nox.Session) -> None:
    """Run every scenario ten times and tell every difference; goes on where it was cut off: [-- PATH ... --times N]."""
    command(session, "soak")


@nox.session
def campaign(session: nox.Session) -> None:
    """Run scenarios drawn by weight: -- --seed S --minutes M."""
    command(session, "campaign")


@nox.session
def crash(session: nox.Session) -> None:
    """Kill the harness at every write of its ledger, for every fault, and prove that `recover` heals what it left."""
    session.install("-e", ".", *TEST)
    fluxdrill(session, "toolchain", "build")
    session.run("pytest", "tests/scenario/test_crash_live.py", "tests/scenario/test_ledger.py", *session.posargs)


@nox.session
def mutations(session: nox.Session) -> None:
    """Switch each guard against a false green off and see its test go red; writes docs/false-greens.md."""
    session.install("-e", ".", *TEST)
    fluxdrill(session, "toolchain", "build")
    session.run("python", "docs/mutations.py")
