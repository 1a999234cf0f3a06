"""A copy of the evidence where nobody can change it: an S3 bucket with Object Lock, in COMPLIANCE mode.

Until the retention has passed, no account can delete or change what is there, its owner's included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from drills import checkpoint, runs
from drills.clock import Clock, SystemClock
from drills.errors import EnvironmentFailed, UsageError
from drills.objectives import parse_duration

MODE = "COMPLIANCE"
_AT_ONCE = 1 << 20
RETENTION = timedelta(days=400)  # an audit looks back on a year, and takes place some time after it
_ACCEPTED = "s3://BUCKET/PREFIX?endpoint=URL&region=NAME&retention=400d"


@dataclass(frozen=True)
class Bucket:
    """Where copies go, and for how long they are locked.

    Attributes:
        name: the bucket; it must have been made with Object Lock.
        prefix: before all keys, without slashes around it; may be "".
        endpoint: the address of a server other than AWS's, or None.
        region: its region, or None for the one that boto3 finds.
        retention: how long.

    """

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    retention: timedelta = RETENTION

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read it from `s3://BUCKET/PREFIX?endpoint=URL&region=NAME&retention=400d`; raises UsageError."""
        parts = urlsplit(text)
        query = parse_qsl(parts.query, keep_blank_values=True)
        known = dict(query)
        if (
            parts.scheme != "s3"
            or not parts.hostname
            or "@" in parts.netloc  # credentials come from where boto3 finds them, and never into a command line
            or len(known) < len(query)
            or not known.keys() <= {"endpoint", "region", "retention"}
        ):
            raise UsageError(f"--drill-evidence-bucket: found {text!r}, accepted: {_ACCEPTED}")
        endpoint = known.get("endpoint")
        if endpoint is not None and (urlsplit(endpoint).scheme not in ("http", "https") or "@" in endpoint):
            raise UsageError(f"--drill-evidence-bucket, endpoint: found {endpoint!r}, accepted: http(s)://HOST:PORT")
        retention = RETENTION
        if "retention" in known:
            retention = parse_duration(known["retention"], "--drill-evidence-bucket, retention")
        if retention <= timedelta():
            raise UsageError(f"--drill-evidence-bucket, retention: found {retention}, accepted: such as 400d")
        return cls(parts.netloc, parts.path.strip("/"), endpoint, known.get("region"), retention)

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}".rstrip("/")


def copy(
    bucket: Bucket,
    run_dir: Path,
    evidence: Path,
    client: Any = None,  # noqa: ANN401 - boto3 makes its client classes at run time
    clock: Clock | None = None,
) -> list[str]:
    """Copy a sealed run, the log as it is now and its checkpoints; returns the keys.

    Args:
        bucket: where to.
        run_dir: the run.
        evidence: its evidence directory.
        client: a boto3 S3 client; made from boto3's own settings if None.
        clock: for tests.

    Raises:
        EnvironmentFailed: something was not copied, is there but not locked, or is not what was copied.

    """
    from boto3.exceptions import Boto3Error  # here: boto3 costs every command a third of a second
    from botocore.exceptions import BotoCoreError, ClientError

    until = (clock or SystemClock()).now().utc.astimezone(UTC) + bucket.retention
    copied: list[str] = []
    try:
        s3 = client or _client(bucket)
        for path, key in _objects(bucket, run_dir, evidence):
            with path.open("rb") as file:
                digest = _digest(file)
                file.seek(0)
                s3.put_object(
                    Bucket=bucket.name, Key=key, Body=file, ChecksumAlgorithm="SHA256",
                    ObjectLockMode=MODE, ObjectLockRetainUntilDate=until,
                )  # fmt: skip
            _must_be_locked(s3.head_object(Bucket=bucket.name, Key=key), key, until)
            # A store's own checksum may fit what has rotted in it; what comes out is held against what went in.
            if (found := _digest(s3.get_object(Bucket=bucket.name, Key=key)["Body"])) != digest:
                raise EnvironmentFailed(f"{key}: sha256 {found}: expected {digest}, that of {path.name}")
            copied.append(key)
    except (BotoCoreError, ClientError, Boto3Error, OSError) as error:
        raise EnvironmentFailed(f"{bucket}: {len(copied)} files were copied, then: {error}") from error
    return copied


def _digest(content: Any) -> str:  # noqa: ANN401 - an open file, or boto3's stream of an object
    found = hashlib.sha256()
    while chunk := content.read(_AT_ONCE):
        found.update(chunk)
    return found.hexdigest()


def _objects(bucket: Bucket, run_dir: Path, evidence: Path) -> Iterator[tuple[Path, str]]:
    lines = runs.lines(evidence / runs.LOG)
    # By log, so that several evidence directories can share a bucket.
    before = "/".join(part for part in (bucket.prefix, checkpoint.origin(lines).rpartition("/")[2]) if part)
    for path in sorted(path for path in run_dir.rglob("*") if path.is_file()):
        yield path, f"{before}/{run_dir.name}/{path.relative_to(run_dir).as_posix()}"
    yield evidence / runs.LOG, f"{before}/log/{len(lines)}.jsonl"
    newest = checkpoint.notes(evidence)[-1:]
    for path in [made for note in newest for made in note.parent.glob(f"{note.name}*")]:
        yield path, f"{before}/{checkpoint.DIRECTORY}/{path.name}"


def _must_be_locked(answer: dict[str, Any], key: str, until: datetime) -> None:
    """A store that knows no Object Lock may take the wish for one, and ignore it."""
    kept = answer.get("ObjectLockRetainUntilDate")
    # Stores keep the date to the second, or to the millisecond.
    if answer.get("ObjectLockMode") != MODE or kept is None or kept < until - timedelta(seconds=1):
        raise EnvironmentFailed(f"{key}: is there, but not locked: was the bucket made with Object Lock?")


def _client(bucket: Bucket) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
    import boto3
    from botocore.config import Config

    settings = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"max_attempts": 3, "mode": "standard"},
        s3={"addressing_style": "path"} if bucket.endpoint else {},
    )
    return boto3.session.Session().client(
        "s3", endpoint_url=bucket.endpoint, region_name=bucket.region, config=settings
    )
