"""The docker client: what it says about an engine that is not there, and an environment without surprises."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fluxdrill.cluster import containers
from fluxdrill.cluster.containers import Docker, EngineDiedError, Owned, failure, is_dead, last_line
from fluxdrill.errors import UsageError

needs_client = pytest.mark.skipif(
    shutil.which("docker") is None, reason="the docker client is missing: install docker.io"
)


@needs_client
def test_an_engine_that_does_not_answer_is_told_with_what_to_do(tmp_path: Path) -> None:
    nobody = Docker(f"unix://{tmp_path}/nobody.sock")
    assert not nobody.answers()
    with pytest.raises(EngineDiedError, match=r"does not answer\. Run `fluxdrill engine down`, then"):
        containers.nodes(nobody, "one")


def test_without_a_client_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"There is no docker client here\. Install it"):
        Docker("unix:///nobody").run("version")


def test_a_lab_without_clusters_costs_no_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # a question would raise: there is no client
    assert containers.remove_of_lab(tmp_path) == 0


@needs_client
def test_an_engine_that_is_gone_does_not_keep_a_lab_from_going(tmp_path: Path) -> None:
    (tmp_path / containers.ADDRESS_FILE).write_text(f"unix://{tmp_path}/nobody.sock")
    assert containers.remove_of_lab(tmp_path) == 0


def test_settings_of_the_caller_s_own_docker_and_kind_do_not_reach_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "KIND_CLUSTER_NAME", "KUBECONFIG"):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("DOCKER_HOST", "unix:///theirs")
    found = Docker("unix:///ours").environment
    assert (found["DOCKER_HOST"], "theirs" in found.values()) == ("unix:///ours", False)


@pytest.mark.parametrize(
    ("said", "dead"),
    [
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", True),
        ("error during connect: Get http://x: EOF", True),
        ("Error response from daemon: No such container: x", False),
        ("Error response from daemon: driver failed: connect: connection refused", False),
        ("", False),
    ],
)
def test_a_dead_engine_is_told_from_one_that_refuses(said: str, *, dead: bool) -> None:
    assert is_dead(said) is dead


def test_the_last_word_of_an_answer_is_what_the_engine_said() -> None:
    assert last_line("one\nError response from daemon: no\n\n") == "no"
    assert last_line(" \n") == "it said nothing"


def test_a_cluster_s_time_is_over_when_it_says_so() -> None:
    assert Owned("one", "/lab", 1, 0.0, expires=1.0).expired
    assert not Owned("one", "/lab", 1, 0.0, expires=9e12).expired


@pytest.mark.parametrize(
    "said", ["write /layer.tar: no space left on device", "x\nDisk quota exceeded\nsomething else"]
)
def test_a_full_disk_is_told_as_such_with_what_to_do(said: str) -> None:
    error = failure("It does not load", said, reason="a long story")
    assert error.problem.startswith("It does not load: the engine's disk is full (")
    assert "a long story" not in error.problem
    assert error.hint.startswith("Free some of it: `fluxdrill doctor`")


def test_another_failure_is_told_in_the_engines_own_words_and_no_disk_is_blamed() -> None:
    said = "one\nError response from daemon: no such thing on this device\n"
    assert (failure("It fails", said).problem, failure("It fails", said).hint) == (
        "It fails: no such thing on this device",
        "",
    )
    assert failure("It fails", said, reason="so").problem == "It fails: so"
