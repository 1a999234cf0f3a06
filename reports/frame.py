"""Every record of an evidence directory as one table, a row a record.

For trends and for anyone with pandas: `read_evidence(Path("evidence")).table`. Records are checked only for what a row
needs (the full schema is `drills.record.validate`'s business), and what was read of them is kept in an index, so that
100,000 records take seconds (see `index`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from drills.errors import UsageError
from drills.verdicts import Verdict, worst
from drills.vouching import unvouched

from . import index
from .forgotten import Forgotten, read_forgotten, set_aside, without
from .palette import VERDICT_WORD
from .view import Problem

COLUMNS = (
    "run", "utc", "scenario", "drill", "repeat", "title", "tier", "verdict",
    "rta_s", "low_s", "high_s", "rto_s", "rpa_s", "rpo_s", "downtime_s",
    "acknowledged", "lost", "corrupted", "duplicated", "resurrected",
    "duration_s", "sabotage", "environment", "fault", "blast_radius", "proofs", "procedure", "runbook", "backup",
    "data", "controls", "digest", "path",
)  # fmt: skip
"""The table's columns. Times in seconds, NaN where not measured or none was set; `utc` is the drill's beginning.

`repeat` is its number, 0 for a drill that was held once; `data` and `controls` hold one name a line; `digest` is the
record's SHA-256; `path` is where it lies."""

TREND = (
    "run", "utc", "drill", "repeat", "verdict", "rta_s", "low_s", "high_s", "rto_s", "rpa_s", "rpo_s",
    "acknowledged", "sabotage", "environment",
)  # fmt: skip
"""The columns that a trend and its regressions are made of; all of them take three times as long to read."""

_COUNTS = ("acknowledged", "lost", "corrupted", "duplicated", "resurrected", "proofs", "repeat")


@dataclass(frozen=True)
class Evidence:
    """All that an evidence directory holds.

    Attributes:
        table: a row a record, in order of time.
        problems: by name, what could not be read into it.
        contradictions: by name, where the log and the records do not agree.
        forgotten: the drills that were set aside, by name.

    """

    table: pd.DataFrame
    problems: list[Problem]
    contradictions: list[Problem] = field(default_factory=list)
    forgotten: Mapping[str, Forgotten] = field(default_factory=dict)

    def honest(self) -> pd.DataFrame:
        """Give the rows that say something about recovery: not those of sabotaged drills, and of drills set aside."""
        return without(self.table[self.table["sabotage"] == ""], self.forgotten).reset_index(drop=True)

    @property
    def set_aside(self) -> list[str]:
        """The drills that were set aside (`drills forget`), each with its last verdict, who did it and why."""
        return set_aside(self.table[self.table["sabotage"] == ""], self.forgotten)

    def vouched(self, evidence_dir: Path) -> Self:
        """Leave out what was met in runs that nobody vouches for (`drills.vouching`), and name those runs.

        A miss stays: nobody adds one, and whoever takes the seal off a run must not unsay it.
        """
        nobodys = unvouched(evidence_dir)
        shown = set(self.table["run"])
        left_out = self.table["run"].isin(list(nobodys)) & (self.table["verdict"] == str(Verdict.MET))
        named = [
            Problem(evidence_dir / run, f"{why}: nobody vouches for it, and nothing that it met counts")
            for run, why in nobodys.items()
            if run in shown
        ]
        return replace(
            self, table=self.table[~left_out].reset_index(drop=True), contradictions=[*self.contradictions, *named]
        )


def read_evidence(evidence_dir: Path, columns: Sequence[str] = COLUMNS) -> Evidence:
    """Read every `<run>/<drill>/record.json` under an evidence directory, in order of time.

    Links are not followed: `latest` would count its run twice. Records that cannot be read come back as problems.

    Args:
        evidence_dir: the directory of all runs.
        columns: those of COLUMNS that are wanted, `drill` and `utc` among them.

    Raises:
        UsageError: the directory is none.

    """
    if not evidence_dir.is_dir():
        raise UsageError(
            f"evidence directory: found {evidence_dir}, which is no directory; accepted: one that a run wrote"
        )
    facts = tuple(name for name in index.FACTS if name in {"utc_us", *columns})
    reading = index.read(evidence_dir, facts, digests="digest" in columns)
    table = _table(reading, columns, evidence_dir)
    return Evidence(table, reading.problems, reading.contradictions, read_forgotten(evidence_dir))


def newest_of_each(rows: pd.DataFrame) -> pd.DataFrame:
    """Give the newest run of each drill, a row each; of several attempts in one run the worst."""
    if rows.empty:
        return rows
    last = rows[rows["run"] == rows.groupby("drill")["run"].transform("max")]
    rank = {verdict: sum(worst((verdict, other)) is verdict for other in Verdict) for verdict in Verdict}
    order = last.assign(rank=[rank[Verdict(verdict)] for verdict in last["verdict"]])
    return order.sort_values(["drill", "rank"], kind="stable").groupby("drill").tail(1).reset_index(drop=True)


def latest_line(honest: pd.DataFrame) -> str:
    """Say how the newest run of every drill went, verdict first: the first line of what tells of all runs."""
    newest = newest_of_each(honest)
    verdict = worst(Verdict(each) for each in newest["verdict"])
    missed = newest.loc[newest["verdict"] == str(Verdict.MISSED), "drill"]
    told = f"latest runs that missed an objective: {', '.join(missed)}; " if len(missed) else ""
    counted = "1 drill" if len(newest) == 1 else f"{len(newest)} drills"
    return f"{VERDICT_WORD[verdict]}: {told}the newest runs of {counted}"


def _table(reading: index.Reading, columns: Sequence[str], evidence_dir: Path) -> pd.DataFrame:
    """Make the table of a reading. Of equal texts one object stands in all rows: a hundredth of the memory."""
    texts = np.array([*reading.texts, ""], dtype=object)
    rank = np.argsort(np.argsort(texts, kind="stable"))
    codes = {
        name: np.frombuffer(found, dtype="int64") for name, found in reading.columns.items() if index.is_text(name)
    }
    figures = {
        name: np.where(np.isinf(values), np.nan, values)
        for name, found in reading.columns.items()
        if not index.is_text(name) and (values := np.frombuffer(found, dtype="float64")) is not None
    }
    empty = reading.texts.index("") if "" in reading.texts else len(reading.texts)
    # A record without a stamp or a name stands where its run's and its folder's name put it.
    codes["drill"] = np.where(codes["drill"] == empty, codes["folder"], codes["drill"])
    if "title" in codes:
        codes["title"] = np.where(codes["title"] == empty, codes["drill"], codes["title"])
    began = figures["utc_us"]
    order = np.lexsort((rank[codes["drill"]], np.where(np.isnan(began), -np.inf, began), rank[codes["run"]]))
    made: dict[str, object] = {}
    for name in columns:
        if name == "utc":
            made[name] = pd.to_datetime(pd.array(began[order], dtype="Int64"), unit="us", utc=True)
        elif name == "digest":
            made[name] = np.array(reading.digests, dtype=object)[order]
        elif name == "path":
            run, folder = texts[codes["run"]][order], texts[codes["folder"]][order]
            made[name] = f"{evidence_dir}/" + run + "/" + folder + "/record.json"
        elif name in codes:
            made[name] = texts[codes[name]][order]
        else:
            made[name] = pd.array(figures[name][order], dtype="Int64") if name in _COUNTS else figures[name][order]
    return pd.DataFrame(made).astype({name: object for name in made if name in {*codes, "digest", "path"}})
