"""Reading files that others may have written: bounded, strict JSON, and no file that could be waited for.

Python's own reader lets out what later code cannot hold: infinity for `1e400`, integers of thousands of digits, lists
as deep as its stack. Here each is a ValueError that says what is accepted, so that one bad file is one line of error
and what stands beside it is read.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drills.errors import UsageError

DEEPEST = 64
"""Levels of nesting in JSON; a record has 6, the JSON reader's own stack ends near 1000."""

LARGEST = 32 * 1024 * 1024
"""Bytes of a file that is read whole; the largest record of the sample has 60 KB."""

LONGEST_HISTORY = 512 * 1024 * 1024
"""Bytes of a history; one of an hour with four probes has about 60 MB."""

MOST_VALUES = 4_000_000
"""Values in one text of JSON: each takes 60 bytes of memory or more, however short it is written."""

LARGEST_WHOLE = 2**63 - 1
"""What SQLite, Prometheus and most readers of JSON hold (RFC 8259 warns from 2**53 on)."""


def loads(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Read one text of JSON.

    Raises:
        ValueError: it is no JSON by RFC 8259 (NaN and Infinity are none), is not UTF-8, has a number beyond 64 bits, is
            nested more than 64 levels deep, or has more than 4 million values.

    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    opened = text.count("[") + text.count("{")
    if opened + text.count(",") > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values, expected fewer")
    try:
        data = json.loads(text, parse_constant=_constant, parse_float=_float, parse_int=_int)
    except RecursionError:
        raise ValueError(_DEEP) from None
    if opened > DEEPEST and _is_deep(data):
        raise ValueError(_DEEP)
    return data


def json_object(text: str | bytes) -> dict[str, Any]:
    """Read one JSON object; raises ValueError as `loads` does, and for JSON of another kind."""
    data = loads(text)
    if not isinstance(data, dict):
        raise ValueError(f"JSON of another kind ({type(data).__name__}), expected an object")  # noqa: TRY004 - bad input
    return data


def read_bytes(path: Path, most: int = LARGEST, *, follow: bool = False) -> bytes:
    """Read a file whole, if it is one and no larger than `most` bytes.

    Args:
        path: the file.
        most: the most bytes that it may have.
        follow: whether it may be a symbolic link. Not in a run: what a link leads to is no part of the evidence.

    Raises:
        OSError: it cannot be read, is no regular file (a pipe would be waited for), or is larger.

    """
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise OSError(f"{path}: invalid value a symbolic link: expected a regular file") from error
        if error.errno == errno.ENXIO:
            raise OSError(f"{path}: invalid value a socket: expected a regular file") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path}: invalid value {_kind(found.st_mode)}: expected a regular file")
        if found.st_size > most:
            raise OSError(f"{path}: invalid size {found.st_size:,} bytes: expected {most:,} at most")
        # One byte more, for a file that grows meanwhile; files of /proc say 0 and are read all the same.
        content = file.read(most + 1)
        if len(content) > most:
            raise OSError(f"{path}: invalid size, over {most:,} bytes: expected {most:,} at most")
        return content


def read_object(path: Path, what: str) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: the file.
        what: what it should be, such as `a record.json`.

    Raises:
        UsageError: it cannot be read, or holds something else; names file, line and column where there are such.

    """
    try:
        return json_object(read_bytes(path))
    except OSError as error:
        raise UsageError(unreadable(path, error, what)) from error
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise UsageError(f"{where}: unreadable JSON ({error.msg}): expected {what}") from error
    except ValueError as error:
        raise UsageError(f"{path}: unreadable JSON ({error}): expected {what}") from error


def unreadable(path: Path, error: OSError, what: str) -> str:
    """Say that a file cannot be read: its path once, the reason, and what is expected."""
    if error.strerror is None:  # ours, which names the path
        return f"{error}: expected {what}" if ": expected " not in str(error) else str(error)
    return f"{path}: unreadable ({error.strerror}): expected {what}"


_DEEP = f"more than {DEEPEST} levels of nesting, expected fewer"


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {_cut(text)} is out of range, expected one that fits 64 bits")
    return value


def _int(text: str) -> int:
    value = int(text) if len(text) < 21 else LARGEST_WHOLE + 1
    if abs(value) > LARGEST_WHOLE:
        raise ValueError(f"the number {_cut(text)} is out of range, expected one that fits 64 bits")
    return value


def _cut(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:12]}... ({len(text)} characters)"


def _is_deep(data: object) -> bool:
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > DEEPEST + 1:
            return True
        inside: list[object] = []
        for each in level:
            if isinstance(each, Mapping):
                inside += [value for value in each.values() if isinstance(value, list | dict)]
            elif isinstance(each, list):
                inside += [value for value in each if isinstance(value, list | dict)]
        level = inside
    return False


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISFIFO, "a named pipe"), (stat.S_ISDIR, "a directory"), (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
    )  # fmt: skip
    return next((name for is_kind, name in kinds if is_kind(mode)), "a file of another kind")
