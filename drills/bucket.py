"""A bucket of an object store, outside the cluster: what is kept there is known by its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

from drills.errors import ProcedureFailed


class Bucket(Protocol):
    """A bucket, and the way to it."""

    @property
    def bucket(self) -> str:
        """Its name."""
        ...

    def client(self) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        """Return a boto3 S3 client."""
        ...


class ListedBucket(Bucket, Protocol):
    """A bucket that can be looked through."""

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects under a prefix."""
        ...


@dataclass(frozen=True)
class Stored:
    """An object in a bucket.

    Attributes:
        key: its key.
        sha256: digest of its content.
    """

    key: str
    sha256: str


def put(bucket: Bucket, key: str, content: bytes) -> Stored:
    """Put an object into a bucket."""
    bucket.client().put_object(Bucket=bucket.bucket, Key=key, Body=content)
    return Stored(key, hashlib.sha256(content).hexdigest())


def fetch(bucket: Bucket, stored: Stored) -> bytes:
    """Return an object's content.

    Raises:
        ProcedureFailed: it is not the one that was put there.
    """
    content: bytes = bucket.client().get_object(Bucket=bucket.bucket, Key=stored.key)["Body"].read()
    found = hashlib.sha256(content).hexdigest()
    if found != stored.sha256:
        raise ProcedureFailed(f"{stored.key} has sha256 {found}, not {stored.sha256}")
    return content
