"""What each CRD policy does with the CRDs of a chart's crds/ folder, on install and on upgrade (flux.md 4.2.19, S33).

Every cell is a release of a chart of its own, whose one CRD is in an API group of its own; all at the same time.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fluxdrill.kube.errors import NotFoundError
from fluxdrill.kube.wait import absent, wait_for
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import KubeObject, ObjectRef
from fluxdrill.sources.standin import crd, package
from suites.ordering.seen import gone, holds
from suites.remediation.conftest import releases_on
from suites.remediation.releases import VERSION, Release, recovered
from suites.remediation.traces import DEADLINE
from suites.sabotage import refused

pytestmark = [pytest.mark.live]

CONTROLS = ("test_control_a_crd_that_was_not_replaced_is_not_called_replaced",)

NEWER = "1.1.0"
UNSET = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A policy for an action, what the chart's CRD says before and after, and which of them the cluster then has.

    "" stands for no CRD. Of an install only what is `after` counts.
    """

    action: str
    policy: str
    before: str
    after: str
    ends: str

    @property
    def name(self) -> str:
        """The case in words."""
        had = f"-over-{self.before}" if self.before else ""
        return f"{self.action}-{self.policy.lower() or 'unset'}{had}"


CASES = {
    one.name: one
    for one in (
        Case("install", UNSET, "", "first", ends="first"),
        Case("install", "Skip", "", "first", ends=""),
        Case("install", "Create", "", "first", ends="first"),
        Case("install", "CreateReplace", "", "first", ends="first"),
        Case("upgrade", UNSET, "", "first", ends="first"),
        Case("upgrade", UNSET, "first", "second", ends="second"),
        Case("upgrade", "Skip", "", "first", ends=""),
        Case("upgrade", "Skip", "first", "second", ends="first"),
        Case("upgrade", "Create", "", "first", ends="first"),
        Case("upgrade", "Create", "first", "second", ends="second"),
        Case("upgrade", "CreateReplace", "", "first", ends="first"),
        Case("upgrade", "CreateReplace", "first", "second", ends="second"),
    )
}


class Definitions:
    """The cases on a lab: each with its release, its chart and its API group."""

    def __init__(self, lab: Lab, mark: str) -> None:
        self.lab = lab
        self._mark = mark
        self.releases: dict[str, Release] = {}

    def publish(self, case: Case) -> str:
        """Serve the chart of a case in the versions it needs, and return its name."""
        chart = f"{case.name}-{self._mark}"
        for version, text in ((VERSION, case.before if case.action == "upgrade" else case.after), (NEWER, case.after)):
            files = {"crds/widgets.yaml": crd(self.group(case), witness=text)} if text else {}
            self.lab.charts.publish(chart, version, package(version, name=chart, files=files))
        return chart

    def group(self, case: Case) -> str:
        """Return the API group of a case."""
        return f"{case.name}-{self._mark}.fluxdrill.dev"

    def ref(self, case: Case) -> ObjectRef:
        """Return the CRD of a case."""
        return ObjectRef("apiextensions.k8s.io", "CustomResourceDefinition", "", f"widgets.{self.group(case)}")

    def says(self, case: Case) -> str:
        """Return what the CRD in the cluster says, "" where there is none."""
        try:
            version = self.lab.api.get(self.ref(case))["spec"]["versions"][0]
        except NotFoundError:
            return ""
        return str(version["schema"]["openAPIV3Schema"]["description"])


@pytest.fixture(scope="module")
def definitions(lab: Lab) -> Iterator[Definitions]:
    """Hand out every case once its action has ended well."""
    found = Definitions(lab, secrets.token_hex(2))
    for case in CASES.values():
        found.publish(case)
    with releases_on(lab) as make:
        for name, case in CASES.items():
            policy = {case.action: {"crds": case.policy}} if case.policy else {}
            release = make(name, **policy)
            release.chart_name = f"{case.name}-{found._mark}"  # noqa: SLF001 - the fixture that makes it
            release.install()
            found.releases[name] = release
        upgraded = [name for name, case in CASES.items() if case.action == "upgrade"]
        for name in CASES:
            found.releases[name].wait(recovered(found.releases[name]), what="to be installed", deadline=DEADLINE)
        for name in upgraded:
            lab.api.patch(found.releases[name].ref, {"spec": {"chart": {"spec": {"version": NEWER}}}})
        for name in upgraded:
            newest = holds(found.releases[name].ref, _at_newer, f"is at {NEWER}")
            found.releases[name].wait(newest, what="to be upgraded", deadline=DEADLINE)
        yield found
    for case in CASES.values():
        gone(lab, found.ref(case))


def _at_newer(obj: KubeObject) -> bool:
    history = (obj.get("status") or {}).get("history") or [{}]
    return bool(history[0].get("chartVersion") == NEWER and history[0].get("status") == "deployed")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.proves(
    "flux.md 4.2.19",
    "unset is Create for install and for upgrade, and Create changes a CRD that is there: with server-side apply nothing "
    "already exists",
)
def test_each_policy_does_what_the_table_says(definitions: Definitions, name: str) -> None:
    """Unset is Create in both actions, and Create replaces what is there: only Skip leaves it, other than documented."""
    assert definitions.says(CASES[name]) == CASES[name].ends


def test_uninstalling_leaves_every_crd(lab: Lab, definitions: Definitions) -> None:
    """No policy deletes: with a CRD all objects of its kind would go."""
    case = CASES["install-createreplace"]
    release = definitions.releases[case.name]
    lab.api.delete(release.ref)
    wait_for(lab.store, absent(release.ref), deadline=60, what="the release to be uninstalled")
    assert definitions.says(case) == case.ends


def test_control_a_crd_that_was_not_replaced_is_not_called_replaced(definitions: Definitions) -> None:
    """Negative control: what is read is the cluster's CRD and not the chart's, and a missing one is not a present one."""
    kept, missing = CASES["upgrade-skip-over-first"], CASES["install-skip"]
    for case, lie in ((kept, kept.after), (missing, missing.after)):
        with refused():
            assert definitions.says(case) == lie
