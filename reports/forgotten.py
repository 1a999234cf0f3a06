"""Drills that are no longer part of the programme: experiments that were given up, drills that were renamed.

Their runs stay in the evidence, with the log and every record. An entry in the log of all runs says who set the drill
aside, when and why; trends and coverage leave its runs up to then out, and name it with the verdict that it had last.
A run of it that begins later counts again.
"""

import getpass
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd

from drills import runs
from drills.errors import UsageError

from .view import instant
from .words import clean

EVENT = "forget"


@dataclass(frozen=True)
class Forgotten:
    """A drill that was set aside.

    Attributes:
        drill: its name.
        utc: when; runs that began later count.
        by: who did it.
        why: for what reason.

    """

    drill: str
    utc: datetime
    by: str
    why: str

    def words(self, verdict: str) -> str:
        """Name it, with its last verdict."""
        return f"{self.drill} ({verdict} in its latest run), {self.utc:%Y-%m-%d}, by {self.by}: {self.why}"


def read_forgotten(evidence_dir: Path) -> dict[str, Forgotten]:
    """Read from the log which drills were set aside, by name; of several entries the newest. None where no log is."""
    log = evidence_dir / runs.LOG
    if not log.is_file():
        return {}
    return {each.drill: each for each in _entries(log)}


def _entries(log: Path) -> Iterator[Forgotten]:
    mark = f'"event": "{EVENT}"'.encode()
    with log.open("rb") as lines:
        for line in lines:
            if mark not in line:  # a log of 100,000 runs is not parsed for the few entries of this kind
                continue
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):  # `drills log verify` names it
                continue
            if not isinstance(entry, Mapping) or entry.get("event") != EVENT:
                continue
            utc = instant(entry.get("utc"))
            if utc is not None and isinstance(entry.get("drill"), str):
                yield Forgotten(entry["drill"], utc, clean(entry.get("by") or ""), clean(entry.get("why") or ""))


def forget(evidence_dir: Path, drill: str, why: str, known: pd.DataFrame) -> Forgotten:
    """Set a drill aside, by an entry in the log.

    Args:
        evidence_dir: the directory of all runs.
        drill: its name.
        why: the reason, for whoever asks later.
        known: the evidence's rows, to tell a drill from a slip.

    Raises:
        UsageError: no run holds a drill of that name, there is no log, or no reason is given.

    """
    if drill not in set(known["drill"]):
        names = ", ".join(sorted(map(str, set(known["drill"])))[:5])
        raise UsageError(
            f"DRILL: invalid value {drill!r}: expected a drill of {evidence_dir}, such as {names or 'none'}"
        )
    if not why.strip():
        raise UsageError(f"--why: invalid value {why!r}: expected a reason")
    if not (evidence_dir / runs.LOG).is_file():
        raise UsageError(f"--evidence-dir: invalid value {evidence_dir}: expected a directory with a {runs.LOG}")
    entry = runs.append(evidence_dir / runs.LOG, {"event": EVENT, "drill": drill, "by": _user(), "why": why.strip()})
    moment = instant(entry["utc"])
    if moment is None:
        raise TypeError(f"the log dated its entry {entry['utc']!r}, which is no instant")
    return Forgotten(drill, moment, str(entry["by"]), str(entry["why"]))


def without(table: pd.DataFrame, forgotten: Mapping[str, Forgotten]) -> pd.DataFrame:
    """Leave out the rows of drills that were set aside after they ran; what has no stamp stays."""
    if not forgotten or table.empty:
        return table
    until = table["drill"].map({name: pd.Timestamp(each.utc) for name, each in forgotten.items()})
    until = pd.to_datetime(until, utc=True)
    return table[~(table["utc"] <= until).fillna(value=False)]


def set_aside(table: pd.DataFrame, forgotten: Mapping[str, Forgotten]) -> list[str]:
    """Name the drills whose runs are left out, each with the verdict of its newest one."""
    told = []
    for name, each in sorted(forgotten.items()):
        rows = table[(table["drill"] == name) & (table["utc"] <= pd.Timestamp(each.utc))]
        if not rows.empty:
            told.append(each.words(str(rows.iloc[-1]["verdict"])))
    return told


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
