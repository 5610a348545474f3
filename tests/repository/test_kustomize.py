from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from fluxdrill.errors import HarnessError
from fluxdrill.repository.kustomize import BuildError, KustomizeBuilder, as_flux_builds, references


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def config_map(name: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n"


def built(kustomize: KustomizeBuilder, folder: Path, **spec: object) -> list[str]:
    with as_flux_builds(folder, spec):
        rendered = kustomize(folder)
    things = [thing for thing in yaml.safe_load_all(rendered) if thing]
    return ["/".join(filter(None, (thing["metadata"].get("namespace"), thing["metadata"]["name"]))) for thing in things]


def test_a_folder_without_kustomization_is_every_yaml_below_and_each_sub_folder_with_one(
    tmp_path: Path, kustomize: KustomizeBuilder
) -> None:
    write(
        tmp_path,
        {
            "a.yaml": config_map("a"),
            "deep/er/b.yml": config_map("b"),
            "deep/notes.txt": "no",
            "own/kustomization.yml": "resources: [c.yaml]\n",
            "own/c.yaml": config_map("c"),
            "own/unlisted.yaml": config_map("unlisted"),
        },
    )
    before = sorted(tmp_path.rglob("*"))
    assert sorted(built(kustomize, tmp_path)) == ["a", "b", "c"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "files", [{"notes.txt": ""}, {"kustomization.yaml": ""}, {"kustomization.yaml": "resources: []\n"}]
)
def test_nothing_to_build_renders_nothing_as_the_controller_does(
    tmp_path: Path, kustomize: KustomizeBuilder, files: dict[str, str]
) -> None:
    write(tmp_path, files)
    assert built(kustomize, tmp_path) == []


def test_the_spec_is_merged_in_and_the_file_restored(tmp_path: Path, kustomize: KustomizeBuilder) -> None:
    original = "# kept\nresources: [a.yaml]\n"
    write(
        tmp_path,
        {
            "app/kustomization.yaml": original,
            "app/a.yaml": config_map("a"),
            "extra/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [b.yaml]\n",
            "extra/b.yaml": config_map("b"),
        },
    )
    spec = {"targetNamespace": "team", "namePrefix": "x-", "components": ["../extra", "../gone"]}
    assert sorted(built(kustomize, tmp_path / "app", **spec, ignoreMissingComponents=True)) == ["team/x-a", "team/x-b"]
    assert (tmp_path / "app" / "kustomization.yaml").read_text() == original
    with pytest.raises(BuildError, match="gone"):
        built(kustomize, tmp_path / "app", **spec)
    assert (tmp_path / "app" / "kustomization.yaml").read_text() == original


def test_a_build_that_fails_says_why(tmp_path: Path, kustomize: KustomizeBuilder) -> None:
    write(tmp_path, {"kustomization.yaml": "resources: [gone.yaml]\n"})
    with pytest.raises(BuildError, match=r"gone\.yaml"):
        kustomize(tmp_path)


def test_even_unscanned_a_remote_base_is_not_reached(tmp_path: Path, kustomize: KustomizeBuilder) -> None:
    for remote in ("https://example.com/x.yaml", "https://github.com/example/example//deploy?ref=v1"):
        write(tmp_path, {"kustomization.yaml": f"resources: ['{remote}']\n"})
        with pytest.raises(BuildError, match=r"127\.0\.0\.1:1|executable file not found|git"):
            kustomize(tmp_path)


@pytest.mark.parametrize("content", ["- a\n", "a: [1\n", "text"])
def test_a_kustomization_that_is_no_mapping_is_a_build_error(tmp_path: Path, content: str) -> None:
    write(tmp_path, {"kustomization.yaml": content})
    with pytest.raises(BuildError, match="invalid Kustomization"), as_flux_builds(tmp_path, {}):
        pass
    assert references(tmp_path, tmp_path).remote == []


def test_a_builder_that_is_missing_or_hangs_is_the_harness_fault(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot be started"):
        KustomizeBuilder(tmp_path / "nothing")(tmp_path)
    slow = tmp_path / "slow"
    slow.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    slow.chmod(0o755)
    with pytest.raises(HarnessError, match="did not end"):
        KustomizeBuilder(slow, deadline=0.3)(tmp_path)


REMOTES = [
    "https://example.com/x.yaml",
    "HTTP://example.com/x.yaml",
    "ssh://example.com/x",
    "git@github.com:example/example",
    "git::https://example.com/x",
    "github.com/example/example//deploy",
    "gh:example/example",
    "example.com/team/x?ref=v1",
    "file:///etc",
]


@pytest.mark.parametrize("remote", REMOTES)
@pytest.mark.parametrize("field", ["resources", "bases", "components", "transformers", "crds"])
def test_a_remote_reference_is_found_in_every_list_of_paths(tmp_path: Path, remote: str, field: str) -> None:
    write(tmp_path, {"kustomization.yaml": yaml.safe_dump({field: [remote]})})
    assert references(tmp_path, tmp_path).remote == [remote]


@pytest.mark.parametrize(
    "kustomization",
    [
        {"patches": [{"path": REMOTES[0]}]},
        {"patchesJson6902": [{"path": REMOTES[0]}]},
        {"replacements": [{"path": REMOTES[0]}]},
        {"openapi": {"path": REMOTES[0]}},
        {"patchesStrategicMerge": [REMOTES[0]]},
        {"configMapGenerator": [{"files": [f"key={REMOTES[0]}"]}]},
        {"secretGenerator": [{"envs": [REMOTES[0]]}]},
    ],
)
def test_a_remote_file_is_found_wherever_kustomize_reads_one(tmp_path: Path, kustomization: dict[str, object]) -> None:
    write(tmp_path, {"kustomization.yaml": yaml.safe_dump(kustomization)})
    assert references(tmp_path, tmp_path).remote == [REMOTES[0]]


def test_remote_bases_are_found_through_bases_circles_and_generated_folders(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "top/sub/kustomization.yaml": "resources: [../../base]\n",
            "base/kustomization.yaml": "resources: [../top/sub, 'https://user:pw@example.com/x?ref=v1', a.yaml]\n",
            "base/a.yaml": config_map("https://not-a-reference.example.com"),
        },
    )
    assert references(tmp_path / "top", tmp_path).remote == ["https://example.com/x?ref=v1"]


def test_inline_patches_and_local_paths_are_not_references_beyond(tmp_path: Path) -> None:
    inline = "- op: add\n  path: /x\n  value: https://example.com\n"
    kustomization = {"resources": ["./a.yaml", "../shared"], "patches": [{"patch": inline}], "transformers": [inline]}
    write(tmp_path, {"app/kustomization.yaml": yaml.safe_dump(kustomization), "shared/kustomization.yaml": ""})
    found = references(tmp_path / "app", tmp_path)
    assert (found.remote, found.outside) == ([], [])


def test_a_path_out_of_the_repository_is_told_apart_also_through_a_link(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, {"app/kustomization.yaml": "resources: [../../secret.yaml, link]\n"})
    (root / "app" / "link").symlink_to(tmp_path)
    assert references(root / "app", root).outside == ["../../secret.yaml", "link"]
