"""The pytest plugin: labs as fixtures, live progress while they start, a record and a page of the run.

It does nothing until a test asks for a lab or `--lab-reports` is given; collecting touches no cluster.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fluxdrill.errors import FluxdrillError
from fluxdrill.progress import TerminalProgress
from fluxdrill.pytest_plugin import needs, options, proves
from fluxdrill.pytest_plugin.measured import Kind, Measured, Measurement, measurements, note
from fluxdrill.pytest_plugin.options import (
    CONTEXT,
    EXISTING,
    KEEP,
    KUBECONFIG,
    OPTIONS,
    PROVIDER,
    REPORTS,
    WRITE,
    read,
)
from fluxdrill.pytest_plugin.summary import News, lines

if TYPE_CHECKING:
    from fluxdrill.lab.existing import Existing
    from fluxdrill.lab.lab import Lab, LabSpec
    from fluxdrill.pytest_plugin.recording import Recording
    from fluxdrill.report.journal import Journal
    from fluxdrill.scenario.worlds import Worlds

_JOURNAL: pytest.StashKey[Journal] = pytest.StashKey()
_RECORDING: pytest.StashKey[Recording] = pytest.StashKey()
_LABS: pytest.StashKey[list[Lab]] = pytest.StashKey()
_NEWS: pytest.StashKey[News] = pytest.StashKey()
WORLDS: pytest.StashKey[Worlds] = pytest.StashKey()
_REFUSED: pytest.StashKey[str] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options."""
    options.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options before anything starts; open the run's folder where reports are wanted."""
    for option in OPTIONS:
        read(config, option)
    _refuse_to_hold(config)
    for help_ in (needs.HELP, proves.HELP):
        config.addinivalue_line("markers", help_)
    config.stash[_LABS], config.stash[_NEWS] = [], News()
    if (worker := getattr(config, "workerinput", None)) is not None:
        if folder := worker.get("fluxdrill_folder"):
            _direct(config, Path(folder))
            from fluxdrill.pytest_plugin.recording import worker_journal  # noqa: PLC0415

            config.stash[_JOURNAL] = worker_journal(Path(folder), worker["workerid"])
    elif (root := read(config, REPORTS)) and not config.option.collectonly:
        from fluxdrill.pytest_plugin.recording import Recording  # noqa: PLC0415

        recording = Recording(config, Path(root))
        config.stash[_RECORDING], config.stash[_JOURNAL] = recording, recording.journal
        config.pluginmanager.register(recording, "fluxdrill-recording")
        _direct(config, recording.folder.path)


def _refuse_to_hold(config: pytest.Config) -> None:
    """Raise pytest.UsageError where labs shall be held and nobody can press Enter."""
    if read(config, KEEP) == "never" or hasattr(config, "workerinput"):
        return
    if config.getoption("numprocesses", default=None):
        raise pytest.UsageError(f"{KEEP.flag} holds labs until Enter is pressed, and the workers of -n cannot hear it.")
    if not sys.stdin.isatty():
        raise pytest.UsageError(
            f"{KEEP.flag} holds labs until Enter is pressed, and there is no terminal to press it in."
        )


def _hold(request: pytest.FixtureRequest, running: Lab) -> None:
    """Hold a lab for a look by hand before it ends, where the run asks for it and a person can answer."""
    wanted = read(request.config, KEEP)
    if wanted == "never" or (wanted == "failed" and not request.session.testsfailed):
        return
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stderr.write(f"\nLab {running.lab_id} is held. Look at it from another terminal:\n")
        sys.stderr.write(f"  export KUBECONFIG={running.kubeconfig}\n  ls {running.folder}/logs\n")
        sys.stderr.write("Press Enter to end it.\n")
        sys.stdin.readline()


def _direct(config: pytest.Config, folder: Path) -> None:
    """Have JUnit and Allure write into the run's folder, unless the call names another place."""
    if not config.option.xmlpath and not hasattr(config, "workerinput"):
        config.option.xmlpath = str(folder / "junit.xml")
    if config.pluginmanager.hasplugin("allure_pytest") and not config.option.allure_report_dir:
        config.option.allure_report_dir = str(folder / "allure-results")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where to write its journal."""
    if (recording := node.config.stash.get(_RECORDING, None)) is not None:
        node.workerinput["fluxdrill_folder"] = str(recording.folder.path)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker knows of its labs and what it refused; one that crashed says nothing."""
    output = getattr(node, "workeroutput", {})
    if (plain := output.get("fluxdrill_news")) is not None:
        node.config.stash[_NEWS].take(plain)
    if refused := output.get("fluxdrill_refused"):
        node.config.stash[_REFUSED] = refused


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the world of the last scenario; have a worker hand its news to the controller; what a worker refused is a usage error of the whole run."""
    stash, output = session.config.stash, getattr(session.config, "workeroutput", None)
    if (worlds := stash.get(WORLDS, None)) is not None:
        worlds.close()
    if output is not None:
        output["fluxdrill_news"] = _news(session.config).plain()
        output["fluxdrill_refused"] = stash.get(_REFUSED, "")
    elif stash.get(_REFUSED, ""):
        session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a scenario file as a test."""
    if file_path.suffix not in {".yaml", ".yml"}:
        return None
    from fluxdrill.pytest_plugin import scenarios  # noqa: PLC0415

    return scenarios.collect(file_path, parent)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check what tests need and prove, before any of them runs."""
    try:
        needs.judge(config, items)
        proves.check(items)
    except pytest.UsageError as error:
        if not hasattr(config, "workerinput"):
            raise
        # in a worker it would be an internal error of xdist: run nothing, and let the controller say why
        config.stash[_REFUSED] = str(error)
        items.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose needs are not met, where the run allows no skip."""
    needs.refuse(item)


def pytest_report_header(config: pytest.Config) -> str:
    """Print the options in force and where they come from."""
    return options.header(config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect evidence at the moment of a failure, while the labs still stand."""
    report = yield
    if call.when == "call" or report.failed:
        report.user_properties.append(("statement", inspect.getdoc(getattr(item, "function", None)) or ""))
    if report.failed:
        from fluxdrill.pytest_plugin.recording import message_of  # noqa: PLC0415

        message = message_of(call, report)
        report.user_properties.append(("message", message))
        if isinstance(call.excinfo.value if call.excinfo else None, FluxdrillError):
            report.longrepr = f"{_place(item, call)}\n{message}"
        evidence = _evidence(item.config, call, item.name)
        report.sections.extend(evidence)
        _attach(item.config, evidence)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Say how long labs took, what was slowest, what was measured, what still stands, and where the report is."""
    recording = config.stash.get(_RECORDING, None)
    every = [one for reports in terminalreporter.stats.values() for one in reports]
    calls = [one for one in every if isinstance(one, pytest.TestReport) and one.when == "call"]
    measured = [(one.nodeid, found) for one in calls for found in measurements(one.user_properties)]
    if refused := config.stash.get(_REFUSED, ""):
        terminalreporter.write_line(f"ERROR: {refused}", red=True)
    news = _news(config)
    if not news.starts and not measured and recording is None:
        return
    page = str(recording.finish(exitstatus)) if recording is not None else ""
    terminalreporter.section("fluxdrill")
    for line in lines(news, measured, _standing(news), page):
        terminalreporter.write_line(line)


def _news(config: pytest.Config) -> News:
    """Return what is known by now, with what the watches of this process's own labs saw."""
    seen = [(one.lab_id, one.store.timeline.transitions) for one in config.stash[_LABS]]
    return config.stash[_NEWS].with_labs(seen)


def _standing(news: News) -> list[str]:
    """Return the labs that still stand: those of this run that did not end, and those that `fluxdrill up` keeps."""
    from fluxdrill.cluster.leases import leases  # noqa: PLC0415 - collecting must stay cheap

    ours = {lab for lab, *_ in news.starts}
    return [one.lab_id for one in leases() if one.kept or one.lab_id in ours]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close the journal."""
    if (journal := config.stash.get(_JOURNAL, None)) is not None:
        journal.close()


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Hand out one running lab for the whole session (one per xdist worker); tests must leave it as they found it."""
    with start(request.config, None) as running:
        yield running
        _hold(request, running)


@pytest.fixture
def own_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Hand out a fresh lab for this test alone: break it as you like."""
    with start(request.config, None) as running:
        yield running
        _hold(request, running)


@pytest.fixture(scope="session")
def existing(request: pytest.FixtureRequest) -> Iterator[Existing]:
    """Hand out a cluster to look at: the one of `--lab-kubeconfig`, or a lab with the reference repository.

    For reading only, unless the options and the environment both name the lab that it is.
    """
    from fluxdrill.lab.existing import Existing, kubeconfig_of  # noqa: PLC0415 - collecting must stay cheap

    config = request.config
    if read(config, PROVIDER) == EXISTING:
        place, context = kubeconfig_of(read(config, KUBECONFIG)), read(config, CONTEXT)
        with Existing.open(place, context=context or None, write=read(config, WRITE)) as found:
            yield found
        return
    from fluxdrill.lab.lab import LabSpec  # noqa: PLC0415
    from fluxdrill.lab.serve import HOMELAB_PATH, homelab, serve  # noqa: PLC0415
    from fluxdrill.repository.profile import Profile  # noqa: PLC0415

    with start(config, LabSpec(sealed_secrets=True)) as running:
        serve(running, str(homelab()), path=HOMELAB_PATH, profile=Profile.FAST).wait_ready(deadline=300)
        with Existing.open(running.kubeconfig, environment={}) as found:
            yield found
        _hold(request, running)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Return a function that records a measured time in seconds and judges it by its budget: see `Measured`."""

    def record(name: str, seconds: float, *, kind: str = Kind.RECOVERY, budget: float | None = None) -> None:
        found = Measurement(name, round(seconds, 2), Kind(kind), budget)
        if (journal := request.config.stash.get(_JOURNAL, None)) is not None:
            journal.tell("measured", test=request.node.nodeid, **found.plain())
        note(request.node, found)

    return record


@pytest.fixture
def start_lab(request: pytest.FixtureRequest) -> Iterator[Callable[[LabSpec], Lab]]:
    """Start labs of a given make; they end with the test."""
    running: list[Lab] = []

    def begin(spec: LabSpec) -> Lab:
        running.append(start(request.config, spec))
        return running[-1]

    yield begin
    for one in running:
        one.close()


def start(config: pytest.Config, spec: LabSpec | None, **how: Any) -> Lab:
    """Start a lab of the run's provider with live progress, recorded where the run is; `how` goes to `Lab.start`."""
    # imported late: collecting tests must stay cheap and touch no cluster
    from fluxdrill.lab.lab import Lab, LabSpec  # noqa: PLC0415

    if read(config, PROVIDER) == EXISTING:
        needs.no_lab(config)

    spec = replace(spec or LabSpec(), provider=read(config, PROVIDER))
    journal = config.stash.get(_JOURNAL, None)
    observer = journal.observe if journal is not None else None
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        running = Lab.start(spec, observer=observer, **how)
    else:
        with capture.global_and_fixture_disabled(), TerminalProgress().running() as progress:
            running = Lab.start(spec, progress=progress, observer=observer, **how)
    config.stash[_LABS].append(running)
    config.stash[_NEWS].starts.append((running.lab_id, running.seconds, spec.provider))
    if journal is not None:
        journal.tell("lab", lab=running.lab_id, seconds=round(running.seconds, 2), provider=spec.provider)
    return running


@contextmanager
def journal_of(config: pytest.Config) -> Iterator[Journal]:
    """Hand out the run's journal, or where no report is wanted one that is thrown away."""
    if (known := config.stash.get(_JOURNAL, None)) is not None:
        yield known
        return
    from fluxdrill.report.journal import Journal  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="fluxdrill-journal-") as folder, Journal(Path(folder) / "journal") as own:
        yield own


def _attach(config: pytest.Config, evidence: list[tuple[str, str]]) -> None:
    """Attach the evidence to the Allure result, where Allure records."""
    if config.pluginmanager.hasplugin("allure_pytest") and config.option.allure_report_dir:
        import allure  # noqa: PLC0415 - an optional companion

        for title, text in evidence:
            allure.attach(text, name=title, attachment_type=allure.attachment_type.TEXT)


def _place(item: pytest.Item, call: pytest.CallInfo[Any]) -> str:
    """Return the line of the test that failed: our own error says the rest better than a traceback of our code."""
    entries = call.excinfo.traceback if call.excinfo is not None else []
    own = [entry for entry in entries if Path(str(entry.path)) == item.path]
    return f"{item.path.name}:{own[-1].lineno + 1}: {str(own[-1].statement).strip()}" if own else item.nodeid


def _evidence(config: pytest.Config, call: pytest.CallInfo[Any], test: str) -> list[tuple[str, str]]:
    """Return what the running labs say; a lab that cannot be read says why instead."""
    from fluxdrill.model.clock import SYSTEM_CLOCK, Instant  # noqa: PLC0415
    from fluxdrill.report.evidence import collect  # noqa: PLC0415
    from fluxdrill.report.graph import of_view  # noqa: PLC0415

    now = SYSTEM_CLOCK.now()
    began = Instant(now.monotonic - call.duration, now.utc.fromtimestamp(call.start, now.utc.tzinfo))
    found: list[tuple[str, str]] = []
    for running in config.stash[_LABS]:
        if running.closed:
            continue
        try:
            found += [(f"{title} ({running.lab_id})", text) for title, text in collect(running, since=began)]
            if (journal := config.stash.get(_JOURNAL, None)) is not None:
                title = f"What waited for what when {test} failed"
                journal.tell("graph", **of_view(running.store.view(), title=title, lab=running.lab_id))
        except FluxdrillError as error:
            found.append((f"No evidence of {running.lab_id}", str(error)))
    return found
