"""For suites that were written for pytest-kind: their `kind_cluster` fixture hands out a cluster of ours.

Import it in the suite's conftest.py, `from fluxdrill.pytest_plugin.kind import kind_cluster`: a fixture of a conftest wins over
that of pytest-kind's own plugin. What that would download is not reached: kind and kubectl are the pinned programs, the
node image is fluxdrill's own, and the cluster ends with the run, whatever `--keep-cluster` says. Proved with pytest-kind-ng 26.7.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fluxdrill.errors import UsageError
from fluxdrill.progress import TerminalProgress

if TYPE_CHECKING:
    from fluxdrill.cluster.kind import KindCluster as Own

KUBECTL_DEADLINE = 300.0


def adapter(own: Own, kubectl: Path) -> Any:
    """Return `own` as the class of pytest-kind; raises UsageError where that package is missing."""
    try:
        import pykube  # noqa: PLC0415 - an optional companion
        from pytest_kind import KindCluster  # noqa: PLC0415 - an optional companion
    except ImportError:
        raise UsageError("pytest-kind is not installed.", hint="Install pytest-kind-ng.") from None

    class Adapter(KindCluster):  # type: ignore[misc]
        def __init__(self) -> None:  # not that of the base: it makes a folder, and names what it would download
            self.name, self.image, self.platform = own.name, None, "linux"
            self.path = own.folder
            self.kubeconfig_path, self.kind_path, self.kubectl_path = own.kubeconfig, own.program, kubectl
            self.api = pykube.HTTPClient(pykube.KubeConfig.from_file(str(own.kubeconfig)))

        def ensure_kind(self) -> None:
            """Do nothing: it is there."""

        def ensure_kubectl(self) -> None:
            """Do nothing: it is there."""

        def create(self, config_file: str | Path | None = None) -> None:
            """Do nothing: it is made already; raises UsageError for a configuration of one's own."""
            if config_file is not None:
                raise UsageError("This cluster cannot be made anew.", hint="Use pytest-kind's own fixture for that.")

        def delete(self) -> None:
            """Do nothing: it ends with the run."""

        def load_docker_image(self, docker_image: str) -> None:
            """Load an image that the lab's engine has into the nodes."""
            with tempfile.TemporaryDirectory(prefix="fluxdrill-image-") as folder:
                archive = Path(folder) / "image.tar"
                what = f"{docker_image} cannot be taken out of the engine"
                own.docker.must("save", "--output", archive, docker_image, what=what, deadline=KUBECTL_DEADLINE)
                own.load_image(archive)

        def kubectl(self, *args: str, **kwargs: Any) -> str:
            """Run the pinned kubectl; ends it after five minutes unless a `timeout` is given."""
            return str(super().kubectl(*args, **{"timeout": KUBECTL_DEADLINE, **kwargs}))

    return Adapter()


@pytest.fixture(scope="session")
def kind_cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Hand out a kind cluster without Flux, made for this session."""
    from fluxdrill.cluster import leases  # noqa: PLC0415 - collecting must stay cheap
    from fluxdrill.cluster.kind import KindCluster  # noqa: PLC0415
    from fluxdrill.cluster.reaper import Reaper  # noqa: PLC0415
    from fluxdrill.toolchain.build import ensure  # noqa: PLC0415

    capture = request.config.pluginmanager.getplugin("capturemanager")
    with ExitStack() as stack:
        lease = leases.open_lease()
        stack.enter_context(Reaper(lease.lab_id))
        stack.callback(leases.remove, lease.lab_id)
        with capture.global_and_fixture_disabled(), TerminalProgress().running() as progress:
            kubectl = ensure(["kubectl"], progress=progress)[0]["kubectl"]
            own = KindCluster.create(lease, progress=progress)
        stack.callback(own.delete)
        yield adapter(own, kubectl)
