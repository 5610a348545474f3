"""Messages of two attempts: equal when the cause is the same, different when it is not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxdrill.model.messages import normalise_message, shown_message

SAME_CAUSE = [
    pytest.param(
        "health check failed after 34.971383ms: failed early: [HelmRelease/shop/web status: 'Failed']",
        "health check failed after 1m0.038239667s: failed early: [HelmRelease/shop/web status: 'Failed']",
        id="duration",
    ),
    pytest.param("took 12µs", "took 3μs", id="micro sign and Greek letter"),
    pytest.param(
        "certificate has expired: current time 2026-08-07T12:00:00Z is after 2026-08-01T00:00:00Z",
        "certificate has expired: current time 2026-08-07T12:00:05.123+02:00 is after 2026-08-01T00:00:00Z",
        id="timestamp",
    ),
    pytest.param(
        "released 2026-08-07 12:00:00.123456789 +0000 UTC m=+3.000000001",
        "released 2026-08-07 12:00:09.1 +0000 UTC m=+12.123456789",
        id="Go time",
    ),
    pytest.param(
        "UID in precondition: 8d1b6a0e-2f4c-4e0f-9a43-1f1e6d2c3b4a",
        "UID in precondition: 0c5d2f6b-1111-4222-8333-abcdefabcdef",
        id="uid",
    ),
    pytest.param(
        'Get "http://127.0.0.1:41233/web.tgz": dial tcp 127.0.0.1:41233: connect: connection refused',
        'Get "http://127.0.0.1:52011/web.tgz": dial tcp 127.0.0.1:52011: connect: connection refused',
        id="port",
    ),
    pytest.param("read tcp [::1]:41233->[::1]:443: reset", "read tcp [::1]:5->[::1]:443: reset", id="IPv6 port"),
    pytest.param("namespace run-abc123 not found", "namespace run-9x8y7z not found", id="run id"),
    pytest.param("pod web-7d9f8b6c5-x2x9z is not ready", "pod web-6c5d9f8b7-qwrtz is not ready", id="pod"),
    pytest.param(
        "failed to fetch main@sha1:5ea73fd6a0b8c1d2e3f405162738495a6b7c8d9e: EOF",
        "failed to fetch main@sha1:0123456789abcdef0123456789abcdef01234567: EOF",
        id="commit",
    ),
    pytest.param(
        "Helm rollback to previous release shop/web.v28 with chart web@1.2.3 succeeded",
        "Helm rollback to previous release shop/web.v30 with chart web@1.2.3 succeeded",
        id="Helm revision",
    ),
    pytest.param("panic at 0xc000123456", "panic at 0xc000fedcba", id="address"),
    pytest.param("dry-run failed: no matches\n", " dry-run failed: no matches", id="white space around"),
]


@pytest.mark.parametrize(("first", "second"), SAME_CAUSE)
def test_two_attempts_with_one_cause_compare_equal(first: str, second: str) -> None:
    assert first != second
    assert normalise_message(first) == normalise_message(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("Deployment/shop/web is Failed", "Deployment/shop/api is Failed", id="object"),
        pytest.param("chart web@1.2.3", "chart web@1.2.4", id="chart version"),
        pytest.param("image nginx:1.25", "image nginx:1.26", id="image tag"),
        pytest.param("yaml: line 12: bad", "yaml: line 13: bad", id="line"),
        pytest.param("deploy.yaml:12:5: bad", "deploy.yaml:13:5: bad", id="line of a file"),
        pytest.param("replicas: 1/3", "replicas: 2/3", id="count"),
        pytest.param("job run-migrations failed", "job run-backup failed", id="name that begins with run"),
        pytest.param("exceeds 1048576 bytes", "exceeds 2097152 bytes", id="size"),
        pytest.param("path './apps' not found", "path './base' not found", id="path"),
        pytest.param("dial tcp 10.0.0.1:443", "dial tcp 10.0.0.2:443", id="host"),
        pytest.param("variable not set: DOMAIN_A", "variable not set: DOMAIN_B", id="variable"),
    ],
)
def test_two_causes_stay_different(first: str, second: str) -> None:
    assert normalise_message(first) != normalise_message(second)


PIECES = [
    *[
        "1m30s",
        "5ms",
        "0.5s",
        "12",
        "3h",
        "2026-08-07T12:00:00Z",
        "12:00:00",
        "+0000",
        "UTC",
        "m=+1.5",
        "8d1b6a0e-2f4c-4e0f-9a43-1f1e6d2c3b4a",
    ],
    *[
        "127.0.0.1:41233",
        "[::1]:80",
        "localhost:1",
        "http://web:8080/",
        "api.shop.svc:443",
        "run-abc123",
        "web-7d9f8b6c5-x2x9z",
    ],
    *["5ea73fd", "main@sha1:5ea73fd6a0b8", "web.v28", "0xc000123456", "<time>", "<port>", "<hex>", "<duration>"],
    *["-", ":", ".", " ", "/", "a", "run-", "v1", "µs", "é", "\n"],
]
messages = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).flatmap(
    lambda parts: st.sampled_from(["", " "]).map(lambda gap: gap.join(parts))
)


@given(messages | st.text())
@settings(max_examples=1000, deadline=None)
def test_normalising_twice_changes_nothing_more(message: str) -> None:
    once = normalise_message(message)
    assert normalise_message(once) == once


@given(st.text(alphabet="abcdefghijklm ,'/[]", max_size=40))
@settings(max_examples=200, deadline=None)
def test_plain_words_are_left_alone(message: str) -> None:
    assert normalise_message(message) == message.strip()


durations = st.floats(min_value=0.001, max_value=5000, allow_nan=False).map(lambda seconds: f"{seconds:.6f}s")


@given(durations, durations)
@settings(max_examples=100, deadline=None)
def test_any_duration_becomes_the_same_placeholder(first: str, second: str) -> None:
    template = "health check failed after {}: timeout waiting for: [Job/shop/one status: 'InProgress']"
    assert normalise_message(template.format(first)) == normalise_message(template.format(second))
    assert not re.search(r"\d", normalise_message(template.format(first)))


def test_a_path_in_a_temporary_build_folder_is_shown_from_the_repositorys_root() -> None:
    told = "failed to decode Kubernetes YAML from /t/tmp/kustomization-2788373958/infra/config.yaml: yaml: line 1"
    assert shown_message(told) == "failed to decode Kubernetes YAML from infra/config.yaml: yaml: line 1"
    assert shown_message("no matches for /a/b-12/c") == "no matches for /a/b-12/c"


def test_two_builds_in_two_temporary_folders_are_the_same_failure_and_two_files_are_not() -> None:
    first = (
        "failed to decode Kubernetes YAML from /t/lab-0a42/tmp/kustomization-2788373958/infra/config.yaml: yaml: line 1"
    )
    again = first.replace("2788373958", "599373533")
    other = first.replace("infra/config.yaml", "apps/config.yaml")
    assert normalise_message(first) == normalise_message(again)
    assert normalise_message(first) != normalise_message(other)
