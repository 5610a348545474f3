"""What the k3d driver is told, what it says, and what the image's /bin/k3s refuses: no engine is asked."""

from __future__ import annotations

import hashlib
import json
import tarfile
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from fluxdrill.cluster.images.archive import Settings, write_archive
from fluxdrill.cluster.images.k3d import DNS_MANIFEST, SETTINGS, add_contract, make
from fluxdrill.cluster.images.tree import Tree
from fluxdrill.cluster.k3d import K3dOptions, arguments, named, reason
from fluxdrill.errors import UsageError
from fluxdrill.process import run
from fluxdrill.toolchain.catalog import images_root
from tests.cluster.test_images import content, written

K3S = images_root() / "k3d" / "k3s"
AT_START = ("NODE_ADDRESS", "NODE_NAME", "TOKEN", "SERVER", "MORE_NAMES", "MORE_FLAGS")


def test_k3d_is_told_the_network_that_carries_the_owner_and_a_port_of_loopback() -> None:
    words = arguments("lab-1", K3dOptions(workers=2), "image:1", port=20001, gateway="172.20.0.1")
    assert words[:3] == ["cluster", "create", "lab-1"]
    pairs = set(pairwise(words))
    assert {("--network", "lab-1"), ("--api-port", "127.0.0.1:20001"), ("--agents", "2")} <= pairs
    assert ("--k3s-arg", "--tls-san=172.20.0.1@server:0") in pairs
    assert "--volume" not in words


def test_an_audit_folder_is_mounted_and_named_to_the_api_server(tmp_path: Path) -> None:
    words = arguments("lab-1", K3dOptions(audit=tmp_path), "image:1", port=1, gateway="172.20.0.1")
    pairs = set(pairwise(words))
    assert ("--volume", f"{tmp_path}:/audit@server:0") in pairs
    assert ("--k3s-arg", "--kube-apiserver-arg=audit-log-path=/audit/audit.log@server:0") in pairs
    assert [one.name for one in tmp_path.iterdir()] == ["audit-policy.yaml"]


def test_a_name_has_room_for_a_suffix_of_nineteen() -> None:
    assert named("lab-01234567", "") == "lab-01234567"
    assert len(named("lab-01234567", "x" * 19)) == 32
    with pytest.raises(UsageError, match=r"no name of more than 32 characters: lab-01234567-x+\. .*of 19 at the most"):
        named("lab-01234567", "x" * 20)


def test_k3d_s_first_complaint_is_told_without_its_colours() -> None:
    said = "\x1b[36mINFO\x1b[0m[0000] Prep: Network  \n\x1b[31mERRO\x1b[0m[0001] port is already allocated  \n"
    assert reason(f"{said}\x1b[31mFATA\x1b[0m[0002] Cluster creation FAILED") == "port is already allocated"
    assert reason("docker: not found\n") == "docker: not found"


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (("server", "--disable=traefik"), {}, "no answer to --disable=traefik"),
        (("server", "--tls-san", "one", "--cluster-init"), {}, "no answer to --cluster-init"),
        (("server",), {"K3S_URL": "https://other:6443"}, "one server: another cannot join it"),
        (("agent",), {}, "an agent needs K3S_URL"),
        (("etcd-snapshot",), {}, "no answer to 'etcd-snapshot'"),
        ((), {}, "no answer to ''"),
    ],
)
def test_what_the_image_cannot_do_is_refused_in_k3s_words_for_k3d(
    words: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    done = run(["bash", K3S, *words], deadline=10, env={"PATH": "/usr/bin:/bin", **environment})
    assert done.returncode == 1
    assert done.text.startswith('level=fatal msg="')
    assert said in done.text


def test_the_image_says_that_it_is_not_k3s() -> None:
    assert "This is not k3s" in K3S.read_text(encoding="utf-8")
    assert run(["bash", "-n", K3S], deadline=10).returncode == 0


def test_the_cluster_s_settings_are_whole_but_for_what_a_node_knows_at_its_start() -> None:
    settings = content(written(add_contract), "etc/kubeadm.conf").decode()
    for name in AT_START:
        assert name in settings
        settings = settings.replace(name, "")
    documents = {one["kind"]: one for one in yaml.safe_load_all(settings)}
    assert set(documents) == {f"{one}Configuration" for one in ("Cluster", "Init", "Join", "Kubelet", "KubeProxy")}
    cluster = documents["ClusterConfiguration"]
    assert (cluster["clusterName"], cluster["imageRepository"]) == ("default", "fluxdrill.invalid")
    assert not [line for line in settings.splitlines() if "_TAG" in line or "_VERSION" in line or "_HOST" in line]


def test_the_manifest_that_k3d_rewrites_is_the_node_s_own_with_a_place_for_names() -> None:
    node = yaml.safe_load((images_root() / "node" / "manifests" / "dns.yaml").read_text(encoding="utf-8"))
    ours = yaml.safe_load(content(written(add_contract), DNS_MANIFEST))
    assert ours["data"]["NodeHosts"] == ""
    added = ours["data"]["Corefile"].removeprefix(node["data"]["Corefile"])
    assert added.startswith("k3d.internal:53 {")
    assert {key: ours[key] for key in ("kind", "metadata")} == {key: node[key] for key in ("kind", "metadata")}


def test_the_image_is_a_small_layer_on_the_node_s_and_the_same_each_time(tmp_path: Path) -> None:
    base = Tree()
    base.text("kind/version", "v1\n")
    write_archive(tmp_path / "node.tar", "node:1", base, Settings(entrypoint=("/usr/local/bin/entrypoint",)))
    ids = {make(tmp_path / f"{one}.tar", "k3d:1", tmp_path / "node.tar") for one in range(2)}
    assert len(ids) == 1
    assert (tmp_path / "0.tar").read_bytes() == (tmp_path / "1.tar").read_bytes()
    lower, upper = layers(tmp_path / "0.tar")
    assert (content(lower, "kind/version"), content(upper, "usr/bin/k3s")) == (b"v1\n", K3S.read_bytes())
    assert SETTINGS.volumes == ("/var",)


def layers(path: Path) -> list[bytes]:
    """Return the layers of an image, in order, each of which has to be the one that its configuration names."""

    with tarfile.open(path) as tar:
        held = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
    (listed,) = json.loads(held["manifest.json"])
    found = [held[name] for name in listed["Layers"]]
    named_so = json.loads(held[listed["Config"]])["rootfs"]["diff_ids"]
    assert [f"sha256:{hashlib.sha256(one).hexdigest()}" for one in found] == named_so
    return found
