"""The committed wrapper modules: complete, consistent with the catalog, and exactly one Flux distribution."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from fluxdrill.errors import HarnessError
from fluxdrill.toolchain.catalog import (
    BINARIES,
    FILE_SETS,
    FLUX_CONTROLLERS,
    NEXT,
    NEXT_KUBERNETES,
    PINNED,
    Binary,
    FileSet,
    modules_root,
)
from fluxdrill.toolchain.golang import find_go
from fluxdrill.toolchain.gomod import GoModule, kubernetes_replaces, read_module

FOLDERS = sorted(path.parent for path in modules_root().rglob("go.mod"))
KUBERNETES = modules_root() / "kubernetes" / "v1.36"
RELEASE_URL = re.compile(r"https://github\.com/fluxcd/([\w-]+)/releases/download/(v[\d.]+)/")


def wanted(folder: Path) -> list[Binary | FileSet]:
    """Return what the catalog takes from the module in `folder`."""
    return [one for one in PINNED.every() if one.folder == folder]


def module_cache() -> Path:
    """Return Go's module cache."""
    go = find_go()
    if go is None:
        pytest.skip("Go's module cache cannot be found: install Go")
    return Path(go.run("env", "GOMODCACHE", deadline=20, what="Asking for the module cache").strip())


def test_there_are_wrapper_modules() -> None:
    assert len(FOLDERS) >= 12


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(modules_root()).as_posix())
def test_a_wrapper_module_is_named_for_its_folder_and_locked(folder: Path) -> None:
    text = (folder / "go.mod").read_text()
    name = folder.relative_to(modules_root()).as_posix()
    assert text.startswith(f"module fluxdrill.invalid/toolchain/{name}\n")
    assert re.fullmatch(r"1\.\d+\.\d+", read_module(folder).go)
    assert (folder / "go.sum").stat().st_size > 0


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(modules_root()).as_posix())
def test_the_tool_lines_of_a_module_are_what_the_catalog_builds_from_it(folder: Path) -> None:
    assert wanted(folder), "nothing in the catalog uses this module"
    packages = [one.package for one in wanted(folder) if isinstance(one, Binary)]
    assert sorted(read_module(folder).tools) == sorted(packages)


PINS = [one for one in PINNED.every() if not (isinstance(one, Binary) and one.own_version)]


@pytest.mark.parametrize("item", PINS, ids=[one.name for one in PINS])
def test_everything_in_the_catalog_is_pinned_to_a_release_and_has_its_checksum(item: Binary | FileSet) -> None:
    module, version = read_module(item.folder).pin(item.package if isinstance(item, Binary) else item.module)
    assert version == item.version
    assert re.fullmatch(r"v\d+\.\d+\.\d+", version)
    locked = (item.folder / "go.sum").read_text().splitlines()
    assert any(line.startswith(f"{module} {version} h1:") for line in locked)


def test_names_in_the_catalog_are_unique() -> None:
    names = [one.name for one in PINNED.every()]
    assert len(names) == len(set(names))


def test_what_clusters_of_containers_need_is_found_by_name_and_is_no_part_of_a_lab() -> None:
    names = [one.name for one in PINNED.on_demand]
    assert {"kind", "kubelet", "containerd", "pause"} <= set(names)
    assert [PINNED.find(name).name for name in names] == names
    assert set(names).isdisjoint(one.name for one in PINNED)


def test_a_node_has_the_kubernetes_version_of_the_control_plane() -> None:
    versions = {PINNED.find(name).version for name in ("kubelet", "kubeadm", "kubectl", "kube-proxy", "kube-apiserver")}
    assert len(versions) == 1
    assert kubernetes_replaces(versions.pop()) in (KUBERNETES.parent / "v1.36-node" / "go.mod").read_text()


def test_the_next_kubernetes_is_one_minor_version_later_and_has_everything_a_node_has() -> None:
    (version,) = {one.version for one in NEXT_KUBERNETES}
    now = PINNED.find("kubelet").version
    assert int(version.split(".")[1]) == int(now.split(".")[1]) + 1
    family = {one.name for one in PINNED.every() if isinstance(one, Binary) and one.package.startswith("k8s.io/")}
    names = {one.name for one in NEXT_KUBERNETES}
    assert {name.removesuffix(NEXT) for name in names} == family - names
    text = (KUBERNETES.parent / "v1.37" / "go.mod").read_text()
    assert kubernetes_replaces(version) in text
    assert text.count("=>") == kubernetes_replaces(version).count("=>")


def test_no_module_takes_a_folder_of_this_machine() -> None:
    targets = [line.partition("=>")[2] for folder in FOLDERS for line in (folder / "go.mod").read_text().splitlines()]
    assert [target for target in targets if target.strip().startswith((".", "/"))] == []


def test_the_kubernetes_replaces_are_those_of_its_version() -> None:
    version = next(one.version for one in BINARIES if one.name == "kube-apiserver")
    text = (KUBERNETES / "go.mod").read_text()
    assert kubernetes_replaces(version) in text
    assert text.count("=>") == kubernetes_replaces(version).count("=>")


def test_the_replace_block_follows_the_version() -> None:
    assert "\tk8s.io/api => k8s.io/api v0.37.2\n" in kubernetes_replaces("1.37.2")
    assert kubernetes_replaces("v1.37.2") == kubernetes_replaces("1.37.2")


@pytest.mark.parametrize("version", ["v1.36.3", "v1.37.2"])
def test_the_replace_block_covers_every_staging_module_of_upstream(version: str) -> None:
    upstream = module_cache() / "cache" / "download" / "k8s.io" / "kubernetes" / "@v" / f"{version}.mod"
    if not upstream.is_file():
        pytest.skip(f"Kubernetes {version} is not in the module cache: `go mod download k8s.io/kubernetes@{version}`")
    staging = re.findall(r"^\t(k8s\.io/\S+) => \./staging/", upstream.read_text(), re.MULTILINE)
    ours = re.findall(r"^\t(k8s\.io/\S+) =>", kubernetes_replaces(version), re.MULTILINE)
    assert staging
    assert ours == staging


def test_the_linker_stamps_kubernetes_with_its_version_in_both_places() -> None:
    one = next(one for one in BINARIES if one.name == "kube-apiserver")
    major, minor = one.version.removeprefix("v").split(".")[:2]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        for value in (f"gitVersion={one.version}", f"gitMajor={major}", f"gitMinor={minor}", "gitTreeState=clean"):
            assert f"-X {package}.{value}" in one.ldflags


def test_the_flux_controllers_are_exactly_those_of_the_pinned_distribution() -> None:
    distribution = next(one for one in FILE_SETS if one.name == "flux-rbac")
    assert distribution.version == "v2.9.2"
    bases = module_cache() / "github.com" / "fluxcd" / "flux2" / f"v2@{distribution.version}" / "manifests" / "bases"
    if not bases.is_dir():
        pytest.skip("the flux2 module is not in the module cache: run `fluxdrill toolchain build` with an empty cache")
    named = {
        match[1]: match[2]
        for file in bases.glob("*/kustomization.yaml")
        for resource in yaml.safe_load(file.read_text())["resources"]
        if (match := RELEASE_URL.match(resource))
    }
    ours = {one.name: one.version for one in BINARIES if one.name in FLUX_CONTROLLERS}
    assert set(ours) == set(FLUX_CONTROLLERS)
    assert ours == {name: named.get(name) for name in ours}


@pytest.mark.parametrize("suffix", ["-crds", "-manager"])
def test_the_manifests_of_a_controller_are_those_of_its_own_version(suffix: str) -> None:
    versions = {one.name: one.version for one in BINARIES}
    found = {one.name.removesuffix(suffix): one.version for one in FILE_SETS if one.name.endswith(suffix)}
    assert set(found) >= set(FLUX_CONTROLLERS)
    assert {name: version for name, version in found.items() if versions.get(name, version) != version} == {}


GO_MOD = """module example.invalid/wrapper // a comment

go 1.26.0
toolchain go1.26.8

tool example.invalid/one/cmd
tool (
	example.invalid/one/other // why
)

require example.invalid/one v1.2.3

require (
	example.invalid/one/v2 v2.0.0 // indirect

	// example.invalid/never v1.0.0
	example.invalid/oneself v0.1.0
)

replace (
	example.invalid/two => example.invalid/three v1.0.0
)

exclude example.invalid/one v1.2.4
"""


@pytest.fixture
def module(tmp_path: Path) -> GoModule:
    """The module of GO_MOD."""
    (tmp_path / "go.mod").write_text(GO_MOD)
    return read_module(tmp_path)


def test_go_mod_is_read_with_its_blocks_and_comments(module: GoModule) -> None:
    assert module.go == "1.26.0"
    assert module.tools == ("example.invalid/one/cmd", "example.invalid/one/other")
    assert dict(module.requires) == {
        "example.invalid/one": "v1.2.3",
        "example.invalid/one/v2": "v2.0.0",
        "example.invalid/oneself": "v0.1.0",
    }


@pytest.mark.parametrize(
    ("package", "module_path"),
    [
        ("example.invalid/one/cmd", "example.invalid/one"),
        ("example.invalid/one", "example.invalid/one"),
        ("example.invalid/one/v2/cmd", "example.invalid/one/v2"),
        ("example.invalid/oneself/cmd", "example.invalid/oneself"),
    ],
)
def test_a_package_is_pinned_by_the_longest_module_that_holds_it(
    module: GoModule, package: str, module_path: str
) -> None:
    assert module.pin(package)[0] == module_path


@pytest.mark.parametrize("package", ["example.invalid/two/cmd", "example.invalid/on", "example.invalid/onesel/f"])
def test_a_package_of_no_pinned_module_is_an_error(module: GoModule, package: str) -> None:
    with pytest.raises(HarnessError, match="pins no module for"):
        module.pin(package)


def test_a_missing_go_mod_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"go\.mod cannot be read: No such file or directory\."):
        read_module(tmp_path)


def test_the_wheel_takes_the_wrapper_modules_to_where_an_installed_package_looks() -> None:
    config = tomllib.loads((modules_root().parent / "pyproject.toml").read_text())
    assert config["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {
        "toolchain": "fluxdrill/_toolchain",
        "homelab": "fluxdrill/_homelab",
        "images": "fluxdrill/_images",
    }


def test_a_wheel_holds_every_wrapper_module(tmp_path: Path) -> None:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("a wheel is built with hatchling: pip install hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=modules_root().parent, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    relative = [folder.relative_to(modules_root()).as_posix() for folder in FOLDERS]
    assert {f"fluxdrill/_toolchain/{one}/{file}" for one in relative for file in ("go.mod", "go.sum")} <= names
