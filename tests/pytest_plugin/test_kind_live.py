"""A suite that was written for pytest-kind runs on a cluster of ours, and nothing of it is downloaded or left."""

from __future__ import annotations

import os
import sys

import pytest

from fluxdrill.cluster import containers, engine
from fluxdrill.cluster.leases import labs_folder
from tests.cluster.kinds import STANDIN, needs_kind

pytest_plugins = ["pytester"]
pytestmark = [pytest.mark.live, needs_kind]

HOME = os.environ.get("HOME", "/")
"""Of whoever runs this, with the cache in it: pytester changes it."""
SUITE = f"""
import pykube

def test_it_is_a_cluster(kind_cluster):
    assert "Ready" in kind_cluster.kubectl("get", "nodes")
    names = {{one.name for one in pykube.Namespace.objects(kind_cluster.api)}}
    assert "kube-system" in names

def test_pods_run_and_are_reached(kind_cluster):
    from fluxdrill.cluster.images.components import ensure_archives, find
    from fluxdrill.cluster.images.engine_store import load
    from fluxdrill.cluster.containers import Docker
    from fluxdrill.cluster import engine
    load(Docker(engine.find().address), ensure_archives([find("standin")])["standin"])
    kind_cluster.load_docker_image("{STANDIN}")
    kind_cluster.kubectl(
        "run", "web", "--image={STANDIN}", "--port=8080", "--", "httpd", "-f", "-p", "8080", "-h", "/etc"
    )
    kind_cluster.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    assert "root:x:0:0" in kind_cluster.kubectl("exec", "web", "--", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/passwd")
"""


def test_their_fixture_hands_out_our_cluster_and_leaves_nothing(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_kind", reason="pytest-kind-ng is not installed: install the group `kind`")
    pytester.makepyfile(SUITE)
    pytester.makeconftest("from fluxdrill.pytest_plugin.kind import kind_cluster")
    ran, before = engine.find() is not None, set(labs_folder().iterdir())
    # without a proxy that leads anywhere nothing could be downloaded
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    done = pytester.run(
        "env",
        *(f"{key}={value}" for key, value in {**nowhere, "NO_PROXY": "127.0.0.1", "HOME": HOME}.items()),
        *(sys.executable, "-m", "pytest", "-q"),
        timeout=240,
    )
    assert done.ret == 0, done.outlines
    assert "2 passed" in done.stdout.str()
    assert set(labs_folder().iterdir()) == before
    assert not (pytester.path / ".pytest-kind").exists()
    place = engine.find()
    assert place is not None
    assert not [one for one in containers.owned(containers.Docker(place.address)) if one.owner == os.getpid()]
    if not ran:
        engine.down()
