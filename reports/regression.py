"""Whether a run was worse than usual, though it may have met its objective: what a trend is for.

The rule. A drill's figure is held against those of its last ten runs that measured it, in the same environment, misses
included; under five there is no usual yet. Worse than usual is

- an RTA that lies above the median by more than 3 times the scatter (the median absolute deviation, scaled by 1.4826 to
  be a standard deviation where figures scatter normally) and whose lower bound lies above the median of the upper
  bounds, so that no error of measuring can explain it;
- an RPA that lies above its median by more than 3 times its scatter, so that any write lost stands out where none ever
  was;
- a service that did not come back, or data that was never read back, where the others had a figure.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from drills.verdicts import Verdict

from .words import seconds

LAST = 10
"""How many earlier runs a figure is held against."""

FEWEST = 5
"""How many there must be."""

TIMES = 3.0
"""How many times the scatter is beyond chance."""

_TO_DEVIATION = 1.4826
_USED = ("drill", "repeat", "environment", "run", "verdict", "acknowledged", "rta_s", "low_s", "high_s", "rpa_s")
_CONCLUSIVE = (str(Verdict.MET), str(Verdict.MISSED))


@dataclass(frozen=True)
class Regression:
    """One figure of a drill that was worse than usual.

    Attributes:
        drill: the drill's name.
        figure: RTA or RPA.
        value_s: what was achieved, in seconds; None when nothing was.
        median_s: the median of the earlier runs.
        limit_s: the largest figure that would have passed as usual.
        runs: how many earlier runs that is.

    """

    drill: str
    figure: str
    value_s: float | None
    median_s: float
    limit_s: float
    runs: int

    @property
    def words(self) -> str:
        """The finding in one sentence."""
        absent = "never reached" if self.figure == "RTA" else "unknown, as the data was never read back"
        return (
            f"{self.drill}: {self.figure} {seconds(self.value_s, absent)}; the median of the last {self.runs} runs is "
            f"{seconds(self.median_s)}, and up to {seconds(self.limit_s)} is usual"
        )


def regressions(frame: pd.DataFrame, run: str) -> list[Regression]:
    """Find the figures of a run that were worse than usual, by drill.

    Args:
        frame: the rows of `Evidence.honest`.
        run: the run's id; rows of later runs are not looked at.

    """
    of_run = frame["drill"].isin(frame.loc[frame["run"] == run, "drill"].unique())
    return [each for _, rows in _measured(frame[of_run]) for each in _of_drill(rows, run)]


def newest_regressions(frame: pd.DataFrame) -> dict[str, list[Regression]]:
    """Find what was worse than usual in the newest run of each drill, by the drill's name.

    Args:
        frame: the rows of `Evidence.honest`.

    """
    newest = frame.groupby("drill")["run"].max()
    found: dict[str, list[Regression]] = {}
    for drill, rows in _measured(frame):
        found.setdefault(drill, []).extend(_of_drill(rows, str(newest[drill])))
    return found


def _measured(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Give the rows that measured something, of each drill in each environment."""
    measured = frame.loc[frame["verdict"].isin(_CONCLUSIVE), list(_USED)]
    for (drill, _), rows in measured.groupby(["drill", "environment"], sort=True):
        yield str(drill), rows


def _of_drill(rows: pd.DataFrame, run: str) -> list[Regression]:
    runs = rows["run"].to_numpy()
    attempts, before = rows[runs == run], rows[runs < run]
    if attempts.empty:
        return []
    found = (_of_rta(_now(attempts, "rta_s"), before), _of_rpa(_now(attempts, "rpa_s"), before))
    return [each for each in found if each]


def _now(attempts: pd.DataFrame, figure: str) -> "pd.Series[float]":
    """Choose what stands for a run that holds a drill several times.

    Of attempts the worst: a rerun hides nothing. Of repeats the median: the worst of many draws is worse than usual by
    chance alone.
    """
    if (attempts["repeat"].fillna(0) > 0).all():
        return attempts.sort_values(figure, na_position="last", kind="stable").iloc[(len(attempts) - 1) // 2]
    return attempts.sort_values(["verdict", "rta_s"], na_position="last", kind="stable").iloc[-1]


def _of_rta(now: "pd.Series[float]", before: pd.DataFrame) -> Regression | None:
    usual = before[before["rta_s"].notna()].tail(LAST)
    if len(usual) < FEWEST:
        return None
    median, limit = _limit(usual["rta_s"])
    beyond_error = float(usual["high_s"].fillna(usual["rta_s"]).median())
    limit = max(limit, beyond_error)
    low = now["rta_s"] if math.isnan(now["low_s"]) else now["low_s"]
    worse = math.isnan(now["rta_s"]) or (now["rta_s"] > limit and low > beyond_error)
    return _regression(now, "RTA", now["rta_s"], median, limit, len(usual)) if worse else None


def _of_rpa(now: "pd.Series[float]", before: pd.DataFrame) -> Regression | None:
    usual = before[before["rpa_s"].notna()].tail(LAST)
    if len(usual) < FEWEST:
        return None
    median, limit = _limit(usual["rpa_s"])
    never_read = math.isnan(now["rpa_s"]) and now["acknowledged"] > 0
    worse = never_read or now["rpa_s"] > limit
    return _regression(now, "RPA", now["rpa_s"], median, limit, len(usual)) if worse else None


def _limit(figures: "pd.Series[float]") -> tuple[float, float]:
    values = figures.to_numpy(dtype="float64")
    median = float(np.median(values))
    scatter = _TO_DEVIATION * float(np.median(np.abs(values - median)))
    return median, median + TIMES * scatter


def _regression(
    now: "pd.Series[float]", figure: str, value: float, median: float, limit: float, runs: int
) -> Regression:
    return Regression(str(now["drill"]), figure, None if math.isnan(value) else float(value), median, limit, runs)
