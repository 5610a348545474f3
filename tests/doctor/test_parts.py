"""Programs, versions, skew and images: each line by given facts, and that the looks see what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from fluxdrill.cluster.images import components, packages
from fluxdrill.doctor import parts
from fluxdrill.doctor.finding import GIB, Finding, Level, guarded
from fluxdrill.doctor.parts import OWN_KUBECTL, SERVER, Planned
from fluxdrill.toolchain.catalog import PINNED

FITTING = {SERVER: "v1.36.3", "kubelet": "v1.36.3", "kubeadm": "v1.36.3", "kubectl": "v1.36.3"}
FOLDER = Path("/archives")


def skew(groups: int = 1, **changed: str) -> Finding:
    names: Mapping[str, str] = {"server": SERVER, "own": OWN_KUBECTL}
    return parts.judge_skew(FITTING | {names.get(key, key): one for key, one in changed.items()}, groups=groups)


@pytest.mark.parametrize(
    ("finding", "level", "bars", "said"),
    [
        (skew(), Level.OK, False, "3 programs fit the API server v1.36.3"),
        (skew(own="v1.35.0"), Level.OK, False, "4 programs fit"),
        (skew(own="v1.37.2"), Level.OK, False, "4 programs fit"),
        (skew(own="v1.34.9"), Level.WARN, False, "kubectl on PATH is v1.34.9, too far from the API server's v1.36.3. `fluxdrill toolchain path kubectl`"),
        (skew(own="v1.38.0"), Level.WARN, False, "kubectl on PATH is v1.38.0"),
        (skew(kubelet="v1.33.0"), Level.OK, False, "fit the API server"),
        (skew(kubelet="v1.32.0"), Level.WARN, True, "kubelet is v1.32.0, too far from the API server's v1.36.3. Pin versions"),
        (skew(kubelet="v1.37.0"), Level.WARN, True, "kubelet is v1.37.0"),
        (skew(kubeadm="v1.37.0"), Level.OK, False, "fit the API server"),
        (skew(kubeadm="v1.35.0"), Level.WARN, True, "kubeadm is v1.35.0"),
        (skew(server="v1.38.0"), Level.WARN, True, "Kubernetes v1.38.0 is not known to start on cgroup v1. Pin 1.37 or older"),
        (skew(groups=2, server="v1.38.0", kubelet="v1.38.0", kubeadm="v1.38.0", kubectl="v1.38.0"), Level.OK, False, "fit the API server v1.38.0"),
    ],
)  # fmt: skip
def test_skew_by_the_versions(finding: Finding, level: Level, bars: bool, said: str) -> None:
    assert (finding.level, finding.bars_nodes) == (level, bars)
    assert said in finding.line


def test_a_ready_binary_of_another_version_is_named() -> None:
    assert parts.judge_versions({"kind": "v0.33.0", "k3d": "v5.9.0"}, []).text == "kind v0.33.0, k3d v5.9.0"
    found = parts.judge_versions({"kind": "v0.33.0"}, ["x/kind was passed over: v0.33.0 is wanted, it is 0.20.0"])
    assert found.level is Level.WARN
    assert found.line.startswith(
        "warn  versions: x/kind was passed over: v0.33.0 is wanted, it is 0.20.0. Put the pinned"
    )


def planned(**sizes: int | None) -> list[Planned]:
    return [Planned(name.replace("_", "-"), size) for name, size in sizes.items()]


@pytest.mark.parametrize(
    ("plan", "root", "apt", "level", "bars", "said"),
    [
        (planned(node=GIB, etcd=GIB), True, True, Level.OK, False, "all 2 are there (2.0 GiB in /archives); `fluxdrill images build` would make none"),
        (planned(node=GIB, etcd=GIB), False, False, Level.OK, False, "all 2 are there"),
        (planned(node=None, etcd=GIB), True, True, Level.WARN, False, "1 of 2 are there (1.0 GiB in /archives); `fluxdrill images build` would make node. Run it"),
        (planned(node=None, etcd=None), False, True, Level.WARN, True, "would make node, etcd. Run it as root, once: only root can make the node image."),
        (planned(node=GIB, etcd=None), False, True, Level.WARN, False, "would make etcd. Run it, or wait"),
        (planned(node=GIB, etcd=None), True, False, Level.WARN, False, "would make etcd. Run it, or wait"),
        (planned(node=GIB, kube_proxy=None), True, False, Level.WARN, True, "It needs apt-get: build them on a Debian machine"),
    ],
)  # fmt: skip
def test_images_by_what_is_in_the_cache(
    plan: list[Planned], root: bool, apt: bool, level: Level, bars: bool, said: str
) -> None:
    finding = parts.judge_images(plan, root=root, apt=apt, folder=FOLDER)
    assert (finding.level, finding.bars_nodes) == (level, bars)
    assert said in finding.line


@pytest.fixture
def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a ready `kind` and `etcd` that say the pinned versions."""
    monkeypatch.setenv("FLUXDRILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FLUXDRILL_BIN", str(tmp_path / "ready"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    for name in ("kind", "etcd"):
        says(tmp_path / "ready" / name, f"{name} version {PINNED.find(name).version.removeprefix('v')}")
    return tmp_path / "ready"


def says(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{text}'\n")
    path.chmod(0o755)


def test_an_archive_is_there_once_it_has_the_name_that_a_build_would_give_it(ready: Path, bin_only: Path) -> None:
    etcd = components.find("etcd")
    would = components.expected(etcd)
    assert would is not None
    assert "`fluxdrill images build` would make" in parts.images().text
    assert "etcd" in parts.images().text
    assert components.ensure_archives([etcd])["etcd"].path == would
    (etcd_of_plan,) = [one for one in parts._plan() if one.name == "etcd"]
    assert etcd_of_plan.size == would.stat().st_size
    says(ready / "etcd", f"etcd Version: {PINNED.find('etcd').version.removeprefix('v')} of another build")
    assert components.expected(etcd) != would


@pytest.mark.usefixtures("ready")
def test_looking_at_images_makes_nothing(tmp_path: Path) -> None:
    assert components.expected(components.find("coredns")) is None
    assert components.expected(components.find("kube-proxy")) is None
    assert packages.resolved(["bash"]) is None
    parts.images()
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("ready")
def test_node_programs_that_are_missing_are_named_with_the_go_that_will_build_them(bin_only: Path) -> None:
    (bin_only / "go").unlink(missing_ok=True)
    says(bin_only / "go", "go1.99.0\nlocal")
    found = parts.programs()
    assert found.level is Level.OK
    assert found.text.startswith("Go 1.99.0 will build kubelet, kubeadm, kubectl, containerd")
    assert "kind" not in found.text


@pytest.mark.usefixtures("ready")
def test_without_go_missing_node_programs_leave_embedded_labs_alone(bin_only: Path) -> None:
    (bin_only / "go").unlink(missing_ok=True)
    found = guarded("node programs", parts.programs, nodes=True)
    assert (found.level, found.bars_nodes) == (Level.WARN, True)
    assert "Go is missing" in found.text


def test_a_ready_kind_of_another_version_is_seen(ready: Path) -> None:
    assert parts.versions().level is Level.OK
    says(ready / "kind", "kind version 0.20.0")
    found = parts.versions()
    assert found.level is Level.WARN
    assert f"kind was passed over: {PINNED.find('kind').version} is wanted, it is 0.20.0" in found.text


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        ('{"clientVersion": {"gitVersion": "v1.20.1"}}', Level.WARN),
        ('{"clientVersion": {"gitVersion": "v1.36.0-custom"}}', Level.OK),
        ("broken", Level.OK),
        ('{"clientVersion": {"gitVersion": "devel"}}', Level.OK),
    ],
)
def test_the_users_own_kubectl_is_asked(bin_only: Path, answer: str, level: Level) -> None:
    says(bin_only / "kubectl", answer)
    found = parts.skew(1)
    assert found.level is level
    assert (OWN_KUBECTL in found.text) is (level is Level.WARN)
