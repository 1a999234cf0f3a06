"""What the cluster does by itself: the CronJobs' scripts, on stand-ins for what they call; sealing; snapshots."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from drills.fixtures.workloads import manifest

from drills.clock import FakeClock
from drills.commands import Commands
from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed, UsageError
from drills.faults.sealing import sealing_lost
from drills.faults.volume import volume_emptied
from drills.history import History
from drills.objectives import Objective
from drills.procedures.jobs import CronJobs, Outcome
from drills.procedures.sealed import SealedSecrets
from drills.procedures.snapshots import SnapshotJob
from drills.procedures.volumes import VolumeSnapshots

from .fake_apiserver import CUSTOM

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="the CronJobs' scripts call jq")


@pytest.fixture
def drill(tmp_path):
    history = History(None, tmp_path / "history.jsonl")
    made = Drill("outage", Objective("1m"), history, Commands(tmp_path / "commands.log", history), directory=tmp_path)
    yield made
    made.close()


class Stage:
    """A directory with programs in the place of the real ones, on which a container's script runs."""

    def __init__(self, path):
        self.path = path
        self.work = path / "work"
        self.work.mkdir()
        (path / "bin").mkdir()

    def program(self, name, text):
        file = self.path / "bin" / name
        file.write_text("#!/bin/sh\n" + text)
        file.chmod(0o755)

    def run(self, container, **env):
        given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        (script,) = container["args"]
        path = f"{self.path / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-euc", script.replace("/work", str(self.work)).replace("/usr/lib/postgresql/15/bin:", "")],
            env={**given, **env, "PATH": path, "STAGE": str(self.path)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def pod_of(name, kind="CronJob", which=0, **values):
    found = [one for one in manifest(name, **values) if one["kind"] == kind]
    return found[which]["spec"]["jobTemplate"]["spec"]["template"]["spec"]


# etcd's snapshots

CURL = """
for last; do :; done
key=${last#http://store/bucket}; key=${key#/}
case "$*" in
  *--upload-file*) while [ "$1" != --upload-file ]; do
      case $1 in x-amz-content-sha256:*) sum=${1#*: };; esac; shift; done
    [ "$(sha256sum <"$2" | cut -c -64)" = "$sum" ] || exit 22
    mkdir -p "$STAGE/s3/$(dirname "$key")" && cp "$2" "$STAGE/s3/$key";;
  *"--request DELETE"*) rm "$STAGE/s3/$key";;
  *list-type=2\\&prefix=c1%2Fetcd%2F2) cd "$STAGE/s3" && printf '<Key>%s</Key>' c1/etcd/2*;;
  *) echo "curl $*" >&2; exit 22;;
esac
"""


def whole(content=bytes(512)):
    """A snapshot as etcdctl leaves it: pages, and the sha256 of them behind."""
    return content + hashlib.sha256(content).digest()


def take_a_snapshot(stage, snapshot=None, alarms=""):
    (stage.path / "saved").write_bytes(whole() if snapshot is None else snapshot)
    (stage.path / "alarms").write_text(alarms)
    stage.program("curl", CURL)
    stage.program(
        "etcdctl",
        """case "$*" in
        *"alarm list"*) cat "$STAGE/alarms";;
        *) for last; do :; done; [ -s "$STAGE/saved" ] && cp "$STAGE/saved" "$last";;
        esac""",
    )
    stage.program("etcdutl", 'echo \'{"hash":1,"revision":5,"totalKey":7,"totalSize":13}\'')
    (container,) = pod_of(
        "etcd-snapshot", image="i", bucket_url="http://store/bucket", prefix="c1/etcd", access_key="a", secret_key="b",
        keep_days=30,
    )["containers"]  # fmt: skip
    return stage.run(container, ACCESS_KEY="a", SECRET_KEY="b")


def test_the_snapshot_job_saves_a_snapshot_with_its_checksum_and_removes_what_is_too_old(stage):
    kept = stage.path / "s3/c1/etcd"
    kept.mkdir(parents=True)
    young, old = (f"{datetime.now(UTC) - timedelta(days=days):%Y%m%dT%H%M%SZ}.db" for days in (29, 31))
    for name in (young, old, f"{old[:-3]}.json"):
        (kept / name).write_text("x")
    code, said = take_a_snapshot(stage)
    assert code == 0, said
    left = {path.name for path in kept.iterdir()}
    assert young in left
    assert not {old, f"{old[:-3]}.json"} & left
    (note,) = kept.glob("*.json")
    facts = json.loads(note.read_text())
    assert facts["sha256"] == hashlib.sha256(note.with_suffix(".db").read_bytes()).hexdigest()
    assert (facts["revision"], facts["totalKey"]) == (5, 7)
    assert said.splitlines()[-1].startswith(f"saved c1/etcd/{note.stem}.db ")


def test_the_snapshot_job_fails_where_etcd_does_and_removes_nothing(stage):
    kept = stage.path / "s3/c1/etcd"
    kept.mkdir(parents=True)
    (kept / "20250101T000000Z.db").write_text("the last one there is")
    code, _ = take_a_snapshot(stage, snapshot=b"")
    assert code != 0
    assert [path.name for path in kept.iterdir()] == ["20250101T000000Z.db"]


def test_the_snapshot_job_saves_no_snapshot_that_was_damaged_before_it_was_looked_at(stage):
    damaged = bytearray(whole())
    damaged[7] ^= 1
    for snapshot, why in [
        (bytes(damaged), "is damaged: 544 bytes with sha256"),
        (bytes(512), "is damaged: 512 bytes"),  # copied from a data directory: nothing says that it is whole
        (whole()[:-1], "is damaged: 543 bytes"),
    ]:
        code, said = take_a_snapshot(stage, snapshot=snapshot)
        assert code == 1
        assert why in said
        assert not (stage.path / "s3").exists()


def test_the_snapshot_job_notes_the_alarms_that_are_part_of_the_snapshot(stage):
    (stage.path / "s3/c1/etcd").mkdir(parents=True)
    code, said = take_a_snapshot(stage, alarms="memberID:15985099378392235387  alarm:NOSPACE \n")
    assert code == 0, said
    (note,) = (stage.path / "s3/c1/etcd").glob("*.json")
    assert json.loads(note.read_text())["alarms"] == ["memberID:15985099378392235387  alarm:NOSPACE "]


class Store:
    """An object store in memory, with as much of boto3's client as is used."""

    bucket = "bucket"

    def __init__(self):
        self.objects = {}

    def client(self):
        return self

    def keys(self, prefix):
        return [key for key in self.objects if key.startswith(prefix)]

    def put_object(self, *, Bucket, Key, Body):  # noqa: N803 - boto3's names
        self.objects[Key] = Body

    def delete_object(self, *, Bucket, Key):  # noqa: N803
        del self.objects[Key]

    def get_object(self, *, Bucket, Key):  # noqa: N803
        class Body:
            read = staticmethod(lambda: self.objects[Key])

        return {"Body": Body}

    def download_file(self, bucket, key, path):
        Path(path).write_bytes(self.objects[key])


class Ran:
    """CronJobs whose jobs do this to the store."""

    def __init__(self, effect, *, succeeded=True):
        self._effect = effect
        self._succeeded = succeeded

    def run(self, name, namespace, within_s):
        self._effect()
        return Outcome(f"{name}-1", self._succeeded, "what it said")


def saves(store, *, sha256=None, expires=True):
    def effect():
        content = b"snapshot"
        note = {"sha256": sha256 or hashlib.sha256(content).hexdigest(), "revision": 5, "totalKey": 7, "totalSize": 8}
        if expires:
            del store.objects[min(store.objects)]
        store.objects |= {"c/20991231T000000Z.db": content, "c/20991231T000000Z.json": json.dumps(note).encode()}

    return effect


class Machine:
    name, enter, environment = "node", ("env",), {}

    def copy_in(self, source, path):
        self.got = (source.read_bytes(), path)


JOB = [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "etcd-snapshot-store", "namespace": "kube-system"}}]


def test_a_jobs_snapshot_is_noted_and_fetched_to_a_node(drill, kube):
    store, node = Store(), Machine()
    job = SnapshotJob(drill, kube, Ran(saves(store)), store, JOB, prefix="c", keep_days=30)
    job.run()
    (backup,) = drill.history.events("backup")
    assert (backup.fields["name"], backup.fields["identity"]["revision"]) == ("20991231T000000Z.db", 5)
    assert drill.recorded()["checks"][-1]["ok"]
    assert sorted(store.objects) == ["c/20991231T000000Z.db", "c/20991231T000000Z.json"], "nothing of the check is left"
    node.enter = ("true",)
    snapshot = job.fetch(node)
    assert node.got == (b"snapshot", "/var/lib/etcd-snapshots/20991231T000000Z.db")
    assert (snapshot.path, snapshot.keys) == (node.got[1], 7)


def test_a_job_that_keeps_everything_fails_the_check_of_its_retention(drill, kube):
    store = Store()
    SnapshotJob(drill, kube, Ran(saves(store, expires=False)), store, JOB, prefix="c", keep_days=30).run()
    check = drill.recorded()["checks"][-1]
    assert (check["ok"], check["got"]) == (False, "kept: True, gone: False")


def test_a_failed_job_has_taken_no_snapshot(drill, kube):
    job = SnapshotJob(drill, kube, Ran(lambda: None, succeeded=False), Store(), JOB, prefix="c", keep_days=30)
    with pytest.raises(EnvironmentFailed, match="took no snapshot: what it said"):
        job.run()


@pytest.mark.parametrize(("sha256", "why"), [("0" * 64, "has sha256"), (None, "holds no snapshot")])
def test_only_a_whole_snapshot_is_fetched(drill, kube, sha256, why):
    store = Store()
    if sha256:
        store.objects["c/1.db"] = b""
        saves(store, sha256=sha256)()
    with pytest.raises(ProcedureFailed, match=why):
        SnapshotJob(drill, kube, Ran(lambda: None), store, JOB, prefix="c", keep_days=30).fetch(Machine())


# The validation

KUBECTL = """
case "$*" in
  "get namespace shop-copy"*) cat "$STAGE/there" 2>/dev/null || true;;
  *"get backups.velero.io"*) cat "$STAGE/backups.json";;
  "create "*) cat >"$STAGE/restore.yaml";;
  *"get restores.velero.io"*phase*) printf %s "$PHASE";;
  "-n shop-copy get statefulsets"*) echo statefulset.apps/shop;;
  "-n shop get "*|"-n shop-copy get configmaps"*) cat "$STAGE/$2.json";;
  *"get secret shop"*) printf %s c2VjcmV0;;
  *" wait "*|*"rollout status"*) echo done;;
  *) echo "kubectl $*" >&2; exit 1;;
esac
"""
OBJECTS = [
    {"kind": "Secret", "metadata": {"name": "shop", "labels": {"app": "shop"}}, "data": {"password": "c2VjcmV0"}},
    {"kind": "Service", "metadata": {"name": "shop"}, "spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"],
     "ports": [{"port": 5432, "nodePort": 30000}], "type": "NodePort"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
     "spec": {"volumeName": "pv-1", "accessModes": ["ReadWriteOnce"]}},
]  # fmt: skip


def restored(objects):
    """What a restore makes of them."""
    made = copy.deepcopy(objects)
    for one in made:
        one["metadata"].setdefault("labels", {})["velero.io/restore-name"] = "r"
    made[1]["spec"] |= {
        "clusterIP": "10.0.0.2",
        "clusterIPs": ["10.0.0.2"],
        "ports": [{"port": 5432, "nodePort": 30002}],
    }
    made[2]["spec"]["volumeName"] = "pv-2"
    return made


@pytest.fixture
def cluster(stage):
    backups = [
        {"metadata": {"name": name}, "spec": {"includedNamespaces": [namespace]},
         "status": {"phase": phase, "startTimestamp": f"2026-01-0{day}T00:00:00Z"}}
        for day, name, namespace, phase in (
            (1, "older", "shop", "Completed"), (2, "newest", "shop", "Completed"),
            (3, "broken", "shop", "PartiallyFailed"), (4, "other", "web", "Completed"),
        )
    ]  # fmt: skip
    stage.program("kubectl", KUBECTL)
    stage.program("curl", "exit 0")
    for name, items in (("backups", backups), ("shop", OBJECTS), ("shop-copy", restored(OBJECTS))):
        (stage.path / f"{name}.json").write_text(json.dumps({"items": items}))
    return stage


def validate(stage, phase="Completed"):
    (container,) = pod_of("backup-validation", image="i", database_image="d", namespace="shop")["initContainers"]
    return stage.run(container, PHASE=phase)


def test_the_job_restores_the_newest_completed_backup_and_compares_every_object(cluster):
    code, said = validate(cluster)
    assert code == 0, said
    assert "3 objects of newest are as in shop" in said
    assert (cluster.work / "password").read_text() == "secret"
    text = (cluster.path / "restore.yaml").read_text()
    assert "backupName: newest" in text
    assert "namespaceMapping: {shop: shop-copy}" in text
    assert "name: shop-copy-node-ports" in text


def changed(objects):
    objects[0]["data"]["password"] = "b3RoZXI="


def missing(objects):
    del objects[2]


def extra(objects):
    objects.append({"kind": "ConfigMap", "metadata": {"name": "more"}, "data": {}})


def retyped(objects):
    objects[1]["spec"]["type"] = "ClusterIP"


@pytest.mark.parametrize(
    ("how", "named"),
    [(changed, "Secret/shop"), (missing, "PersistentVolumeClaim/data"), (extra, "ConfigMap/more"),
     (retyped, "Service/shop")],
)  # fmt: skip
def test_the_job_fails_at_any_difference_and_prints_no_secret(cluster, how, named):
    objects = restored(OBJECTS)
    how(objects)
    (cluster.path / "shop-copy.json").write_text(json.dumps({"items": objects}))
    code, said = validate(cluster)
    assert code == 1
    assert said.splitlines()[-1] == f"NOT VALID: missing, changed or extra: {named}"
    assert not re.search("c2VjcmV0|b3RoZXI|secret", said)


def test_the_job_fails_where_nothing_was_restored_or_could_be(cluster):
    assert validate(cluster, phase="PartiallyFailed")[1].splitlines()[-1].endswith(" ended as PartiallyFailed")
    cluster.program("curl", "exit 22")
    assert validate(cluster)[1].splitlines()[-1] == "NOT VALID: http://web.shop-copy.svc/ does not answer"
    (cluster.path / "there").write_text("namespace/shop-copy")
    assert validate(cluster) == (1, "NOT VALID: namespace shop-copy is there already\n")
    (cluster.path / "there").unlink()
    (cluster.path / "backups.json").write_text('{"items": []}')
    assert validate(cluster) == (1, "NOT VALID: no completed backup holds namespace shop\n")


@pytest.mark.parametrize(
    ("copied", "code", "last"),
    [
        ("1|a\n2|b\n", 0, "VALID: 2 of 3 rows, each as in the original"),
        ("1|a\n2|X\n", 1, "NOT VALID: 1 of 2 rows are not as in the original"),
        ("", 1, "NOT VALID: the copy holds no row"),
        (None, 1, "NOT VALID: the data in shop-copy cannot be read"),
    ],
)
def test_the_job_reads_the_copys_data(stage, copied, code, last):
    stage.program("psql", 'cat "$STAGE/${2%.svc}"')
    (stage.work / "password").write_text("secret")
    (stage.path / "shop.shop").write_text("3|c\n1|a\n2|b\n")
    if copied is not None:
        (stage.path / "shop.shop-copy").write_text(copied)
    (container,) = pod_of("backup-validation", image="i", database_image="d", namespace="shop")["containers"]
    ended, said = stage.run(container)
    assert (ended, said.splitlines()[-1]) == (code, last)


def test_the_job_may_do_in_the_copy_what_the_backup_brings_with_it_and_delete_the_copy_alone():
    objects = manifest("backup-validation", image="i", database_image="d", namespace="shop")
    (cluster_role,) = (one for one in objects if one["kind"] == "ClusterRole")
    assert [rule["resourceNames"] for rule in cluster_role["rules"]] == [["shop-copy"]]
    roles = {one["metadata"]["namespace"]: one for one in objects if one["kind"] == "Role"}
    assert roles.keys() == {"velero", "shop"}
    assert {verb for rule in roles["shop"]["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert {one["metadata"]["namespace"] for one in objects if one["kind"] == "CronJob"} == {"velero"}


# CronJobs


@pytest.mark.parametrize(("condition", "succeeded"), [("Complete", True), ("Failed", False)])
def test_a_job_is_waited_for_whichever_way_it_ends(drill, api, kube, tmp_path, monkeypatch, condition, succeeded):
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\necho "$*"\n')
    kubectl.chmod(0o755)
    monkeypatch.setattr(drill, "clock", FakeClock())
    name = f"nightly-{drill.clock.now().utc:%H%M%S}"
    conditions = [{"type": "FailureTarget", "status": "True"}, {"type": condition, "status": "True"}]
    api.later(
        0.3, api.put, "/apis/batch/v1/namespaces/ops/jobs",
        {"metadata": {"name": name}, "status": {"conditions": conditions}},
    )  # fmt: skip
    done = CronJobs(drill, kube, kubectl, tmp_path / "kubeconfig").run("nightly", "ops", 30)
    assert (done.job, done.succeeded) == (name, succeeded)
    assert f"create job {name} --from=cronjob/nightly" in (tmp_path / "commands.log").read_text()


# Sealed Secrets

SECRETS = "/api/v1/namespaces/{}/secrets"
SEALED = "/apis/bitnami.com/v1alpha1/namespaces/shop/sealedsecrets"


@pytest.fixture
def sealing(api, monkeypatch):
    monkeypatch.setitem(
        CUSTOM, "bitnami.com/v1alpha1", [{"name": "sealedsecrets", "kind": "SealedSecret", "namespaced": True}]
    )
    api.put("/api/v1/namespaces", {"metadata": {"name": "sealed-secrets", "uid": "ns-1"}})
    api.put(
        SECRETS.format("sealed-secrets"),
        {"metadata": {"name": "key-1", "labels": {"sealedsecrets.bitnami.com/sealed-secrets-key": "active"}},
         "data": {"tls.crt": base64.b64encode(b"certificate").decode()}},
    )  # fmt: skip
    return api


def test_losing_the_seal_waits_until_the_controller_is_gone_and_names_the_keys(sealing, kube):
    fault = sealing_lost(kube, "sealed-secrets")
    assert fault.proof() == []
    fault.inject()
    assert fault.proof()[0] == "namespace sealed-secrets with uid ns-1 is gone"
    assert fault.proof()[-1] == "the sealing keys were in it: key-1"


def test_losing_the_seal_wants_a_key(api, kube):
    api.put("/api/v1/namespaces", {"metadata": {"name": "sealed-secrets"}})
    with pytest.raises(UsageError, match="found no active key"):
        sealing_lost(kube, "sealed-secrets")


def controller(drill, kube, tmp_path, imported=None):
    class Keys:
        def import_(self, export):
            imported.append(export)

    for name in ("kubeseal", "kubectl"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\ncat >/dev/null\n")
        program.chmod(0o755)
    return SealedSecrets(
        drill, kube, "shop", JOB, Keys(), kubeseal=tmp_path / "kubeseal", kubectl=tmp_path / "kubectl",
        kubeconfig=tmp_path / "kubeconfig",
    )  # fmt: skip


def put_sealed(api, status, message=""):
    condition = {"type": "Synced", "status": status, "message": message}
    api.put(SEALED, {"metadata": {"name": "shop"}, "status": {"conditions": [condition]}})


@pytest.fixture
def running(sealing):
    established = {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
    sealing.put(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {"metadata": {"name": "sealedsecrets.bitnami.com"}, **established},
    )
    sealing.put(
        "/apis/apps/v1/namespaces/sealed-secrets/deployments",
        {"metadata": {"name": "sealed-secrets-controller"}, "spec": {"replicas": 1},
         "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}},
    )  # fmt: skip
    return sealing


@pytest.mark.parametrize("opened", [False, True])
def test_a_controller_with_another_key_must_open_nothing(running, kube, drill, tmp_path, opened):
    put_sealed(running, "True")
    running.later(0.3, put_sealed, running, "False", "no key could decrypt secret (password)")
    if opened:
        running.put(SECRETS.format("shop"), {"metadata": {"name": "shop"}})
    controller(drill, kube, tmp_path).install()
    check = drill.recorded()["checks"][-1]
    assert check["ok"] is not opened
    assert check["got"].endswith(": no key could decrypt secret (password)")


def test_the_key_is_imported_before_the_controller_is_restarted(running, kube, drill, tmp_path):
    imported = []
    put_sealed(running, "False", "no key could decrypt secret")
    running.later(0.3, put_sealed, running, "True")
    controller(drill, kube, tmp_path, imported).restore_key("the export")
    assert imported == ["the export"]
    steps = [event.fields["name"] for event in drill.history.events("step") if event.fields["state"] == "ended"]
    assert steps == ["restart the controller", "wait until everything is unsealed"]


# Snapshots of volumes

SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1/namespaces/shop/volumesnapshots"
CLAIMS = "/api/v1/namespaces/shop/persistentvolumeclaims"


@pytest.fixture
def snapshots(api, kube, drill, tmp_path, monkeypatch):
    monkeypatch.setitem(
        CUSTOM,
        "snapshot.storage.k8s.io/v1",
        [{"name": "volumesnapshots", "kind": "VolumeSnapshot", "namespaced": True}],
    )
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\nexit 0\n")
    kubectl.chmod(0o755)
    return VolumeSnapshots(drill, kube, kubectl, tmp_path / "kubeconfig")


def snapshot(name, created, *, ready=True, claim="data"):
    return {
        "metadata": {"name": name}, "spec": {"source": {"persistentVolumeClaimName": claim}},
        "status": {"readyToUse": ready, "creationTime": created},
    }  # fmt: skip


def test_the_newest_snapshot_that_is_ready_to_use_is_restored(api, snapshots):
    for one in (
        snapshot("old", "2026-01-01T00:00:00Z"), snapshot("new", "2026-01-02T00:00:00Z"),
        snapshot("unready", "2026-01-03T00:00:00Z", ready=False),
        snapshot("other", "2026-01-04T00:00:00Z", claim="logs"),
    ):  # fmt: skip
        api.put(SNAPSHOTS, one)
    assert snapshots.newest("shop", "data") == "new"
    with pytest.raises(ProcedureFailed, match="no snapshot of shop/cache"):
        snapshots.newest("shop", "cache")


def test_a_snapshot_is_waited_for_and_noted_with_the_instant_of_its_creation(api, snapshots, drill, monkeypatch):
    monkeypatch.setattr(drill, "clock", FakeClock())
    name = f"data-{drill.clock.now().utc:%H%M%S}"
    api.later(0.3, api.put, SNAPSHOTS, snapshot(name, "2026-01-02T00:00:00Z"))
    assert snapshots.take("shop", "data") == name
    (backup,) = drill.history.events("backup")
    assert backup.fields["taken_utc"].startswith("2026-01-02T00:00:00")


def test_a_volume_is_made_from_a_snapshot_with_the_ruined_claims_class_and_size(api, snapshots):
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "csi", "resources": {"requests": {"storage": "1Gi"}}}
    api.put(CLAIMS, {"metadata": {"name": "data", "labels": {"app": "shop"}}, "spec": {**spec, "volumeName": "pv-1"}})
    ready = {"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "currentRevision": "r", "updateRevision": "r"}
    api.put(
        "/apis/apps/v1/namespaces/shop/statefulsets",
        {"metadata": {"name": "shop"}, "spec": {"replicas": 1}, "status": ready},
    )
    snapshots.restore("new", "shop", "shop", "data")
    made = api.bodies[-1]
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "new"}
    assert made["spec"] == {**spec, "dataSource": source}
    assert made["metadata"] == {"name": "data", "labels": {"app": "shop"}}


def test_a_csi_drivers_volume_is_ruined_where_its_pod_has_it_mounted(api, kube):
    class Node:
        def __init__(self, name):
            self.name = name

        def exec(self, argv, timeout_s):
            assert argv[-1] == "/var/lib/kubelet/pods/pod-1/volumes/kubernetes.io~csi/pv-1/mount"
            return "\n\n"

    api.put(CLAIMS, {"metadata": {"name": "data"}, "spec": {"volumeName": "pv-1"}})
    api.put("/api/v1/persistentvolumes", {"metadata": {"name": "pv-1"}, "spec": {"csi": {"driver": "hostpath"}}})
    with pytest.raises(UsageError, match="found no pod that uses it"):
        volume_emptied(kube, "shop", "data", Node)
    volumes = [{"persistentVolumeClaim": {"claimName": "data"}}]
    api.put(
        "/api/v1/namespaces/shop/pods",
        {"metadata": {"name": "shop-0", "uid": "pod-1"}, "spec": {"nodeName": "worker", "volumes": volumes}},
    )
    assert volume_emptied(kube, "shop", "data", Node).target == "volume of claim/shop/data on worker"
