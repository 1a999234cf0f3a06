"""Every record of an evidence directory as one table, a row a record.

For trends and for anyone with pandas: `read_evidence(Path("evidence")).table`. Records are read one after the other
with the standard library's JSON and checked only for what a row needs (the full schema is `drills.record.validate`'s
business), so that thousands of runs take seconds.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from drills.errors import UsageError

from .view import Problem, View, read_record

COLUMNS = (
    "run", "utc", "scenario", "drill", "title", "tier", "verdict",
    "rta_s", "low_s", "high_s", "rto_s", "rpa_s", "rpo_s", "downtime_s",
    "acknowledged", "lost", "corrupted", "duplicated", "resurrected",
    "duration_s", "sabotage", "path",
)  # fmt: skip
"""The table's columns. Times in seconds, NaN where not measured or none was set; `utc` is the drill's beginning."""

_FIGURES = ("rta_s", "low_s", "high_s", "rto_s", "rpa_s", "rpo_s", "downtime_s", "duration_s")
_COUNTS = ("acknowledged", "lost", "corrupted", "duplicated", "resurrected")


@dataclass(frozen=True)
class Evidence:
    """All that an evidence directory holds: the table, and by name what could not be read into it."""

    table: pd.DataFrame
    problems: list[Problem]

    def honest(self) -> pd.DataFrame:
        """Give the rows that say something about recovery: those of sabotaged drills are left out."""
        return self.table[self.table["sabotage"] == ""].reset_index(drop=True)


def read_evidence(evidence_dir: Path) -> Evidence:
    """Read every `<run>/<drill>/record.json` under an evidence directory, in order of time.

    Links are not followed: `latest` would count its run twice. Records that cannot be read come back as problems.

    Raises UsageError when the directory is none.
    """
    if not evidence_dir.is_dir():
        raise UsageError(
            f"evidence directory: found {evidence_dir}, which is no directory; accepted: one that a run wrote"
        )
    views: list[View] = []
    problems: list[Problem] = []
    for run in _folders(evidence_dir):
        for drill in _folders(run):
            path = drill / "record.json"
            if path.is_file():
                seen = read_record(path, run.name)
                if isinstance(seen, View):
                    views.append(seen)
                else:
                    problems.append(seen)
    return Evidence(_table(views), problems)


def row(view: View) -> dict[str, object]:
    """One record as a row of the table."""
    return {
        "run": view.run,
        "utc": view.started,
        "scenario": view.scenario,
        "drill": view.drill,
        "title": view.title,
        "tier": view.text("tier"),
        "verdict": str(view.verdict),
        "rta_s": view.rta_s,
        "low_s": view.rta_low_s,
        "high_s": view.rta_high_s,
        "rto_s": view.rto_s,
        "rpa_s": view.rpa_s,
        "rpo_s": view.rpo_s,
        "downtime_s": view.figure("achieved", "downtime_s"),
        **{name: view.writes(name) for name in _COUNTS},
        "duration_s": view.duration_s,
        "sabotage": ", ".join(view.sabotage),
        "path": str(view.place or ""),
    }


def _folders(parent: Path) -> list[Path]:
    with os.scandir(parent) as entries:
        found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(path for path in found if not path.name.startswith("."))


def _table(views: list[View]) -> pd.DataFrame:
    table = pd.DataFrame([row(view) for view in views], columns=list(COLUMNS))
    table["utc"] = pd.to_datetime(table["utc"], utc=True)
    for name in _FIGURES:
        table[name] = table[name].astype("float64")
    for name in _COUNTS:
        table[name] = table[name].astype("Int64")
    # A record without a stamp stands where its run's name, which begins with one, puts it.
    return table.sort_values(["run", "utc", "drill"], kind="stable", na_position="first").reset_index(drop=True)
