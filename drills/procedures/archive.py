"""What PostgreSQL has archived, as it lies in the object store: Barman's base backups and WAL segments."""

from __future__ import annotations

import bz2
import lzma
import re
import struct
import zlib
from datetime import datetime
from itertools import pairwise

from drills.bucket import Bucket
from drills.errors import EnvironmentFailed

_COMPRESSED = (".gz", ".bz2", ".xz", ".snappy", ".zst", ".lz4")
"""What Barman appends to the name of a segment that it compresses."""

_WAL = re.compile(rf"([0-9A-F]{{24}})({'|'.join(map(re.escape, _COMPRESSED))})?")
_LONG_HEADER = struct.Struct("<HHIQ8xQI")
"""How a segment begins: PostgreSQL's XLogLongPageHeaderData (src/include/access/xlog_internal.h), little-endian."""

_IS_LONG = 0x0002
_ENOUGH = 1 << 20  # of a compressed segment: bzip2 gives nothing before its first block of 900 kB is whole

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
        return sorted(self._segments(cluster))

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
        self._store.client().delete_object(Bucket=self._store.bucket, Key=self._key_of(cluster, segment))

    def empty(self, cluster: str, segment: str) -> None:
        """Leave nothing of a WAL segment but its name, as an upload that broke, or a disk that was full.

        Raises:
            EnvironmentFailed: there is none of that name.
        """
        self._store.client().put_object(Bucket=self._store.bucket, Key=self._key_of(cluster, segment), Body=b"")

    def problems(self, cluster: str) -> list[str]:
        """Look at what the archive holds, not only at what it lists, and return what is wrong with it.

        Barman lists a base backup whose data is gone like any other. Its `barman-cloud-wal-restore` takes an empty file
        for a segment, with exit code 0, and first looks for one of that name in a spool directory which all servers of
        a machine share: so a recovery may end early without a word, or get another server's WAL. Each segment says in
        its first page which server wrote it, and which part of the WAL it is.
        """
        found = [f"WAL segment {gap} is missing" for gap in self.gaps(cluster)]
        segments = self._segments(cluster)
        servers: dict[str, str] = {}
        for backup in self.base_backups(cluster):
            about, wrong = self._base_backup(cluster, backup)
            found += [f"base backup {backup} {one}" for one in wrong]
            if about.get("systemid"):
                servers[about["systemid"]] = f"base backup {backup}"
            found += [
                f"base backup {backup} needs WAL segment {about[end]}, which is missing"
                for end in ("begin_wal", "end_wal")
                if about.get(end, "None") != "None" and about[end] not in segments
            ]
        for name, key in sorted(segments.items()):
            wrong, server = _segment(name, key, self._beginning(key))
            found += [f"WAL segment {name} {one}" for one in wrong]
            if server and servers and server not in servers:
                found.append(f"WAL segment {name} is of server {server}, not of {' or '.join(sorted(servers))}")
        return found

    def _base_backup(self, cluster: str, backup: str) -> tuple[dict[str, str], list[str]]:
        """Return what Barman noted of a base backup, and what is wrong with it."""
        start = f"{self._prefix}/{cluster}/base/{backup}/"
        sizes = self._sizes(start)
        notes = sizes.pop(f"{start}backup.info", None)
        if notes is None:
            return {}, ["has no backup.info"]
        text = self._store.client().get_object(Bucket=self._store.bucket, Key=f"{start}backup.info")["Body"].read()
        lines = (line.partition("=") for line in text.decode(errors="replace").splitlines())
        about = {key.strip(): value.strip() for key, _, value in lines if key.strip()}
        wrong = [] if about.get("status") == "DONE" else [f"is {about.get('status', 'without a status')}, not DONE"]
        if not any(key.removeprefix(start).startswith("data.tar") for key in sizes):
            wrong.append("is listed, and its data is gone")
        wrong += [f"has nothing in {key.removeprefix(start)}" for key, size in sorted(sizes.items()) if not size]
        return about, wrong

    def _beginning(self, key: str) -> tuple[bytes, int]:
        """Return the first bytes of an object, decompressed where this program can, and its size as stored."""
        client, bucket = self._store.client(), self._store.bucket
        size = int(client.head_object(Bucket=bucket, Key=key)["ContentLength"])
        if not size:
            return b"", 0
        range_ = f"bytes=0-{min(size, _ENOUGH) - 1}"
        return bytes(client.get_object(Bucket=bucket, Key=key, Range=range_)["Body"].read()), size

    def _segments(self, cluster: str) -> dict[str, str]:
        """Return the key of each WAL segment."""
        start = f"{self._prefix}/{cluster}/wals/"
        named = ((_WAL.fullmatch(key.rpartition("/")[2]), key) for key, _ in self._under(f"{cluster}/wals/"))
        return {name[1]: f"{start}{key}" for name, key in named if name}

    def _key_of(self, cluster: str, segment: str) -> str:
        key = self._segments(cluster).get(segment)
        if key is None:
            raise EnvironmentFailed(f"the archive of {cluster} has no {segment}")
        return key

    def _sizes(self, start: str) -> dict[str, int]:
        pages = self._store.client().get_paginator("list_objects_v2").paginate(Bucket=self._store.bucket, Prefix=start)
        return {one["Key"]: int(one["Size"]) for page in pages for one in page.get("Contents", [])}

    def _under(self, part: str) -> list[tuple[str, datetime]]:
        """Return keys, without their common start, and times of what lies under a part of the archive."""
        start = f"{self._prefix}/{part}"
        pages = self._store.client().get_paginator("list_objects_v2").paginate(Bucket=self._store.bucket, Prefix=start)
        return [
            (one["Key"].removeprefix(start), one["LastModified"]) for page in pages for one in page.get("Contents", [])
        ]


def _segment(name: str, key: str, stored: tuple[bytes, int]) -> tuple[list[str], str]:
    """Say what is wrong with a segment by its beginning, and which server wrote it; "" where that cannot be read."""
    content, size = stored
    if not size:
        return ["is empty"], ""
    try:
        page = _decompressed(key, content)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        return [f"cannot be decompressed: {error}"], ""
    if page is None:
        return [], ""
    if len(page) < _LONG_HEADER.size:
        return [f"ends after {len(page)} bytes"], ""
    _, flags, timeline, address, server, segment_size = _LONG_HEADER.unpack_from(page)
    if not flags & _IS_LONG or not segment_size:
        return ["does not begin like a WAL segment"], ""
    wrong = []
    parts = (1 << 32) // segment_size
    log, part = int(name[8:16], 16), int(name[16:], 16)
    if (timeline > int(name[:8], 16)) or address != (log * parts + part) * segment_size:
        wrong.append(f"holds another part of the WAL, that at {address >> 32:X}/{address & 0xFFFFFFFF:X}")
    if not key.endswith(_COMPRESSED) and size != segment_size:
        wrong.append(f"has {size} of {segment_size} bytes")
    return wrong, str(server)


def _decompressed(key: str, content: bytes) -> bytes | None:
    """Return the beginning of a segment; None for what the standard library does not decompress."""
    if key.endswith(".gz"):
        return zlib.decompressobj(wbits=31).decompress(content, _LONG_HEADER.size)
    if key.endswith(".bz2"):
        return bz2.BZ2Decompressor().decompress(content, _LONG_HEADER.size)
    if key.endswith(".xz"):
        return lzma.LZMADecompressor().decompress(content, _LONG_HEADER.size)
    return None if key.endswith(_COMPRESSED) else content


def successor(segment: str) -> str:
    """Return the name of the WAL segment that follows, of 16 MiB each, on the same timeline."""
    log, part = int(segment[8:16], 16), int(segment[16:], 16) + 1
    return f"{segment[:8]}{log + part // _SEGMENTS_OF_A_LOG:08X}{part % _SEGMENTS_OF_A_LOG:08X}"
