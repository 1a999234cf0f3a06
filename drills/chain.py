"""What must be true of the log of all runs, line by line: the chain, and that each run starts, ends and is sealed once.

Whoever holds the keys can add entries that fit the chain. So the rules are about what entries say, too: a run has one
START, one END and one SEAL, in this order, and no entry is dated before the one above it. Where somebody added a second
one all the same, the first one counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from drills import parsing
from drills.clock import parse_stamp

GENESIS = "0" * 64
BEHIND = "clock_behind_s"
"""In an entry: by how many seconds the clock was behind the entry above, as the writer saw when it wrote."""
HALF = "half_line"
"""In an entry: the half line that stood in its place, from a writer that was killed."""
ONCE = ("start", "end", "seal")
"""The events that a run has once, in this order."""

_AFTER_START = {"end": "ended", "seal": "was sealed", "sign-off": "was signed off"}
_SECOND = {"start": "started", "end": "ended", "seal": "was sealed"}


def entry_of(line: bytes) -> dict[str, Any] | None:
    """Read one line of a log; None where it is no entry."""
    try:
        return parsing.json_object(line)
    except ValueError:
        return None


def first(entries: Iterable[Mapping[str, Any]], event: str) -> dict[str, Mapping[str, Any]]:
    """Give each run's first entry of an event, by the run's id: what was added later does not count.

    Args:
        entries: of a log, in order.
        event: start, end or seal.

    """
    found: dict[str, Mapping[str, Any]] = {}
    for entry in entries:
        if entry.get("event") == event:
            found.setdefault(str(entry.get("run")), entry)
    return found


def problems(lines: Sequence[bytes], *, torn: bool = False) -> list[str]:
    """Say what is wrong with a log's lines, one problem a string; empty if nothing is.

    Args:
        lines: without their ends.
        torn: whether the last one has no end.

    """
    return [f"line {number}: {problem}" for number, problem in _problems(lines, torn)]


def remarks(lines: Iterable[bytes]) -> list[str]:
    """Say what an entry itself admits: that the clock was behind, or that half a line was set aside."""
    found = []
    for number, line in enumerate(lines, 1):
        entry = entry_of(line) or {}
        if BEHIND in entry:
            found.append(f"line {number}: the clock was {entry[BEHIND]} s behind the entry before, as this one says")
        half = entry.get(HALF)
        if isinstance(half, dict):
            found.append(
                f"line {number}: half a line of {half.get('bytes')} bytes was set aside: a writer was killed before"
            )
    return found


def _problems(lines: Sequence[bytes], torn: bool) -> Iterator[tuple[int, str]]:
    prev = GENESIS
    seen: dict[str, set[str]] = {event: set() for event in ONCE}
    signed: set[tuple[str, str]] = set()
    above: datetime | None = None
    for index, line in enumerate(lines):
        number, entry = index + 1, entry_of(line)
        if entry is None:
            half = torn and number == len(lines)
            yield number, _HALF_A_LINE if half else "not an entry, as a killed or a foreign writer leaves"
        else:
            seq = entry.get("seq")
            if isinstance(seq, bool) or seq != index:
                yield number, f"found seq {seq}, accepted: {index}"
            if entry.get("prev") != prev:
                yield number, "does not follow the line before it: something was edited, removed or put in"
            yield from ((number, f"says {name!r} twice") for name in _twice(line))
            yield from ((number, said) for said in _of_run(entry, seen, signed))
            moment = _moment(entry)
            if moment is None and "event" in entry:
                yield number, f"invalid value {entry.get('utc')!r}: expected utc such as 2026-11-21T09:33:06.123Z"
            elif moment is not None and above is not None and moment < above and BEHIND not in entry:
                yield number, f"is dated {entry['utc']}, before the entry above it"
            above = moment or above
        prev = hashlib.sha256(line).hexdigest()


_HALF_A_LINE = "half an entry: a writer was killed or had no room; the next run or sign-off sets it aside"


def _of_run(entry: Mapping[str, Any], seen: dict[str, set[str]], signed: set[tuple[str, str]]) -> Iterator[str]:
    """Check one entry against what the log said of its run so far."""
    run, event = str(entry.get("run", "")), str(entry.get("event"))
    if event in _AFTER_START and run not in seen["start"]:
        yield f"run {run} {_AFTER_START[event]} without having started"
    elif event == "seal" and run not in seen["end"]:
        yield f"run {run} was sealed without having ended"
    if event == "sign-off":
        digest = str(entry.get("sha256"))
        if (run, digest) in signed:
            yield f"run {run}: one sign-off is entered a second time"
        signed.add((run, digest))
    if event in seen:
        if run in seen[event]:
            yield f"run {run} {_SECOND[event]} a second time: the first entry counts"
        seen[event].add(run)


def _moment(entry: Mapping[str, Any]) -> datetime | None:
    try:
        return parse_stamp(str(entry.get("utc")))
    except ValueError:
        return None


def _twice(line: bytes) -> list[str]:
    """Name the fields that an object of the line has twice: one reader takes the first, another one the last."""
    found: list[str] = []

    def pairs(given: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in given]
        if len(names) != len(made := dict(given)):
            found.extend(name for name in made if names.count(name) > 1)
        return made

    json.loads(line, object_pairs_hook=pairs)
    return found
