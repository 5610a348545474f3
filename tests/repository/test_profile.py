from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxdrill.repository.profile import FieldChange, LeftAlone, Profile, Why, apply_profile, rewrite
from fluxdrill.repository.source import Served, commit_files, files, open_source, tip

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "elysium.bundle"

APPS = """\
---
# The applications.
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: apps, namespace: flux-system}
spec:
  interval: 1h   # slow on purpose
  retryInterval:   "5m"
  timeout: 30m
  path: ./apps
"""


def fast(text: str) -> str:
    return rewrite(text, Profile.FAST).text


def changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True))
    return [line for line in lines if line[0] in "+-"]


def test_fast_changes_only_the_bytes_of_the_named_scalars() -> None:
    assert fast(APPS) == APPS.replace('"5m"', '"2s"').replace("30m", "30s")


def test_as_written_changes_nothing() -> None:
    done = rewrite(APPS, Profile.AS_WRITTEN)
    assert (done.text, done.changes) == (APPS, ())


def test_each_change_names_object_field_before_and_after() -> None:
    assert rewrite(APPS, Profile.FAST).changes == (
        FieldChange("Kustomization/flux-system/apps", "spec.retryInterval", "5m", "2s"),
        FieldChange("Kustomization/flux-system/apps", "spec.timeout", "30m", "30s"),
    )


def test_absent_fields_are_inserted_below_the_interval_keeping_its_comment() -> None:
    text = APPS.replace('  retryInterval:   "5m"\n  timeout: 30m\n', "")
    done = rewrite(text, Profile.FAST)
    assert done.text == text.replace("# slow on purpose\n", "# slow on purpose\n  retryInterval: 2s\n  timeout: 30s\n")
    assert [change.before for change in done.changes] == [None, None]


@pytest.mark.parametrize(
    ("kind", "interval"),
    [*((one, "2s") for one in ("GitRepository", "OCIRepository", "HelmChart", "Bucket")), ("HelmRepository", "10s")],
)
def test_every_kind_of_source_is_looked_at_often_and_an_index_less_so(kind: str, interval: str) -> None:
    text = f"kind: {kind}\napiVersion: source.toolkit.fluxcd.io/v1\nmetadata:\n  name: x\nspec:\n  interval: 12h\n"
    assert fast(text) == text.replace("12h", interval)


def test_a_release_gets_short_timeouts_and_keeps_its_interval() -> None:
    text = """\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: db
spec:
  interval: 30m
  install:
    timeout: 15m
    strategy: {name: RetryOnFailure, retryInterval: 5m}
  upgrade:
    timeout: '10m'
    remediation:
      retries: 3
  test:
    timeout: 3m
  values:
    timeout: 99m
    interval: 99m
"""
    expected = (
        text.replace("15m", "12s")
        .replace("'10m'", "'12s'")
        .replace("3m\n  values", "12s\n  values")
        .replace(": 5m}", ": 2s}")
    )
    assert fast(text) == expected.replace("interval: 30m\n", "interval: 30m\n  timeout: 12s\n")


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nspec:\n  interval: 1h\n",
        "apiVersion: v1\nkind: ConfigMap\nspec:\n  interval: 1h\n",
        "apiVersion: example.com/v1\nkind: GitRepository\nspec:\n  interval: 1h\n",
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  path: ./apps\n",
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n",
        "- interval: 1h\n",
        "just text\n",
        "",
    ],
)
def test_other_kinds_partial_patches_and_other_documents_are_left_alone(text: str) -> None:
    done = rewrite(text, Profile.FAST)
    assert (done.text, done.changes, done.left_alone) == (text, (), ())


def test_every_document_of_a_stream_is_rewritten_and_a_broken_one_is_counted() -> None:
    broken = "---\na: [1\n"
    template = '---\nname: {{ .Release.Name }}\nx: {{- include "x" . | nindent 2 }}\n'
    done = rewrite(f"{APPS}{broken}{template}{APPS}", Profile.FAST)
    assert done.text == f"{fast(APPS)}{broken}{template}{fast(APPS)}"
    line = APPS.count("\n")
    assert done.left_alone == (
        LeftAlone(f"line {line + 1}", Why.INVALID),
        LeftAlone(f"line {line + 3}", Why.TEMPLATE),
    )


def test_a_marker_inside_a_block_scalar_is_not_a_new_document() -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\ndata:\n  x: |\n    ---\n    {APPS.replace(chr(10), chr(10) + '    ')}\n"
    done = rewrite(text, Profile.FAST)
    assert (done.text, done.changes, done.left_alone) == (text, (), ())


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("&slow 1h", Why.SHARED),
        ("!!str 1h", Why.SHARED),
        ("|\n    1h", Why.NOT_SCALAR),
        ("", Why.NOT_SCALAR),
        ("{a: 1h}", Why.NOT_SCALAR),
        ('"1\n    h"', Why.NOT_SCALAR),
    ],
)
def test_a_scalar_that_cannot_be_rewritten_in_place_is_left_alone_and_reported(value: str, why: Why) -> None:
    text = f"apiVersion: source.toolkit.fluxcd.io/v1\nkind: Bucket\nmetadata: {{name: b}}\nspec:\n  interval: {value}\n"
    done = rewrite(text, Profile.FAST)
    assert done.text == text
    assert done.left_alone == (LeftAlone("Bucket/b spec.interval", why),)


def test_an_alias_is_left_alone_since_its_anchor_is_used_elsewhere() -> None:
    text = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: Bucket\nmetadata: {name: &n x}\nspec:\n  interval: *n\n"
    done = rewrite(text, Profile.FAST)
    assert (done.text, [alone.why for alone in done.left_alone]) == (text, [Why.SHARED])


def test_json_style_windows_line_ends_and_a_substitution_variable_are_understood() -> None:
    flow = '{"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "spec": {"interval": "1h"}}'
    assert yaml.safe_load(fast(flow))["spec"] == {"interval": "1h", "retryInterval": "2s", "timeout": "30s"}
    windows = APPS.replace('  retryInterval:   "5m"\n', "").replace("\n", "\r\n").replace("30m", "${TIMEOUT}")
    assert fast(windows) == windows.replace("${TIMEOUT}", "30s").replace(
        "purpose\r\n", "purpose\r\n  retryInterval: 2s\r\n"
    )


def test_objects_in_a_list_are_rewritten_too() -> None:
    text = "kind: List\napiVersion: v1\nitems:\n- apiVersion: source.toolkit.fluxcd.io/v1\n  kind: Bucket\n  spec: {interval: 1h}\n"
    assert fast(text) == text.replace("1h", "2s")


def test_a_text_without_a_last_line_end_stays_so() -> None:
    text = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec:\n  interval: 1h"
    assert fast(text) == f"{text}\n  retryInterval: 2s\n  timeout: 30s"


NAMES = st.sampled_from(["interval", "timeout", "retryInterval", "path", "ä", "install", "strategy", "spec"])
LEAVES = st.one_of(st.text(max_size=8), st.integers(), st.none(), st.sampled_from(["1h", "2s", "30s"]))
TREES = st.recursive(
    LEAVES, lambda below: st.dictionaries(NAMES, below, max_size=4) | st.lists(below, max_size=2), max_leaves=12
)
HEADS = st.sampled_from(
    [
        ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
        ("helm.toolkit.fluxcd.io/v2", "HelmRelease"),
        ("source.toolkit.fluxcd.io/v1", "GitRepository"),
    ]
)


def without_named(value: Any, kind: str) -> Any:
    """Return `value` without the fields that `fast` may set."""
    value = dict(value)
    spec = value.get("spec")
    if isinstance(spec, dict):
        named = {
            "Kustomization": {"retryInterval", "timeout"},
            "HelmRelease": {"timeout"},
            "GitRepository": {"interval"},
        }
        spec = {key: below for key, below in spec.items() if key not in named[kind]}
        install = spec.get("install")
        if kind == "HelmRelease" and isinstance(install, dict):
            spec["install"] = {key: below for key, below in install.items() if key not in {"timeout", "strategy"}}
    return {**value, "spec": spec}


@given(st.dictionaries(NAMES, TREES, max_size=4), TREES, HEADS, st.sampled_from([True, False, None]))
@settings(max_examples=150, deadline=None)
def test_whatever_the_object_only_named_fields_differ_and_a_second_pass_changes_nothing(
    spec: dict[str, Any], other: Any, head: tuple[str, str], flow: bool | None
) -> None:
    thing = {"apiVersion": head[0], "kind": head[1], "spec": spec, "other": other}
    text = yaml.safe_dump(thing, default_flow_style=flow, allow_unicode=True)
    before = yaml.safe_load(text)  # PyYAML itself does not read back every character that it writes
    done = rewrite(text, Profile.FAST)
    after = yaml.safe_load(done.text)
    assert without_named(after, head[1]) == without_named(before, head[1])
    assert rewrite(done.text, Profile.FAST).changes == ()
    assert bool(done.changes) is (done.text != text)


@pytest.fixture
def served(tmp_path: Path) -> Served:
    folder = tmp_path / "plain"
    (folder / "charts" / "app" / "templates" / "deep").mkdir(parents=True)
    (folder / "apps.yaml").write_text(APPS)
    (folder / "notes.txt").write_text(APPS)
    (folder / "latin.yaml").write_bytes(b"name: \xe9\n")
    (folder / "charts" / "app" / "Chart.yaml").write_text("apiVersion: v2\nname: app\nversion: 1.0.0\n")
    (folder / "charts" / "app" / "templates" / "deep" / "ks.yaml").write_text(APPS)
    return open_source(str(folder), ref=None, into=tmp_path / "served.git", deadline=30)


def test_applying_a_profile_commits_the_rewritten_files_once(served: Served) -> None:
    before = files(served)
    report = apply_profile(served, Profile.FAST)
    assert report.commit == tip(served) != served.commit
    assert files(served) == {**before, "apps.yaml": fast(APPS).encode()}
    assert set(report.changes) == {"apps.yaml"}
    assert report.fields_changed == 2
    assert report.left_alone == {
        "charts/app/templates/deep/ks.yaml": (LeftAlone("file", Why.TEMPLATE),),
        "latin.yaml": (LeftAlone("file", Why.NOT_TEXT),),
    }


def test_a_profile_that_changes_nothing_makes_no_commit(served: Served) -> None:
    assert apply_profile(served, Profile.AS_WRITTEN).commit == served.commit
    first = apply_profile(served, Profile.FAST)
    second = apply_profile(served, Profile.FAST)
    assert (second.commit, second.fields_changed) == (first.commit, 0)


def test_a_later_commit_is_rewritten_like_the_first(served: Served) -> None:
    apply_profile(served, Profile.FAST)
    commit_files(served, {"more.yaml": APPS}, "more")
    assert set(apply_profile(served, Profile.FAST).changes) == {"more.yaml"}


def test_the_corpus_keeps_every_line_but_those_of_named_fields(tmp_path: Path) -> None:
    if not CORPUS.is_file():
        pytest.skip("the corpus is not beside this checkout")
    served = open_source(str(CORPUS), ref=None, into=tmp_path / "served.git", deadline=60)
    before = files(served)
    report = apply_profile(served, Profile.FAST)
    after = files(served)
    assert report.fields_changed > 100
    for path in before:
        lines = changed_lines(before[path].decode(), after[path].decode())
        assert all(line[2:].strip().startswith(("interval:", "retryInterval:", "timeout:")) for line in lines)
        assert sum(line[0] == "+" for line in lines) == len(report.changes.get(path, ()))
    assert before.keys() == after.keys()
