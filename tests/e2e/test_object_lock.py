"""The copy of a sealed run in a bucket with Object Lock, on a real S3 server: the one that drills run on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from drills.fixtures.images.definition import components
from drills.fixtures.toolchain import make_binaries

from drills import genuine, keys
from drills.clock import FakeClock
from drills.keys import PublicKeys
from drills.seal import Options, Sealed, seal
from drills.waiting import wait_until

from ..ports import kept_port
from ..unit.samples import Story, write_run

SHORT = Story(steady_s=3.0, bad_until_s=2.0, after_s=3.0, backup_before_s=1.0, rto_s=60.0)
LATE = Story(name="late", steady_s=3.0, bad_until_s=2.0, after_s=3.0, backup_before_s=1.0, rto_s=1.0)
REFUSED = {"AccessDenied", "ObjectLocked", "InvalidRequest", "MethodNotAllowed"}


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left() -> None:
    """In the place of the one that asks an engine: this server is a process of these tests, and needs none."""


@dataclass(frozen=True)
class Store:
    """A running S3 server."""

    endpoint: str
    s3: Any

    def bucket(self, name: str, **options: bool) -> str:
        """Make a bucket; returns the address to copy to."""
        self.s3.create_bucket(Bucket=name, **options)
        return f"s3://{name}/dr?endpoint={self.endpoint}&region=us-east-1&retention=2h"

    def versions(self, bucket: str) -> dict[str, list[str]]:
        """All versions of each key, the newest first."""
        found: dict[str, list[str]] = {}
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            for each in page.get("Versions", []):
                found.setdefault(each["Key"], []).append(each["VersionId"])
        return found

    def content(self, bucket: str, key: str, version: str | None = None) -> bytes:
        which = {"VersionId": version} if version else {}
        return self.s3.get_object(Bucket=bucket, Key=key, **which)["Body"].read()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    program = make_binaries(components()["versitygw"]) / "versitygw"
    place = tmp_path_factory.mktemp("server")
    for name in ("data", "versions"):
        (place / name).mkdir()
    with kept_port() as port, (place / "log").open("wb") as log, pytest.MonkeyPatch.context() as patch:
        address = f"127.0.0.1:{port}"
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "drills")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "an-evidence-test")
        patch.setenv("NO_PROXY", "127.0.0.1")
        server = subprocess.Popen(
            [program, "--port", address, "posix", "--versioning-dir", place / "versions", place / "data"],
            env={"ROOT_ACCESS_KEY": "drills", "ROOT_SECRET_KEY": "an-evidence-test"}, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            made = boto3.client(
                "s3", endpoint_url=f"http://{address}", region_name="us-east-1",
                config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, proxies={}),
            )  # fmt: skip
            wait_until(
                lambda: made.list_buckets() is not None,
                what=f"the S3 server answers; it said {(place / 'log').read_text()[-2000:]}",
                within_s=60,
                retry_on=(BotoCoreError, ClientError),
            )
            yield Store(f"http://{address}", made)
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keys.make(tmp_path_factory.mktemp("given") / "keys")


def sealed(evidence: Path, story: Story, place: Path, address: str) -> Sealed:
    return seal(write_run(evidence, story), evidence, Options.parse(str(place), None, address))


@pytest.fixture(scope="module")
def copied(store: Store, place: Path, tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    address = store.bucket("vault", ObjectLockEnabledForBucket=True)
    return sealed(tmp_path_factory.mktemp("evidence"), SHORT, place, address)


def test_all_that_a_run_left_is_there_byte_for_byte_and_locked(store: Store, copied: Sealed) -> None:
    assert copied.troubles == []
    held = store.versions("vault")
    assert len(held) == copied.copied
    files = {path.relative_to(copied.run_dir).as_posix(): path for path in copied.run_dir.rglob("*") if path.is_file()}
    assert {"manifest.json", f"{SHORT.name}/record.json", "run.dsse.json"} <= files.keys()
    for name, path in files.items():
        (key,) = (key for key in held if key.endswith(f"/{copied.run_dir.name}/{name}"))
        assert store.content("vault", key) == path.read_bytes()
    (log,) = (key for key in held if "/log/" in key)
    assert store.content("vault", log) == (copied.run_dir.parent / "log.jsonl").read_bytes()
    for key in held:
        lock = store.s3.get_object_retention(Bucket="vault", Key=key)["Retention"]
        assert lock["Mode"] == "COMPLIANCE"
        assert timedelta(hours=1) < lock["RetainUntilDate"] - datetime.now(UTC) <= timedelta(hours=2)


@pytest.mark.parametrize("bypass", [False, True], ids=["plain", "bypassing governance"])
def test_a_locked_version_cannot_be_deleted(store: Store, copied: Sealed, bypass: bool) -> None:
    key, (version,) = record_of(store)
    before = store.content("vault", key, version)
    with pytest.raises(ClientError) as refused:
        store.s3.delete_object(Bucket="vault", Key=key, VersionId=version, BypassGovernanceRetention=bypass)
    assert refused.value.response["Error"]["Code"] in REFUSED
    assert store.content("vault", key, version) == before


@pytest.mark.parametrize(
    ("mode", "left"),
    [("COMPLIANCE", timedelta(seconds=90)), ("GOVERNANCE", timedelta(days=9))],
    ids=["shorter", "weaker"],
)
def test_a_lock_can_be_made_neither_shorter_nor_weaker(
    store: Store, copied: Sealed, mode: str, left: timedelta
) -> None:
    key, (version,) = record_of(store)
    lock = {"Mode": mode, "RetainUntilDate": datetime.now(UTC) + left}
    with pytest.raises(ClientError) as refused:
        store.s3.put_object_retention(Bucket="vault", Key=key, VersionId=version, Retention=lock)
    assert refused.value.response["Error"]["Code"] in REFUSED


def test_what_is_written_or_deleted_over_it_hides_no_version(store: Store, place: Path, tmp_path: Path) -> None:
    address = store.bucket("overwritten", ObjectLockEnabledForBucket=True)
    sealed(tmp_path, LATE, place, address)
    key, (version,) = record_of(store, "overwritten")
    before = store.content("overwritten", key)
    assert b'"MISSED"' in before
    better = before.replace(b'"MISSED"', b'"MET"')
    store.s3.put_object(Bucket="overwritten", Key=key, Body=better)
    assert store.content("overwritten", key) == better
    store.s3.delete_object(Bucket="overwritten", Key=key)  # a marker above all versions
    assert store.versions("overwritten")[key][-1] == version
    assert store.content("overwritten", key, version) == before


def test_the_buckets_older_checkpoint_shows_a_history_written_anew(
    store: Store, copied: Sealed, place: Path, tmp_path: Path
) -> None:
    (key,) = (key for key in store.versions("vault") if "/checkpoints/" in key and key.endswith(".note"))
    note = tmp_path / "older.note"
    note.write_bytes(store.content("vault", key))
    trusted = [PublicKeys.load(place)]
    evidence = shutil.copytree(copied.run_dir.parent, tmp_path / "true", symlinks=True)
    assert genuine.check_evidence(evidence, trusted, [note]).problems == []

    # With our own keys, all of it anew: what the directory says of itself is in order.
    forged = tmp_path / "forged"
    seal(write_run(forged, SHORT), forged, Options.parse(str(place), None, None), clock=FakeClock())
    assert genuine.check_evidence(forged, trusted).problems == []
    assert any("older.note" in problem for problem in genuine.check_evidence(forged, trusted, [note]).problems)


def test_a_bucket_without_object_lock_is_told_and_the_seal_holds(store: Store, place: Path, tmp_path: Path) -> None:
    made = sealed(tmp_path, SHORT, place, store.bucket("open"))
    (trouble,) = made.troubles
    assert trouble.startswith("no whole copy: ")
    assert genuine.check_evidence(tmp_path).problems == []


def record_of(store: Store, bucket: str = "vault") -> tuple[str, list[str]]:
    """The key and the versions of the one record in a bucket."""
    (found,) = ((key, versions) for key, versions in store.versions(bucket).items() if key.endswith("/record.json"))
    return found
