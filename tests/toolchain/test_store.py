"""Where a program is looked for: ready binaries first, if they fit, then the cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fluxdrill.errors import ExitCode, HarnessError, UsageError
from fluxdrill.toolchain.build import ensure, path_of
from fluxdrill.toolchain.catalog import PINNED, Binary, Catalog
from fluxdrill.toolchain.store import Origin, cache_root, cache_size, entry, locate
from tests.toolchain.wrapper import script, silent_about_version


def test_a_fitting_ready_binary_is_used_and_nothing_is_built(
    hello: Binary, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = script(tmp_path / "bin" / "hello", "echo hello version v1.2.3, by go1.26.8")
    monkeypatch.setenv("FLUXDRILL_BIN", str(ready.parent))
    tools, built = ensure(catalog=Catalog((hello,)))
    assert (tools["hello"], built, cache.exists()) == (ready, [], False)


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("echo hello version v1.2.4", "v1.2.3 is wanted, it is 1.2.4"),
        ("echo hello version v1.2.3-rc.1", "v1.2.3 is wanted, it is 1.2.3-rc.1"),
        ("echo hello version v11.2.3", "v1.2.3 is wanted, it is 11.2.3"),
        ("echo hello version v1.2.4, built with v1.2.3", "v1.2.3 is wanted, it is 1.2.4"),
        ("echo built by go1.2.3", "v1.2.3 is wanted, it is of unknown version"),
        ("exit 3", "v1.2.3 is wanted, it is of unknown version"),
    ],
)
def test_a_ready_binary_of_another_version_is_passed_over_with_the_reason(
    hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, why: str
) -> None:
    ready = script(tmp_path / "bin" / "hello", says)
    monkeypatch.setenv("FLUXDRILL_BIN", str(ready.parent))
    place = locate(hello)
    assert (place.origin, place.remarks) == (Origin.MISSING, (f"{ready} was passed over: {why}",))


def test_a_ready_binary_that_cannot_run_is_passed_over_with_the_reason(
    hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = tmp_path / "bin" / "hello"
    ready.parent.mkdir()
    ready.write_bytes(b"not a program")
    monkeypatch.setenv("FLUXDRILL_BIN", str(ready.parent))
    assert "cannot be started" in locate(hello).remarks[0]


def test_a_ready_binary_that_is_no_go_program_is_passed_over_where_only_build_information_tells(
    hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = script(tmp_path / "bin" / "hello", "echo hello version v1.2.3")
    monkeypatch.setenv("FLUXDRILL_BIN", str(ready.parent))
    place = locate(silent_about_version(hello))
    assert place.origin is Origin.MISSING
    assert str(ready) in place.remarks[0]


def test_with_two_folders_the_first_fitting_binary_is_used(
    hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = script(tmp_path / "one" / "hello", "echo hello version v1.2.3")
    second = script(tmp_path / "two" / "hello", "echo hello version v1.2.3")
    monkeypatch.setenv("FLUXDRILL_BIN", str(first.parent))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(second.parent))
    assert locate(hello).path == first
    script(first, "echo hello version v1.0.0")
    place = locate(hello)
    assert (place.origin, place.path) == (Origin.EXTERNAL, second)
    assert place.remarks == (f"{first} was passed over: v1.2.3 is wanted, it is 1.0.0",)


def test_a_cached_build_is_used_where_the_ready_binary_does_not_fit(
    hello: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, _ = ensure(catalog=Catalog((hello,)))
    monkeypatch.setenv("FLUXDRILL_BIN", str(script(tmp_path / "bin" / "hello", "echo v9.9.9").parent))
    place = locate(hello)
    assert (place.origin, place.path, len(place.remarks)) == (Origin.CACHE, tools["hello"], 1)


def test_without_go_a_cached_build_is_still_found(hello: Binary, monkeypatch: pytest.MonkeyPatch) -> None:
    tools, _ = ensure(catalog=Catalog((hello,)))
    monkeypatch.setenv("PATH", "/nowhere")
    assert path_of("hello", catalog=Catalog((hello,))) == tools["hello"]
    assert ensure(catalog=Catalog((hello,))) == (tools, [])


def test_without_go_a_build_of_other_pins_is_not_taken(hello: Binary, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure(catalog=Catalog((hello,)))
    monkeypatch.setenv("PATH", "/nowhere")
    assert locate(dataclasses.replace(hello, stamps=())).origin is Origin.MISSING


def test_without_go_a_missing_program_is_one_sentence_and_what_to_install(
    hello: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HarnessError) as caught:
        ensure(catalog=Catalog((hello,)))
    assert caught.value.problem == "Go is missing, and it builds the pinned Kubernetes and Flux programs."
    assert caught.value.hint.startswith("Install Go 1.21 or newer")


def test_the_path_of_what_is_not_built_is_an_error_that_says_how_to_build(hello: Binary) -> None:
    with pytest.raises(HarnessError, match=r"hello is not built yet\. Run `fluxdrill toolchain build`\."):
        path_of("hello", catalog=Catalog((hello,)))


def test_an_unknown_name_is_a_usage_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"called 'etdc'.*etcd, kube-apiserver.*flux-rbac") as caught:
        path_of("etdc")
    assert caught.value.exit_code is ExitCode.USAGE


def test_the_cache_follows_its_variable_then_xdg_then_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("FLUXDRILL_CACHE", raising=False)
    assert cache_root() == tmp_path / "home" / ".cache" / "fluxdrill"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "fluxdrill"
    monkeypatch.setenv("FLUXDRILL_CACHE", "own")
    assert cache_root() == Path("own").absolute()


def test_the_size_of_a_cache_is_that_of_its_files(cache: Path) -> None:
    assert cache_size() == 0
    (cache / "bin").mkdir(parents=True)
    (cache / "bin" / "one").write_bytes(b"x" * 1000)
    (cache / "two").write_bytes(b"x" * 24)
    assert cache_size() == 1024


@pytest.mark.live
@pytest.mark.ci
def test_every_built_program_tells_its_pinned_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = {one.name: entry(one) / one.name for one in PINNED.binaries}
    for name, path in built.items():
        assert path.is_file(), f"run `fluxdrill toolchain build` first: {name}"
        (tmp_path / name).symlink_to(path)
    monkeypatch.setenv("FLUXDRILL_BIN", str(tmp_path))
    assert {one.name: locate(one).remarks for one in PINNED.binaries if locate(one).origin is not Origin.EXTERNAL} == {}


@pytest.mark.live
def test_every_program_of_a_node_that_is_built_tells_its_pinned_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {one.name: locate(one) for one in PINNED.on_demand if not one.own_version}
    built = {name: place.path for name, place in places.items() if place.origin is Origin.CACHE}
    if not built:
        pytest.skip("no program of a node is built: run `fluxdrill images build`")
    for name, path in built.items():
        (tmp_path / name).symlink_to(path)
    monkeypatch.setenv("FLUXDRILL_BIN", str(tmp_path))
    origins = {name: locate(PINNED.find(name)) for name in built}
    assert {name: one.remarks for name, one in origins.items() if one.origin is not Origin.EXTERNAL} == {}


@pytest.mark.live
def test_a_controller_of_another_version_is_told_apart_by_its_build_information(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = next(binary for binary in PINNED.binaries if binary.name == "source-controller")
    (tmp_path / one.name).symlink_to(path_of(one.name))
    monkeypatch.setenv("FLUXDRILL_BIN", str(tmp_path))
    wrapper = tmp_path / "wrapper"
    wrapper.mkdir()
    pins = (one.folder / "go.mod").read_text()
    (wrapper / "go.mod").write_text(pins.replace(f"{one.package} {one.version}", f"{one.package} v0.0.1"))
    other = dataclasses.replace(one, folder=wrapper)
    assert locate(other).remarks == (
        f"{tmp_path / one.name} was passed over: v0.0.1 is wanted, it is {one.version.removeprefix('v')}",
    )
