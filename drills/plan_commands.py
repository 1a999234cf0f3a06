"""The sub-commands `drills plan check`, `drills plan due` and `drills plan show`.

Exit codes: 0 in order, 1 something is overdue or the plan promises what it cannot keep, 2 bad input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from drills import chain, parsing, runs, texts, vouching
from drills.errors import UsageError
from drills.record import validate
from drills.screen import grid, print_table, say, say_json
from drills.verdicts import Verdict

if TYPE_CHECKING:
    from drills.plan import Gap, Plan, PlannedDrill

COUNTED = (Verdict.MET, Verdict.MISSED)
"""The verdicts of a drill that was held. The others proved nothing about recovery, so the drill is still owed."""


@dataclass(frozen=True)
class Held:
    """One drill that was held, from its record.

    Attributes:
        run: the run's id.
        day: when it began, UTC.
        record: the record itself.

    """

    run: str
    day: date
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    """What an evidence directory says of drills held.

    Attributes:
        held: oldest first.
        problems: records that do not count, a sentence each.

    """

    held: tuple[Held, ...] = ()
    problems: tuple[str, ...] = ()


class State(StrEnum):
    """How a planned drill stands."""

    OVERDUE = "overdue"
    NEVER = "never held"
    DUE = "next due"
    NOT_DUE = "no frequency"


@dataclass(frozen=True)
class Status:
    """One drill of the programme against the evidence.

    Attributes:
        drill: what the plan says.
        held: the newest time it was held, met or missed; None if never.
        met: the newest time its objective was met; None if never.
        due: the day it is due; None without a frequency or a date.
        overdue_days: days past that day; 0 if none.
        state: never held counts as overdue once its date is past, or where a frequency is given and no date.

    """

    drill: PlannedDrill
    held: Held | None
    met: Held | None
    due: date | None
    overdue_days: int
    state: State

    @property
    def is_late(self) -> bool:
        """Whether it should have been held by now."""
        undated = self.held is None and self.due is None and self.drill.frequency is not None
        return self.overdue_days > 0 or undated


def held_drills(evidence: Path) -> Evidence:
    """Find the drills that were held: MET or MISSED, not sabotaged, their records as the log says they were written.

    Raises:
        UsageError: the log cannot be read.

    """
    log = evidence / runs.LOG
    if not log.is_file():
        return Evidence()
    problems = [f"{log}: {problem}" for problem in runs.verify(log)]
    held = []
    nobodys = vouching.unvouched(evidence)
    for run, entry in chain.first(runs.entries(log), "end").items():
        records = entry.get("records")
        if run in nobodys:
            problems.append(f"{run}: {nobodys[run]}: nobody vouches for it, not counted")
            continue
        for name, digest in records.items() if isinstance(records, dict) else ():
            found = _held_drill(evidence, run, str(name), digest)
            if isinstance(found, str):
                problems.append(found)
            elif found is not None:
                held.append(found)
    return Evidence(tuple(sorted(held, key=lambda each: each.record["started_utc"])), tuple(problems))


def _held_drill(evidence: Path, run: str, name: str, digest: object) -> Held | str | None:
    """Read one record that the log names; returns what is wrong with it in words, None where it does not count."""
    if any(part in ("", ".", "..") for part in (run, *name.split("/"))) or "/" in run or "\0" in run + name:
        return f"{runs.LOG}: names {texts.line(f'{run}/{name}', 200)!r}, which is no path in a run, not counted"
    path = evidence / run / name
    try:
        content = parsing.read_bytes(path)
    except FileNotFoundError:
        return f"{path}: is gone, not counted"
    except OSError as error:
        return f"{parsing.unreadable(path, error, 'a record.json')}, not counted"
    if hashlib.sha256(content).hexdigest() != digest:
        return f"{path}: is not what the run wrote, not counted"
    try:
        record = parsing.json_object(content)
        flaws = validate(record)
        day = date.fromisoformat(str(record.get("started_utc"))[:10])
    except ValueError as error:
        return f"{path}: cannot be read ({texts.line(error, 200)}), not counted"
    if flaws:
        return f"{path}: {texts.line('; '.join(flaws), 400)}, not counted"
    return Held(run, day, record) if record["verdict"] in COUNTED and not record["sabotage"] else None


def programme(plan: Plan, evidence: Evidence, today: date) -> list[Status]:
    """Hold the plan's drills against the evidence, in the order of the plan."""
    of_entry: dict[str, list[Held]] = {}
    for held in evidence.held:
        entry = plan.entry_for(held.record["drill"], held.record["scenario"])
        of_entry.setdefault(entry.name if entry else "", []).append(held)
    return [_status(entry, of_entry.get(entry.name, []), today) for entry in plan.entries]


def unplanned(plan: Plan, evidence: Evidence) -> list[str]:
    """Name the drills that were held and are not in the plan."""
    names = {(held.record["drill"], held.record["scenario"]) for held in evidence.held}
    return sorted({drill for drill, scenario in names if plan.entry_for(drill, scenario) is None})


def _status(drill: PlannedDrill, held: Sequence[Held], today: date) -> Status:
    newest = held[-1] if held else None
    met = next((one for one in reversed(held) if one.record["verdict"] == Verdict.MET), None)
    by_frequency = newest.day + drill.frequency if newest and drill.frequency else None
    # A date in the plan that the drill has been held since is a date that was kept.
    dated = drill.next if drill.next and (newest is None or drill.next > newest.day) else None
    due = min((day for day in (by_frequency, dated) if day), default=None)
    late = max(0, (today - due).days) if due else 0
    if newest is None:
        state = State.NEVER
    elif due is None:
        state = State.NOT_DUE
    else:
        state = State.OVERDUE if late else State.DUE
    return Status(drill, newest, met, due, late, state)


# --- commands ---

plan_app = typer.Typer(help="The team's plan, dr-plan.yaml: check it, see what is due, show it.", no_args_is_help=True)

PlanArgument = Annotated[Path, typer.Argument(metavar="[PLAN]", help="The plan.")]
PLAN = Path("dr-plan.yaml")
EvidenceOption = Annotated[
    Path | None, typer.Option("--evidence-dir", help="Where the runs' evidence is. [default: ./evidence]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
OnOption = Annotated[
    str | None, typer.Option("--on", metavar="DATE", help="As if it were this day. [default: today, UTC]")
]


def register(app: typer.Typer) -> None:
    """Add `drills plan` to the program."""
    app.add_typer(plan_app, name="plan")


@plan_app.command()
def check(plan: PlanArgument = PLAN) -> None:
    """Check a plan: exit 2 with the place of every error, 1 when it promises what it cannot keep, 0 if it is sound."""
    found = _load(plan)
    doubts = found.doubts()
    for doubt in doubts:
        say(f"{plan}:{doubt}", err=True)
    say(
        f"{plan}: version {found.version}, {_count(len(found.drills), 'drill')}, "
        f"{_count(sum(map(len, found.objectives.values())), 'class', 'classes')} of objectives, "
        f"{_count(len(found.procedures), 'procedure')}, {_count(len(found.backups), 'backup')}: "
        + (f"{_count(len(doubts), 'thing')} to mend" if doubts else "sound")
    )
    if doubts:
        raise typer.Exit(1)


@plan_app.command()
def due(
    plan: PlanArgument = PLAN,
    evidence_dir: EvidenceOption = None,
    on: OnOption = None,
    as_json: JsonOption = False,
) -> None:
    """List which drills are overdue, were never held, or are due next; exit 1 when something is overdue.

    A drill counts as held when its verdict was MET or MISSED, without sabotage. A drill that ended INCONCLUSIVE or with
    a failed environment is still owed. A gap of the plan whose date is past is overdue, too.
    """
    loaded, evidence, today = _load(plan), _evidence(evidence_dir), _today(on)
    statuses = sorted(programme(loaded, evidence, today), key=_urgency)
    gaps = [gap for gap in loaded.gaps if gap.until < today]
    other = unplanned(loaded, evidence)
    if as_json:
        say_json({
            "plan": loaded.reference(None),
            "on": today.isoformat(),
            "drills": [_as_json(status) for status in statuses],
            "gaps_run_out": [_gap(gap, today) for gap in gaps],
            "not_in_plan": other,
        })  # fmt: skip
    else:
        table = grid("drill", "state", "due", "frequency", "last held", "last met")
        for status in statuses:
            table.add_row(
                status.drill.name, _state(status), str(status.due or "-"), _frequency(status.drill),
                _held(status), str(status.met.day if status.met else "never"),
            )  # fmt: skip
        print_table(table)
        for gap in gaps:
            say(f"gap run out {_count((today - gap.until).days, 'day')} ago: {gap.what} ({gap.why})")
        _name_unplanned(other)
    _name_problems(evidence)
    if gaps or any(status.is_late for status in statuses):
        raise typer.Exit(1)


@plan_app.command()
def show(
    plan: PlanArgument = PLAN,
    evidence_dir: EvidenceOption = None,
    on: OnOption = None,
    as_json: JsonOption = False,
    steps: Annotated[
        bool, typer.Option("--steps", help="Compare each procedure's expected durations with the newest measured ones.")
    ] = False,
) -> None:
    """Print the programme: what was promised of each drill, how it went last, when it is due."""
    loaded, evidence, today = _load(plan), _evidence(evidence_dir), _today(on)
    statuses = programme(loaded, evidence, today)
    if as_json:
        say_json({
            "plan": loaded.reference(None),
            "on": today.isoformat(),
            "drills": [_as_json(status) for status in statuses],
            "gaps": [_gap(gap, today) for gap in loaded.gaps],
            "not_in_plan": unplanned(loaded, evidence),
        })  # fmt: skip
    else:
        print_table(_steps(statuses) if steps else _programme(statuses))
        for gap in loaded.gaps:
            say(f"not proven by any drill until {gap.until}: {gap.what} ({gap.why})")
        _name_unplanned(unplanned(loaded, evidence))
    _name_problems(evidence)


def _load(path: Path) -> Plan:
    from drills.plan import load  # here: pydantic would slow every other command down

    return load(path)


def _evidence(given: Path | None) -> Evidence:
    if given is not None and not given.is_dir():
        raise UsageError(f"--evidence-dir: found {given}, which is no directory; accepted: one that a run wrote")
    return held_drills(given or Path("evidence"))


def _today(on: str | None) -> date:
    try:
        return date.fromisoformat(on) if on else datetime.now(UTC).date()
    except ValueError as error:
        raise UsageError(f"--on: found {on!r}; accepted: a date such as 2026-11-21") from error


def _urgency(status: Status) -> tuple[bool, int, bool, date]:
    return not status.is_late, -status.overdue_days, status.held is not None, status.due or date.max


def _programme(statuses: Iterable[Status]) -> Table:
    table = grid("drill", "tier", "RTO", "RPO", "procedure", "frequency", "last held", "RTA", "RPA", "due")
    for status in statuses:
        drill, achieved = status.drill, status.held.record["achieved"] if status.held else {}
        table.add_row(
            drill.name, drill.tier or "-", _length(drill.objective.rto), _length(drill.objective.rpo),
            drill.procedure_name or "-", _frequency(drill), _held(status),
            _seconds(achieved.get("rta_s")), _seconds(achieved.get("rpa_s")), _due(status),
        )  # fmt: skip
    return table


def _steps(statuses: Iterable[Status]) -> Table:
    from drills.plan import compare

    table = grid("drill", "step", "expected", "measured", "ratio", "pace")
    for status in statuses:
        record = status.held.record if status.held else {}
        for step in compare(record, status.drill.expected_steps()):
            table.add_row(
                status.drill.name, step.name, _seconds(step.expected_s), _seconds(step.measured_s),
                "-" if step.ratio is None else f"{step.ratio:.2f}", step.pace,
            )  # fmt: skip
    return table


def _as_json(status: Status) -> dict[str, Any]:
    drill, record = status.drill, status.held.record if status.held else None
    return {
        "drill": drill.name,
        "state": str(status.state),
        "late": status.is_late,
        "overdue_days": status.overdue_days,
        "due": status.due.isoformat() if status.due else None,
        "frequency_days": drill.frequency.days if drill.frequency else None,
        "tier": drill.tier,
        "environment": drill.environment,
        "rto_s": _in_seconds(drill.objective.rto),
        "rpo_s": _in_seconds(drill.objective.rpo),
        "source": drill.objective.source,
        "procedure": drill.procedure_name,
        "runbook": drill.runbook,
        "controls": list(drill.controls),
        "last_held": status.held.day.isoformat() if status.held else None,
        "last_met": status.met.day.isoformat() if status.met else None,
        "last_said_by_plan": drill.last.isoformat() if drill.last else None,
        "run": status.held.run if status.held else None,
        "verdict": record["verdict"] if record else None,
        "rta_s": record["achieved"]["rta_s"] if record else None,
        "rpa_s": record["achieved"]["rpa_s"] if record else None,
    }


def _gap(gap: Gap, today: date) -> dict[str, Any]:
    return {"what": gap.what, "why": gap.why, "until": gap.until.isoformat(), "run_out": gap.until < today}


def _in_seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _state(status: Status) -> str:
    if status.overdue_days:
        late = f"overdue by {_count(status.overdue_days, 'day')}"
        return late if status.held else f"{status.state}, {late}"
    return str(status.state)


def _due(status: Status) -> str:
    return _state(status) if status.is_late else str(status.due or "-")


def _held(status: Status) -> str:
    if status.held:
        return f"{status.held.day} {status.held.record['verdict']}"
    # People's memory is no evidence, and is shown as what it is.
    return f"never; the plan says {status.drill.last}, without a record" if status.drill.last else "never"


def _frequency(drill: PlannedDrill) -> str:
    return _count(drill.frequency.days, "day") if drill.frequency else "-"


def _length(length: timedelta | None) -> str:
    from drills.plan import in_words

    return "-" if length is None else in_words(length)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _name_unplanned(names: Iterable[str]) -> None:
    for name in names:
        say(f"held, and not in the plan: {name}")


def _name_problems(evidence: Evidence) -> None:
    for problem in evidence.problems:
        say(problem, err=True)
