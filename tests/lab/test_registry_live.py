"""The registry of a lab: started when it is asked for, a part of the lab as any other, and gone with it."""

from __future__ import annotations

import psutil
import pytest

from fluxdrill.cluster.leases import LAB_VARIABLE
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.model.records import Intervention, Record
from fluxdrill.sources.faults import ServerFault
from fluxdrill.sources.registry import PROGRAM
from fluxdrill.sources.standin import package
from tests.processes import lives, process_of

pytestmark = pytest.mark.live


@pytest.mark.ci
def test_a_lab_has_a_registry_once_it_is_asked_for_and_ends_with_it() -> None:
    told: list[Record] = []
    with Lab.start(LabSpec(flux=False), observer=lambda _, record: told.append(record)) as lab:
        assert PROGRAM not in lab.processes
        registry = lab.registry
        assert lab.registry is registry
        process = process_of(lab.processes[PROGRAM])
        environment = psutil.Process(process.pid).environ()
        assert environment[LAB_VARIABLE] == str(lab.folder)
        assert environment["HTTP_PROXY"] == lab.outside.environment["HTTP_PROXY"]
        registry.push_chart("shop/standin", "1.0.0", package("1.0.0"))
        assert list((lab.folder / PROGRAM / "storage").rglob("link"))
        registry.fault = ServerFault.server_error(503)
        registry.heal()
        process.restart()
        done = {(one.what, one.target) for one in told if isinstance(one, Intervention) and one.ended is not None}
        assert {("registry answers 503", PROGRAM), ("registry stopped", PROGRAM)} <= done
        assert registry.digest("shop/standin", "1.0.0").startswith("sha256:")
    assert not lives(process.pid)
    assert not lab.folder.exists()
    ended = [one for one in told if isinstance(one, Intervention) and one.what == "registry killed"]
    assert ended == [], "the lab's own end is no disturbance"
