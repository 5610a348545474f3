"""An OCI registry on loopback: the real one (distribution 3) as a child process, behind the fault switches of every server.

Clients are served at `url`; what is pushed here reaches the process itself, so that no fault is in the way.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import urllib3
import yaml

from fluxdrill.cluster.embedded import http_ready
from fluxdrill.cluster.part import State
from fluxdrill.cluster.supervised import Supervised
from fluxdrill.errors import UsageError
from fluxdrill.model.clock import SYSTEM_CLOCK, Clock
from fluxdrill.sources.distribution import Distribution
from fluxdrill.sources.exchange import Answer, Request, plain_answer
from fluxdrill.sources.front import HOST
from fluxdrill.sources.server import Server

PROGRAM = "registry"
READY_DEADLINE = 30.0
ANSWER_DEADLINE = 60.0
_OWN_OF_A_HOP = frozenset({"Connection", "Keep-Alive", "Host", "Authorization", "Transfer-Encoding", "Content-Length"})
_QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_SDK_DISABLED": "true"}


@dataclass(frozen=True, slots=True)
class RegistryHome:
    """Where a registry lives: its program, its folder below that of the lab, its port, and the rest of its environment."""

    program: Path
    folder: Path
    lab_id: str
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)


class Registry(Server):
    """Serves the charts that are pushed to it as `oci://<address>/<repository>`; anonymous clients may push, too.

    With a `user`, every request must carry `user` and `password` (HTTP basic); they are asked for in front of the
    process. The `only` of a fault is a path such as `v2/charts/app/manifests/1.0.0`. A repository is the path of a chart
    and ends with the chart's name. Every method that pushes raises HarnessError where the process refuses.
    """

    title: ClassVar[str] = "registry"

    def __init__(
        self,
        home: RegistryHome,
        *,
        user: str = "",
        password: str = "",
        clock: Clock = SYSTEM_CLOCK,
        host: str = HOST,
    ) -> None:
        self._backend = _Forward(home)
        super().__init__(self._backend, user=user, password=password, clock=clock, host=host)

    @property
    def process(self) -> Supervised:
        """The registry itself."""
        return self._backend.process

    @property
    def address(self) -> str:
        """Host and port, as they stand in `oci://` addresses."""
        return f"{self._host}:{self.port}"

    def push_chart(self, repository: str, version: str, archive: bytes) -> str:
        """Serve `archive`, good or bad, as `version` of a chart; return the digest of its manifest."""
        return self._backend.inside.push_chart(repository, version, archive)

    def move(self, repository: str, version: str, archive: bytes) -> str:
        """Have the tag of a version that is served point to another archive; return the new digest.

        Raises UsageError where nothing would move.
        """
        before = self.digest(repository, version)
        after = self.push_chart(repository, version, archive)
        if after == before:
            raise UsageError(f"{repository} {version} is that archive already.", hint="Give it another one.")
        return after

    def withdraw(self, repository: str, version: str, *, tag_only: bool = False) -> None:
        """Delete a version: its manifest, with every tag that points to it; with `tag_only` just the tag."""
        self._backend.inside.delete(repository, version if tag_only else self.digest(repository, version))

    def digest(self, repository: str, version: str) -> str:
        """Return the digest that the tag of `version` points to."""
        return self._backend.inside.resolve(repository, version)


class _Forward:
    """Passes requests on to the process, and its answers back as they come."""

    def __init__(self, home: RegistryHome) -> None:
        url = f"http://{HOST}:{home.port}"
        self._pool = urllib3.PoolManager(maxsize=16)
        self._home = home
        self.inside = Distribution(url, self._pool)
        self.process = Supervised(
            home.folder.name,
            [str(home.program), "serve", str(home.folder / "config.yaml")],
            lab_id=home.lab_id,
            log=home.folder / "registry.log",
            env={**home.environment, **_QUIET},
            ready=http_ready(f"{url}/v2/"),
        )

    def open(self) -> None:
        """Start the process and wait until it serves."""
        self._home.folder.mkdir(parents=True, exist_ok=True)
        (self._home.folder / "config.yaml").write_text(_config(self._home), encoding="utf-8")
        self.process.start()
        try:
            self.process.wait_ready(READY_DEADLINE)
        except BaseException:
            self.process.kill()
            raise

    def close(self) -> None:
        """Kill the process."""
        if self.process.state is not State.NOT_STARTED:
            self.process.kill()
        self._pool.clear()

    def answer(self, request: Request) -> Answer:
        """Return the answer of the process; 502 where it gives none."""
        query = f"?{request.query}" if request.query else ""
        try:
            answer = self._pool.urlopen(
                request.method,
                f"{self.inside.url}{quote(request.path)}{query}",
                body=request.body if request.length else None,
                headers=_passed_on(request),
                timeout=ANSWER_DEADLINE,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.HTTPError as error:
            return plain_answer(502, f"The registry does not answer: {type(error).__name__}.")
        kept = [(name, value) for name, value in answer.headers.items() if name.title() not in _OWN_OF_A_HOP]
        if "Content-Length" in answer.headers:
            return Answer(answer.status, tuple(kept), answer, int(answer.headers["Content-Length"]))
        return _collected(answer.status, tuple(kept), answer)


def _collected(status: int, headers: tuple[tuple[str, str], ...], answer: urllib3.BaseHTTPResponse) -> Answer:
    """Return an answer whose length nobody told: those of a registry are short."""
    content = answer.data
    return Answer(status, headers, io.BytesIO(content), len(content))


def _passed_on(request: Request) -> dict[str, str]:
    kept = {name: value for name, value in request.headers.items() if name not in _OWN_OF_A_HOP}
    return kept | ({"Content-Length": str(request.length)} if request.length else {})


def _config(home: RegistryHome) -> str:
    return yaml.safe_dump(
        {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(home.folder / "storage")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": f"{HOST}:{home.port}", "relativeurls": True, "secret": home.lab_id},
        }
    )
