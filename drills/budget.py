"""A time budget: which drills to hold when there is no time for all, the least recently proven first.

How long a drill takes and when it was proven last is read from the log and the records of earlier runs. Proven is a
drill that met its objectives, and that nobody had sabotaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from drills import chain, runs, vouching
from drills.clock import parse_stamp, stamp
from drills.errors import UsageError
from drills.objectives import parse_duration
from drills.record import load
from drills.verdicts import Verdict

LAST = 3
"""So many earlier runs of a drill tell how long it takes: the longest of them."""

PREPARING_S = 120.0
"""Beside the steps that the plan expects: a cluster, its workload, a backup. One of the sample's drills took 78 s."""

UNKNOWN_S = 300.0
"""What a drill is taken for of which nobody says how long it takes."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Past:
    """What earlier runs tell of a drill.

    Attributes:
        proven: when the newest run ended in which it was MET; None if there is none.
        took_s: how long it took in its last runs that measured something, in seconds, the newest first.

    """

    proven: datetime | None = None
    took_s: tuple[float, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """A drill that could be held.

    Attributes:
        drill: its name.
        expected_s: how long each of its repeats is expected to take, in seconds; one, where it is not repeated.
        by: who says so.
        proven: when it was proven last.

    """

    drill: str
    expected_s: tuple[float, ...]
    by: str
    proven: datetime | None = None

    def as_record(self) -> dict[str, Any]:
        """Give it as run.json keeps it."""
        return {
            "drill": self.drill,
            "expected_s": round(sum(self.expected_s), 3),
            "by": self.by,
            "last_proven_utc": stamp(self.proven) if self.proven else None,
        }


@dataclass(frozen=True)
class Choice:
    """What fits into a budget, in the order in which it is to be held, and what is left out.

    Attributes:
        budget_s: the time that there is.
        expected_s: when the last of the drills held is expected to end.
        workers: how many drills are held at a time.

    """

    budget_s: float
    expected_s: float
    workers: int
    held: list[Candidate]
    left_out: list[Candidate]

    def as_record(self) -> dict[str, Any]:
        """Give it as run.json keeps it."""
        return {
            "budget_s": self.budget_s,
            "expected_s": round(self.expected_s, 3),
            "workers": self.workers,
            "held": [each.as_record() for each in self.held],
            "left_out": [each.as_record() for each in self.left_out],
        }


def look_back(evidence: Path, drills: Iterable[str], until: datetime) -> dict[str, Past]:
    """Read what earlier runs tell of these drills.

    Of runs that nobody vouches for (`drills.vouching`) nothing counts, of a run its first END entry.

    Args:
        evidence: the evidence directory; one that is not there yet tells nothing.
        drills: their names.
        until: runs that ended later are not looked at, so that all workers of a run see the same.

    """
    log = evidence / runs.LOG
    found = dict.fromkeys(drills, Past())
    entries = runs.entries(log) if log.is_file() else []
    # Whoever can write there can add a run; what nobody vouches for would put off a drill that was not proven.
    doubtful = vouching.unvouched(evidence)
    for entry in reversed(list(chain.first(entries, "end").values())):
        if str(entry.get("run")) in doubtful:
            continue
        ended = _ended(entry)
        if ended is None or ended > until:
            continue
        for folder, verdict in entry["verdicts"].items():
            if "/" in folder or "\0" in folder or folder in ("", ".", ".."):
                continue  # of a log that somebody edited: no folder of a drill
            drill = re.split("[.-]", folder)[0]  # a rerun's folder is NAME-2, a repeat's NAME.repeat_2
            past = found.get(drill)
            if past is None or not _wanted(past, verdict):
                continue
            record = _record(evidence / str(entry["run"]) / folder / "record.json", drill)
            if record is not None:
                found[drill] = _with(past, verdict, ended, record)
    return found


def expected(past: Past, slow: str = "", planned: timedelta | None = None) -> tuple[float, str]:
    """Say how long a drill is expected to take, in seconds, and who says so.

    Args:
        past: its earlier runs, whose word counts most.
        slow: the field `slow` of its marker, in words.
        planned: how long the plan expects its procedure to take.

    """
    if past.took_s:
        return max(past.took_s), "its last run" if len(past.took_s) == 1 else f"its last {len(past.took_s)} runs"
    try:
        said = parse_duration(slow, "slow") if slow else None
    except UsageError:  # `slow` may be any words
        said = None
    if said is not None:
        return said.total_seconds(), "its marker"
    if planned is not None:
        return planned.total_seconds() + PREPARING_S, f"the plan's steps and {PREPARING_S:g} s to prepare"
    return UNKNOWN_S, "assumption, as nobody says"


def choose(candidates: Iterable[Candidate], budget_s: float, workers: int = 1) -> Choice:
    """Choose what fits into the budget: never proven first, then the longest unproven.

    What does not fit any more is left out, and what comes after it still looked at. With several workers each drill
    goes to the one that is free first.
    """
    free_s = [0.0] * max(1, workers)
    held: list[Candidate] = []
    left_out: list[Candidate] = []
    for each in sorted(candidates, key=lambda each: (each.proven or _NEVER, each.drill)):
        then = _taken_up(free_s, each.expected_s)
        if max(then) <= budget_s:
            free_s = then
            held.append(each)
        else:
            left_out.append(each)
    return Choice(budget_s, max(free_s), len(free_s), held, left_out)


def told(left_out: Mapping[str, Any]) -> str:
    """Say in a few words which drill was left out, from its entry in run.json."""
    from drills.plan import in_words  # here: it brings pydantic, and `drills --help` comes by this module

    last = left_out["last_proven_utc"]
    when = f"last proven {last[:16].replace('T', ' ')} UTC" if last else "never proven"
    takes = in_words(timedelta(seconds=round(left_out["expected_s"])))
    return f"{left_out['drill']}: {when}, takes {takes} by {left_out['by']}"


def _taken_up(free_s: Sequence[float], lengths_s: Iterable[float]) -> list[float]:
    then = list(free_s)
    for length_s in lengths_s:
        then[then.index(min(then))] += length_s
    return then


def _ended(entry: Mapping[str, Any]) -> datetime | None:
    if entry.get("event") != "end" or not isinstance(entry.get("verdicts"), dict):
        return None
    try:
        return parse_stamp(str(entry.get("utc")))
    except ValueError:
        return None


def _wanted(past: Past, verdict: str) -> bool:
    return (verdict == Verdict.MET and past.proven is None) or (
        verdict in (Verdict.MET, Verdict.MISSED) and len(past.took_s) < LAST
    )


def _record(path: Path, drill: str) -> dict[str, Any] | None:
    """Read a record that says something of this drill; one that is gone, broken or sabotaged does not."""
    try:
        record = load(path)
    except UsageError:
        return None
    return record if record["drill"] == drill and not record["evidence_only"] else None


def _with(past: Past, verdict: str, ended: datetime, record: Mapping[str, Any]) -> Past:
    proven = past.proven or (ended if verdict == Verdict.MET else None)
    # Stamps, because phases do not hold what came before the steady state; good enough for an estimate.
    try:
        took = (parse_stamp(record["ended_utc"]) - parse_stamp(record["started_utc"])).total_seconds()
    except ValueError:  # stamps that are none: it says nothing of how long it took
        return Past(proven, past.took_s)
    took -= (record.get("repeat") or {}).get("phase_s", 0.0)
    took_s = (*past.took_s, took) if took > 0 and len(past.took_s) < LAST else past.took_s
    return Past(proven, took_s)
