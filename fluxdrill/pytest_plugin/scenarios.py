"""Scenario files as pytest items: `pytest scenarios` runs them like tests, beside the suites."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fluxdrill.errors import FluxdrillError, ProductDeviatedError
from fluxdrill.model.verdicts import Verdict
from fluxdrill.pytest_plugin.options import PROVIDER, SEED, read
from fluxdrill.report.evidence import witness
from fluxdrill.scenario.command import repositories
from fluxdrill.scenario.judge import Judgement
from fluxdrill.scenario.load import is_scenario, load
from fluxdrill.scenario.plan import plan
from fluxdrill.scenario.schema import Scenario
from fluxdrill.scenario.session import run_scenario
from fluxdrill.scenario.worlds import Worlds, missing


class ScenarioVerdictError(ProductDeviatedError):
    """A scenario did not end as it declares; each line is an objective with its own verdict."""

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(f"{judgement.verdict}: {judgement.why}", hint="")
        self.judgement = judgement

    def __str__(self) -> str:
        lines = [f"  {one.verdict:<13} {one.name}: {one.why}" for one in self.judgement.objectives]
        return "\n".join([f"{self.judgement.facts.id}: {self.problem}", *lines])


class ScenarioFile(pytest.File):
    """A YAML file that is a scenario."""

    def collect(self) -> Iterator[ScenarioItem]:
        """Yield its one item."""
        scenario = load(self.path)
        item: ScenarioItem = ScenarioItem.from_parent(self, name=scenario.id, scenario=scenario)
        yield item


class ScenarioItem(pytest.Item):
    """One scenario; it passes when every objective does."""

    def __init__(self, *, scenario: Scenario, **how: Any) -> None:
        super().__init__(**how)
        self.scenario = scenario
        self._clean = False
        self.add_marker(pytest.mark.live)
        for mark in scenario.marks:
            self.add_marker(getattr(pytest.mark, mark))
        # after the pytest-timeout default: a scenario knows itself how long it may take
        self.add_marker(pytest.mark.timeout(scenario.budgets.total + 180))

    def runtest(self) -> None:
        """Run it in a world of its own or one that the scenario before left as it was."""
        provider = read(self.config, PROVIDER)
        if reason := missing(self.scenario, provider):
            pytest.skip(reason)
        from fluxdrill.pytest_plugin.plugin import WORLDS, journal_of, start  # noqa: PLC0415 - it imports this module

        if (worlds := self.config.stash.get(WORLDS, None)) is None:
            worlds = Worlds(partial(start, self.config), repositories([self.path]), provider=provider)
            self.config.stash[WORLDS] = worlds
        with journal_of(self.config) as journal:
            planned = plan(self.scenario, int(read(self.config, SEED)))
            ended = run_scenario(worlds.get(self.scenario), planned, journal, witness=witness(journal))
        for sample in ended.judgement.samples:
            where = sample.object or "the whole"
            self.user_properties.append((f"{sample.what}_seconds {where} #{sample.cycle}", sample.seconds))
        self.user_properties.append(("verdict", str(ended.judgement.verdict)))
        _tell_allure(self.config, ended.judgement)
        if ended.judgement.verdict is not Verdict.PASS:
            raise ScenarioVerdictError(ended.judgement)
        self._clean = ended.clean

    def teardown(self) -> None:
        """Give up a world that the scenario did not leave clean."""
        from fluxdrill.pytest_plugin.plugin import WORLDS  # noqa: PLC0415 - it imports this module

        if (worlds := self.config.stash.get(WORLDS, None)) is not None:
            worlds.done(self.scenario, clean=self._clean)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:  # noqa: ARG002
        """Say what happened in the scenario's own words."""
        if isinstance(excinfo.value, FluxdrillError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Name the scenario."""
        return self.path, 0, f"{self.scenario.id}: {self.scenario.title}"


def _tell_allure(config: pytest.Config, judgement: Judgement) -> None:
    """Make each objective a step of the Allure result, with its reason attached, where Allure records."""
    if not config.pluginmanager.hasplugin("allure_pytest") or not config.option.allure_report_dir:
        return
    import allure  # noqa: PLC0415 - an optional companion

    for one in judgement.objectives:
        with suppress(AssertionError), allure.step(one.name):
            allure.attach(one.why, name=str(one.verdict), attachment_type=allure.attachment_type.TEXT)
            if one.verdict is not Verdict.PASS:
                raise AssertionError(one.why)


def collect(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Return a collector for a scenario file, None for any other."""
    if not is_scenario(path):
        return None
    found: pytest.Collector = ScenarioFile.from_parent(parent, path=path)
    return found
