"""A platform built anew, on a fake API, a fake object store and a kubectl that only notes what it is told."""

from __future__ import annotations

import hashlib
import io
from types import SimpleNamespace

import pytest
import yaml
from drills.fixtures.workloads import manifest

from drills.bucket import Stored
from drills.commands import Commands
from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed, WaitTimeout, WriteRefused
from drills.history import History
from drills.kube import Kube
from drills.objectives import Objective
from drills.procedures.platform import Builder, PlatformRebuild, Saved, recovered

from .fake_apiserver import CUSTOM, FakeApiServer

APPLICATIONS = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
SECRETS, PODS = (f"/api/v1/namespaces/shop/{plural}" for plural in ("secrets", "pods"))
WELL = {"reconciledAt": "2099-01-01T12:00:05Z", "sync": {"status": "Synced"}, "health": {"status": "Healthy"}}
LDIF = "dn: dc=drills,dc=test\n"


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setitem(
        CUSTOM, "argoproj.io/v1alpha1", [{"name": "applications", "kind": "Application", "namespaced": True}]
    )
    server = FakeApiServer()
    yield server
    server.stop()


@pytest.fixture
def kubectl(tmp_path):
    """A kubectl that notes its words, and what it is given; `said` is what it answers."""
    (tmp_path / "said").write_text(LDIF)
    program = tmp_path / "kubectl"
    program.write_text(
        f"""#!/bin/sh
shift 2
printf '%s\\n' "$*" >> {tmp_path}/told
test "$2" = --stdin && cat > {tmp_path}/given
case "$*" in *slapcat*) cat {tmp_path}/said;; esac
case "$*" in *refused*) exit 1;; esac
exit 0
"""
    )
    program.chmod(0o755)
    return program


class Bucket:
    bucket = "b"

    def __init__(self):
        self.objects = {}

    def client(self):
        return self

    def put_object(self, Bucket, Key, Body):  # noqa: N803 - as boto3 has it
        self.objects[Key] = Body

    def get_object(self, Bucket, Key):  # noqa: N803
        return {"Body": io.BytesIO(self.objects[Key])}


@pytest.fixture
def stage(api, tmp_path, kubectl):
    """A procedure in the middle of its work: a cluster, a clone of the repository, a store."""
    history = History(None, tmp_path / "history.jsonl")
    drill = Drill("lost", Objective("1h"), history, Commands(tmp_path / "commands.log", history), patience=0.3)
    cluster = SimpleNamespace(name="new", kube=Kube(api.kubeconfig(tmp_path)), kubeconfig_path=tmp_path / "kubeconfig")
    commits = []
    declared = SimpleNamespace(
        namespace="shop",
        repository=SimpleNamespace(urls=lambda: ["git://x"], commit=lambda files, message: commits.append(files)),
        url="git://x", bundle={}, secrets=("database", "directory"), declared=[], archives="lost/shop",
        loading={"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loading", "namespace": "shop"}},
    )  # fmt: skip
    site = SimpleNamespace(
        new_cluster=lambda: cluster, load_images=lambda cluster: None, move_users=lambda cluster: ["shop is at x"]
    )
    store = Bucket()
    clone = tmp_path / "platform"
    (clone / "database").mkdir(parents=True)
    (clone / "database/cluster.yaml").write_text(yaml.safe_dump(CLUSTER))
    rebuild = PlatformRebuild(
        drill, cluster, site, declared, store=store, kubectl=kubectl, gpg=tmp_path, scratch=tmp_path
    )
    rebuild.provision()
    yield SimpleNamespace(
        rebuild=rebuild, drill=drill, declared=declared, cluster=cluster, store=store, commits=commits, clone=clone,
        told=lambda: (tmp_path / "told").read_text().splitlines() if (tmp_path / "told").exists() else [],
        given=tmp_path / "given", said=tmp_path / "said",
    )  # fmt: skip
    drill.close()


(CLUSTER,) = manifest(
    "platform/database", namespace="shop", image="pg:15", storage_class="drills", archive="shop",
    archive_timeout="1min", destination="s3://b/lost/shop", endpoint="http://s3",
)  # fmt: skip


def checks(drill):
    return {event.fields["name"]: event.fields for event in drill.history.events("check")}


# The database


def test_a_database_is_declared_to_come_from_its_archive_and_to_write_another():
    made = recovered(CLUSTER, "shop-rebuilt")
    spec = made["spec"]
    assert spec["bootstrap"] == {
        "recovery": {"source": "origin", "database": "shop", "owner": "shop", "secret": {"name": "database"}}
    }
    (origin,) = spec["externalClusters"]
    archive = origin["barmanObjectStore"]
    assert (origin["name"], archive["serverName"]) == ("origin", "shop")
    assert "data" not in archive, "that is how to make a backup, and no recovery takes it"
    assert spec["backup"]["barmanObjectStore"] == {
        **CLUSTER["spec"]["backup"]["barmanObjectStore"], "serverName": "shop-rebuilt",
    }  # fmt: skip
    same = ("instances", "imageName", "storage", "postgresql")
    assert {key: spec[key] for key in same} == {key: CLUSTER["spec"][key] for key in same}
    assert made["metadata"] == CLUSTER["metadata"]


def test_what_is_declared_is_in_git_before_it_is_deployed(stage, api):
    api.put(APPLICATIONS, {"metadata": {"name": "database"}, "status": WELL})
    stage.rebuild.recover_database()
    ((name, text),) = stage.commits[0].items()
    assert (name, yaml.safe_load(text)) == ("database/cluster.yaml", recovered(CLUSTER, "shop-rebuilt"))
    assert [line.split()[-1] for line in stage.told()] == [f"{stage.clone}/applications/database.json"]


def test_nothing_is_deployed_where_git_does_not_take_the_change(stage):
    def refuse(files, message):
        raise WriteRefused("git push: no route to host")

    stage.declared.repository.commit = refuse
    with pytest.raises(ProcedureFailed, match="git did not take the change: git push: no route to host"):
        stage.rebuild.recover_database()
    assert stage.told() == []


# Applications


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (None, "it is not there"),
        ({**WELL, "sync": {"status": "OutOfSync"}}, "OutOfSync Healthy, .*; sync not begun$"),
        (
            {**WELL, "health": {"status": "Degraded"}, "operationState": {"phase": "Failed", "message": "no\nwebhook"}},
            "Synced Degraded, .*; sync Failed: no webhook$",
        ),
    ],
)
def test_an_application_that_is_not_well_in_time_is_named_with_its_state(stage, api, status, state):
    if status:
        api.put(APPLICATIONS, {"metadata": {"name": "operator"}, "status": status})
    with pytest.raises(WaitTimeout, match=r"Application operator is synced and healthy") as late:
        stage.rebuild.deploy("operator")
    assert late.match(state.removesuffix("$"))


def test_what_kubectl_refuses_is_the_procedures_failure_or_the_environments(stage, kubectl):
    with pytest.raises(ProcedureFailed):
        stage.rebuild.deploy("refused")
    first = Builder(stage.drill.commands, kubectl, stage.cluster, stage.declared, fails_as=EnvironmentFailed)
    with pytest.raises(EnvironmentFailed):
        first.deploy("refused", stage.clone)


# The directory


def saved(stage, content=LDIF):
    stage.store.objects["directory/shop.ldif"] = content.encode()
    return Saved(None, Stored("directory/shop.ldif", hashlib.sha256(LDIF.encode()).hexdigest()))


def test_the_directory_is_loaded_before_argo_cd_knows_of_it(stage, api):
    api.put(APPLICATIONS, {"metadata": {"name": "directory"}, "status": WELL})
    running = {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}
    stage.declared.loading["status"] = running
    stage.rebuild.restore_directory(saved(stage))
    assert [line.split()[-1].rpartition("/")[2] for line in stage.told()] == [
        "volume.yaml",
        "slapd.conf",
        "directory.json",
    ]
    assert stage.given.read_text() == LDIF
    assert (PODS, "loading") not in api.objects, "the volume is free for the directory"


def test_a_backup_that_is_not_the_one_that_was_made_is_refused(stage):
    with pytest.raises(ProcedureFailed, match=r"directory/shop\.ldif has sha256 .*, not "):
        stage.rebuild.restore_directory(saved(stage, "dn: dc=evil\n"))
    assert stage.told() == []


def test_the_directory_is_saved_as_it_is_now_and_kept_out_of_the_log(stage, tmp_path):
    backup = stage.rebuild._save_directory(stage.cluster, ProcedureFailed)
    assert stage.store.objects == {backup.key: LDIF.encode()}
    assert backup.sha256 == hashlib.sha256(LDIF.encode()).hexdigest()
    assert stage.told() == ["exec deployment/directory --namespace shop -- slapcat -f /etc/directory/slapd.conf"]
    log = (tmp_path / "commands.log").read_text()
    assert "slapcat" in log
    assert LDIF.strip() not in log


# Secrets


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, ""),
        ({"directory": "b3RoZXI="}, "directory"),
        ({"database": None}, "database"),
        ({"database": None, "directory": None}, "database, directory"),
    ],
)
def test_secrets_are_as_before_or_named(stage, api, changes, named):
    for name in ("database", "directory", "shop-ca"):
        api.put(SECRETS, {"metadata": {"name": name}, "type": "Opaque", "data": {"password": "b25l"}})
    stage.rebuild._digests = stage.rebuild._sealed(stage.cluster)
    assert set(stage.rebuild._digests) == {"database", "directory"}, "what others make is theirs"
    api.put(SECRETS, {"metadata": {"name": "shop-ca"}, "data": {"ca": "bmV3"}})
    for name, value in changes.items():
        if value is None:
            api.remove(SECRETS, name)
        else:
            api.put(SECRETS, {"metadata": {"name": name}, "type": "Opaque", "data": {"password": value}})
    stage.rebuild.check_secrets()
    (check,) = checks(stage.drill).values()
    assert check["ok"] is not bool(named)
    assert check["got"] == f"missing or different: {named or 'none'}"


def test_the_procedure_begins_with_a_cluster(stage):
    stage.rebuild._new = None
    with pytest.raises(ProcedureFailed, match="there is no new cluster yet"):
        stage.rebuild.move_users()
