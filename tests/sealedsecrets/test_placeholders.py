"""Placeholders in a served copy: sealed where they stand, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fluxdrill.errors import UsageError
from fluxdrill.repository.source import Served, files, open_source, tip
from fluxdrill.sealedsecrets.keys import SealingKey
from fluxdrill.sealedsecrets.placeholders import PLACEHOLDER, Planted, digest_of, digest_of_secret, seal_placeholders
from fluxdrill.sealedsecrets.sealing import Scope, Target, unseal_secret

VARIABLES = f"""\
# SEALED-BY-LAB in a comment stays
apiVersion: v1
kind: ConfigMap
metadata: {{name: other}}
data:
  KEPT: {PLACEHOLDER}
---
apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata:
  name: vars
  namespace: flux-system
spec:
  encryptedData:
    DOMAIN: {PLACEHOLDER} # the outer one
    "ts_net": '{PLACEHOLDER}'
    REAL: AgBy0
---
apiVersion: bitnami.com/v1alpha1
kind: SealedSecret
metadata:
  name: wide
  namespace: coder
  annotations: {{sealedsecrets.bitnami.com/namespace-wide: "true"}}
spec:
  encryptedData:
    DOMAIN: {PLACEHOLDER}
"""


def repository(folder: Path, **texts: str) -> Served:
    (folder / "source").mkdir()
    for name, text in texts.items():
        (folder / "source" / f"{name}.yaml").write_text(text)
    return open_source(str(folder / "source"), ref=None, into=folder / "copy.git", deadline=30)


def sealed_text(served: Served, name: str) -> str:
    return files(served)[f"{name}.yaml"].decode()


def test_every_placeholder_opens_to_the_value_that_was_made_up(tmp_path: Path, key: SealingKey) -> None:
    served = repository(tmp_path, variables=VARIABLES)
    planted = seal_placeholders(served, key.certificate)
    _, first, second = yaml.safe_load_all(sealed_text(served, "variables"))
    del first["spec"]["encryptedData"]["REAL"]
    assert [str(one.secret) for one in planted] == ["Secret/flux-system/vars", "Secret/coder/wide"]
    for one, document in zip(planted, (first, second), strict=True):
        opened = unseal_secret(document, [key.private])
        assert one.digest == digest_of(opened)
        assert {key: value.decode() for key, value in opened.items()} == one.values
    assert Target.of(second).scope is Scope.NAMESPACE_WIDE


def test_only_the_placeholders_change(tmp_path: Path, key: SealingKey) -> None:
    served = repository(tmp_path, variables=VARIABLES, plain=f"a: {PLACEHOLDER}\n")
    seal_placeholders(served, key.certificate)
    before, after = VARIABLES.splitlines(), sealed_text(served, "variables").splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [old.split(":")[0].strip() for old, _ in changed] == ["DOMAIN", '"ts_net"', "DOMAIN"]
    assert changed[0][1].endswith(" # the outer one")
    assert sealed_text(served, "plain") == f"a: {PLACEHOLDER}\n"


def test_without_placeholders_there_is_no_commit(tmp_path: Path, key: SealingKey) -> None:
    served = repository(tmp_path, plain="a: b\n")
    assert seal_placeholders(served, key.certificate) == ()
    assert tip(served) == served.commit


def test_two_copies_get_different_values(tmp_path: Path, key: SealingKey) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(seal_placeholders(repository(tmp_path / name, variables=VARIABLES), key.certificate))
    first, second = found
    assert not {one.digest for one in first} & {one.digest for one in second}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (VARIABLES.replace("  encryptedData:\n    DOMAIN", "  encryptedData: {DOMAIN").replace("  # the outer one", "}"), "not YAML"),
        (f"kind: SealedSecret\nspec: [{PLACEHOLDER}", "not YAML"),
        (
            f"kind: SealedSecret\nmetadata: {{name: a, namespace: b}}\nspec: {{encryptedData: {{C: {PLACEHOLDER}}}}}\n",
            "placeholder for C in SealedSecret b/a cannot be replaced",
        ),
    ],
    ids=["broken", "unfinished", "on one line with others"],
)  # fmt: skip
def test_a_placeholder_that_cannot_be_replaced_is_an_error_and_not_served(
    tmp_path: Path, key: SealingKey, text: str, problem: str
) -> None:
    served = repository(tmp_path, variables=text)
    with pytest.raises(UsageError, match=problem):
        seal_placeholders(served, key.certificate)
    assert tip(served) == served.commit


def test_digests_tell_names_and_values_apart_and_show_neither() -> None:
    digests = {
        digest_of(values)
        for values in ({}, {"a": b"b"}, {"a": b"c"}, {"b": b"b"}, {"a": b"", "b": b""}, {"a": b"1\nb:1:2"}, {"a": b"1", "b": b"2"})
    }  # fmt: skip
    assert len(digests) == 7
    assert digest_of_secret({"data": {"a": "Yg=="}}) == digest_of({"a": b"b"})
    planted = Planted(Target("a", "b"), {"a": "hush"})  # type: ignore[arg-type]
    assert "hush" not in repr(planted)
