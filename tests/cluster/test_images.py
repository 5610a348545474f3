"""Images as files: the same entries give the same bytes, and what comes from where is what was asked for."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fluxdrill.cli_images import images as command
from fluxdrill.cluster.images import node, packages
from fluxdrill.cluster.images.archive import Settings, write_archive
from fluxdrill.cluster.images.components import (
    IMAGES,
    NODE_IMAGES,
    Archive,
    ensure_archives,
    find,
    finish_userland,
    listed,
    make,
)
from fluxdrill.cluster.images.node import add_node, ensure_node_image, kubernetes_version
from fluxdrill.cluster.images.packages import Package, resolve
from fluxdrill.cluster.images.places import HOST, digest, identity, scratch
from fluxdrill.cluster.images.tree import Tree
from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.process import run
from fluxdrill.toolchain.build import ensure, path_of
from fluxdrill.toolchain.catalog import PINNED, images_root
from fluxdrill.toolchain.store import Origin, locate
from tests.toolchain.wrapper import script

Maker = Callable[[Tree], None]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("FLUXDRILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def written(*makers: Maker) -> bytes:
    """Return the archive of a tree that `makers` filled, one after another."""
    tree, out = Tree(), io.BytesIO()
    for one in makers:
        one(tree)
    tree.write(out)
    return out.getvalue()


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    """Return what a tar archive holds."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: one for one in tar}


def content(archive: bytes, name: str) -> bytes:
    """Return one file of a tar archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        file = tar.extractfile(name)
        assert file is not None
        return file.read()


def package(path: Path, *infos: tarfile.TarInfo, data: bytes = b"data") -> Path:
    """Write what a package unpacks to; files hold `data`."""
    with tarfile.open(path, mode="w") as tar:
        for info in infos:
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return path


def info(name: str, kind: bytes = tarfile.REGTYPE, *, target: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type, one.linkname, one.mode, one.mtime, one.uname = kind, target, mode, 1234, "somebody"
    return one


def test_the_order_in_which_a_tree_is_filled_leaves_no_trace(tmp_path: Path) -> None:
    file = tmp_path / "program"
    file.write_bytes(b"x" * 3_000_000)
    makers: list[Maker] = [
        lambda tree: tree.text("etc/passwd", "root\n"),
        lambda tree: tree.file("usr/bin/program", file, 0o755),
        lambda tree: tree.link("usr/bin/other", "program"),
        lambda tree: tree.folder("tmp", 0o1777),
    ]
    first = written(*makers)
    os.utime(file, (1, 1))
    assert written(*reversed(makers)) == first
    assert content(first, "usr/bin/program") == file.read_bytes()
    assert {(one.mtime, one.uid, one.uname) for one in members(first).values()} == {(0, 0, "")}
    assert list(members(first)) == sorted(members(first))


def test_one_changed_byte_changes_the_archive(tmp_path: Path) -> None:
    assert written(lambda tree: tree.text("a", "1")) != written(lambda tree: tree.text("a", "2"))
    assert written(lambda tree: tree.text("a", "1", 0o644)) != written(lambda tree: tree.text("a", "1", 0o755))


def test_packages_that_name_the_old_places_end_below_usr(tmp_path: Path) -> None:
    one = package(tmp_path / "one.tar", info("./bin/", tarfile.DIRTYPE), info("./bin/bash"), info("./lib64/ld.so"))

    def fill(tree: Tree) -> None:
        tree.link("bin", "usr/bin")
        tree.link("lib64", "usr/lib64")
        tree.merge(one)

    found = members(written(fill))
    assert found["bin"].linkname == "usr/bin"
    assert {"usr/bin/bash", "usr/lib64/ld.so"} <= set(found)
    assert not [name for name in found if name.startswith("bin/")]


def test_a_second_name_of_a_file_becomes_a_copy_which_needs_no_order(tmp_path: Path) -> None:
    one = package(tmp_path / "one.tar", info("./usr/bin/z"), info("./usr/bin/a", tarfile.LNKTYPE, target="./usr/bin/z"))
    archive = written(lambda tree: tree.merge(one))
    assert members(archive)["usr/bin/a"].isreg()
    assert content(archive, "usr/bin/a") == content(archive, "usr/bin/z") == b"data"


def test_unwanted_folders_and_devices_are_left_out_and_another_kind_is_an_error(tmp_path: Path) -> None:
    one = package(
        tmp_path / "one.tar", info("./usr/share/doc/x"), info("./usr/share/docs"), info("./dev/null", tarfile.CHRTYPE)
    )
    found = members(written(lambda tree: tree.merge(one, without=("usr/share/doc",))))
    assert set(found) == {"usr", "usr/share", "usr/share/docs"}
    pipe = package(tmp_path / "two.tar", info("./run/pipe", tarfile.FIFOTYPE))
    with pytest.raises(HarnessError, match=r"two\.tar holds .*pipe of an unknown kind"):
        written(lambda tree: tree.merge(pipe))


def test_a_folder_is_copied_with_its_modes_and_links(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True, mode=0o700)
    (source / "deep" / "file").write_text("x")
    (source / "deep" / "file").chmod(0o4711)
    (source / "link").symlink_to("deep/file")
    os.mkfifo(source / "pipe")
    found = members(written(lambda tree: tree.copy("var/lib/it", source)))
    assert found["var/lib/it/deep"].mode == 0o700
    assert (found["var/lib/it/deep/file"].mode, found["var/lib/it/link"].linkname) == (0o4711, "deep/file")
    assert "var/lib/it/pipe" not in found


def test_an_archive_names_its_image_and_the_digests_of_what_it_holds(tmp_path: Path) -> None:
    tree = Tree()
    tree.text("hello", "world")
    path = tmp_path / "deep" / "image.tar"
    image_id = write_archive(path, f"{HOST}/one:1", tree, Settings(entrypoint=("/hello",), user="65534"))
    with tarfile.open(path) as tar:
        held = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]
    (listed_image,) = json.loads(held["manifest.json"])
    config = held[listed_image["Config"]]
    assert listed_image["RepoTags"] == [f"{HOST}/one:1"]
    assert image_id == f"sha256:{hashlib.sha256(config).hexdigest()}"
    parsed = json.loads(config)
    assert parsed["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(held['layer.tar']).hexdigest()}"]
    assert (parsed["config"]["Entrypoint"], parsed["config"]["User"]) == (["/hello"], "65534")
    assert content(held["layer.tar"], "hello") == b"world"
    assert [one.name for one in path.parent.iterdir()] == ["image.tar"]


def test_an_archive_that_cannot_be_finished_is_not_there_at_all(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.write_text("x")
    tree = Tree()
    tree.file("gone", gone)
    gone.unlink()
    with pytest.raises(FileNotFoundError):
        write_archive(tmp_path / "out" / "image.tar", "one:1", tree, Settings())
    assert list((tmp_path / "out").iterdir()) == []


def test_every_image_is_named_for_a_host_that_is_never_resolved() -> None:
    assert {one.reference.partition("/")[0] for one in IMAGES} == {"fluxdrill.invalid"}
    assert len({one.reference for one in IMAGES}) == len(IMAGES)
    files = [one for one in images_root().rglob("*") if one.is_file()]
    hosts = re.compile(r"\b(?:registry|docker|ghcr|quay|gcr)\.[a-z0-9.]+/", re.IGNORECASE)
    assert files
    assert [one.name for one in files if hosts.search(one.read_text())] == []


def test_an_unknown_image_is_said_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"There is no image 'nope'\. Known: node, kube-apiserver"):
        find("nope")
    outcome = CliRunner().invoke(command, ["build", "nope"])
    assert isinstance(outcome.exception, UsageError)


def test_the_node_s_scripts_are_bash_without_a_slip() -> None:
    scripts = sorted((images_root() / "node" / "bin").iterdir())
    assert "entrypoint" in [one.name for one in scripts]
    for one in scripts:
        assert os.access(one, os.X_OK)
        done = run(["bash", "-n", one], deadline=10)
        assert (done.returncode, done.stderr) == (0, ""), one.name


def test_a_node_has_kubernetes_version_and_pause_image_where_kind_and_containerd_look(tmp_path: Path) -> None:
    program = tmp_path / "kubelet"
    program.write_text("x")
    archive = written(lambda tree: add_node(tree, {"kubelet": program}))
    assert content(archive, "kind/version").decode() == f"{kubernetes_version()}\n"
    assert f'sandbox = "{find("pause").reference}"' in content(archive, "etc/containerd/config.toml").decode()
    assert b"kind: StorageClass" in content(archive, "kind/manifests/default-storage.yaml")


def test_what_packages_do_when_they_are_installed_is_done_only_where_they_are() -> None:
    with_tables, without = Tree(), Tree()
    with_tables.text("usr/sbin/xtables-nft-multi", "")
    finish_userland(with_tables)
    finish_userland(without)
    assert with_tables["usr/sbin/iptables"].target == "xtables-nft-multi"
    assert ("usr/sbin/iptables" in without, "etc/passwd" in without) == (False, True)


def apt(folder: Path, *lines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put an apt-get that does as it is told before the real one."""
    script(folder / "apt-get", *lines)
    script(folder / "dpkg-deb", "exit 2")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_what_apt_chose_is_kept_until_a_refresh_is_wanted(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = "'https://mirror.example.invalid/bash_1%3a5.2-1_amd64.deb' bash_1%3a5.2-1_amd64.deb 1490652 SHA256:0"
    apt(tmp_path / "bin", f'echo "{chosen}"', monkeypatch=monkeypatch)
    first = resolve(["bash"])
    assert first == [Package("bash", "1:5.2-1", "bash_1%3a5.2-1_amd64.deb")]
    apt(tmp_path / "bin", f'echo "{chosen.replace("5.2-1", "5.2-2")}"', monkeypatch=monkeypatch)
    assert resolve(["bash"]) == first
    assert (
        resolve(["bash"], refresh=True) == resolve(["bash"]) == [Package("bash", "1:5.2-2", "bash_1%3a5.2-2_amd64.deb")]
    )


def test_a_machine_without_apt_is_told_so(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"There is no apt-get here.*Build the images on a Debian machine"):
        resolve(["bash"])


def test_packages_that_apt_does_not_know_are_told_without_its_address(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt(
        tmp_path / "bin",
        'echo "E: nothing at https://mirror.example.invalid/x." >&2',
        "exit 100",
        monkeypatch=monkeypatch,
    )
    with pytest.raises(HarnessError, match=r"nothing at its source\. Run `apt-get update` once\.") as caught:
        resolve(["nope"])
    assert "mirror.example.invalid" not in str(caught.value)


def test_a_package_that_does_not_arrive_is_named_and_nothing_is_left(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt(tmp_path / "bin", 'echo "E: Failed to fetch it" >&2', "exit 100", monkeypatch=monkeypatch)
    with pytest.raises(HarnessError, match=r"did not bring bash 5: Failed to fetch it\."):
        packages.fetch([Package("bash", "5", "bash_5_amd64.deb")])
    assert [one.name for one in (cache / "images" / "packages").iterdir()] == [".lock"]


def test_a_package_that_cannot_be_read_says_which_file_to_delete(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt(tmp_path / "bin", "exit 0", monkeypatch=monkeypatch)
    one = Package("bash", "5", "bash_5_amd64.deb")
    with pytest.raises(HarnessError, match=rf"bash_5_amd64\.deb cannot be read.*Delete {one.path}"):
        packages.merge(Tree(), [one], tmp_path)


def test_keys_tell_every_part_and_its_end_apart(cache: Path, tmp_path: Path) -> None:
    assert digest("ab", "c") != digest("a", "bc")
    one = tmp_path / "ctr"
    one.write_text("1")
    first = identity(one)
    one.write_text("2")
    assert identity(one) != first
    cached = cache / "bin" / "ctr" / "v1-key-go1" / "ctr"
    assert identity(cached) == "ctr v1-key-go1"


def test_what_a_killed_build_left_goes_with_the_next_and_what_lives_stays(cache: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as living:
        names = {"gone": "999999999-x", "living": f"{living.pid}-x"}
        for name in names.values():
            (cache / "images" / "scratch" / name / "deep").mkdir(parents=True)
        half = cache / "images" / "archives" / ".partial-999999999-one.tar"
        half.parent.mkdir()
        half.touch()
        with scratch() as folder:
            (folder / "deep").mkdir()
            left = {one.name for one in folder.parent.iterdir()}
        living.kill()
    assert left == {folder.name, names["living"]}
    assert (folder.exists(), half.exists()) == (False, False)


def test_only_root_makes_the_node_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match=r"Only root can make the node image.*as root, once"):
        node._require_root()


def _missing() -> str:
    absent = [name for name in ("kubeadm", "pause") if locate(PINNED.find(name)).origin is Origin.MISSING]
    return f"{absent[0]} is not built: run `fluxdrill images build`" if absent else ""


needs_images = pytest.mark.skipif(bool(_missing()), reason=_missing())


@pytest.mark.live
@needs_images
def test_the_control_plane_s_images_are_those_that_kubeadm_asks_for() -> None:
    words = ("config", "images", "list", "--kubernetes-version", kubernetes_version(), "--image-repository", HOST)
    asked = set(run([path_of("kubeadm"), *words], deadline=20).text.split())
    ours = {one.reference for one in NODE_IMAGES}
    # etcd and CoreDNS have the tags of what is in them, and a cluster's configuration says so
    assert {one.partition(":")[0] for one in asked - ours} == {f"{HOST}/etcd", f"{HOST}/coredns"}
    assert {one.partition(":")[0] for one in asked} == {one.partition(":")[0] for one in ours}


@pytest.mark.live
@needs_images
@pytest.mark.parametrize("name", ["pause", "standin", "kube-proxy"])
def test_an_image_made_twice_is_the_same_to_the_byte(name: str, tmp_path: Path) -> None:
    image = find(name)
    needed = resolve(listed(image)) if image.userland else []
    program = ensure([image.program])[0][image.program] if image.program else None
    ids = {make(tmp_path / f"{number}.tar", image, needed, program) for number in range(2)}
    assert len(ids) == 1
    one, two = (hashlib.sha256((tmp_path / f"{number}.tar").read_bytes()).hexdigest() for number in range(2))
    assert one == two


@pytest.mark.live
@needs_images
def test_a_second_build_finds_everything() -> None:
    first = ensure_archives([find("pause")])["pause"]
    again = ensure_archives([find("pause")])["pause"]
    assert (again.path, again.seconds) == (first.path, 0.0)
    whole = ensure_node_image()
    assert ensure_node_image() == Archive(whole.reference, whole.path)


@pytest.mark.live
@needs_images
def test_pause_ends_when_it_is_told_to() -> None:
    with subprocess.Popen([path_of("pause")]) as pause:
        pause.send_signal(signal.SIGCHLD)
        with pytest.raises(subprocess.TimeoutExpired):
            pause.wait(0.3)
        pause.send_signal(signal.SIGTERM)
        assert pause.wait(10) == 0
