"""What lies in an archive, told from what is listed there; its WAL was written by real servers."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pwd
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drills.errors import EnvironmentFailed
from drills.procedures.archive import Archive

from .test_stores import postgres_binaries

FIRST, SECOND, THIRD = (f"{1:08X}{0:08X}{number:08X}" for number in (1, 2, 3))
BACKUP = "20261130T120000"


def wal_of(binaries, folder):
    """Make a server, and return its identifier and its first segments."""
    as_ = []
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_ = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]

    def run(program, *arguments, **more):
        path = (binaries / "initdb").resolve().with_name(program)
        command = [*as_, path, *arguments]
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=True, timeout=60, **more
        ).stdout

    run("initdb", "-D", "data", "-U", "admin", "-N")
    statements = ["SELECT pg_switch_wal();", "CREATE TABLE t AS SELECT 1;", "SELECT pg_switch_wal();", ""]
    run("postgres", "--single", "-c", "wal_keep_size=1GB", "-D", "data", "postgres", input="\n".join(statements))
    said = run("pg_controldata", "data")
    identifier = next(line.split()[-1] for line in said.splitlines() if line.startswith("Database system identifier"))
    return identifier, {name: (folder / "data/pg_wal" / name).read_bytes() for name in (FIRST, SECOND, THIRD)}


@pytest.fixture(scope="module")
def servers():
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server binaries (initdb) on this machine; Debian: apt-get install postgresql")
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        for folder in (one, other):
            Path(folder).chmod(0o755)
        yield wal_of(binaries, Path(one)), wal_of(binaries, Path(other))


class Bucket:
    """A bucket, as much of one as an archive asks for."""

    bucket = "b"

    def __init__(self, identifier, segments, suffix="", pack=lambda content: content):
        info = f"backup_id={BACKUP}\nbegin_wal={FIRST}\nend_wal={SECOND}\nstatus=DONE\nsystemid={identifier}\n"
        self.objects = {f"p/shop/base/{BACKUP}/backup.info": info.encode(), f"p/shop/base/{BACKUP}/data.tar": b"data"}
        self.objects |= {f"p/shop/wals/{n[:16]}/{n}{suffix}": pack(content) for n, content in segments.items()}

    def client(self):
        return self

    def get_paginator(self, _):
        return self

    def paginate(self, Bucket, Prefix):  # noqa: N803 - boto3's names
        noon = datetime(2026, 11, 30, tzinfo=UTC)
        return [
            {"Contents": [{"Key": key, "LastModified": noon, "Size": len(content)}]}
            for key, content in self.objects.items()
            if key.startswith(Prefix)
        ]

    def head_object(self, Bucket, Key):  # noqa: N803 - boto3's names
        return {"ContentLength": len(self.objects[Key])}

    def get_object(self, Bucket, Key, Range="bytes=0-"):  # noqa: N803 - boto3's names
        begin, end = Range.removeprefix("bytes=").split("-")
        return {"Body": io.BytesIO(self.objects[Key][int(begin) : int(end) + 1 if end else None])}

    def put_object(self, Bucket, Key, Body):  # noqa: N803 - boto3's names
        self.objects[Key] = Body

    def delete_object(self, Bucket, Key):  # noqa: N803 - boto3's names
        del self.objects[Key]


@pytest.fixture
def bucket(servers):
    return Bucket(*servers[0])


def problems(bucket):
    return Archive(bucket, "p").problems("shop")


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lambda one: lzma.compress(one, preset=0))],
)
def test_an_archive_that_is_whole_has_no_problem(servers, suffix, pack):
    assert problems(Bucket(*servers[0], suffix, pack)) == []


def test_an_empty_segment_is_one_that_barman_takes_for_a_good_one(bucket):
    archive = Archive(bucket, "p")
    archive.empty("shop", SECOND)
    assert archive.gaps("shop") == [], "by its name it is there"
    assert problems(bucket) == [f"WAL segment {SECOND} is empty"]
    with pytest.raises(EnvironmentFailed, match="has no 00000009"):
        archive.empty("shop", "00000009")


def test_a_segment_of_another_server_under_the_right_name_is_told_apart(bucket, servers):
    (mine, _), (other, segments) = servers
    bucket.objects[f"p/shop/wals/{FIRST[:16]}/{SECOND}"] = segments[SECOND]
    assert problems(bucket) == [f"WAL segment {SECOND} is of server {other}, not of {mine}"]


def test_a_segment_under_another_name_a_cut_one_and_garbage_are_told_apart(bucket):
    keys = {name: f"p/shop/wals/{name[:16]}/{name}" for name in (FIRST, SECOND, THIRD)}
    bucket.objects[keys[SECOND]] = bucket.objects[keys[THIRD]]
    bucket.objects[keys[THIRD]] = bucket.objects[keys[THIRD]][:100_000]
    bucket.objects[keys[FIRST]] = b"\0" * (16 << 20)
    assert problems(bucket) == [
        f"WAL segment {FIRST} does not begin like a WAL segment",
        f"WAL segment {SECOND} holds another part of the WAL, that at 0/3000000",
        f"WAL segment {THIRD} has 100000 of 16777216 bytes",
    ]
    bucket.objects[keys[FIRST]] = b"\0" * 9
    assert problems(bucket)[0] == f"WAL segment {FIRST} ends after 9 bytes"


def test_a_compressed_segment_that_is_broken_is_told_apart(servers):
    bucket = Bucket(*servers[0], ".gz", gzip.compress)
    bucket.objects[f"p/shop/wals/{SECOND[:16]}/{SECOND}.gz"] = b"no gzip"
    assert problems(bucket)[0].startswith(f"WAL segment {SECOND} cannot be decompressed: ")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("data.tar", None), "is listed, and its data is gone"),
        (("data.tar", b""), "has nothing in data.tar"),
        (("backup.info", None), "has no backup.info"),
        (("backup.info", b"status=FAILED\n"), "is FAILED, not DONE"),
        (("backup.info", b"\xff"), "is without a status, not DONE"),
    ],
)
def test_a_base_backup_that_is_listed_and_not_there_is_told_apart(bucket, change, problem):
    name, content = change
    key = f"p/shop/base/{BACKUP}/{name}"
    if content is None:
        del bucket.objects[key]
    else:
        bucket.objects[key] = content
    assert Archive(bucket, "p").base_backups("shop") == [BACKUP], "it is listed"
    assert problems(bucket) == [f"base backup {BACKUP} {problem}"]


def test_a_base_backup_without_its_wal_and_a_gap_are_told(bucket):
    archive = Archive(bucket, "p")
    archive.lose("shop", SECOND)
    assert problems(bucket) == [
        f"WAL segment {SECOND} is missing", f"base backup {BACKUP} needs WAL segment {SECOND}, which is missing",
    ]  # fmt: skip
