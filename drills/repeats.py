"""Repeats of a drill: each with its fault at a moment of chance, and all of them together instead of one lucky run.

Where between two backups, between two writes and within a cluster's own rhythms a disaster falls decides what it costs.
So before the fault of a repeat a random time is let pass, its phase. Phases are drawn from a seed, the drill's name and
the repeat's number, and from nothing else: the same on any worker, in any order, and again with the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from drills.errors import UsageError
from drills.record import load, write_atomically
from drills.verdicts import Verdict

LONGEST_PHASE_S = 30.0
"""The longest phase: three times the ten seconds at which kubelet reports, probes by default and elects leaders."""


@dataclass(frozen=True)
class Repeat:
    """Which repeat of how many, and its phase in seconds, drawn from the seed."""

    number: int
    of: int
    phase_s: float
    seed: int


def drawn(drill: str, number: int, of: int, seed: int) -> Repeat:
    """Draw the phase of one repeat."""
    chance = Random(f"{seed}/{drill}/{number}")  # noqa: S311 - to be drawn again, not to be secret
    return Repeat(number, of, round(chance.uniform(0, LONGEST_PHASE_S), 3), seed)


@dataclass(frozen=True)
class Quantiles:
    """A figure over repeats, in seconds, by nearest rank: each value is one that was measured.

    Attributes:
        measured: how many repeats it is of.
        never: how many of these have no figure because the service, or the data, never came back: worse than any.
        p50: the median; None where that repeat never came back. Of none measured, all three are None.
        p95: below 20 repeats the same as `worst`.
        worst: the largest.

    """

    measured: int
    never: int
    p50: float | None
    p95: float | None
    worst: float | None


@dataclass(frozen=True)
class Distribution:
    """What all repeats of a drill in one run show.

    Attributes:
        of: how many repeats there were to be.
        held: how many left a record.
        proved_nothing: how many of these are in no figure, as they were INCONCLUSIVE or their ENVIRONMENT failed.
        rta_s: over the others.
        rpa_s: over those that wrote data.

    """

    of: int
    held: int
    proved_nothing: int
    rta_s: Quantiles
    rpa_s: Quantiles


def nearest_rank(values: Sequence[float], percent: int) -> float:
    """Give the smallest of the values that at least `percent` of them do not exceed.

    >>> nearest_rank([4.0, 1.0, 3.0, 2.0], 50), nearest_rank([4.0, 1.0, 3.0, 2.0], 95)
    (2.0, 4.0)

    Raises:
        ValueError: without values, or for a percent that is not 1 to 100.

    """
    if not values or not 1 <= percent <= 100:
        raise ValueError(f"nearest rank: found {percent} % of {len(values)} values, accepted: 1 to 100 % of some")
    return sorted(values)[-(-percent * len(values) // 100) - 1]


def quantiles(values: Iterable[float | None]) -> Quantiles:
    """Give the quantiles of figures; None is one that was never reached, and larger than all others."""
    figures = [math.inf if value is None else value for value in values]
    if not figures:
        return Quantiles(0, 0, None, None, None)
    p50, p95, worst = (nearest_rank(figures, percent) for percent in (50, 95, 100))
    return Quantiles(len(figures), figures.count(math.inf), *map(_finite, (p50, p95, worst)))


def distribution(records: Sequence[Mapping[str, Any]]) -> Distribution:
    """Say what the repeats of one drill show together; `records` are theirs, one at least."""
    conclusive = [record for record in records if record.get("verdict") in (Verdict.MET, Verdict.MISSED)]
    achieved = [record.get("achieved") or {} for record in conclusive]
    with_data = [each for each in achieved if (each.get("writes") or {}).get("acknowledged")]
    return Distribution(
        of=max(record["repeat"]["of"] for record in records),
        held=len(records),
        proved_nothing=len(records) - len(conclusive),
        rta_s=quantiles(each.get("rta_s") for each in achieved),
        rpa_s=quantiles(each.get("rpa_s") for each in with_data),
    )


def conclude(paths: Iterable[Path]) -> None:
    """Write the distribution of each drill's repeats into their records, once a run has held them all.

    Args:
        paths: the record.json of every drill of the run. Those of drills that were not repeated stay as they are, and
            those that cannot be read are as good as none: fewer are held than there were to be.

    """
    series: dict[tuple[str, str], dict[Path, dict[str, Any]]] = {}
    for path in paths:
        try:
            record = load(path)
        except UsageError:
            continue
        if record.get("repeat"):
            series.setdefault((record["scenario"], record["drill"]), {})[path] = record
    for repeats in series.values():
        found = asdict(distribution(list(repeats.values())))
        for path, record in repeats.items():
            write_atomically(path, {**record, "distribution": found})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
