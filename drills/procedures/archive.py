"""What PostgreSQL has archived, as it lies in the object store: Barman's base backups and WAL segments."""

from __future__ import annotations

import re
from datetime import datetime
from itertools import pairwise

from drills.bucket import Bucket
from drills.errors import EnvironmentFailed

_WAL = re.compile(r"[0-9A-F]{24}")
_SEGMENTS_OF_A_LOG = 0x100
"""Segments of 16 MiB in each 4 GiB of WAL, after which their numbers carry over."""


class Archive:
    """The archives of one database and of the clusters that were recovered from it."""

    def __init__(self, store: Bucket, prefix: str) -> None:
        """Say where they are.

        Args:
            store: keeps them.
            prefix: the start of their keys.
        """
        self._store = store
        self._prefix = prefix

    def base_backups(self, cluster: str) -> list[str]:
        """Return the ids of a cluster's base backups, the oldest first."""
        return sorted({key.split("/")[0] for key, _ in self._under(f"{cluster}/base/")})

    def wal(self, cluster: str) -> list[str]:
        """Return the names of a cluster's WAL segments, in order."""
        names = (key.rpartition("/")[2] for key, _ in self._under(f"{cluster}/wals/"))
        return sorted(name for name in names if _WAL.fullmatch(name))

    def newest(self, cluster: str) -> datetime:
        """Return when the newest WAL segment came into the archive.

        Raises:
            EnvironmentFailed: there is none.
        """
        times = [time for _, time in self._under(f"{cluster}/wals/")]
        if not times:
            raise EnvironmentFailed(f"the archive of {cluster} has no WAL")
        return max(times)

    def gaps(self, cluster: str) -> list[str]:
        """Return which segments are missing between the oldest and the newest, the first of each gap."""
        return [
            successor(one)
            for one, other in pairwise(self.wal(cluster))
            if other[:8] == one[:8] and other != successor(one)
        ]

    def lose(self, cluster: str, segment: str) -> None:
        """Delete a WAL segment, as a store that loses an object.

        Raises:
            EnvironmentFailed: there is none of that name.
        """
        keys = [key for key, _ in self._under(f"{cluster}/wals/") if key.rpartition("/")[2] == segment]
        if not keys:
            raise EnvironmentFailed(f"the archive of {cluster} has no {segment}")
        for key in keys:
            self._store.client().delete_object(Bucket=self._store.bucket, Key=f"{self._prefix}/{cluster}/wals/{key}")

    def _under(self, part: str) -> list[tuple[str, datetime]]:
        """Return keys, without their common start, and times of what lies under a part of the archive."""
        start = f"{self._prefix}/{part}"
        pages = self._store.client().get_paginator("list_objects_v2").paginate(Bucket=self._store.bucket, Prefix=start)
        return [
            (one["Key"].removeprefix(start), one["LastModified"]) for page in pages for one in page.get("Contents", [])
        ]


def successor(segment: str) -> str:
    """Return the name of the WAL segment that follows, of 16 MiB each, on the same timeline."""
    log, part = int(segment[8:16], 16), int(segment[16:], 16) + 1
    return f"{segment[:8]}{log + part // _SEGMENTS_OF_A_LOG:08X}{part % _SEGMENTS_OF_A_LOG:08X}"
