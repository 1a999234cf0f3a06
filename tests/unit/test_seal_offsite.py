"""A copy of a sealed run in a bucket with Object Lock, against boto3's own stub."""

import io
import re
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from drills import genuine, keys, offsite
from drills.clock import FakeClock
from drills.errors import EnvironmentFailed, UsageError
from drills.offsite import Bucket

from .sealing import write_sealed

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
UNTIL = NOW + timedelta(days=400)
LOCKED = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": UNTIL}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return keys.make(tmp_path_factory.mktemp("given") / "keys")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory, place):
    return write_sealed(tmp_path_factory.mktemp("evidence"), place)


@pytest.fixture
def client(monkeypatch):
    made = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    monkeypatch.setattr(offsite, "_client", lambda _: made)
    return made


def stubbed(client, expected, head=LOCKED, rotten=None):
    """A client that takes files, each locked, answers `head` when asked, and gives back all but one as they were."""
    stub = Stubber(client)
    for key in expected:
        put = {"Bucket": "vault", "Key": key, "Body": ANY, "ChecksumAlgorithm": "SHA256",
               "ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": UNTIL}  # fmt: skip
        stub.add_response("put_object", {}, put)
        stub.add_response("head_object", head, {"Bucket": "vault", "Key": key})
        content = expected[key] if key != rotten else b"?" + expected[key][1:]
        body = StreamingBody(io.BytesIO(content), len(content))
        stub.add_response("get_object", {"Body": body}, {"Bucket": "vault", "Key": key})
    return stub


def keys_of(sealed):
    run, evidence = sealed.run_dir, sealed.run_dir.parent
    log = (run / "seal/checkpoint.note").read_text().splitlines()[0].rpartition("/")[2]
    files = sorted(path for path in run.rglob("*") if path.is_file())
    named = {f"{run.name}/{path.relative_to(run).as_posix()}": path for path in files}
    named |= {"log/3.jsonl": evidence / "log.jsonl"}
    named |= {f"checkpoints/{path.name}": path for path in sorted(evidence.glob("checkpoints/3.note*"))}
    return {f"dr/{log}/{name}": path.read_bytes() for name, path in named.items()}


def test_every_file_of_the_run_the_log_and_its_checkpoint_are_copied_and_locked(sealed, client):
    expected = keys_of(sealed)
    with stubbed(client, expected) as stub:
        copied = offsite.copy(Bucket("vault", "dr"), sealed.run_dir, sealed.run_dir.parent, clock=FakeClock(utc=NOW))
        stub.assert_no_pending_responses()
    assert copied == list(expected)
    assert any(key.endswith("/manifest.json") for key in copied)
    assert any(key.endswith("/3.note.sig") for key in copied)


@pytest.mark.parametrize(
    "head",
    [{}, {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": UNTIL}, {"ObjectLockMode": "COMPLIANCE"},
     {**LOCKED, "ObjectLockRetainUntilDate": UNTIL - timedelta(days=1)}],
    ids=["no lock", "a lock that can be lifted", "no date", "too short"],
)  # fmt: skip
def test_a_file_that_is_there_and_not_locked_is_a_failure(sealed, client, head):
    with stubbed(client, keys_of(sealed), head), pytest.raises(EnvironmentFailed, match="but not locked"):
        offsite.copy(Bucket("vault", "dr"), sealed.run_dir, sealed.run_dir.parent, clock=FakeClock(utc=NOW))


def test_a_file_that_does_not_come_back_as_it_was_is_a_failure(sealed, client):
    expected = keys_of(sealed)
    rotten = list(expected)[2]
    with (
        stubbed(client, expected, rotten=rotten),
        pytest.raises(EnvironmentFailed, match=rf"{re.escape(rotten)}: sha256 \w{{64}}: expected \w{{64}}, that of "),
    ):
        offsite.copy(Bucket("vault", "dr"), sealed.run_dir, sealed.run_dir.parent, clock=FakeClock(utc=NOW))


def test_a_copy_that_fails_is_told_and_the_seal_holds(tmp_path, client, place):
    with Stubber(client) as stub:
        stub.add_client_error("put_object", "AccessDenied", "not yours")
        sealed = write_sealed(tmp_path, place, bucket=Bucket("vault", "dr"))
    (trouble,) = sealed.troubles
    assert trouble.startswith("no whole copy: s3://vault/dr: 0 files were copied, then: ")
    assert "not yours" in trouble
    assert sealed.copied == 0
    assert genuine.check_evidence(tmp_path).problems == []


def test_a_server_that_does_not_answer_is_told(tmp_path, sealed, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    bucket = Bucket.parse("s3://vault?endpoint=http://127.0.0.1:1&region=us-east-1")
    with pytest.raises(EnvironmentFailed, match=r"s3://vault: 0 files were copied, then: .*127\.0\.0\.1"):
        offsite.copy(bucket, sealed.run_dir, sealed.run_dir.parent)


def test_a_machine_without_credentials_is_told(tmp_path, sealed, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(EnvironmentFailed, match="credentials"):
        offsite.copy(Bucket("vault", region="us-east-1"), sealed.run_dir, sealed.run_dir.parent)


def test_the_address_of_a_bucket():
    whole = "s3://vault/dr/nightly/?endpoint=https://s3.example:9000&region=eu-1&retention=90d"
    assert Bucket.parse(whole) == Bucket("vault", "dr/nightly", "https://s3.example:9000", "eu-1", timedelta(days=90))
    assert Bucket.parse("s3://vault") == Bucket("vault", "", None, None, timedelta(days=400))
    assert str(Bucket.parse(whole)) == "s3://vault/dr/nightly"


@pytest.mark.parametrize(
    "text",
    ["vault", "https://vault", "s3://", "s3://vault?retain=1d", "s3://vault?retention=long", "s3://vault?retention=0s",
     "s3://vault?retention=", "s3://vault?endpoint=s3.example", "s3://me:word@vault", "s3://vault?region=a&region=b",
     "s3://vault?endpoint=https://me:word@s3.example"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match=r"--drill-evidence-bucket.*accepted"):
        Bucket.parse(text)
