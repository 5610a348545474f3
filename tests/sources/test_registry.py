from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import urllib3

from fluxdrill.cluster import leases
from fluxdrill.cluster.ports import reserve
from fluxdrill.cluster.reaper import Reaper
from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.sources.distribution import CHART, CONFIG, MANIFEST
from fluxdrill.sources.faults import FaultKind, ServerFault
from fluxdrill.sources.registry import PROGRAM, Registry, RegistryHome
from fluxdrill.sources.standin import package
from fluxdrill.toolchain.build import ensure
from tests.processes import line, lives, python, running, wait_until

pytestmark = pytest.mark.live

APP = "charts/standin"
ARCHIVE = package("1.0.0")
TAG = f"v2/{APP}/manifests/1.0.0"


@pytest.fixture(scope="module")
def home() -> Iterator[RegistryHome]:
    """A place for one registry: a lab without anything else."""
    lease = leases.open_lease()
    ports = reserve()
    with Reaper(lease.lab_id):
        yield RegistryHome(ensure([PROGRAM])[0][PROGRAM], Path(lease.folder) / "registry", lease.lab_id, ports.take())
        ports.release()
        leases.remove(lease.lab_id)


@pytest.fixture(scope="module")
def shared(home: RegistryHome) -> Iterator[Registry]:
    with Registry(home) as registry:
        yield registry


@pytest.fixture
def registry(shared: Registry) -> Iterator[Registry]:
    """A registry in order that has the stand-in 1.0.0."""
    shared.push_chart(APP, "1.0.0", ARCHIVE)
    yield shared
    shared.heal()


def ask(registry: Registry, path: str, *, method: str = "GET", user: str = "", **more: str) -> urllib3.BaseHTTPResponse:
    headers = {"Accept": MANIFEST, **more}
    if user:
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    url = f"{registry.url}/{path}"
    return urllib3.request(method, url, headers=headers, retries=False, timeout=urllib3.Timeout(10))


def test_a_chart_that_was_pushed_is_there_as_helm_looks_for_it(registry: Registry) -> None:
    found = ask(registry, TAG)
    assert (found.status, found.headers["Content-Type"]) == (200, MANIFEST)
    assert f"sha256:{hashlib.sha256(found.data).hexdigest()}" == registry.digest(APP, "1.0.0")
    manifest = found.json()
    assert (manifest["config"]["mediaType"], manifest["layers"][0]["mediaType"]) == (CONFIG, CHART)
    blob = ask(registry, f"v2/{APP}/blobs/{manifest['layers'][0]['digest']}")
    assert (blob.status, blob.data) == (200, ARCHIVE)
    about = json.loads(ask(registry, f"v2/{APP}/blobs/{manifest['config']['digest']}").data)
    assert (about["name"], about["version"]) == ("standin", "1.0.0")


def test_a_head_has_the_length_and_no_body(registry: Registry) -> None:
    found, whole = ask(registry, TAG, method="HEAD"), ask(registry, TAG)
    assert (found.status, found.data) == (200, b"")
    assert int(found.headers["Content-Length"]) == len(whole.data)
    assert found.headers["Docker-Content-Digest"] == registry.digest(APP, "1.0.0")


def test_the_same_chart_has_the_same_digest_whoever_pushes_it_and_when(registry: Registry) -> None:
    assert registry.push_chart(APP, "1.0.0", ARCHIVE) == registry.digest(APP, "1.0.0")


def test_a_version_with_build_metadata_gets_the_tag_that_helm_gives_it(registry: Registry) -> None:
    registry.push_chart(APP, "1.0.1+x", package("1.0.1+x"))
    assert "1.0.1_x" in ask(registry, f"v2/{APP}/tags/list").json()["tags"]


def test_a_client_can_push_through_the_front(registry: Registry) -> None:
    begun = ask(registry, f"v2/{APP}/blobs/uploads/", method="POST")
    assert begun.status == 202
    digest = f"sha256:{hashlib.sha256(b'through').hexdigest()}"
    place = begun.headers["Location"].removeprefix("/")
    put = urllib3.request("PUT", f"{registry.url}/{place}&digest={digest}", body=b"through", timeout=10)
    assert put.status == 201
    assert ask(registry, f"v2/{APP}/blobs/{digest}").data == b"through"


def test_a_tag_moves_to_another_digest_and_the_old_one_is_still_there(registry: Registry) -> None:
    before = registry.push_chart("charts/moving", "1.0.0", ARCHIVE)
    after = registry.move("charts/moving", "1.0.0", package("1.0.0", files={"README.md": "moved"}))
    assert before != after
    assert registry.digest("charts/moving", "1.0.0") == after
    assert ask(registry, f"v2/charts/moving/manifests/{before}").status == 200


def test_a_move_that_moves_nothing_is_refused(registry: Registry) -> None:
    with pytest.raises(UsageError, match="that archive already"):
        registry.move(APP, "1.0.0", ARCHIVE)
    with pytest.raises(HarnessError, match="404"):
        registry.move(APP, "9.9.9", ARCHIVE)


@pytest.mark.parametrize("tag_only", [True, False])
def test_a_withdrawn_version_is_gone_and_its_manifest_only_when_that_was_meant(
    registry: Registry, tag_only: bool
) -> None:
    name = f"charts/gone-{tag_only}".lower()
    digest = registry.push_chart(name, "1.0.0", ARCHIVE)
    registry.withdraw(name, "1.0.0", tag_only=tag_only)
    assert ask(registry, f"v2/{name}/manifests/1.0.0").status == 404
    assert ask(registry, f"v2/{name}/manifests/{digest}").status == (200 if tag_only else 404)
    registry.push_chart(name, "1.0.0", ARCHIVE)
    assert registry.digest(name, "1.0.0") == digest


def test_what_was_never_pushed_cannot_be_withdrawn(registry: Registry) -> None:
    with pytest.raises(HarnessError, match="404"):
        registry.withdraw(APP, "7.7.7")


def test_a_name_that_no_registry_takes_is_told_in_its_own_words(registry: Registry) -> None:
    with pytest.raises(HarnessError, match=r"NAME_INVALID|404"):
        registry.push_chart("Charts/Big", "1.0.0", ARCHIVE)


@pytest.mark.parametrize(
    ("fault", "status"),
    [(ServerFault.server_error(503), 503), (ServerFault.unauthorized(), 401)],
    ids=["5xx", "401"],
)
def test_a_fault_stands_before_the_registry_and_not_in_the_way_of_pushes(
    registry: Registry, fault: ServerFault, status: int
) -> None:
    registry.fault = fault
    assert ask(registry, TAG).status == status
    digest = registry.push_chart(APP, "1.1.0", package("1.1.0"))
    registry.heal()
    assert ask(registry, f"v2/{APP}/manifests/{digest}").status == 200
    assert registry.requests[-2].fault is FaultKind.STATUS


def test_a_fault_of_one_tag_leaves_the_rest_alone(registry: Registry) -> None:
    registry.fault = ServerFault.server_error(500, only=TAG)
    assert ask(registry, TAG).status == 500
    assert ask(registry, "v2/").status == 200


def test_a_truncated_blob_breaks_off_in_the_middle(registry: Registry) -> None:
    layer = ask(registry, TAG).json()["layers"][0]["digest"]
    registry.fault = ServerFault.truncated()
    with pytest.raises(urllib3.exceptions.ProtocolError, match="IncompleteRead"):
        ask(registry, f"v2/{APP}/blobs/{layer}")


def test_a_registry_that_is_down_refuses_and_comes_back_with_what_it_had(registry: Registry) -> None:
    registry.fault = ServerFault.down()
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        ask(registry, TAG)
    registry.heal()
    assert ask(registry, TAG).status == 200


def test_a_process_that_died_is_a_bad_gateway_and_what_was_pushed_survives_it(registry: Registry) -> None:
    registry.process.kill()
    assert ask(registry, TAG).status == 502
    registry.process.start()
    registry.process.wait_ready(20)
    assert ask(registry, TAG).status == 200


def test_only_the_right_credentials_are_let_in_where_there_are_any(home: RegistryHome) -> None:
    ports = reserve()
    other = RegistryHome(home.program, home.folder.parent / "closed", home.lab_id, ports.take())
    with Registry(other, user="flux", password="right") as registry:
        registry.push_chart(APP, "1.0.0", ARCHIVE)
        refused = ask(registry, "v2/")
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="fluxdrill"')
        assert ask(registry, TAG, user="flux:wrong").status == 401
        assert ask(registry, TAG, user="flux:right").status == 200
    ports.release()


def test_it_listens_and_talks_on_loopback_only_and_tells_nobody_how_it_fares(registry: Registry) -> None:
    process = psutil.Process(registry.process.pid)
    assert {one.laddr.ip for one in process.net_connections("tcp")} == {"127.0.0.1"}
    assert {one.laddr.port for one in process.net_connections("tcp")} == {registry._backend._home.port}
    assert process.environ()["OTEL_SDK_DISABLED"] == "true"


def test_a_registry_that_has_stopped_leaves_no_process_and_no_port(home: RegistryHome) -> None:
    ports = reserve()
    other = RegistryHome(home.program, home.folder.parent / "short", home.lab_id, ports.take())
    with Registry(other) as registry:
        pid = registry.process.pid
    assert not lives(pid)
    with pytest.raises(HarnessError):
        registry.fault = ServerFault.hang()
    ports.release()


def test_a_program_that_does_not_serve_is_told_in_its_last_words_and_left_nowhere(home: RegistryHome) -> None:
    with (
        pytest.raises(HarnessError, match="ended while starting"),
        Registry(RegistryHome(Path("/bin/false"), home.folder.parent / "false", home.lab_id, 1)),
    ):
        pass


RUN = """
import sys
from pathlib import Path
from fluxdrill.cluster import leases
from fluxdrill.cluster.ports import reserve
from fluxdrill.cluster.reaper import Reaper
from fluxdrill.sources.registry import Registry, RegistryHome

lease, ports = leases.open_lease(), reserve()
with Reaper(lease.lab_id), Registry(
    RegistryHome(Path(sys.argv[1]), Path(lease.folder) / "registry", lease.lab_id, ports.take())
) as registry:
    print(registry.process.pid, lease.folder, flush=True)
    input()
"""


def test_a_run_that_is_killed_leaves_no_registry_behind(home: RegistryHome) -> None:
    with running([*python(RUN), str(home.program)]) as run:
        pid, _, folder = line(run.stdout).partition(" ")
        assert lives(int(pid))
        os.kill(run.pid, signal.SIGKILL)
        wait_until(lambda: not lives(int(pid)) and not Path(folder).exists(), within=20)
