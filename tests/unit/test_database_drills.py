"""Dropped tables, archives with gaps and recoveries that fail, on fakes. The drills run them for real."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from drills.commands import Completed
from drills.errors import EnvironmentFailed, ProcedureFailed, UsageError, WriteRefused
from drills.faults.table import table_dropped
from drills.procedures.archive import Archive, successor
from drills.procedures.postgres import BaseBackup, Drop, Postgres, healthy, reason

from .test_drill import make, service  # noqa: F401 - fixtures

NOON = datetime(2026, 2, 22, 12, tzinfo=UTC)
BACKUP = BaseBackup("20260222T120000", f"{1:08X}{0:08X}{4:08X}", f"{1:08X}{0:08X}{4:08X}", "0/4000028", NOON)


def segment(number, timeline=1):
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


# The table


class Catalogue:
    """A database with one table."""

    namespace = "shop"

    def __init__(self):
        self.oid, self.refuses, self.asked = 16384, False, []

    def ask(self, statement):
        self.asked.append(statement)
        if self.refuses:
            raise WriteRefused("nobody answers")
        if statement.startswith("DROP TABLE"):
            self.oid = None
            return []
        return [(self.oid,)]


def test_a_dropped_table_is_proved_by_the_catalogue_alone():
    database = Catalogue()
    fault = table_dropped(database, "ledger")
    assert fault.proof() == []
    database.refuses = True
    assert fault.proof() == [], "a database that does not answer proves nothing"
    database.refuses = False
    fault.inject()
    assert fault.proof() == ["table ledger with object id 16384 is gone from the catalogue"]
    database.oid = 16999
    assert fault.proof(), "a table that was made anew is another one"


def test_a_table_that_is_not_there_cannot_be_dropped():
    database = Catalogue()
    database.oid = None
    with pytest.raises(UsageError, match="found no such table"):
        table_dropped(database, "ledger")


# The archive


class Bucket:
    """A bucket whose objects were all written at noon, and one second later each."""

    bucket = "b"

    def __init__(self, *keys):
        self.objects = {key: NOON + timedelta(seconds=number) for number, key in enumerate(keys)}

    def client(self):
        return self

    def get_paginator(self, _):
        return self

    def paginate(self, Bucket, Prefix):  # noqa: N803 - boto3's names
        found = [
            {"Key": key, "LastModified": time, "Size": 1}
            for key, time in self.objects.items()
            if key.startswith(Prefix)
        ]
        return [{"Contents": found}] if found else [{}]

    def head_object(self, Bucket, Key):  # noqa: N803 - boto3's names
        return {"ContentLength": 1}

    def get_object(self, Bucket, Key, **_):  # noqa: N803 - boto3's names
        return {"Body": io.BytesIO(b"?")}

    def delete_object(self, Bucket, Key):  # noqa: N803 - boto3's names
        del self.objects[Key]


def holding(*names):
    return Bucket(
        *(f"p/shop/wals/{name[:16]}/{name}" for name in names), "p/shop/base/1/backup.info", "p/other/base/2/x"
    )


def test_segments_are_counted_across_logs():
    assert successor(segment(4)) == segment(5)
    assert successor(segment(255)) == segment(256)
    assert successor(segment(255)) == "000000010000000100000000"


def test_an_archive_tells_its_segments_from_what_else_is_there():
    archive = Archive(holding(segment(2), segment(1), f"{segment(1)}.00000028.backup", "00000002.history"), "p")
    assert archive.wal("shop") == [segment(1), segment(2)]
    assert archive.base_backups("shop") == ["1"]
    assert archive.newest("shop") == NOON + timedelta(seconds=3)
    assert archive.gaps("shop") == []
    with pytest.raises(EnvironmentFailed, match="archive of other has no WAL"):
        archive.newest("other")


def test_what_is_lost_is_a_gap_unless_it_is_at_an_end():
    bucket = holding(*map(segment, range(254, 260)))
    archive = Archive(bucket, "p")
    archive.lose("shop", segment(256))
    assert archive.gaps("shop") == [segment(256)]
    archive.lose("shop", segment(259))
    assert archive.gaps("shop") == [segment(256)], "what is missing at the end cannot be told from what never was"
    with pytest.raises(EnvironmentFailed, match=f"has no {segment(256)}"):
        archive.lose("shop", segment(256))


def test_a_new_timeline_is_no_gap():
    assert Archive(holding(segment(3), segment(9, timeline=2)), "p").gaps("shop") == []


# Why a recovery failed


def line(**fields):
    return json.dumps(fields)


def record(severity, message, state="XX000"):
    return line(level="info", record={"error_severity": severity, "message": message, "sql_state_code": state})


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "its log does not say"),
        (["no JSON", "[1]", line(level="info", msg="fine")], "its log does not say"),
        ([line(level="error", msg="while restoring", error="no backup found with ID 1")], "no backup found with ID 1"),
        ([line(level="error", msg="first"), line(level="error", msg="second")], "second"),
        (
            [
                line(level="info", logger="barman-cloud-check-wal-archive", msg="started\nERROR: Could not connect"),
                line(level="error", msg="restore error", error="exit status 2"),
            ],
            "exit status 2; ERROR: Could not connect",
        ),
        (
            [
                line(
                    level="error",
                    msg="Can't extract backup id",
                    error="exit status 2",
                    stderr="one\nCould not connect\n",
                )
            ],
            "exit status 2; Could not connect",
        ),
        (
            [
                record("FATAL", "the database system is starting up", "57P03"),
                record("LOG", "redo done"),
                record("FATAL", "recovery ended before configured recovery target was reached"),
                line(level="error", msg="restore error", error="exit status 1"),
            ],
            "recovery ended before configured recovery target was reached",
        ),
    ],
)
def test_a_failed_recovery_says_why(lines, told):
    assert reason(lines) == told


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({"phase": "Cluster in healthy state", "readyInstances": 2}, True),
        ({"phase": "Cluster in healthy state", "readyInstances": 1}, False),
        ({"phase": "Failing over", "readyInstances": 2}, False),
        ({}, False),
    ],
)
def test_a_cluster_is_healthy_with_all_its_instances(status, ready):
    assert healthy({"metadata": {}, "spec": {"instances": 2}, "status": status}) is ready
    assert not healthy(None)


# The procedure


class Cluster:
    """A cluster in which every recovery ends as it is told."""

    def __init__(self, log=()):
        self.applied, self.deleted, self.log = [], [], list(log)

    def apply(self, manifest, namespace=None):
        self.applied.append(manifest)

    def delete(self, kind, name, namespace, **_):
        self.deleted.append(name)

    def wait_for(self, kind, name, namespace, **_):
        status = {"phase": "completed", "backupId": "2", "beginWal": "a", "endWal": "b", "beginLSN": "c"}
        return {"status": {**status, "startedAt": "2026-11-30T09:00:00Z"}}

    def get(self, kind, name, namespace):
        if self.log:
            return {"metadata": {}, "spec": {}, "status": {"phase": "Setting up primary"}}
        status = {"phase": "Cluster in healthy state", "readyInstances": 1, "currentPrimary": f"{name}-1"}
        status["conditions"] = [{"type": "ContinuousArchiving", "status": "False", "message": "Expected empty archive"}]
        return {"metadata": {}, "spec": {"instances": 1}, "status": status}

    def list(self, kind, namespace, labels):
        return [{"metadata": {"name": f"job-{number}"}, "status": {"phase": "Failed"}} for number in range(2)]

    def logs(self, pod, namespace, **_):
        return "\n".join(self.log)


DECLARED = [
    {"kind": "Secret", "metadata": {"name": "shop"}},
    {
        "kind": "Cluster",
        "metadata": {"name": "shop"},
        "spec": {
            "bootstrap": {"initdb": {"database": "shop", "owner": "shop"}},
            "backup": {"barmanObjectStore": {"destinationPath": "s3://b/p", "data": {"immediateCheckpoint": True}}},
        },
    },
]


def postgres_of(drill, tmp_path, log=(), bucket=None):
    kube = Cluster(log)
    database = SimpleNamespace(namespace="ns", declared=DECLARED)
    return kube, Postgres(
        drill, kube, tmp_path / "kubectl", tmp_path / "k", database, Archive(bucket or holding(), "p")
    )


def test_a_new_cluster_is_made_from_the_archive_of_the_current_one(make, tmp_path):  # noqa: F811
    kube, postgres = postgres_of(make(), tmp_path)
    postgres.recover({"targetXID": "756", "exclusive": True}, BACKUP)
    (made,) = kube.applied
    assert made["metadata"]["name"] == postgres.name == "shop-recovered-1"
    recovery = made["spec"]["bootstrap"]["recovery"]
    assert recovery["recoveryTarget"] == {"targetXID": "756", "exclusive": True, "backupID": BACKUP.id}
    assert (recovery["database"], recovery["owner"]) == ("shop", "shop")
    (origin,) = made["spec"]["externalClusters"]
    assert origin["name"] == recovery["source"]
    assert origin["barmanObjectStore"] == {"destinationPath": "s3://b/p", "serverName": "shop"}
    assert "initdb" in DECLARED[-1]["spec"]["bootstrap"], "what is declared stays as it is"
    postgres.recover()
    assert kube.applied[-1]["spec"]["externalClusters"][0]["barmanObjectStore"]["serverName"] == "shop-recovered-1"
    assert "recoveryTarget" not in kube.applied[-1]["spec"]["bootstrap"]["recovery"]


def test_a_recovery_to_the_end_of_a_broken_archive_carries_what_is_wrong_with_it(make, tmp_path):  # noqa: F811
    drill = make()
    _, postgres = postgres_of(drill, tmp_path, bucket=holding(segment(2), segment(4)))
    postgres.recover({"targetName": "closing-time"}, BACKUP)
    assert drill.recorded()["caveats"] == [], "a target that is not reached fails by itself"
    postgres.name = "shop"
    postgres.recover()
    (caveat,) = drill.recorded()["caveats"]
    assert caveat.startswith(f"the archive of shop is not whole: WAL segment {segment(3)} is missing; base backup 1 is")


@pytest.mark.parametrize(("code", "said"), [(0, ""), (2, 'btree index "shop.public.stock_sold": item order invariant')])
def test_a_recovered_database_is_checked_before_it_is_backed_up(make, tmp_path, monkeypatch, code, said):  # noqa: F811
    drill = make()
    _, postgres = postgres_of(drill, tmp_path, bucket=holding())
    ran = []

    def run(argv, **_):
        ran.append([str(word) for word in argv])
        return Completed(argv, code, said, "", 0.1)

    monkeypatch.setattr(drill.commands, "run", run)
    monkeypatch.setattr(postgres, "_base_backup", lambda _: None)
    monkeypatch.setattr(postgres, "_is_archiving", lambda: True)
    postgres.protect_again()
    assert ran[0][-4:] == ["pg_amcheck", "--all", "--heapallindexed", "--install-missing"]
    assert dict(checks(drill))["pg_amcheck finds no damage"] is (code == 0)
    assert dict(checks(drill))["the new cluster's archive holds what it lists"] is False, "its base backup has no data"


def test_sabotaged_the_new_cluster_is_empty(make, tmp_path):  # noqa: F811
    kube, postgres = postgres_of(make(sabotage=["procedure"]), tmp_path)
    postgres.recover()
    assert kube.applied[-1]["spec"]["bootstrap"] == DECLARED[-1]["spec"]["bootstrap"]


FAILED = [record("FATAL", "recovery ended before configured recovery target was reached")]


def checks(drill):
    return [(event.fields["name"], event.fields["ok"]) for event in drill.history.events("check")]


def test_a_recovery_that_fails_says_why(make, tmp_path):  # noqa: F811
    _, postgres = postgres_of(make(), tmp_path, FAILED)
    with pytest.raises(ProcedureFailed, match="shop-recovered-1 cannot be recovered: recovery ended before"):
        postgres.recover()
    assert postgres.name == "shop"


def test_a_failure_for_the_right_reason_is_checked_and_cleaned_up(make, tmp_path):  # noqa: F811
    drill = make()
    kube, postgres = postgres_of(drill, tmp_path, FAILED)
    postgres.fails_to_recover("recovery ended before")
    assert checks(drill) == [("the recovery fails and says why", True)]
    assert kube.deleted == ["shop-recovered-1"]


def test_a_failure_for_another_reason_is_a_failed_check(make, tmp_path):  # noqa: F811
    drill = make()
    _, postgres = postgres_of(drill, tmp_path, FAILED)
    postgres.fails_to_recover("Could not connect")
    assert checks(drill) == [("the recovery fails and says why", False)]


def test_a_success_that_should_have_been_a_failure_is_a_failed_check(make, tmp_path):  # noqa: F811
    drill = make()
    kube, postgres = postgres_of(drill, tmp_path)
    postgres.fails_to_recover("recovery ended before")
    assert checks(drill) == [("the recovery fails and says why", False)]
    assert kube.deleted == ["shop-recovered-1"]


def test_sabotaged_a_failure_is_the_end_even_though_it_was_expected(make, tmp_path):  # noqa: F811
    _, postgres = postgres_of(make(sabotage=["procedure"]), tmp_path, FAILED)
    with pytest.raises(ProcedureFailed, match="recovery ended before"):
        postgres.fails_to_recover("recovery ended before")


@pytest.mark.parametrize("archives", [True, False])
def test_a_recovered_database_that_archives_nothing_is_not_reconstituted(make, tmp_path, monkeypatch, archives):  # noqa: F811
    drill, closed = make(), segment(7)
    bucket = holding(segment(1))
    if archives:
        bucket.objects[f"p/shop-recovered-1/wals/{closed[:16]}/{closed}"] = NOON
    kube, postgres = postgres_of(drill, tmp_path, bucket=bucket)
    monkeypatch.setattr("drills.procedures.postgres.ARCHIVED_WITHIN_S", 0.3)
    monkeypatch.setattr(postgres, "_exec", lambda *_, **__: f"{closed}\n")
    monkeypatch.setattr(drill.commands, "run", lambda argv, **_: Completed(argv, 0, "", "", 0.1))
    postgres.recover()
    postgres.protect_again()
    (check,) = (one for one in drill.recorded()["checks"] if "archives its WAL" in one["name"])
    assert (check["name"], check["ok"]) == ("the recovered database archives its WAL", archives)
    reached = [event.fields["name"] for event in drill.history.events("phase")]
    assert ("reconstituted" in reached) is archives
    assert any(one["kind"] == "Backup" for one in kube.applied) is archives
    if not archives:
        assert check["got"].endswith("not within 0.3 s; ContinuousArchiving: Expected empty archive")
        assert closed in check["got"]


def test_the_drop_is_found_in_the_log(make, tmp_path):  # noqa: F811
    log = [
        line(record={"message": "statement: DROP TABLE other", "log_time": "2026-02-22 11:00:00.000 UTC"}),
        line(record={"message": "statement: DROP TABLE ledger", "log_time": "2026-02-22 12:00:00.123 UTC"}),
        line(record={"message": 'relation "ledger" does not exist', "log_time": "2026-02-22 12:00:01.000 UTC"}),
    ]
    _, postgres = postgres_of(make(), tmp_path, log)
    assert postgres.find_drop("ledger") == Drop("ledger", NOON + timedelta(milliseconds=123))


WALDUMP = """
rmgr: Transaction len (rec/tot):     34/    34, tx:        740, lsn: 0/04000100, prev 0/0, desc: COMMIT 2026-02-22 11:59:59.000000 UTC; rels: base/1/2; inval msgs: catcache 1
rmgr: Transaction len (rec/tot):     34/    34, tx:        755, lsn: 0/04000200, prev 0/0, desc: COMMIT 2026-02-22 12:00:00.200000 UTC
rmgr: Transaction len (rec/tot):    138/   138, tx:        756, lsn: 0/04000300, prev 0/0, desc: COMMIT 2026-02-22 12:00:00.300000 UTC; dropped stats: 2/1/2; rels: base/16384/16390; inval msgs: catcache 1
rmgr: Transaction len (rec/tot):    138/   138, tx:        790, lsn: 0/04000400, prev 0/0, desc: COMMIT 2026-02-22 12:00:09.300000 UTC; rels: base/16384/16399
"""  # noqa: E501 - as pg_waldump says it


@pytest.mark.parametrize(("said", "found"), [(WALDUMP, "756"), ("", None)])
def test_the_transaction_is_the_first_after_it_that_removes_files(make, tmp_path, monkeypatch, said, found):  # noqa: F811
    drill = make()
    _, postgres = postgres_of(drill, tmp_path)
    asked = []

    def run(argv, **_):
        asked.append(argv)
        return Completed(argv, 0, said, "", 0.0)

    monkeypatch.setattr(drill.commands, "run", run)
    drop = Drop("ledger", NOON + timedelta(milliseconds=123))
    if found:
        assert postgres.transaction_of(drop, since=BACKUP) == found
        assert "--start=0/4000028" in asked[0][-1]
    else:
        with pytest.raises(ProcedureFailed, match="no transaction that dropped a table"):
            postgres.transaction_of(drop, since=BACKUP)
