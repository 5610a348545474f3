"""The plugin's options: each by command line, environment and ini file, in this order of precedence."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest


@dataclass(frozen=True, slots=True)
class Option:
    """One option: `--lab-NAME`, environment FLUXDRILL_LAB_NAME, ini `lab_NAME`."""

    name: str
    default: str
    help: str
    choices: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """The command line's word."""
        return f"--lab-{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"FLUXDRILL_LAB_{self.name.upper()}"

    @property
    def ini(self) -> str:
        """The key in the ini file."""
        return f"lab_{self.name}"


REPO = Option("repo", "", "the GitOps repository under test: folder, work tree, bundle or URL (default: homelab/)")
PATH = Option("path", "", "its entry path (default: clusters/kyrion)")
PROFILE = Option("profile", "fast", "how fast time runs in the served copy", ("fast", "as-written"))
KEEP = Option("keep", "never", "hold a lab before it ends, until Enter is pressed", ("never", "failed", "always"))
REPORTS = Option("reports", "", "folder for the run's journal and page; empty: none is written")
EXISTING = "existing"
PROVIDER = Option(
    "provider",
    "embedded",
    "where labs run, which decides what tests can ask of them",
    ("embedded", "kind", "k3d", EXISTING),
)
KUBECONFIG = Option("kubeconfig", "", "of a cluster that is there already, for --lab-provider=existing")
CONTEXT = Option("context", "", "a context of that file instead of its current one")
WRITE = Option("write", "", "id of the lab that this cluster is, to write to it; $FLUXDRILL_LAB_WRITE_TO names it, too")
STRICT = Option("strict", "no", "whether a test whose needs are not met is an error, not a skip", ("no", "yes"))
SEED = Option("seed", "1", "decides every random choice of scenarios: same seed, same plan")
OPTIONS = (REPO, PATH, PROFILE, KEEP, REPORTS, PROVIDER, KUBECONFIG, CONTEXT, WRITE, STRICT, SEED)


def add_options(parser: pytest.Parser) -> None:
    """Register every option in one group."""
    group = parser.getgroup("fluxdrill", "fluxdrill: labs")
    for one in OPTIONS:
        choices = f" ({', '.join(one.choices)})" if one.choices else ""
        group.addoption(one.flag, metavar="X", default=None, help=f"{one.help}{choices}; also ${one.variable}")
        parser.addini(one.ini, one.help, default="")


def read(config: pytest.Config, option: Option) -> str:
    """Return the value in force; raises pytest.UsageError for a value that is none of the choices."""
    value, where = origin(config, option)
    if option.choices and value not in option.choices:
        known = ", ".join(option.choices)
        raise pytest.UsageError(f"{option.flag} is {value!r} (from {where}). Choose one of: {known}.")
    return value


def origin(config: pytest.Config, option: Option) -> tuple[str, str]:
    """Return the value in force and where it comes from."""
    given = config.getoption(option.flag.removeprefix("--").replace("-", "_"), default=None)
    if given is not None:
        return str(given), "command line"
    if option.variable in os.environ:
        return os.environ[option.variable], option.variable
    ini = str(config.getini(option.ini))
    return (ini, "ini file") if ini else (option.default, "default")


def header(config: pytest.Config) -> str:
    """Return the line of the report header: every option that is not at its default, and where it comes from."""
    values = [(one, *origin(config, one)) for one in OPTIONS]
    told = [f"{one.name} {value} ({where})" for one, value, where in values if where != "default"]
    return f"fluxdrill: {', '.join(told)}" if told else ""
