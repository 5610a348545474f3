"""Objects that name a way out of their own: the lab takes it from them, and without the lab's policy they would use it."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fluxdrill.flux import NAMESPACE
from fluxdrill.kube.wait import absent, all_of, condition, wait_for
from fluxdrill.lab.confinement import CONFINED, policies
from fluxdrill.lab.lab import Lab
from fluxdrill.model.refs import ObjectRef
from tests.processes import wait_until

pytestmark = pytest.mark.live

SOURCE, NOTIFICATION = "source.toolkit.fluxcd.io/v1", "notification.toolkit.fluxcd.io/v1beta3"
Document = dict[str, Any]


class Visits:
    """A listener on loopback that stands for a host outside, and counts who came."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.port: int = server.getsockname()[1]
        self.count = 0

    def listen(self) -> None:
        """Take every connection, say nothing and close it, until the server is shut down."""
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            client.close()
            self.count += 1


@pytest.fixture
def visits() -> Iterator[Visits]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        counted = Visits(server)
        thread = threading.Thread(target=counted.listen)
        thread.start()
        yield counted
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def create(lab: Lab, api_version: str, kind: str, **content: Any) -> ObjectRef:
    metadata = {"name": f"out-{secrets.token_hex(3)}", "namespace": NAMESPACE}
    return ObjectRef.of(lab.api.create({"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}))


def with_own_proxy(lab: Lab, port: int) -> ObjectRef:
    secret = create(lab, "v1", "Secret", stringData={"address": f"http://127.0.0.1:{port}"})
    spec = {"url": "https://proxied.invalid/a.git", "interval": "1m", "timeout": "20s", "proxySecretRef": {"name": secret.name}}  # fmt: skip
    return create(lab, SOURCE, "GitRepository", spec=spec)


def with_nats(lab: Lab, port: int) -> ObjectRef:
    """Create a NATS provider, an alert for a source, and that source, which fails at once: an event for the alert."""
    spec = {"type": "nats", "address": f"nats://127.0.0.1:{port}", "channel": "flux"}
    provider = create(lab, NOTIFICATION, "Provider", spec=spec)
    events = [{"kind": "GitRepository", "name": "*"}]
    create(lab, NOTIFICATION, "Alert", spec={"providerRef": {"name": provider.name}, "eventSources": events})
    return provider


def failing_source(lab: Lab) -> ObjectRef:
    ref = create(lab, SOURCE, "GitRepository", spec={"url": "https://event.invalid/a.git", "interval": "1m"})
    wait_for(lab.store, condition(ref, "Ready", "False"), deadline=60, what="the source to fail")
    return ref


def test_a_way_out_of_ones_own_is_taken_and_without_the_policy_it_would_be_gone(own_lab: Lab, visits: Visits) -> None:
    source = with_own_proxy(own_lab, visits.port)  # the lab's very first object
    wait_for(own_lab.store, condition(source, "Ready", "False"), deadline=60, what="the refusal")
    found = own_lab.api.get(source)
    assert "proxySecretRef" not in found["spec"]
    assert found["metadata"]["annotations"] == {CONFINED: "its own proxy is left out"}
    assert "proxied.invalid:443" in own_lab.outside.hosts()

    provider = own_lab.api.get(with_nats(own_lab, visits.port))
    assert provider["spec"]["suspend"] is True
    assert provider["metadata"]["annotations"] == {CONFINED: "suspended, as it knows no proxy"}
    failing_source(own_lab)
    assert visits.count == 0

    lift(own_lab)
    source = with_own_proxy(own_lab, visits.port)
    wait_for(own_lab.store, condition(source, "Ready", "False"), deadline=60, what="the failure")
    wait_until(lambda: visits.count > 0)
    before = visits.count
    own_lab.api.patch(ObjectRef.of(provider), {"spec": {"suspend": False}})
    assert own_lab.api.get(ObjectRef.of(provider))["spec"]["suspend"] is False
    failing_source(own_lab)
    wait_until(lambda: visits.count > before, within=30)


def lift(lab: Lab) -> None:
    """Take the policies away and wait until the API server has noticed."""
    for policy in reversed(policies()):
        lab.api.delete(ObjectRef.of(policy))
    wait_until(lambda: "suspend" not in asked(lab)["spec"])


def asked(lab: Lab) -> Document:
    spec = {"type": "nats", "address": "nats://127.0.0.1:1", "channel": "flux"}
    metadata = {"name": "asked", "namespace": NAMESPACE}
    return lab.api.apply(
        {"apiVersion": NOTIFICATION, "kind": "Provider", "metadata": metadata, "spec": spec}, dry_run=True
    )


def test_what_has_no_way_out_of_its_own_is_left_as_it_is(lab: Lab) -> None:
    spec = {"type": "generic", "address": "https://hook.invalid/a"}
    refs = [
        create(lab, NOTIFICATION, "Provider", spec=spec),
        create(lab, SOURCE, "GitRepository", spec={"url": "https://plain.invalid/a.git", "interval": "1m"}),
    ]
    for ref in refs:
        found = lab.api.get(ref)
        assert "annotations" not in found["metadata"]
        assert "suspend" not in found["spec"]
        lab.api.delete(ref)
    wait_for(lab.store, all_of(*map(absent, refs)), deadline=30, what="the end of both")
