"""Markers that say what a test needs of its lab: `needs("pods")` is met by the provider, or skipped with the way out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

import pytest

from fluxdrill.model.capabilities import OFFERED, Capability, lacking
from fluxdrill.pytest_plugin.options import EXISTING, PROVIDER, STRICT, read

if TYPE_CHECKING:
    from fluxdrill.lab.lab import LabSpec

MARK = "needs"
HELP = (
    f"{MARK}(*capabilities): what the test needs of its lab ({', '.join(Capability)}); "
    f"skipped with the way out where {PROVIDER.flag} has it not, an error with {STRICT.flag}=yes"
)
_OF_CONTROLLERS = {Capability.STOP_CONTROLLER, Capability.CONTROLLER_FILES}
_UNMET: pytest.StashKey[str] = pytest.StashKey()


def provided(spec: LabSpec) -> frozenset[Capability]:
    """Return what a lab of this make can do; without Flux there is no controller to stop."""
    return OFFERED[spec.provider] - (frozenset() if spec.flux else _OF_CONTROLLERS)


def unmet(needs: Iterable[Capability], offered: frozenset[Capability]) -> str:
    """Return which needs are not met and how to meet them; "" when all are."""
    missing = lacking(needs, offered)
    if not missing:
        return ""
    ways = [f"run with {PROVIDER.flag}={name}" for name, offers in OFFERED.items() if offers >= set(missing)]
    return f"needs {', '.join(missing)}: {' or '.join(ways) or 'no provider has it'}"


def judge(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Skip the tests whose needs are not met, or note them for `refuse`; touches no cluster.

    Raises pytest.UsageError for a capability that does not exist: a typing error would skip a test for ever.
    """
    offered = OFFERED[read(config, PROVIDER)]
    strict = read(config, STRICT) == "yes"
    for item in items:
        if not (reason := unmet(_needs(item), offered)):
            continue
        if strict:
            item.stash[_UNMET] = reason
        else:
            item.add_marker(pytest.mark.skip(reason=reason))


def no_lab(config: pytest.Config) -> NoReturn:
    """Skip a test that needs a lab made for it where clusters are only looked at, or fail it where no skip is allowed."""
    made = [name for name in OFFERED if name != EXISTING]
    reason = f"needs a lab made for it: run with {' or '.join(f'{PROVIDER.flag}={name}' for name in made)}"
    if read(config, STRICT) == "yes":
        pytest.fail(f"{reason} ({STRICT.flag}=yes allows no skip)", pytrace=False)
    pytest.skip(reason)


def refuse(item: pytest.Item) -> None:
    """Fail a test whose needs are not met, where a skip is not allowed."""
    if reason := item.stash.get(_UNMET, ""):
        pytest.fail(f"{reason} ({STRICT.flag}=yes allows no skip)", pytrace=False)


def _needs(item: pytest.Item) -> list[Capability]:
    named = [name for mark in item.iter_markers(MARK) for name in (mark.args or ("",))]
    known = list(Capability)
    if unknown := [name for name in named if name not in known]:
        raise pytest.UsageError(
            f"{item.nodeid} needs {', '.join(map(repr, unknown))}, which is no capability. "
            f"Choose from: {', '.join(known)}."
        )
    return [Capability(name) for name in named]
