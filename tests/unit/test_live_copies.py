"""What is known of a live copy: hooks, checkpoints that ended inside, what a restore of it proves. On a fake API."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from drills.fixtures.hooks import BASE_BACKUP, DUMP, EXCLUDED, FROZEN, HOOKS, NONE, hooked
from drills.fixtures.workloads import manifest

from drills.errors import ProcedureFailed, UsageError
from drills.kube import NotFound
from drills.procedures import copies
from drills.procedures.backups import Backups
from drills.procedures.packs import Packs
from drills.procedures.velero import Backup
from drills.verdicts import Verdict

from .test_drill import LIMITS, held, make, plug_in, service  # noqa: F401 - fixtures

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
READY = "LOG:  database system is ready to accept connections"
ENDED = "LOG:  checkpoint complete: wrote 161 buffers (98.2%)"


def line(said, at=NOON):
    return f"{at:%Y-%m-%d %H:%M:%S}.123 UTC [27] {said}"


def wrapped(said, at=NOON):
    record = {"log_time": f"{at:%Y-%m-%d %H:%M:%S}.123 UTC", "message": said.removeprefix("LOG:  ")}
    return json.dumps({"level": "info", "logger": "postgres", "record": record})


OPENED = [line(READY, NOON - 5 * MINUTE), line(ENDED, NOON - 4 * MINUTE)]


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ([], None),
        (["no PostgreSQL", '{"record": 1}', "[1]"], None),
        ([line(READY, NOON - MINUTE)], None),  # nothing says that checkpoints are logged
        ([line(ENDED, NOON + MINUTE / 2)], None),  # nothing says that the log is whole
        ([line(READY, NOON + MINUTE / 2), line(ENDED, NOON + MINUTE / 2)], None),  # it was restarted in the copy
        (OPENED, 0),
        ([*OPENED, line(ENDED, NOON + MINUTE / 2), line(ENDED, NOON + MINUTE * 2)], 1),
        ([*OPENED, line("LOG:  checkpoint starting: time", NOON + MINUTE / 2)], 0),  # it had not ended
        ([*map(wrapped, (READY, ENDED), (NOON - 5 * MINUTE, NOON + MINUTE / 2))], 1),
    ],
)
def test_checkpoints_in_a_copy_are_counted_by_the_log_or_unknown(lines, count):
    assert copies.checkpoints("\n".join(lines), NOON, NOON + MINUTE) == count


class Cluster:
    """A cluster with pods, their logs, and what Velero keeps of a backup."""

    def __init__(self, annotations=None, log=(), hook_status=None, volumes=("data",), **more):
        self.pods = {"shop-0": annotations or {}, **more}
        self.log = "\n".join(log)
        self.backup = {"metadata": {"name": "b"}, "status": {"hookStatus": hook_status}}
        self.volumes = [
            {
                "spec": {"pod": {"namespace": "shop", "name": pod}, "volume": volume},
                "status": {"startTimestamp": "2026-11-30T12:00:00Z", "completionTimestamp": "2026-11-30T12:01:00Z"},
            }
            for pod in self.pods
            for volume in volumes
        ]

    def get(self, kind, name, namespace):
        if kind == "velero.io/v1/Backup":
            return self.backup
        return {
            "metadata": {"name": name, "annotations": self.pods[name]},
            "spec": {"containers": [{"name": "postgres"}, {"name": "other"}]},
        }

    def list(self, kind, namespace, labels):
        return self.volumes

    def logs(self, pod, namespace, container):
        if container == "other":
            raise NotFound(404, "NotFound", "no log")
        return self.log

    def copy(self):
        return copies.copy_of(self, self.backup, self.volumes)


HOOK = {copies.HOOKS[0]: '["/bin/sh", "-c", "pg_dump"]'}
RAN = {"hooksAttempted": 1}


@pytest.mark.parametrize(
    ("cluster", "race", "hook"),
    [
        (Cluster(), True, "none"),
        (Cluster(HOOK), True, "none"),  # declared, and Velero tried none: a misspelt container, a pod that does not run
        (Cluster({"pre.hook.backup.velero.io/cmd": "[]"}, hook_status=RAN), True, "none"),
        (Cluster(HOOK, hook_status=RAN), False, 'pre: ["/bin/sh", "-c", "pg_dump"]'),
        (Cluster(HOOK, hook_status={"hooksAttempted": 1, "hooksFailed": 1}), True, 'pre: ["/bin/sh", "-c", "pg_dump"]'),
        (Cluster(HOOK, hook_status=RAN, other={}), True, 'other: none; shop-0: pre: ["/bin/sh", "-c", "pg_dump"]'),
    ],
)
def test_a_copy_without_a_hook_that_ran_in_each_pod_is_a_race(cluster, race, hook):
    facts = cluster.copy().facts()
    assert (facts["one_sample_of_a_race"], facts["hook"]) == (race, hook)


def test_the_record_says_when_the_files_were_read_and_what_ended_meanwhile():
    log = ["listing order: base global pg_wal ", *OPENED, line(ENDED, NOON + MINUTE)]
    assert Cluster(log=log).copy().facts() == {
        "hook": "none", "hooks_attempted": 0, "hooks_failed": 0, "one_sample_of_a_race": True,
        "copy_began_utc": "2026-11-30T12:00:00.000Z", "copy_ended_utc": "2026-11-30T12:01:00.000Z",
        "read_order": "base global pg_wal", "checkpoints_inside": 1,
    }, "Velero's times are to the second: what ended in the same one may have ended inside"  # fmt: skip
    assert Cluster().copy().facts()["checkpoints_inside"] == "unknown"
    assert Cluster(volumes=()).copy().facts() == {}, "no volume was copied"


def note(drill, cluster, name="b"):
    drill.backup("velero", name, NOON, **cluster.copy().facts())


@pytest.mark.parametrize(
    ("cluster", "verdict", "caveat"),
    [
        (Cluster(log=OPENED), Verdict.MET, True),
        (Cluster(), Verdict.MET, True),
        (Cluster(log=[*OPENED, line(ENDED, NOON + MINUTE / 2)]), Verdict.MISSED, True),
        (Cluster(HOOK, hook_status=RAN, log=[*OPENED, line(ENDED, NOON + MINUTE / 2)]), Verdict.MET, False),
        (Cluster(volumes=()), Verdict.MET, False),
    ],
    ids=["undisturbed", "unknown", "disturbed", "hook", "no volume"],
)
def test_what_a_restore_proves_depends_on_the_copy(make, service, cluster, verdict, caveat):  # noqa: F811 - fixtures
    drill = make()
    note(drill, cluster)
    with drill.disruption(held(drill, service), **LIMITS), drill.recovery("restore"):
        copies.weigh(drill, cluster, "velero", "b")
        plug_in(service)
    assert drill.judgement.verdict is verdict
    assert (copies.RACE in drill.recorded()["caveats"]) is caveat
    assert ("one sample of a race" in drill.judgement.why) is (caveat and verdict is Verdict.MET)


@pytest.mark.parametrize(("cluster", "race"), [(Cluster(), True), (Cluster(hook_status=RAN), False)])
def test_a_backup_that_the_drill_did_not_make_is_judged_by_what_velero_keeps(make, service, cluster, race):  # noqa: F811
    drill = make()
    copies.weigh(drill, cluster, "velero", "from a schedule")
    assert bool(drill.recorded()["caveats"]) is race


class Shelf:
    """Velero with two completed backups."""

    def __init__(self):
        self.restored = []

    def completed(self, namespace):
        return [Backup(name, namespace, NOON) for name in ("newest", "older")]

    def restore(self, backup):
        self.restored.append(backup.name)


@pytest.mark.parametrize(("sabotage", "restored"), [((), "older"), (("procedure",), "newest")])
def test_a_disturbed_copy_is_passed_over(make, service, sabotage, restored):  # noqa: F811 - fixtures
    drill, shelf = make(sabotage=sabotage), Shelf()
    note(drill, Cluster(log=OPENED), "older")
    note(drill, Cluster(log=[*OPENED, line(ENDED, NOON)]), "newest")
    Backups(drill, None, shelf, None, "").restore_newest_undisturbed("shop")
    assert shelf.restored == [restored]


def test_where_all_copies_are_disturbed_none_is_restored(make, service):  # noqa: F811 - fixtures
    drill, shelf = make(), Shelf()
    for name in ("older", "newest"):
        note(drill, Cluster(log=[*OPENED, line(ENDED, NOON)]), name)
    with pytest.raises(ProcedureFailed, match="no backup of shop was copied without a checkpoint"):
        Backups(drill, None, shelf, None, "").restore_newest_undisturbed("shop")


def volume(name, done):
    progress = {} if done is None else {"progress": {"bytesDone": done}}
    return {"spec": {"pod": {"name": "shop-0"}, "volume": name}, "status": progress}


@pytest.mark.parametrize(
    ("held_bytes", "restored", "nothing"),
    [(7, 7, []), (7, 0, ["shop-0/data"]), (7, None, ["shop-0/data"]), (0, 0, []), (None, None, [])],
)
def test_a_restore_of_nothing_is_told_apart(held_bytes, restored, nothing):
    assert copies.restored_nothing([volume("data", held_bytes)], [volume("data", restored)]) == nothing


# The shop's hooks


def shop(hook):
    objects = manifest("shop", password="p", node_port="30000", image="shop:1", storage_class="drills")
    (found,) = (one for one in hooked(objects, hook) if one["kind"] == "StatefulSet")
    return found["spec"]["template"]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_is_what_velero_reads(hook):
    pod = shop(hook)
    annotations = pod["metadata"].get("annotations", {})
    commands = [json.loads(text)[2] for key, text in annotations.items() if key.endswith("/command")]
    assert (hook == NONE) == (not commands)
    assert not any("pg_backup_start" in text for text in commands)
    assert ("post.hook.backup.velero.io/command" in annotations) is (hook == FROZEN)
    assert (annotations.get(EXCLUDED) == "data") is (hook in (BASE_BACKUP, DUMP))
    staged = [one["name"] for one in pod["spec"]["volumes"] if "emptyDir" in one]
    assert staged == (["staging"] if hook in (BASE_BACKUP, DUMP) else [])


def test_a_hook_that_is_none_of_them_is_named():
    with pytest.raises(UsageError, match="hook: invalid value 'sync': expected one of none, base backup, dump, frozen"):
        shop("sync")


# A pack


class Store:
    bucket = "b"

    def __init__(self, **packs):
        self.objects = {f"c/kopia/shop/{name}": content for name, content in packs.items()}

    def keys(self, prefix):
        return sorted(key for key in self.objects if key.startswith(prefix))

    def client(self):
        return self

    def get_object(self, Bucket, Key):  # noqa: N803 - boto3's names
        return {"Body": io.BytesIO(self.objects[Key])}

    def put_object(self, Bucket, Key, Body):  # noqa: N803 - boto3's names
        self.objects[Key] = Body

    def delete_object(self, Bucket, Key):  # noqa: N803 - boto3's names
        del self.objects[Key]


class Whole:
    whole = False


def test_the_largest_pack_is_lost_named_and_put_back_alone(make, service):  # noqa: F811 - fixtures
    drill = make()
    store = Store(p1=b"x" * 9, p2=b"y", q1=b"z" * 99)
    copy = Store(p1=b"x" * 9, p2=b"y", q1=b"z" * 99, s1=b"a session that has ended", xn0=b"an index that was compacted")
    packs = Packs(drill, None, Whole(), store, copy, "c")
    lost = packs.lose_one("shop")
    assert lost == "c/kopia/shop/p1"
    store.objects["c/kopia/shop/p9"] = b"newer"
    copy.objects["c/kopia/shop/_log"], store.objects["c/kopia/shop/_log"] = b"older", b"no pack, and may change"
    packs.put_back("shop", lost)
    assert store.objects["c/kopia/shop/p1"] == b"x" * 9
    assert {"c/kopia/shop/s1", "c/kopia/shop/xn0"}.isdisjoint(store.objects), "what was deleted in due course stays so"
    assert [event.fields["ok"] for event in drill.history.events("check")] == [True]


def test_a_pack_that_has_rotted_is_nothing_to_put_back(make, service):  # noqa: F811 - fixtures
    drill = make()
    packs = Packs(drill, None, Whole(), Store(p1=b"rotten"), Store(p1=b"as it was"), "c")
    with pytest.raises(ProcedureFailed, match="the content of c/kopia/shop/p1 is another one than in the copy"):
        packs.put_back("shop", "c/kopia/shop/p0")
    assert [event.fields["ok"] for event in drill.history.events("check")] == [False]
