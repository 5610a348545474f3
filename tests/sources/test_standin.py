from __future__ import annotations

import io
import json
import tarfile

import pytest
import yaml

from fluxdrill.cluster.simulated import AFTER, BEHAVIOUR, Behaviour
from fluxdrill.sources.standin import FOLDER, crd, package


def files(archive: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        members = tar.getmembers()
        found = {one.name: tar.extractfile(one) for one in members if one.isfile()}
        return {name: body.read().decode() for name, body in found.items() if body is not None}


def test_the_archive_is_laid_out_as_helm_packages_a_chart() -> None:
    found = files(package("1.2.3"))
    assert {"standin/Chart.yaml", "standin/values.yaml", "standin/values.schema.json"} <= set(found)
    assert {name.split("/")[0] for name in found} == {"standin"}
    assert yaml.safe_load(found["standin/Chart.yaml"])["version"] == "1.2.3"


def test_every_file_of_the_chart_is_in_the_archive() -> None:
    own = {f"standin/{path.relative_to(FOLDER).as_posix()}" for path in FOLDER.rglob("*") if path.is_file()}
    assert set(files(package("1.0.0"))) == {"standin/Chart.yaml", *own}
    assert any(name.startswith("standin/templates/") for name in own)


def test_the_same_version_gives_the_same_bytes_and_another_version_others() -> None:
    assert package("1.0.0") == package("1.0.0")
    assert package("1.0.0") != package("1.0.1")


def test_files_are_added_and_replaced_and_the_chart_goes_by_any_name() -> None:
    found = files(package("1.0.0", name="other", files={"crds/a.yaml": "a", "values.yaml": "replicas: 2\n"}))
    assert (found["other/crds/a.yaml"], found["other/values.yaml"]) == ("a", "replicas: 2\n")
    assert yaml.safe_load(found["other/Chart.yaml"])["name"] == "other"


def test_the_schema_knows_exactly_the_values_there_are() -> None:
    schema = json.loads((FOLDER / "values.schema.json").read_text())
    values = yaml.safe_load((FOLDER / "values.yaml").read_text())
    assert set(schema["properties"]) == {*values, "global"}
    assert set(schema["properties"]["persistence"]["properties"]) == set(values["persistence"])
    assert schema["additionalProperties"] is schema["properties"]["persistence"]["additionalProperties"] is False


def test_two_versions_of_a_crd_differ_in_their_witness_alone() -> None:
    one, two = (yaml.safe_load(crd("a.example", witness=text)) for text in ("one", "two"))
    assert one["metadata"]["name"] == "widgets.a.example"
    assert one != two
    for found in (one, two):
        del found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"]
    assert one == two


@pytest.mark.parametrize("key", ["behaviour", "when", "hook", "test", "job"])
def test_each_default_is_one_of_the_words_its_value_may_have(key: str) -> None:
    schema = json.loads((FOLDER / "values.schema.json").read_text())
    assert yaml.safe_load((FOLDER / "values.yaml").read_text())[key] in schema["properties"][key]["enum"]


def test_the_behaviours_are_those_that_simulated_pods_know() -> None:
    schema = json.loads((FOLDER / "values.schema.json").read_text())
    assert set(schema["properties"]["behaviour"]["enum"]) < set(Behaviour)
    template = (FOLDER / "templates" / "deployment.yaml").read_text()
    assert f"{BEHAVIOUR}: " in template
    assert f"{AFTER}: " in template
