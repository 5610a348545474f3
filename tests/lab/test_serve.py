"""Serve a repository to a lab: the copy, the sealing, the bootstrap; and the reference homelab from nothing to Ready."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fluxdrill.cluster.leases import LAB_VARIABLE
from fluxdrill.errors import UsageError
from fluxdrill.flux import NAMESPACE
from fluxdrill.flux.bootstrap import GIT_REPOSITORY, ROOT
from fluxdrill.flux.kinds import HELM_RELEASE, KUSTOMIZATION
from fluxdrill.kube.errors import NotFoundError
from fluxdrill.kube.wait import DeviatedTimeoutError, all_of, condition, present, ready, wait_for
from fluxdrill.lab.lab import Lab, LabSpec
from fluxdrill.lab.serve import ENDPOINTS, Repository, prepare, serve, sync
from fluxdrill.model.kstatus import Status, flux_readiness
from fluxdrill.model.refs import ObjectRef
from fluxdrill.repository.profile import Profile
from fluxdrill.repository.source import files
from fluxdrill.sealedsecrets import controller
from fluxdrill.sealedsecrets.keys import KEY_LABEL, SealingKey
from fluxdrill.sealedsecrets.placeholders import PLACEHOLDER, digest_of_secret
from tests.processes import process_of

HOMELAB = str(Path(__file__).parents[2] / "homelab")
ENTRY = "clusters/kyrion"
VARIABLES = ObjectRef("", "Secret", NAMESPACE, "cluster-secret-vars")
SEALED = ObjectRef("bitnami.com", "SealedSecret", NAMESPACE, "cluster-secret-vars")
FIRST_LINK = ObjectRef(ROOT.group, ROOT.kind, NAMESPACE, "infra-controllers")


def test_a_copy_is_prepared_at_the_profiles_pace_and_with_its_placeholders_untouched(tmp_path: Path) -> None:
    copy = prepare(HOMELAB, into=tmp_path / "copy.git", path=ENTRY, profile=Profile.FAST)
    texts = {path: content.decode() for path, content in files(copy.served).items()}
    assert "retryInterval: 2s" in texts[f"{ENTRY}/apps.yaml"]
    assert copy.report.fields_changed > 10
    assert f"DOMAIN: {PLACEHOLDER}" in texts[f"{ENTRY}/sealed-secrets.yaml"]


def test_a_missing_entry_path_is_found_before_any_lab_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder clusters/none"):
        prepare(HOMELAB, into=tmp_path / "copy.git", path="clusters/none", profile=Profile.FAST)


@pytest.fixture(scope="module")
def homelab() -> Iterator[Repository]:
    """The reference homelab, served to a fresh lab and not waited for."""
    with Lab.start(LabSpec(sealed_secrets=True)) as lab:
        yield serve(lab, HOMELAB, path=ENTRY, profile=Profile.FAST)


@pytest.mark.live
@pytest.mark.ci
def test_the_homelab_comes_up_from_nothing_and_every_object_of_it_is_ready(homelab: Repository) -> None:
    """All Kustomizations and HelmReleases of the tree, and no others, are Ready; the sealed values arrived."""
    homelab.wait_ready(deadline=90)
    view = homelab.lab.store.view()
    live_objects = {ObjectRef.of(obj): obj for kind in (KUSTOMIZATION, HELM_RELEASE) for obj in view.list(kind)}
    assert set(live_objects) == {ref for ref in homelab.flux_objects if ref.kind in {"Kustomization", "HelmRelease"}}
    assert len(live_objects) >= 16
    assert {ref: flux_readiness(obj).status for ref, obj in live_objects.items()} == dict.fromkeys(live_objects, Status.CURRENT)  # fmt: skip
    assert len(homelab.planted) == 3
    for one in homelab.planted:
        assert digest_of_secret(homelab.lab.api.get(one.secret)) == one.digest


@pytest.mark.live
@pytest.mark.ci
def test_the_sealed_variables_and_the_labs_addresses_reach_the_objects_that_use_them(homelab: Repository) -> None:
    homelab.wait_ready(deadline=90)
    api = homelab.lab.api
    (values,) = [one.values for one in homelab.planted if one.secret == VARIABLES]
    issuer = api.get(ObjectRef("cert-manager.io", "ClusterIssuer", "", "letsencrypt"))
    assert issuer["spec"]["acme"]["email"] == values["EMAIL"]
    jellyfin = api.get(ObjectRef("apps", "Deployment", "arkham", "jellyfin"))
    env = {one["name"]: one["value"] for one in jellyfin["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["JELLYFIN_PublishedServerUrl"] == f"https://jellyfin.{values['ts_net']}.ts.net"
    assert env["TZ"] == "Europe/Rome"
    nested = api.get(ObjectRef(GIT_REPOSITORY.group, GIT_REPOSITORY.kind, NAMESPACE, "system-upgrade"))
    assert nested["spec"]["url"] == api.get(ENDPOINTS)["data"]["GIT_URL"]
    dashboard = api.get(ObjectRef("", "ConfigMap", "monitoring", "cluster-dashboard"))
    assert "${datasource}" in dashboard["data"]["cluster.json"]


@pytest.mark.live
def test_a_commit_is_waited_for_at_its_own_revision(homelab: Repository) -> None:
    """Ready before is not Ready now: the wait is for what was just committed."""
    homelab.wait_ready(deadline=90)
    text = files(homelab.served)[f"{ENTRY}/config-map.yaml"].decode()
    revision = homelab.change({f"{ENTRY}/config-map.yaml": text.replace("Europe/Rome", "Europe/Oslo")}, "move")
    homelab.wait_ready(deadline=60)
    assert homelab.lab.api.get(FIRST_LINK)["status"]["lastAppliedRevision"] == revision
    broken = "apiVersion: v1\nkind: Broken\nmetadata: {name: broken}\n"
    homelab.change({"monitoring/configs/podmonitor.yaml": broken}, "break the last link")
    with pytest.raises(DeviatedTimeoutError, match="monitoring-configs"):
        homelab.wait_ready(deadline=8)
    homelab.change({"monitoring/configs/podmonitor.yaml": homelab_text("monitoring/configs/podmonitor.yaml")}, "heal")
    homelab.wait_ready(deadline=60)


@pytest.mark.live
@pytest.mark.ci
def test_the_sealed_secrets_controller_is_a_part_of_its_lab_as_any_other(homelab: Repository) -> None:
    """Its own identity and address of the API server, the lab's only key, its mark, and nothing of it outside."""
    lab = homelab.lab
    assert lab.sealed_secrets is not None
    process = process_of(lab.processes[controller.NAME])
    environment = psutil.Process(process.pid).environ()
    assert environment[LAB_VARIABLE] == str(lab.folder)
    assert lab.proxy.server(controller.NAME).endswith(f":{environment['KUBERNETES_SERVICE_PORT']}")
    listening = {one.laddr.ip for one in psutil.Process(process.pid).net_connections("tcp") if one.status == "LISTEN"}
    assert listening == {"127.0.0.1"}
    assert Path(f"/proc/{process.pid}/ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink()
    secrets = lab.api.list(lab.api.resource("", "Secret"), namespace=controller.NAMESPACE, label_selector=KEY_LABEL)
    assert [SealingKey.of_secret(one).fingerprint for one in secrets.items] == [lab.sealed_secrets.key.fingerprint]
    with urllib.request.urlopen(f"{lab.sealed_secrets.url}/v1/cert.pem", timeout=5) as answer:  # noqa: S310
        assert answer.read().decode() == lab.sealed_secrets.key.certificate_pem


@pytest.mark.live
@pytest.mark.ci
def test_what_was_sealed_is_a_secret_of_the_lab_and_in_no_log_of_it(homelab: Repository) -> None:
    lab = homelab.lab
    values = {value for one in homelab.planted for value in one.values.values()}
    assert values <= set(lab.secrets)
    assert len(list((lab.folder / "logs").glob("*.log"))) > 10
    assert telling_logs(lab, values) == []
    planted = lab.folder / "logs" / "planted.log"
    planted.write_text(f"the value is {min(values)}!\n")
    assert telling_logs(lab, values) == [planted.name]
    planted.unlink()


@pytest.mark.live
@pytest.mark.ci
def test_control_sealed_with_a_key_that_the_cluster_does_not_have_the_variables_never_appear(tmp_path: Path) -> None:
    """The chain stops at its first link, which says what it lacks; nothing behind it starts."""
    with Lab.start(LabSpec(sealed_secrets=True)) as lab:
        copy = prepare(HOMELAB, into=lab.git_root / "homelab.git", path=ENTRY, profile=Profile.FAST)
        sync(lab, copy, key=SealingKey.generate())
        refused = condition(SEALED, "Synced", "False")
        blocked = condition(FIRST_LINK, "Ready", "False", reason="BuildFailed")
        wait_for(lab.store, all_of(refused, blocked), deadline=30, what="the refusal", fail_fast=False)
        # the controller tries five times, within a second; Flux tries on every 2 s
        with pytest.raises(DeviatedTimeoutError, match="cluster-secret-vars"):
            wait_for(lab.store, ready(FIRST_LINK), deadline=8, what="the first link", fail_fast=False)
        with pytest.raises(NotFoundError):
            lab.api.get(VARIABLES)
        assert lab.store.view().list(HELM_RELEASE) == []


@pytest.mark.live
def test_without_the_controller_the_root_comes_up_with_its_own_crd_and_the_chain_does_not() -> None:
    """The CRD beside the SealedSecret in the root is enough for Flux; a placeholder is never taken for a secret."""
    with Lab.start() as lab:
        serve(lab, HOMELAB, path=ENTRY, profile=Profile.FAST)
        what = "the root, and the first link's complaint"
        blocked = condition(FIRST_LINK, "Ready", "False", reason="BuildFailed")
        wait_for(lab.store, all_of(ready(ROOT), present(SEALED), blocked), deadline=30, what=what, fail_fast=False)
        assert lab.api.get(SEALED)["spec"]["encryptedData"]["DOMAIN"] == PLACEHOLDER
        with pytest.raises(NotFoundError):
            lab.api.get(VARIABLES)


def telling_logs(lab: Lab, values: set[str]) -> list[str]:
    """Return the names of the lab's logs that hold one of `values`."""
    logs = {log.name: log.read_text(errors="replace") for log in (lab.folder / "logs").glob("*.log")}
    return [name for name, text in logs.items() if any(value in text for value in values)]


def homelab_text(path: str) -> str:
    return (Path(HOMELAB) / path).read_text()
