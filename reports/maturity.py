"""How far a recovery programme has come, in five areas of five steps each: computed from evidence, never claimed.

An area's level is the number of its steps that hold, counted from the first until one does not. Each step is a question
that records answer; what was found stands beside it, and the first step that does not hold is what to do next. Recent
means within a year (366 days).

Drills on clusters made for the purpose say less than drills on a copy of production; the table says how many of each
there were, and does not weigh them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from drills.verdicts import Verdict

from .controls import Held, look_at

YEAR = timedelta(days=366)
_QUARTERLY = 4  # runs a year that make a drill a habit
_MOSTLY = 0.9  # the share of met runs that is most of them
_SOON = 0.1  # the share of the RTO that noticing may take
_OF_ANY_BACKUP = {"kind", "name", "taken_utc", "age_at_fault_s", "offered"}


@dataclass(frozen=True)
class Step:
    """One step of an area: what it asks, whether that holds, and what was found."""

    asks: str
    holds: bool
    found: str


@dataclass(frozen=True)
class Area:
    """One area of the programme with its steps in order."""

    name: str
    steps: tuple[Step, ...]

    @property
    def level(self) -> int:
        """0 to 5: how many steps hold, counted until the first that does not."""
        return next((number for number, step in enumerate(self.steps) if not step.holds), len(self.steps))

    @property
    def next(self) -> Step | None:
        """The first step that does not hold; None when all do."""
        return self.steps[self.level] if self.level < len(self.steps) else None

    def as_json(self) -> dict[str, Any]:
        """Give it as JSON."""
        steps = [{"asks": step.asks, "holds": step.holds, "found": step.found} for step in self.steps]
        return {"area": self.name, "level": self.level, "of": len(self.steps), "steps": steps}


@dataclass(frozen=True)
class Programme:
    """What the table is computed from.

    Attributes:
        rows: the records up to the moment, as `Evidence.honest` gives them.
        newest: the newest of each drill.
        as_of: the moment, aware.
        lasts: for how long a proof of each drill lasts.
        never_held: the drills that the plan has and nobody held.
        unfinished: the runs that started and never ended.

    """

    rows: pd.DataFrame
    newest: pd.DataFrame
    as_of: datetime
    lasts: Mapping[str, timedelta]
    never_held: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()

    @cached_property
    def held(self) -> list[Held]:
        """The newest record of each drill, read from its file."""
        looked = (look_at(Path(path)) for path in self.newest["path"])
        return [each for each in looked if isinstance(each, Held)]

    @cached_property
    def recent(self) -> pd.DataFrame:
        """The records of the last year that proved something."""
        conclusive = self.rows["verdict"].isin([str(Verdict.MET), str(Verdict.MISSED)])
        return self.rows[conclusive & (self.rows["utc"] >= pd.Timestamp(self.as_of - YEAR))]


def maturity(programme: Programme) -> tuple[Area, ...]:
    """Compute the table."""
    return (
        Area("Backups that restore", tuple(_backups(programme))),
        Area("Runbooks", tuple(_runbooks(programme))),
        Area("Noticing a disaster", tuple(_noticing(programme))),
        Area("Drills held", tuple(_drills(programme))),
        Area("Objectives kept", tuple(_objectives(programme))),
    )


def _backups(programme: Programme) -> Iterable[Step]:
    held = [each for each in programme.held if each.view.backup]
    yield Step("A drill restored from a backup", bool(held), _count(len(held), "drill restores", "drills restore"))
    yield _all("Each backup restored is identified by what it holds", held, _identified)
    yield _all("The data was read back and compared after each restore", held, lambda each: each.value("losses.read"))
    yield _all(
        "Each met its objectives in its latest run, within its interval",
        held,
        lambda each: _met(each) and _fresh(programme, each),
    )
    yield _all(
        f"Each was restored on {_QUARTERLY} days of the last year at least",
        held,
        lambda each: _runs(programme, each) >= _QUARTERLY,
    )


def _runbooks(programme: Programme) -> Iterable[Step]:
    held = programme.held
    yield _all("Each drill names its runbook", held, lambda each: each.view.text("runbook"))
    yield _all("Each step was recorded with its end", held, _steps_ended)
    yield _all("The runbook's digest was recorded", held, lambda each: each.value("runbook_sha256"))
    yield _all("The plan says how long its steps should take", held, _planned_s)
    yield _all("The steps took no longer than planned", held, _in_time)


def _noticing(programme: Programme) -> Iterable[Step]:
    held = programme.held
    yield _all("The damage was seen from outside", held, lambda each: each.view.texts("fault", "proof"))
    yield _all("The users' path was sampled throughout", held, lambda each: each.value("probe.readings"))
    yield _all("It was recorded when the disaster was noticed", held, lambda each: each.view.phase("detected"))
    yield _all("It was noticed within a tenth of the RTO", held, _noticed_soon)
    yield _all(
        "It was noticed so in drills held at least quarterly",
        held,
        lambda each: _noticed_soon(each) and _runs(programme, each) >= _QUARTERLY,
    )


def _drills(programme: Programme) -> Iterable[Step]:
    held = programme.held
    recent = programme.recent
    planned = [*dict.fromkeys(programme.newest["drill"]), *programme.never_held]
    yield Step("A drill proved something in the last year", not recent.empty, _count(len(recent), "run", "runs"))
    in_year = [drill for drill in planned if (recent["drill"] == drill).any()]
    yield _some("Every drill known or planned did", in_year, planned)
    fresh = [each.view.drill for each in held if _fresh(programme, each)]
    yield _some("Every one within its interval", fresh, planned)
    often = [each.view.drill for each in held if _runs(programme, each) >= _QUARTERLY]
    yield _some(f"Every one on {_QUARTERLY} days of the last year at least", often, planned)
    signed = [each for each in held if each.value("sign_off.decision")]
    unfinished = len(programme.unfinished)
    yield Step(
        "Every run that started also ended, and the newest of each drill is signed off",
        bool(held) and len(signed) == len(held) and not unfinished,
        f"{len(signed)} of {len(held)} signed off, {_count(unfinished, 'run', 'runs')} never ended",
    )


def _objectives(programme: Programme) -> Iterable[Step]:
    held, recent = programme.held, programme.recent
    met = int((recent["verdict"] == str(Verdict.MET)).sum())
    often = [each for each in held if _runs(programme, each) >= _QUARTERLY]
    enough = bool(held) and len(often) == len(held)
    found = f"{met} of {len(recent)} runs met, {len(often)} of {len(held)} drills held on {_QUARTERLY} days"
    yield _all(
        "Each drill has an objective, and its source",
        held,
        lambda each: each.view.rto_s is not None and each.view.text("objective", "source"),
    )
    yield _all(
        "Each proved something in its latest run",
        held,
        lambda each: each.view.verdict in (Verdict.MET, Verdict.MISSED),
    )
    yield _all("Each met its objectives in its latest run", held, _met)
    yield Step(
        f"Nine in ten runs of the last year met them, each drill held on {_QUARTERLY} days at least",
        enough and met >= _MOSTLY * len(recent),
        found,
    )
    yield Step("No run of the last year missed one", enough and met == len(recent), found)


# --- what is asked of one drill ---


def _met(each: Held) -> bool:
    return each.view.verdict is Verdict.MET


def _identified(each: Held) -> bool:
    backup = each.value("backup") or {}
    return any(value not in (None, "", [], {}) for key, value in backup.items() if key not in _OF_ANY_BACKUP)


def _steps_ended(each: Held) -> bool:
    return bool(each.view.steps) and all(step.took_s is not None for step in each.view.steps)


def _planned_s(each: Held) -> float:
    return sum(step.took_s or 0.0 for step in each.view.expected_steps)


def _in_time(each: Held) -> bool:
    planned = _planned_s(each)
    ends = [step.ended_s for step in each.view.steps if step.ended_s is not None]
    starts = [step.started_s for step in each.view.steps if step.started_s is not None]
    return planned > 0 and _steps_ended(each) and max(ends) - min(starts) <= planned


def _noticed_soon(each: Held) -> bool:
    detected, rto_s = each.view.phase("detected"), each.view.rto_s
    return detected is not None and rto_s is not None and detected.t_s <= _SOON * rto_s


def _fresh(programme: Programme, each: Held) -> bool:
    mine = programme.recent[programme.recent["drill"] == each.view.drill]
    lasts = programme.lasts[each.view.drill]
    return not mine.empty and bool(mine["utc"].max() >= pd.Timestamp(programme.as_of - lasts))


def _runs(programme: Programme, each: Held) -> int:
    mine = programme.recent[programme.recent["drill"] == each.view.drill]
    return int(mine["utc"].dt.normalize().nunique())  # ten runs of one afternoon are no habit


def _all(asks: str, held: list[Held], holds: Callable[[Held], object]) -> Step:
    passed = [each for each in held if holds(each)]
    return Step(asks, bool(held) and len(passed) == len(held), f"{len(passed)} of {len(held)}")


def _some(asks: str, passed: list[str], planned: list[str]) -> Step:
    return Step(asks, bool(planned) and set(passed) == set(planned), f"{len(passed)} of {len(planned)}")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
