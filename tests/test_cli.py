"""The command line: words and exit codes of every kind of outcome, and the toolchain commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fluxdrill import cli, version
from fluxdrill.errors import ExitCode, HarnessError, ProductDeviatedError, RefusedError
from fluxdrill.toolchain.catalog import PINNED, Binary
from fluxdrill.toolchain.store import EXTERNAL_VARIABLES, entry
from tests.processes import lives, wait_until

COMMAND = [sys.executable, "-c", "from fluxdrill.cli import main; main()"]
DEFECT = "This is a defect of fluxdrill. Run it again with --debug and report what it prints.\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty toolchain cache, and no ready binaries."""
    for name in EXTERNAL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLUXDRILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fake(folder: Path, binary: Binary, version: str) -> Path:
    """Write a program that prints a version as `binary` does."""
    folder.mkdir(exist_ok=True)
    path = folder / binary.name
    path.write_text(f"#!/bin/sh\necho {binary.name} {version}\n")
    path.chmod(0o755)
    return path


def outcome(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of a command."""
    code = cli.run(argv)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(["version"], capsys) == (0, f"{version()}\n", "")


@pytest.mark.parametrize(
    ("argv", "sentence", "hint"),
    [
        (["nope"], "No such command 'nope'.", "See `fluxdrill --help`."),
        (["--nope"], "No such option: --nope", "See `fluxdrill --help`."),
        (["toolchain", "nope"], "No such command 'nope'.", "See `fluxdrill toolchain --help`."),
        (["version", "--nope"], "No such option: --nope", "See `fluxdrill version --help`."),
        (["rehearse"], "Missing argument 'source'.", "See `fluxdrill rehearse --help`."),
        (["up", "--hours", "soon"], "Invalid value for '--hours': ", "See `fluxdrill up --help`."),
        (["bench", "--rounds", "0"], "Invalid value for '--rounds': ", "See `fluxdrill bench --help`."),
    ],
)
def test_a_wrong_call_is_one_sentence_and_where_to_look(
    argv: list[str], sentence: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(argv, capsys)
    assert (code, out) == (ExitCode.USAGE, "")
    first, second = err.splitlines()
    assert first.startswith(f"fluxdrill: {sentence}")
    assert second == f"  {hint}"


@pytest.mark.parametrize("argv", [[], ["toolchain"]])
def test_without_a_command_the_help_is_shown_and_nothing_is_blamed(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = outcome(argv, capsys)
    assert (code, err) == (ExitCode.USAGE, "")
    assert "Usage: fluxdrill" in out


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(["--help"], capsys)
    assert (code, err) == (ExitCode.PASS, "")
    for command in ("toolchain", "up", "down", "rehearse", "bench", "reap"):
        assert command in out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (HarnessError("It broke.", hint="Mend it."), ExitCode.HARNESS_ERROR, "fluxdrill: It broke.\n  Mend it.\n"),
        (ProductDeviatedError("Not Ready."), ExitCode.FAILED, "fluxdrill: Not Ready.\n"),
        (RefusedError("[red]No[/red] :x:."), ExitCode.USAGE, "fluxdrill: [red]No[/red] :x:.\n"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "fluxdrill: interrupted.\n"),
        (
            KeyError("lost"),
            ExitCode.HARNESS_ERROR,
            "fluxdrill: unexpected KeyError: 'lost'\n  " + DEFECT,
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_has_its_exit_code_and_its_words(
    error: BaseException,
    code: ExitCode,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: str) -> Path:
        raise error

    monkeypatch.setattr("fluxdrill.toolchain.build.path_of", fail)
    assert outcome(["toolchain", "path", "etcd"], capsys) == (code, "", said)


@pytest.mark.parametrize("argv", [["--debug", "toolchain", "path", "etcd"], ["toolchain", "path", "etcd", "--debug"]])
def test_debug_shows_a_traceback_and_keeps_words_and_exit_code(
    argv: list[str], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = outcome(argv, capsys)
    assert code == ExitCode.HARNESS_ERROR
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith("fluxdrill: etcd is not built yet.\n  Run `fluxdrill toolchain build`.\n")


def test_without_debug_there_is_no_traceback(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = outcome(["toolchain", "path", "etcd"], capsys)
    assert (code, out) == (ExitCode.HARNESS_ERROR, "")
    assert err == "fluxdrill: etcd is not built yet.\n  Run `fluxdrill toolchain build`.\n"


def test_the_path_of_an_unknown_program_is_a_usage_error_with_the_known_names(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = outcome(["toolchain", "path", "etdc"], capsys)
    assert code == ExitCode.USAGE
    assert "'etdc'" in err
    assert "etcd, kube-apiserver" in err


def test_building_an_unknown_program_is_a_usage_error_and_builds_nothing(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["toolchain", "build", "etdc"], capsys)[0] == ExitCode.USAGE
    assert not cache.exists()


def test_the_list_names_everything_and_says_what_is_missing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = outcome(["toolchain", "list"], capsys)
    *rows, last = out.splitlines()
    everything = list(PINNED)
    assert code == ExitCode.PASS
    assert [row.split() for row in rows[1:]] == [[one.name, one.version, "missing", "-"] for one in everything]
    assert last == f"{len(everything)} of {len(everything)} missing: run `fluxdrill toolchain build`."


def test_the_list_says_which_ready_binary_is_used_and_why_another_was_passed_over(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    etcd, apiserver = (next(one for one in PINNED.binaries if one.name == name) for name in ("etcd", "kube-apiserver"))
    fits, other = fake(tmp_path / "bin", etcd, etcd.version), fake(tmp_path / "bin", apiserver, "v1.30.0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "bin"))
    lines = outcome(["toolchain", "list"], capsys)[1].splitlines()
    assert ["etcd", etcd.version, "external", str(fits)] in [row.split() for row in lines]
    assert ["kube-apiserver", apiserver.version, "missing", "-"] in [row.split() for row in lines]
    assert f"note: {other} was passed over: {apiserver.version} is wanted, it is 1.30.0" in lines


@pytest.mark.parametrize("columns", ["40", "80"])
def test_a_piped_list_cuts_no_path_and_keeps_one_row_per_program(
    columns: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etcd = PINNED.binaries[0]
    ready = fake(tmp_path / ("a" * 120), etcd, etcd.version)
    monkeypatch.setenv("FLUXDRILL_BIN", str(ready.parent))
    done = subprocess.run(
        [*COMMAND, "toolchain", "list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "COLUMNS": columns},
    )
    assert any(line.split() == ["etcd", etcd.version, "external", str(ready)] for line in done.stdout.splitlines())
    assert "\N{HORIZONTAL ELLIPSIS}" not in done.stdout


def test_an_interrupt_ends_the_command_and_what_it_runs(cache: Path, tmp_path: Path) -> None:
    # a program that hangs when it is asked for its version
    ready = fake(tmp_path / "bin", PINNED.binaries[0], "")
    ready.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/asked\nsleep 60\n")
    os.mkfifo(tmp_path / "asked")
    with subprocess.Popen(
        [*COMMAND, "toolchain", "path", "etcd"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FLUXDRILL_BIN": str(ready.parent)},
    ) as process:
        pid = int((tmp_path / "asked").read_text())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (ExitCode.INTERRUPTED, "", "fluxdrill: interrupted.\n")
    wait_until(lambda: not lives(pid), within=30)


@pytest.mark.parametrize("command", [["bench"], ["rehearse", "anything", "--path", "."]])
def test_a_result_file_that_cannot_be_written_is_refused_before_the_work(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = outcome([*command, "--json", str(tmp_path / "missing" / "result.json")], capsys)
    assert code == ExitCode.USAGE
    assert "result.json cannot be written" in err


@pytest.mark.live
@pytest.mark.ci
def test_the_toolchain_is_built_listed_and_found_through_the_command_line(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # all but kustomize are taken from the real cache
    with monkeypatch.context() as real:
        real.delenv("FLUXDRILL_CACHE")
        present = {one.name: entry(one) / one.name for one in PINNED.binaries if one.name != "kustomize"}
    (tmp_path / "bin").mkdir()
    for name, path in present.items():
        (tmp_path / "bin" / name).symlink_to(path)
    monkeypatch.setenv("FLUXDRILL_BIN", str(tmp_path / "bin"))

    code, out, err = outcome(["toolchain", "build"], capsys)
    assert (code, f"{len(PINNED.binaries)} programs and {len(PINNED.files)} file sets ready" in out) == (0, True)
    assert f"{1 + len(PINNED.files)} made in " in out
    assert f"the cache {cache} holds " in out
    assert "built kustomize v" in err

    code, out, err = outcome(["toolchain", "build"], capsys)
    assert (code, "nothing to build" in out, err) == (0, True, "")

    assert "missing" not in outcome(["toolchain", "list"], capsys)[1]
    code, out, _ = outcome(["toolchain", "path", "kustomize"], capsys)
    assert subprocess.run([out.strip(), "version"], check=True, capture_output=True, timeout=20).stdout
    folder = Path(outcome(["toolchain", "path", "flux-rbac"], capsys)[1].strip())
    assert list(folder.rglob("*.yaml"))
