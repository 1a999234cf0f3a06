"""Lost Secrets, ruined volumes and validated backups, on fakes. The drills run them for real."""

from __future__ import annotations

import copy
import io
import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from drills import measures
from drills.commands import Commands
from drills.drill import Drill
from drills.errors import ProcedureFailed, UsageError
from drills.faults import BlastRadius, Fault
from drills.faults.backup import backup_cut_short, schedule_paused
from drills.faults.objectstore import STORE_TABLE, object_store_unreachable
from drills.faults.secret import secrets_deleted
from drills.faults.volume import VolumeRuined, volume_emptied, volume_overwritten
from drills.history import History
from drills.objectives import Objective
from drills.procedures.backups import Backups
from drills.procedures.locations import Locations
from drills.procedures.schedules import Retention
from drills.procedures.validation import difference, fingerprint
from drills.procedures.velero import Backup, Velero, queue_may_stand_still
from drills.verdicts import Verdict, judge

from .fake_apiserver import CUSTOM, Answer
from .scripted import Script
from .test_drill import make, service  # noqa: F401 - fixtures

SECRETS, PODS, EVENTS, CLAIMS = (
    f"/api/v1/namespaces/shop/{plural}" for plural in ("secrets", "pods", "events", "persistentvolumeclaims")
)
VOLUMES = "/api/v1/persistentvolumes"
SCHEDULES = "/apis/velero.io/v1/namespaces/velero/schedules"


# Secrets


def put_pod(api, uid, **spec):
    api.put(PODS, {"metadata": {"name": "shop-0", "uid": uid}, "spec": {"containers": [{"name": "db"}], **spec}})


MOUNTED = {"volumes": [{"name": "password", "secret": {"secretName": "shop"}}]}


@pytest.fixture
def namespace(api):
    api.put(SECRETS, {"metadata": {"name": "shop", "uid": "first"}})
    api.put(SECRETS, {"metadata": {"name": "other", "uid": "another"}})
    put_pod(api, "pod-1", **MOUNTED)
    return api


def complain(api, pod_uid, message='MountVolume.SetUp failed for volume "password" : secret "shop" not found'):
    involved = {"kind": "Pod", "name": "shop-0", "uid": pod_uid}
    api.put(
        EVENTS,
        {"metadata": {"name": f"event-{pod_uid}"}, "involvedObject": involved, "reason": "FailedMount",
         "message": message},
    )  # fmt: skip


def test_lost_secrets_are_proved_by_a_pod_that_cannot_start_without_them(namespace, kube):
    fault = secrets_deleted(kube, "shop")
    assert fault.blast_radius is BlastRadius.NAMESPACE
    assert fault.target == "secrets of namespace/shop: other, shop"
    assert fault.proof() == []

    fault.inject()
    assert kube.list("Secret", "shop") == []
    assert kube.list("Pod", "shop") == []
    assert fault.proof() == []  # gone, and nobody has noticed yet
    put_pod(namespace, "pod-2", **MOUNTED)
    complain(namespace, "pod-1")  # of a pod from before the fault
    assert fault.proof() == []
    complain(namespace, "pod-2")
    assert fault.proof() == [
        "Secret other with uid another is gone",
        "Secret shop with uid first is gone",
        'pod shop-0 with uid pod-2 cannot start: FailedMount: MountVolume.SetUp failed for volume "password" : '
        'secret "shop" not found',
    ]


def test_secrets_that_are_still_there_prove_nothing(namespace, kube):
    fault = secrets_deleted(kube, "shop")
    put_pod(namespace, "pod-2", **MOUNTED)
    complain(namespace, "pod-2")
    assert fault.proof() == []
    fault.inject()
    namespace.always = Answer(503)
    assert fault.proof() == []


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"volumes": [{"name": "password", "secret": {"secretName": "shop", "optional": True}}]},
        {"volumes": [{"name": "password", "secret": {"secretName": "of-another-name"}}]},
    ],
)
def test_deleting_secrets_wants_a_pod_that_needs_one(namespace, kube, spec):
    put_pod(namespace, "pod-1", **spec)
    with pytest.raises(UsageError, match="used by no pod"):
        secrets_deleted(kube, "shop")


@pytest.mark.parametrize(
    "container",
    [
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "password"}}}]},
        {"envFrom": [{"secretRef": {"name": "shop"}}]},
    ],
)
def test_a_pod_that_takes_its_environment_from_a_secret_uses_it(namespace, kube, container):
    put_pod(namespace, "pod-1", containers=[{"name": "db", **container}])
    secrets_deleted(kube, "shop").inject()
    assert kube.list("Pod", "shop") == []


# Volumes: on real directories, by the very commands that run on a node


class Here:
    name = "worker"

    def exec(self, argv, timeout_s):
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=timeout_s).stdout


@pytest.fixture
def volume(tmp_path):
    path = tmp_path / "volume"
    (path / "base").mkdir(parents=True)
    (path / "PG_VERSION").write_text("15\n")
    (path / "base" / "a table").write_bytes(b"rows" * 100)
    (path / "empty").touch()
    return path


@pytest.mark.parametrize("overwrite", [False, True], ids=["emptied", "overwritten"])
def test_a_ruined_volume_keeps_no_file_as_it_was(volume, overwrite):
    fault = VolumeRuined(Here(), "shop/data", str(volume), overwrite=overwrite)
    assert fault.proof() == []
    (volume / "base" / "a table").write_bytes(b"more" * 100)  # as a database does all the time
    assert fault.proof() == []

    fault.inject()
    if overwrite:
        assert (volume / "PG_VERSION").stat().st_size == 3
    else:
        assert list(volume.iterdir()) == []
        (volume / "PG_VERSION").write_text("15\n")  # the same content, and yet not the same file
    (fact,) = fault.proof()
    assert fact.startswith("all 2 files of")


def test_an_empty_volume_cannot_be_ruined(tmp_path):
    fault = VolumeRuined(Here(), "shop/data", str(tmp_path / "none"), overwrite=False)
    assert fault.proof() == []


def test_a_volume_is_found_by_its_claim(api, kube, volume):
    api.put(CLAIMS, {"metadata": {"name": "data"}, "spec": {"volumeName": "pv"}})
    affinity = {
        "required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "host", "operator": "In", "values": ["w"]}]}]}
    }
    api.put(VOLUMES, {"metadata": {"name": "pv"}, "spec": {"local": {"path": str(volume)}, "nodeAffinity": affinity}})
    asked = []

    def node(name):
        asked.append(name)
        return Here()

    assert volume_overwritten(kube, "shop", "data", node).target == "volume of claim/shop/data on worker"
    assert asked == ["w"]
    with pytest.raises(UsageError, match="one of data"):
        volume_emptied(kube, "shop", "none", node)
    api.put(VOLUMES, {"metadata": {"name": "pv"}, "spec": {"nfs": {}}})
    with pytest.raises(UsageError, match="a directory of one node"):
        volume_emptied(kube, "shop", "data", node)


# Backups that stop


def test_a_paused_schedule_is_proved_by_the_age_of_the_newest_backup(api, kube, monkeypatch):
    monkeypatch.setitem(
        CUSTOM, "velero.io/v1", [*CUSTOM["velero.io/v1"], {"name": "schedules", "kind": "Schedule", "namespaced": True}]
    )
    api.put(SCHEDULES, {"metadata": {"name": "daily"}, "spec": {"schedule": "0 2 * * *"}})
    ages = [10.0]
    fault = schedule_paused(kube, "daily", lambda: (ages[-1], 90.0))
    assert fault.proof() == []
    ages.append(91.0)
    assert fault.proof() == []  # too old, and by nobody's pausing
    fault.inject()
    assert fault.proof() == ["the newest backup is 91 s old, over 90 s", "schedule/daily has paused=True"]
    ages.append(5.0)
    assert fault.proof() == []
    fault.heal()
    assert api.objects[SCHEDULES, "daily"]["spec"] == {"schedule": "0 2 * * *", "paused": False}


# Validation


SERVICE = {
    "kind": "Service",
    "metadata": {"name": "shop", "uid": "1", "labels": {"app": "shop"}},
    "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 5432, "nodePort": 30000}], "selector": {"app": "shop"}},
}


def test_what_servers_and_restores_write_changes_no_fingerprint():
    copied = copy.deepcopy(SERVICE)
    copied["metadata"] = {"name": "shop", "uid": "2", "labels": {"app": "shop", "velero.io/restore-name": "r"}}
    copied["spec"]["clusterIP"] = "10.96.0.8"
    copied["spec"]["ports"][0]["nodePort"] = 31234
    copied["status"] = {"loadBalancer": {}}
    assert fingerprint(copied) == fingerprint(SERVICE)


@pytest.mark.parametrize(
    ("part", "value"), [("selector", {"app": "web"}), ("ports", [{"port": 5433}]), ("type", "NodePort")]
)
def test_what_people_wrote_does(part, value):
    copied = copy.deepcopy(SERVICE)
    copied["spec"][part] = value
    assert fingerprint(copied) != fingerprint(SERVICE)
    assert fingerprint({"kind": "Secret", "metadata": {}, "data": {"a": "b"}}) != fingerprint(
        {"kind": "Secret", "metadata": {}, "data": {"a": "c"}}
    )


def test_a_copy_differs_by_what_is_missing_changed_and_extra():
    found = difference({"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5"})
    assert str(found) == "3 objects: 1 missing (a), 1 changed (c), 1 extra (d)"
    assert found
    assert not difference({"a": "1"}, {"a": "1"})


def validated(*, proof: bool = True, verified: bool = True) -> Script:
    script = Script()
    script.probe()
    script.readings(20.0)
    script.phase("steady", 5.0)
    rows = [script.write(seq, 0.1 * seq) for seq in range(1, 150)]  # the original goes on after the start at 10 s
    fields = {"name": "none: a backup is validated", "target": "namespace/copy", "blast_radius": "namespace"}
    script.event("fault", 10.0, state="issued", proof=[], purpose="validation", **fields)
    if proof:
        script.event("fault", 14.0, state="proved", proof=["it holds 12 objects of restore r"], **fields)
    if verified:
        script.read_back(15.0, rows[:80])
        script.phase("verified", 15.5)
        script.phase("stable", 16.0)
        script.phase("ended", 17.0)
    return script


def test_a_validation_is_timed_from_its_start_to_the_verified_copy():
    history = validated().history
    assert measures.kind(history) == "validation"
    recovery = measures.recovery_time(history)
    assert recovery is not None
    assert (recovery.rta_s, recovery.low_s, recovery.high_s) == (5.5, 5.5, 5.5)
    losses = measures.losses(history)
    assert (losses.acknowledged, losses.lost) == (99, list(range(81, 100)))  # of what was written before the start
    assert measures.recovery_point(history) == pytest.approx(10.0 - 8.101)
    judged = judge(history, Objective("1m", "1m"))
    assert judged.verdict is Verdict.MET
    assert judged.why.startswith("backup verified in 5.50 s")
    assert judge(history, Objective("5s", "1m")).verdict is Verdict.MISSED
    assert judge(history, Objective("1m", "1s")).verdict is Verdict.MISSED


def test_a_validation_without_a_copy_proves_nothing():
    judged = judge(validated(proof=False).history, Objective("1m", "1m"))
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.why == "no copy was restored, so there was nothing to validate"


def test_a_validation_that_was_cut_off_proves_nothing():
    assert judge(validated(verified=False).history, Objective("1m", "1m")).verdict is Verdict.INCONCLUSIVE


class Copied(Fault):
    name, target, blast_radius = "none", "namespace/copy", BlastRadius.NAMESPACE

    def __init__(self) -> None:
        self.made: list[str] = []
        self.removed = 0

    def inject(self) -> None:
        raise AssertionError("a validation breaks nothing")

    def proof(self) -> list[str]:
        return self.made

    def heal(self) -> None:
        self.removed += 1


def test_a_drill_validates_a_copy_and_removes_it(make, service):  # noqa: F811 - the fixtures
    drill, copied = make(), Copied()
    drill.holds(service.probe(), within=5)
    with drill.validation(copied, [service], within=3), drill.recovery("restore beside the original"):
        copied.made = ["12 objects"]
    assert drill.judgement.verdict is Verdict.MET, drill.judgement.why
    assert copied.removed == 1
    recorded = drill.recorded()
    assert recorded["kind"] == "validation"
    assert recorded["fault"]["proof"] == ["12 objects"]
    assert recorded["achieved"]["rta_s"] > 0


def test_a_validation_that_restored_nothing_is_inconclusive(make, service):  # noqa: F811 - the fixtures
    drill, copied = make(sabotage={"fault"}), Copied()
    drill.holds(service.probe(), within=5)
    with pytest.raises(Exception, match="nothing was validated"), drill.validation(copied, [service], within=3):
        pass
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE
    assert copied.removed == 1


def test_a_validation_wants_a_reader_for_each_ledger(make, service):  # noqa: F811 - the fixtures
    drill = make()
    drill.holds(service.probe(), within=5)
    with pytest.raises(UsageError, match="one for each of"), drill.validation(Copied(), []):
        pass


def test_a_backup_that_cannot_be_restored_is_missed():
    script = validated(proof=False, verified=False)
    judged = judge(script.history, Objective("1m", "1m"), ProcedureFailed("restore r ended as PartiallyFailed"))
    assert judged.verdict is Verdict.MISSED
    assert judged.why == "restore r ended as PartiallyFailed"


# Bad backups


@pytest.fixture
def begin(tmp_path):
    made = []

    def begin_(sabotage=()):
        directory = tmp_path / f"drill-{len(made)}"
        history = History(None, directory / "history.jsonl")
        commands = Commands(directory / "commands.log", history)
        made.append(Drill("outage", Objective("1m"), history, commands, directory=directory, sabotage=sabotage))
        return made[-1]

    yield begin_
    for one in made:
        one.close()


@pytest.fixture
def drill(begin):
    return begin()


class Shelf:
    """Velero with backups of which some cannot be restored."""

    def __init__(self, *bad: str) -> None:
        self.bad = bad
        self.tried: list[str] = []

    def completed(self, namespace):
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        return [Backup(name, namespace, moment) for name in ("newest", "older", "oldest")]

    def newest(self, namespace):
        return self.completed(namespace)[0]

    def restore(self, backup):
        self.tried.append(backup.name)
        if backup.name in self.bad:
            raise ProcedureFailed(f"restore of {backup.name} ended as PartiallyFailed")


def test_bad_backups_are_passed_over_and_what_they_left_is_removed(api, kube, drill):
    api.put("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    shelf = Shelf("newest", "older")
    restored = Backups(drill, kube, shelf, None, "").restore_newest_good("shop")
    assert restored.name == "oldest"
    assert shelf.tried == ["newest", "older", "oldest"]
    assert kube.get("Namespace", "shop") is None


def test_no_good_backup_is_a_failed_procedure(kube, drill):
    with pytest.raises(ProcedureFailed, match=r"no backup of shop could be restored: newest: .*; older: .*; oldest: "):
        Backups(drill, kube, Shelf("newest", "older", "oldest"), None, "").restore_newest_good("shop")


def test_a_restore_that_should_fail_and_does_not_is_a_failed_check(kube, drill):
    backups = Backups(drill, kube, Shelf("newest"), None, "")
    backups.fails_to_restore(Backup("newest", "shop", datetime(2026, 1, 1, tzinfo=UTC)))
    backups.fails_to_restore(Backup("older", "shop", datetime(2026, 1, 1, tzinfo=UTC)))
    assert [check["ok"] for check in drill.recorded()["checks"]] == [True, False]


# Backups cut short, and stores that cannot be reached

BACKUPS = "/apis/velero.io/v1/namespaces/velero/backups"
LOCATIONS = "/apis/velero.io/v1/namespaces/velero/backupstoragelocations"


class Strikes(Fault):
    name, target, blast_radius = "power cut", "node/a", BlastRadius.NODE

    def __init__(self) -> None:
        self.struck: list[str] = []
        self.healed = 0

    def inject(self) -> None:
        self.struck = ["it is dark"]

    def proof(self) -> list[str]:
        return self.struck

    def heal(self) -> None:
        self.healed += 1


def test_a_backup_cut_short_is_proved_by_what_struck_and_by_what_became_of_the_backup(api, kube):
    ages, cut = [130.0], Strikes()
    fault = backup_cut_short(kube, cut, lambda: "b-1", lambda: (ages[-1], 120.0))
    assert (fault.name, fault.target, fault.blast_radius) == ("power cut in a backup", "node/a", BlastRadius.NODE)
    assert fault.proof() == []
    api.put(BACKUPS, {"metadata": {"name": "b-1"}, "status": {"phase": "Completed"}})
    fault.inject()
    assert fault.proof() == []  # it was quicker than the cut
    api.put(BACKUPS, {"metadata": {"name": "b-1"}, "status": {"phase": "Failed", "failureReason": "no light"}})
    assert fault.proof() == [
        "it is dark",
        "backup b-1 is Failed: no light",
        "the newest completed backup is 130 s old, over 120 s",
    ]
    ages.append(100.0)
    assert fault.proof() == []
    fault.heal()
    assert cut.healed == 1


class Machine:
    """A node that knows whether it reaches the store, and has a table or not."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rules = "table inet drills {}"

    def exec(self, argv, timeout_s):
        script = argv[-1]
        if script == "ruleset":
            return self.rules
        if "delete table" in script:
            self.rules = self.rules.replace(f"table inet {STORE_TABLE}", "")
        elif "nft -f" in script:
            assert "ip daddr 10.0.0.9 tcp dport 7070 reject" in script
            self.rules += f" table inet {STORE_TABLE}"
        elif "/dev/tcp/10.0.0.9/7070" in script:
            return "" if STORE_TABLE in self.rules else "yes\n"
        return ""


class Far:
    name, address, up = "store", "10.0.0.9:7070", True

    def answers(self):
        return self.up


def test_a_store_is_unreachable_when_no_node_connects_and_others_do():
    nodes, store = [Machine("a"), Machine("b")], Far()
    fault = object_store_unreachable(nodes, store)
    assert fault.proof() == []
    fault.inject()
    assert fault.proof() == [
        "a cannot connect to the object store at 10.0.0.9:7070",
        "b cannot connect to the object store at 10.0.0.9:7070",
        "the object store answers others",
    ]
    store.up = False
    assert fault.proof() == []  # gone is another disaster
    store.up, nodes[1].rules = True, ""
    assert fault.proof() == []
    fault.heal()
    assert STORE_TABLE not in nodes[0].rules
    with pytest.raises(UsageError, match="found no nodes"):
        object_store_unreachable([], store)


@pytest.fixture
def velero_kinds(monkeypatch):
    kinds = [("schedules", "Schedule"), ("restores", "Restore"), ("podvolumebackups", "PodVolumeBackup")]
    kinds.append(("backupstoragelocations", "BackupStorageLocation"))
    more = [{"name": name, "kind": kind, "namespaced": True} for name, kind in kinds]
    monkeypatch.setitem(CUSTOM, "velero.io/v1", [*CUSTOM["velero.io/v1"], *more])


@pytest.mark.parametrize("sabotage", [(), ("procedure",)])
def test_what_keeps_nodes_from_the_store_is_found_and_taken_away(api, kube, begin, velero_kinds, sabotage):
    nodes = [Machine("a"), Machine("b")]
    object_store_unreachable(nodes, Far()).inject()
    api.put(LOCATIONS, {"metadata": {"name": "default"}, "status": {"phase": "Available"}})
    locations = Locations(begin(sabotage=sabotage), kube, Shelf(), nodes, None, "")
    locations.reach_again()
    assert any(STORE_TABLE in node.rules for node in nodes) is bool(sabotage)
    locations.heal()
    assert not any(STORE_TABLE in node.rules for node in nodes)


def test_a_location_that_was_made_read_only_is_not_left_so(api, kube, drill, velero_kinds):
    api.put(LOCATIONS, {"metadata": {"name": "default"}, "spec": {}, "status": {"phase": "Available"}})
    locations = Locations(drill, kube, Shelf(), [], None, "")
    locations.hold_back()
    assert api.objects[LOCATIONS, "default"]["spec"] == {"accessMode": "ReadOnly"}
    locations.heal()
    assert api.objects[LOCATIONS, "default"]["spec"] == {"accessMode": "ReadWrite"}


# Partial, newer, expired


def test_a_partial_backup_is_not_chosen_and_a_sabotaged_drill_chooses_it(kube, begin):
    shelf, drill = Shelf(), begin()
    Backups(drill, kube, shelf, None, "").restore_newest_complete("shop", "partial")
    assert shelf.tried == ["newest"]
    sabotaged = begin(sabotage={"procedure"})
    Backups(sabotaged, kube, shelf, None, "").restore_newest_complete("shop", "partial")
    assert shelf.tried == ["newest", "partial"]
    assert [check["ok"] for each in (drill, sabotaged) for check in each.recorded()["checks"]] == [True, False]


class InMemory:
    """A bucket."""

    bucket = "b"

    def __init__(self, **objects) -> None:
        self.objects = objects

    def keys(self, prefix):
        return [key for key in self.objects if key.startswith(prefix)]

    def client(self):
        return self

    def get_object(self, Bucket, Key):  # noqa: N803 - boto3's
        return {"Body": io.BytesIO(self.objects[Key])}

    def put_object(self, Bucket, Key, Body):  # noqa: N803 - boto3's
        self.objects[Key] = Body


def metadata(name, version="1.1.0"):
    return json.dumps(
        {"apiVersion": "velero.io/v1", "metadata": {"name": name}, "status": {"version": 1, "formatVersion": version}}
    ).encode()


@pytest.mark.parametrize("sabotage", [(), ("procedure",)])
def test_a_backup_of_a_newer_velero_is_told_apart(api, kube, begin, velero_kinds, sabotage):
    keys = {f"c/backups/{name}/velero-backup.json": metadata(name) for name in ("shop-1", "shop-2")}
    store, shelf, drill = InMemory(**keys), Shelf(), begin(sabotage=sabotage)
    for name in ("shop-1", "shop-2"):
        api.put(BACKUPS, {"metadata": {"name": name}, "status": {"phase": "Completed"}})
    api.put(LOCATIONS, {"metadata": {"name": "default"}, "status": {"lastSyncedTime": "2999-01-01T00:00:00Z"}})
    backups = Backups(drill, kube, shelf, store, "c")
    backups.make_newer(Backup("shop-2", "shop", datetime(2026, 1, 1, tzinfo=UTC)))
    assert kube.get("velero.io/v1/Backup", "shop-2", "velero") is None

    backups.restore_newest_known("shop")
    (check,) = drill.recorded()["checks"]
    assert (check["ok"], check["got"]) == (True, "shop-2: velero.io/v9, format 9.0.0")
    assert shelf.tried == (["shop-2"] if sabotage else ["newest"])
    backups.heal()
    assert store.objects["c/backups/shop-2/velero-backup.json"] == keys["c/backups/shop-2/velero-backup.json"]


@pytest.mark.parametrize(
    ("there", "fate"), [({"velero.io/gc-failure": "BSLReadOnly"}, "held back"), (None, "gone")], ids=["held", "gone"]
)
def test_an_expired_backup_is_held_back_or_gone(api, kube, drill, there, fate):
    if there is not None:
        api.put(BACKUPS, {"metadata": {"name": "shop-1", "labels": there}})
    Backups(drill, kube, Shelf(), None, "").outlast_expiry(Backup("shop-1", "shop", datetime(2026, 1, 1, tzinfo=UTC)))
    (check,) = drill.recorded()["checks"]
    assert (check["ok"], check["got"]) == (fate == "held back", fate)


# Retention


class Cabinet(Shelf):
    """Velero that makes backups into the API and the store, and lets expired ones go when looked at."""

    def __init__(self, api, store) -> None:
        super().__init__()
        self.api, self.store, self.ttl = api, store, {}

    def schedule(self, namespace, cron, ttl, *, kind, paused):
        assert paused
        self.ttl[f"{namespace}-{kind}"] = timedelta(hours=int(ttl.removesuffix("h")))
        return f"{namespace}-{kind}"

    def backup(self, namespace, *, schedule, name):
        now = datetime.now(UTC)
        stamps = {"startTimestamp": now, "completionTimestamp": now, "expiration": now + self.ttl[schedule]}
        status = {key: moment.isoformat() for key, moment in stamps.items()}
        self.api.put(BACKUPS, {"metadata": {"name": name}, "status": status})
        self.store.objects[f"c/backups/{name}/x.tar.gz"] = b""

    def collect(self, left=()):
        for (collection, name), found in list(self.api.objects.items()):
            if collection != BACKUPS or name in left:
                continue
            if datetime.fromisoformat(found["status"]["expiration"]) < datetime.now(UTC):
                self.api.remove(BACKUPS, name)
                self.store.objects.pop(f"c/backups/{name}/x.tar.gz")


@pytest.mark.parametrize("sabotage", [(), ("procedure",)])
def test_of_each_class_what_must_be_kept_is_kept(api, kube, begin, velero_kinds, sabotage):
    store, drill = InMemory(), begin(sabotage=sabotage)
    cabinet = Cabinet(api, store)
    retention = Retention(drill, kube, cabinet, store, "c")
    retention.fill("shop")
    assert len(store.objects) == 8
    cabinet.collect()
    retention.expire()
    checks = {check["name"]: check["ok"] for check in drill.recorded()["checks"]}
    assert len(checks) == 8
    failed = [name for name, ok in checks.items() if not ok]
    assert failed == (["a monthly backup, 364 days old, is kept"] if sabotage else [])


def test_an_expired_backup_that_left_objects_behind_is_a_failed_check(api, kube, drill, velero_kinds):
    store = InMemory()
    cabinet = Cabinet(api, store)
    retention = Retention(drill, kube, cabinet, store, "c")
    retention.fill("shop")
    cabinet.collect()
    store.objects["c/backups/shop-yearly-2556/forgotten"] = b""
    retention.expire()
    assert [check["name"] for check in drill.recorded()["checks"] if not check["ok"]] == [
        "a yearly backup, 2556 days old, is deleted"
    ]


# Velero's queue

SERVERS = "/api/v1/namespaces/velero/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/velero/deployments"
EARLY, LATE = "2026-01-01T00:00:01Z", "2026-01-01T00:00:03Z"


@pytest.fixture
def server(api):
    """Velero's server since the second second of the year."""
    labels = {"deploy": "velero"}
    api.put(
        SERVERS,
        {"metadata": {"name": "velero-1", "labels": labels}, "status": {"startTime": "2026-01-01T00:00:02Z"}},
    )
    replicas = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "observedGeneration": 9}
    api.put(DEPLOYMENTS, {"metadata": {"name": "velero"}, "spec": {"replicas": 1}, "status": replicas})


def put_backups(api, *backups):
    for number, (created, phase) in enumerate(backups):
        api.put(
            BACKUPS,
            {"metadata": {"name": f"b-{number}", "creationTimestamp": created}, "status": {"phase": phase}},
        )


@pytest.mark.parametrize(
    ("backups", "still"),
    [
        ([], False),
        ([(LATE, "Completed"), (LATE, "Queued")], False),
        ([(EARLY, "FailedValidation"), (LATE, "Queued")], False),
        ([(LATE, "FailedValidation")], True),
        ([(LATE, "FailedValidation"), (LATE, "Queued")], True),
        ([(LATE, "FailedValidation"), (LATE, "ReadyToStart")], False),
        ([(LATE, "FailedValidation"), (LATE, "InProgress")], False),
    ],
    ids=["no backup", "no failure", "before the restart", "after it", "one waits", "one begins", "one is under way"],
)
def test_a_queue_may_stand_still_after_a_failed_validation(api, kube, drill, server, tmp_path, backups, still):
    put_backups(api, *backups)
    assert queue_may_stand_still(kube) is still
    velero = Velero(drill, kube, tmp_path / "velero", tmp_path / "kubeconfig")
    velero.move_queue()
    template = kube.get("Deployment", "velero", "velero")["spec"].get("template", {})
    assert ("kubectl.kubernetes.io/restartedAt" in template.get("metadata", {}).get("annotations", {})) is still
    assert [step["name"] for step in drill.recorded()["procedure"]["steps"]] == (
        ["restart Velero, whose queue may stand still"] if still else []
    )


def test_a_server_that_is_going_says_nothing_of_the_queue(api, kube):
    gone = {"name": "velero-1", "labels": {"deploy": "velero"}, "deletionTimestamp": LATE}
    api.put(SERVERS, {"metadata": gone, "status": {"startTime": EARLY}})
    put_backups(api, (LATE, "FailedValidation"))
    assert not queue_may_stand_still(kube)


# The audit log


def test_every_backup_and_restore_leaves_its_line_in_the_audit_log(api, kube, drill, velero_kinds, tmp_path):
    program = tmp_path / "velero"
    program.write_text('#!/bin/sh\ncase "$*" in *refused*) echo no >&2; exit 1;; esac\n')
    program.chmod(0o755)
    velero = Velero(drill, kube, program, tmp_path / "kubeconfig", user="backup-operator")
    spec = {"includedNamespaces": ["shop"], "storageLocation": "default"}
    started = {"phase": "Completed", "startTimestamp": "2026-01-01T00:00:00Z"}
    api.put(BACKUPS, {"metadata": {"name": "shop-1"}, "spec": spec, "status": started})
    restores = BACKUPS.replace("backups", "restores")
    api.put(restores, {"metadata": {"name": "r"}, "spec": {"backupName": "shop-1"}, "status": {"phase": "Failed"}})

    velero.backup("shop", name="shop-1")
    assert velero.end("restore", "r", 5) == "Failed"
    velero.is_audited("shop")
    with pytest.raises(ProcedureFailed):
        velero.begin_restore(Backup("shop-1", "shop", datetime(2026, 1, 1, tzinfo=UTC)), "refused")
    velero.is_audited("shop")  # a line of something that the cluster has not

    lines = [json.loads(line) for line in (drill.directory / "audit.jsonl").read_text().splitlines()]
    assert [(one["action"], one["user"], one["resource"], one["status"]) for one in lines] == [
        ("backup_create", "backup-operator", "shop-1", "success"),
        ("restore_create", "backup-operator", "r", "failure"),
        ("restore_create", "backup-operator", "refused", "failure"),
    ]
    assert lines[0]["details"] == {
        "phase": "Completed", "namespaces": ["shop"], "storage_location": "default", "size": "0.0MB",
    }  # fmt: skip
    assert [check["ok"] for check in drill.recorded()["checks"]] == [True, False]
