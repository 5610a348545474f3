from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.kustomize import BuildError, KustomizeBuilder
from fluxdrill.repository.source import export, open_source
from fluxdrill.repository.tree import KUSTOMIZE, REPOSITORY, ROOT, SOURCE, Build, Expected, Node, OutsideHost, expected

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "elysium.bundle"


def flux(
    name: str, path: str = "", *, depends_on: tuple[str, ...] = (), source: str = "flux-system", **spec: object
) -> str:
    content = {
        "apiVersion": f"{KUSTOMIZE}/v1",
        "kind": "Kustomization",
        "metadata": {"name": name, "namespace": "flux-system"},
        "spec": {
            "path": path or f"./{name}",
            "sourceRef": {"kind": "GitRepository", "name": source},
            "dependsOn": [{"name": other} for other in depends_on],
            **spec,
        },
    }
    return yaml.safe_dump(content)


def thing(api_version: str, kind: str, name: str, **spec: object) -> str:
    meta = {"name": name, "namespace": "flux-system"}
    return yaml.safe_dump({"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": spec})


def joined(folder: Path) -> str:
    """A builder that renders a folder's files one after the other: enough where kustomize is not the point."""
    if (folder / "broken").exists():
        raise BuildError(f"accumulating resources: {folder}/broken: no such thing")
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text()).get("resources") or []
    return "\n---\n".join((folder / name).read_text() for name in listed)


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Path]:
    def write(**files: str) -> Path:
        for name, content in files.items():
            path = tmp_path / "repository" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.with_suffix(".yaml") if content else path).write_text(content)
        return tmp_path / "repository"

    return write


def ks(name: str) -> ObjectRef:
    return ObjectRef(KUSTOMIZE, "Kustomization", "flux-system", name)


def node(tree: Expected, name: str) -> Node:
    return tree.nodes[ks(name)]


def test_the_tree_is_followed_from_the_entry_path_through_the_same_source(repository: Callable[..., Path]) -> None:
    root = repository(
        cluster__infra=flux("infra", postBuild={"substituteFrom": [{"kind": "Secret", "name": "vars"}]}),
        cluster__apps=flux("apps", depends_on=("infra",), path="./apps"),
        infra__db=thing("v1", "ConfigMap", "db"),
        apps__nested=flux("deeper"),
        deeper__x=thing("example.com/v1", "Thing", "x"),
    )
    tree = expected(root, "./cluster", joined)
    assert list(tree.nodes) == [ROOT, ks("apps"), ks("infra"), ks("deeper")]
    assert {found.build for found in tree.nodes.values()} == {Build.BUILT}
    assert node(tree, "deeper").parent == ks("apps")
    assert node(tree, "deeper").kinds == {("example.com", "Thing")}
    assert node(tree, "apps").depends_on == (ks("infra"),)
    assert [(found.ref, found.optional) for found in node(tree, "infra").substitute_from] == [
        (ObjectRef("", "Secret", "flux-system", "vars"), False)
    ]
    assert node(tree, "infra").objects == (ObjectRef("", "ConfigMap", "flux-system", "db"),)


def test_the_repository_itself_is_not_written_to(repository: Callable[..., Path]) -> None:
    root = repository(cluster__infra=flux("infra"), infra__db=thing("v1", "ConfigMap", "db"))
    before = sorted(root.rglob("*"))
    expected(root, "cluster", joined)
    assert sorted(root.rglob("*")) == before


def test_a_tree_that_contains_its_own_root_ends(repository: Callable[..., Path]) -> None:
    root = repository(cluster__sync=flux("flux-system", "./cluster"), cluster__again=flux("again", "./cluster"))
    assert list(expected(root, "cluster", joined).nodes) == [ROOT, ks("again")]


def test_a_build_that_fails_is_told_on_its_node_without_the_place_of_the_copy(repository: Callable[..., Path]) -> None:
    root = repository(
        cluster__a=flux("bad"), cluster__b=flux("good"), good__x=thing("v1", "ConfigMap", "x"), bad__broken=""
    )
    tree = expected(root, "cluster", joined)
    assert node(tree, "bad").build is Build.FAILED
    assert node(tree, "bad").message == "accumulating resources: bad/broken: no such thing"
    assert node(tree, "bad").objects == ()
    assert node(tree, "good").build is Build.BUILT


@pytest.mark.parametrize("path", ["./gone", "../outside", "/../outside", "./cluster/a.yaml"])
def test_a_path_that_is_no_folder_of_the_repository_fails_like_in_the_controller(
    repository: Callable[..., Path], tmp_path: Path, path: str
) -> None:
    (tmp_path / "outside").mkdir()
    tree = expected(repository(cluster__a=flux("lost", path)), "cluster", joined)
    assert (node(tree, "lost").build, node(tree, "lost").message) == (
        Build.FAILED,
        f"kustomization path not found: {path}",
    )


@pytest.mark.parametrize("path", ["gone", "../repository2", "cluster/a.yaml"])
def test_an_entry_path_that_is_no_folder_is_a_usage_error(repository: Callable[..., Path], path: str) -> None:
    root = repository(cluster__a=flux("a"))
    (root.parent / "repository2").mkdir()
    with pytest.raises(UsageError, match="no folder"):
        expected(root, path, joined)


def test_a_remote_base_is_recorded_and_the_builder_is_never_asked(repository: Callable[..., Path]) -> None:
    root = repository(
        cluster__a=flux("far"), far__kustomization="resources: ['https://user:pw@example.com/crds?ref=v1']\n"
    )
    asked = []
    tree = expected(root, "cluster", lambda folder: asked.append(folder.name) or joined(folder))  # type: ignore[func-returns-value]
    assert asked == ["cluster"]
    assert node(tree, "far").build is Build.REMOTE
    assert node(tree, "far").message == "not built: remote base https://example.com/crds?ref=v1"
    assert node(tree, "far").remote == ("https://example.com/crds?ref=v1",)


def test_a_file_outside_the_repository_is_not_read(repository: Callable[..., Path]) -> None:
    root = repository(cluster__a=flux("far"), far__kustomization="resources: [../../secret.yaml]\n")
    tree = expected(root, "cluster", joined)
    assert (node(tree, "far").build, node(tree, "far").message) == (
        Build.FAILED,
        "../../secret.yaml leaves the repository",
    )


def test_another_source_is_recorded_and_not_followed(repository: Callable[..., Path]) -> None:
    root = repository(cluster__a=flux("n8n", source="n8n"), n8n__x=thing("v1", "ConfigMap", "x"))
    tree = expected(root, "cluster", joined)
    assert (node(tree, "n8n").build, node(tree, "n8n").objects) == (Build.ELSEWHERE, ())
    assert node(tree, "n8n").source == ObjectRef(SOURCE, "GitRepository", "flux-system", "n8n")
    other = expected(root, "cluster", joined, repository=ObjectRef(SOURCE, "GitRepository", "flux-system", "n8n"))
    assert node(other, "n8n").build is Build.BUILT


@pytest.mark.parametrize(
    "rendered", ["a: [1\n", "- a\n", "kind: ConfigMap\n", "text\n", "a: 1\n---\nmetadata: {name: x}\n"]
)
def test_what_is_no_stream_of_objects_is_a_failed_build(repository: Callable[..., Path], rendered: str) -> None:
    tree = expected(repository(cluster__a=flux("a")), "cluster", lambda _: rendered)
    assert tree.nodes[ROOT].build is Build.FAILED
    assert list(tree.nodes) == [ROOT]


def test_an_equals_sign_in_a_custom_resource_definition_is_a_string(repository: Callable[..., Path]) -> None:
    tree = expected(repository(cluster__a=flux("a")), "cluster", lambda _: thing("v1", "X", "x") + "enum: [=]\n")
    assert tree.nodes[ROOT].build is Build.BUILT


def test_a_broken_harness_is_not_mistaken_for_a_broken_repository(
    repository: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(HarnessError):
        expected(repository(cluster__a=flux("a")), "cluster", KustomizeBuilder(tmp_path / "nothing"))


def test_outside_hosts_are_named_with_the_object_and_ssh_is_flagged(repository: Callable[..., Path]) -> None:
    root = repository(
        cluster__a=thing(f"{SOURCE}/v1", "GitRepository", "a", url="ssh://git@git.example.com/x"),
        cluster__b=thing(f"{SOURCE}/v1", "HelmRepository", "b", url="https://user:pw@charts.example.com/stable"),
        cluster__c=thing(f"{SOURCE}/v1", "OCIRepository", "c", url="oci://127.0.0.1:5000/app"),
        cluster__d=thing(f"{SOURCE}/v1", "Bucket", "d", endpoint="minio.example.com:9000"),
        cluster__e=thing(f"{SOURCE}/v1", "HelmRepository", "e", url="http://charts.flux-system.svc/stable"),
        cluster__f=thing("example.com/v1", "GitRepository", "f", url="https://other.example.com"),
    )
    hosts = expected(root, "cluster", joined).nodes[ROOT].hosts

    def by(kind: str, name: str) -> ObjectRef:
        return ObjectRef(SOURCE, kind, "flux-system", name)

    assert hosts == (
        OutsideHost(
            "git.example.com", "ssh://git@git.example.com/x".replace("git@", ""), by("GitRepository", "a"), ssh=True
        ),
        OutsideHost("charts.example.com", "https://charts.example.com/stable", by("HelmRepository", "b"), ssh=False),
        OutsideHost("minio.example.com", "minio.example.com:9000", by("Bucket", "d"), ssh=False),
    )


def test_dependents_are_all_that_wait_directly_or_not(repository: Callable[..., Path]) -> None:
    root = repository(
        c__a=flux("a"), c__b=flux("b", depends_on=("a",)), c__c=flux("c", depends_on=("b", "gone")), c__d=flux("d")
    )
    tree = expected(root, "c", joined)
    assert tree.dependents("a") == tree.dependents("flux-system/a") == (ks("b"), ks("c"))
    assert tree.dependents("d") == ()
    assert tree.missing_dependencies() == ((ks("c"), ks("gone")),)
    assert tree.cycles() == ()
    with pytest.raises(UsageError, match="No Kustomization is called x"):
        tree.dependents("x")


def test_circles_of_dependencies_are_found_also_of_one(repository: Callable[..., Path]) -> None:
    root = repository(
        c__a=flux("a", depends_on=("c",)),
        c__b=flux("b", depends_on=("a",)),
        c__c=flux("c", depends_on=("b",)),
        c__d=flux("d", depends_on=("d",)),
    )
    assert expected(root, "c", joined).cycles() == ((ks("a"), ks("b"), ks("c")), (ks("d"),))


def test_the_spec_of_a_kustomization_changes_what_it_renders(
    repository: Callable[..., Path], kustomize: KustomizeBuilder
) -> None:
    root = repository(
        cluster__a=flux("app", targetNamespace="team", nameSuffix="-blue"),
        app__x="apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n",
    )
    assert node(expected(root, "cluster", kustomize), "app").objects == (ObjectRef("", "ConfigMap", "team", "x-blue"),)


def test_the_corpus_gives_its_known_tree(tmp_path: Path, kustomize: KustomizeBuilder) -> None:
    if not CORPUS.is_file():
        pytest.skip("the corpus is not beside this checkout")
    served = open_source(str(CORPUS), ref=None, into=tmp_path / "served.git", deadline=60)
    (tmp_path / "tree").mkdir()
    export(served, tmp_path / "tree")
    tree = expected(tmp_path / "tree", "clusters/kyrion", kustomize)
    sizes = {found.ref.name: len(found.objects) for found in tree.nodes.values() if found.build is Build.BUILT}
    assert sizes == {
        "flux-system": 7,
        "infra-controllers": 38,
        "infra-configs": 39,
        "monitoring-controllers": 19,
        "monitoring-configs": 5,
    }
    assert node(tree, "apps").build is Build.REMOTE
    assert "fission" in node(tree, "apps").message
    assert tree.dependents("infra-controllers") == tuple(
        ks(name) for name in ("apps", "infra-configs", "monitoring-configs", "monitoring-controllers")
    )
    assert tree.nodes[ks("system-upgrade")].build is Build.ELSEWHERE
    assert any(ref.kind == "SealedSecret" for ref in tree.nodes[ROOT].objects)
    assert (tree.cycles(), tree.missing_dependencies(), tree.nodes[ROOT].source) == ((), (), REPOSITORY)
