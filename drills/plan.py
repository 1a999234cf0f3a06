"""The team's plan as code: dr-plan.yaml, schema `pytest-drills/plan/v1`.

It says what was promised, how it is kept, and which drills prove it how often. All that is wrong with a plan is said at
once, each with its line and column.

Scalars keep the text that was written: YAML would read version 1.10 as 1.1, a duration of 1:30 as 90 and a name `no` as
false.
"""

from __future__ import annotations

import calendar
import hashlib
import re
import types
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from drills.errors import UsageError
from drills.objectives import Objective, parse_duration
from drills.parsing import read_bytes, unreadable

SCHEMA = "pytest-drills/plan/v1"
FILE = "dr-plan.yaml"
SCHEMA_FILE = Path(__file__).parent / "schemas" / "plan-v1.json"

_LARGEST = 4 * 1024 * 1024  # bytes; the sample of everything that a plan can hold has 8 KB
_DEEPEST = 20  # nesting; a plan needs 6, and PyYAML's recursion ends in a traceback near 300
_DAYS = {"w": 7, "week": 7, "month": 30, "year": 365}
_LONG = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*(?:(week|month|year)s?|(w))\b", re.IGNORECASE)
# The longest each can be: a drill held on the same day of each quarter is never overdue by the calendar's shape.
FREQUENCIES = {"daily": 1, "weekly": 7, "monthly": 31, "quarterly": 92, "half-yearly": 184, "yearly": 366}

Where = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with a plan.

    Attributes:
        line: of the file, from 1.
        column: of the line, from 1.
        field: its path, such as drills.etcd_wiped.frequency; empty for the file as a whole.
        message: what was found and what is accepted.

    """

    line: int
    column: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {f'{self.field}: ' if self.field else ''}{self.message}"


# --- values ---


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("accepted: text")
    return value.strip()


def _days(match: re.Match[str]) -> str:
    return f"{float(match[1]) * _DAYS[(match[2] or match[3]).lower()]:f}d"


def _duration(value: object) -> timedelta:
    accepted = "accepted: a number with its unit, such as 90s, 15 minutes, 1h30m, 2 weeks"
    if value == "0":  # the one number that needs no unit
        return timedelta(0)
    if not isinstance(value, str):
        raise ValueError(accepted)  # noqa: TRY004 - pydantic collects ValueErrors only
    try:
        return parse_duration(_LONG.sub(_days, value))
    except UsageError as error:
        _, ambiguous, rest = str(error).partition("M is minutes")
        raise ValueError(f"{ambiguous}{rest}" if ambiguous else accepted) from error


def _interval(value: object) -> timedelta:
    if value == "continuous":
        return timedelta(0)
    try:
        length = _duration(value.removeprefix("every ") if isinstance(value, str) else value)
    except ValueError as error:
        raise ValueError(f"{error}, or continuous") from error
    if not length:
        # To many tools 0 is never: it must not promise what a stream of changes does.
        raise ValueError("expected continuous for a stream of changes, or more than 0")
    return length


def _frequency(value: object) -> timedelta:
    accepted = f"accepted: {', '.join(FREQUENCIES)}, or whole days up to ten years, such as 90 days"
    word = value.strip().lower() if isinstance(value, str) else ""
    if days := FREQUENCIES.get(word.replace(" ", "-")):
        return timedelta(days=days)
    try:
        length = _duration(word.removeprefix("every "))
    except ValueError as error:
        raise ValueError(accepted + _nearest(word, FREQUENCIES)) from error
    if length % timedelta(days=1) or not timedelta(days=1) <= length <= timedelta(days=3660):
        raise ValueError(accepted)
    return length


def _day(value: object) -> date:
    try:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            return date.fromisoformat(value)
    except ValueError as error:
        raise ValueError("accepted: a day that the calendar has, such as 2026-11-21") from error
    raise ValueError("accepted: a date such as 2026-11-21")


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


@dataclass(frozen=True)
class Retention:
    """How long a backup is kept: a length, a number of copies, or for good (neither)."""

    length: timedelta | None = None
    copies: int | None = None


def _retention(value: object) -> Retention:
    text = value.strip().lower() if isinstance(value, str) else ""
    if text == "unlimited":
        return Retention()
    if match := re.fullmatch(r"([1-9][0-9]{0,5}) cop(?:y|ies)", text):
        return Retention(copies=int(match[1]))
    if re.search(r"[0-9]\s*m\b", text):
        # Barman and CloudNativePG read 3m as three months, and of two lengths of keeping the wrong one is found late.
        raise ValueError("m is minutes to one reader and months to another; expected 3 months or 3 min")
    try:
        return Retention(_duration(value))
    except ValueError as error:
        raise ValueError(f"{error}, 3 copies, or unlimited") from error


@dataclass(frozen=True)
class Schedule:
    """When backups are taken, as cron writes it.

    Attributes:
        cron: as written.
        longest_gap: the longest time between two of them, what the schedule can promise as a recovery point.

    """

    cron: str
    longest_gap: timedelta


_CRON_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, tuple(name.lower() for name in calendar.month_abbr)),
    ("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_CRON_WORDS = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip


def _schedule(value: object) -> Schedule:
    cron = _text(value)
    if cron.startswith("@every "):  # Velero's
        return Schedule(cron, _go_duration(cron.removeprefix("@every ").strip()))
    fields = _CRON_WORDS.get(cron, cron).lower().split()
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError(f"accepted: five fields of cron, {', '.join(_CRON_WORDS)}, or @every 1h")
    minutes, hours, days, months, weekdays = (
        _cron_field(text, *known) for text, known in zip(fields, _CRON_FIELDS, strict=True)
    )
    weekdays |= {0} if 7 in weekdays else set()
    of_day = sorted(60 * hour + minute for hour in hours for minute in minutes)
    longest_day = max(
        _longest_days(days, months, weekdays, either=either) for either in _readings(fields[2], fields[4])
    )
    over_night = longest_day * 24 * 60 + of_day[0] - of_day[-1]
    return Schedule(cron, timedelta(minutes=max([over_night, *(b - a for a, b in pairwise(of_day))])))


def _readings(in_month: str, in_week: str) -> set[bool]:
    """Say how a day of the month and a day of the week go together: whether one of them is enough.

    cron(8): where both are restricted, one is enough; where one is `*`, the other decides. But what counts as
    restricted differs: to Debian's cron nothing that begins with a star is, to robfig/cron (Kubernetes, Velero) `*/2`
    is and `*/1` is not, to others both are. So whatever has a star and is more than a star is read both ways, and the
    longer time between two backups counts.
    """
    fields = [field.replace("?", "*") for field in (in_month, in_week)]  # Quartz's and Go's `?` is a star
    if "*" in fields:
        return {False}
    return {True, False} if any("*" in field for field in fields) else {True}


def _longest_days(days: set[int], months: set[int], weekdays: set[int], *, either: bool) -> int:
    """Give the most days between two that a schedule names, in the calendar of this century."""

    def fires(day: date) -> bool:
        in_month, in_week = day.day in days, day.isoweekday() % 7 in weekdays
        return day.month in months and (in_month or in_week if either else in_month and in_week)

    begin = date(2000, 1, 1)  # after 28 years the calendar repeats, weekdays included
    fired = [day for n in range(56 * 365 + 14) if fires(day := begin + timedelta(days=n))]
    if not fired:
        raise ValueError("accepted: a day that the calendar has; this one never comes")
    return max((after - before).days for before, after in pairwise(fired))


_GO_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ns|us|µs|ms|s|m|h)")
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _go_duration(text: str) -> timedelta:
    """Read what robfig/cron, Velero's and Kubernetes', takes after `@every`: a duration as Go writes it."""
    if not text or _GO_PART.sub("", text):
        raise ValueError("accepted after @every: hours, minutes and seconds as Go writes them, such as 1h30m; no days")
    length = sum(float(part[1]) * _GO_UNITS[part[2]] for part in _GO_PART.finditer(text))
    if length < 1:
        raise ValueError("accepted after @every: a second at least, which is the least that cron waits")
    return timedelta(seconds=length)


def _cron_field(text: str, name: str, low: int, high: int, words: Sequence[str]) -> set[int]:
    found: set[int] = set()
    accepted = f"accepted as {name}: {low}-{high}, such as *, {low}, {low}-{high}, {low},{high} or */5"

    def number(word: str) -> int:
        value = words.index(word) if word in words else int(word) if re.fullmatch("[0-9]{1,2}", word) else -1
        if not low <= value <= high:
            raise ValueError(f"{accepted}; {word!r} is none")
        return value

    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin = low if span in ("*", "?") else number(first)
        # Sunday is 0 and 7: a step goes on to one of them only, as robfig/cron counts, so that 1/2 has no Sunday.
        open_end = 6 if high == 7 and begin < high else high
        end = high if span in ("*", "?") else open_end if slash and not dash else number(last if dash else first)
        if begin > end or (slash and not re.fullmatch("[1-9][0-9]?", step)):
            raise ValueError(f"{accepted}; {part!r} is none")
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


_ANY_TEXT = {"type": ["string", "number"]}  # editors read version 1.0 as a number
_Text = Annotated[str, BeforeValidator(_text), WithJsonSchema(_ANY_TEXT)]
_Texts = Annotated[
    tuple[_Text, ...],
    BeforeValidator(_one_or_more),
    WithJsonSchema({"anyOf": [_ANY_TEXT, {"type": "array", "items": _ANY_TEXT}]}),
]
_Length = {"anyOf": [{"type": "string"}, {"const": 0}]}
_Duration = Annotated[timedelta, BeforeValidator(_duration), WithJsonSchema({**_Length, "examples": ["15 minutes"]})]
_Interval = Annotated[timedelta, BeforeValidator(_interval), WithJsonSchema({**_Length, "examples": ["6 hours"]})]
_Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
_Retention = Annotated[
    Retention, BeforeValidator(_retention), WithJsonSchema({"type": "string", "examples": ["30 days", "3 copies"]})
]
_Schedule = Annotated[
    Schedule, BeforeValidator(_schedule), WithJsonSchema({"type": "string", "examples": ["0 */6 * * *"]})
]
_Frequency = Annotated[
    timedelta,
    BeforeValidator(_frequency),
    WithJsonSchema({"type": "string", "examples": [*FREQUENCIES, "90 days"]}),
]


# --- the file's parts ---


def _wrong(name: str, said: str) -> PydanticCustomError:
    """Make an error about one field of several that were looked at together."""
    return PydanticCustomError("plan", "{said}", {"field": name, "said": said})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Promise(_Part):
    """One class of objectives, by whatever the team classes: a tier, an environment, a kind of object, an urgency."""

    rto: _Duration | None = None
    """Recovery time objective: the longest the service may be away."""
    rpo: _Duration | None = None
    """Recovery point objective: how far back acknowledged writes may be lost. Left out where no data is at stake."""
    mtd: _Duration | None = None
    """Maximum tolerable downtime: the RTO, and the time to work normally again."""
    backup_every: _Interval | None = None
    """How often what belongs to this class is backed up."""
    source: _Text | None = None
    """Where the promise comes from, such as the business impact analysis."""
    tell: _Texts = ()
    """Who is told when it happens for real."""
    note: _Text | None = None

    @model_validator(mode="after")
    def _can_be_kept(self) -> Self:
        if self.rto is None and self.rpo is None:
            raise _wrong("", "found neither rto nor rpo; accepted: at least one of them")
        if self.rto is not None and self.mtd is not None and self.mtd < self.rto:
            raise _wrong("mtd", f"found {in_words(self.mtd)}; accepted: at least the rto, {in_words(self.rto)}")
        if self.backup_every is not None and self.rpo is not None and self.backup_every > self.rpo:
            raise _wrong(
                "backup_every", f"found {in_words(self.backup_every)}; accepted: at most the rpo, {in_words(self.rpo)}"
            )
        return self


class Backup(_Part):
    """What is backed up, when, and how long it is kept."""

    what: _Text | None = None
    method: _Text | None = None
    every: _Interval | None = None
    """How often; `continuous` for a stream of changes."""
    schedule: _Schedule | None = None
    """How often, as cron writes it."""
    retention: _Retention
    """How long it is kept, or how many copies, or `unlimited`."""
    location: _Text | None = None
    note: _Text | None = None

    @property
    def longest_gap(self) -> timedelta:
        """The longest time between two backups."""
        return self.schedule.longest_gap if self.schedule else self.every or timedelta(0)

    @model_validator(mode="after")
    def _is_of_use(self) -> Self:
        if (self.every is None) == (self.schedule is None):
            raise _wrong("", "found every and schedule, or neither; accepted: one of them")
        kept = self.retention.length
        if kept is not None and kept < self.longest_gap:
            raise _wrong(
                "retention",
                f"found {in_words(kept)}; accepted: at least {in_words(self.longest_gap)}, "
                "or a backup is gone before the next one is taken",
            )
        return self


class Step(_Part):
    """One step of a procedure."""

    step: _Text
    command: _Text = ""
    expected: _Duration | None = None
    """How long it should take."""


class Procedure(_Part):
    """How something is recovered."""

    runbook: _Text | None = None
    """Its document: a path from the plan's directory, or an address."""
    steps: tuple[Step, ...] = ()

    @property
    def expected(self) -> timedelta | None:
        """How long its steps should take together; None if no step says."""
        lengths = [step.expected for step in self.steps if step.expected is not None]
        return sum(lengths, timedelta(0)) if lengths else None


class Participant(_Part):
    """Who takes part."""

    name: _Text
    role: _Text


class Scope(_Part):
    """What a drill covers."""

    systems: _Texts = ()
    data: _Texts = ()
    third_parties: _Texts = ()


class Said(_Part):
    """What only people can say of a drill; given once for all drills in `defaults`, or for one of them."""

    frequency: _Frequency | None = None
    """How often the drill is held."""
    participants: tuple[Participant, ...] = ()
    approver: _Text | None = None
    approved_on: _Day | None = None
    independence: _Text | None = None
    """Who is independent of whom, in words."""
    scope: Scope = Scope()
    type: Literal["component", "functional", "full"] | None = None
    why: _Text | None = None


class Entry(Said):
    """One drill of the programme."""

    objective: _Texts = Field(min_length=1)
    """The classes that hold for it, as GROUP/CLASS. Where two give the same figure, the stricter one holds."""
    scenario: _Text | None = None
    """The file of its scenario, where another file has a drill of the same name."""
    tier: _Text | None = None
    environment: _Text | None = None
    """What the drill stands for; where it was held is in its record."""
    procedure: _Text | None = None
    backup: _Texts = ()
    """What the procedure restores from."""
    disposable: _Texts = ()
    """Volume claims, as NAME or NAMESPACE/NAME, whose data may go: caches, what is rebuilt."""
    controls: _Texts = ()
    last: _Day | None = None
    """When it was held last as far as people remember; no evidence."""
    next: _Day | None = None
    """When it is to be held next."""
    note: _Text | None = None


class Gap(_Part):
    """Something that no drill proves, and that was decided so."""

    what: _Text
    why: _Text
    until: _Day


@dataclass(frozen=True)
class PlannedDrill:
    """What the plan says of one drill, its references resolved and the defaults filled in.

    Attributes:
        name: its entry in the plan: the drill's name, or a pattern of names.
        objective: what was promised, and by which class of the plan.
        procedure: None where the plan names none.
        procedure_name: its name in the plan, empty where it names none.
        disposable: volume claims whose data may go.
        longest_gap: the longest time that the plan lets pass between two backups that the drill restores from; None if
            it does not say.
        frequency: how often it is held; None if nobody says.

    """

    name: str
    objective: Objective
    scenario: str = ""
    tier: str = ""
    environment: str = ""
    controls: tuple[str, ...] = ()
    procedure: Procedure | None = None
    procedure_name: str = ""
    backup: tuple[str, ...] = ()
    disposable: tuple[str, ...] = ()
    longest_gap: timedelta | None = None
    frequency: timedelta | None = None
    participants: tuple[Participant, ...] = ()
    approver: str = ""
    approved_on: date | None = None
    independence: str = ""
    scope: Scope = field(default_factory=Scope)
    type: str = ""
    why: str = ""
    last: date | None = None
    next: date | None = None

    @property
    def runbook(self) -> str:
        """The document of the procedure; empty if the plan names none."""
        return (self.procedure.runbook or "") if self.procedure else ""

    def planned_point(self) -> dict[str, Any] | None:
        """Give the recovery point that the plan promises at worst, as records keep it; None if it does not say.

        It is how old the newest backup can be when the disaster comes, from when the taking of one began to when that
        of the next one does. What a drill achieves is taken from a backup of its own choosing, and may be far better.
        """
        if self.longest_gap is None:
            return None
        return {"worst_s": self.longest_gap.total_seconds(), "backups": list(self.backup)}

    def expected_steps(self) -> list[dict[str, Any]]:
        """Give the procedure's steps as records keep them: `name`, `command`, `expected_s` (None: nobody says)."""
        return [
            {
                "name": step.step,
                "command": step.command,
                "expected_s": None if step.expected is None else step.expected.total_seconds(),
            }
            for step in (self.procedure.steps if self.procedure else ())
        ]

    def meta(self) -> dict[str, Any]:
        """Give what people said as records keep it; what nobody said is left out."""
        scope = {name: list(values) for name, values in self.scope if values}
        said = {
            "participants": [person.model_dump() for person in self.participants],
            "approver": self.approver,
            "approved_on": self.approved_on.isoformat() if self.approved_on else "",
            "planned_on": self.next.isoformat() if self.next else "",
            "independence": self.independence,
            "scope": scope,
            "type": self.type,
            "why": self.why,
        }
        return {key: value for key, value in said.items() if value}

    def covers(self, drill: str, scenario: str = "") -> bool:
        """Whether a drill is this entry's, by its name (`*` stands for anything) and its scenario's file if given."""
        same_file = not (self.scenario and scenario) or f"/{scenario}".endswith(f"/{self.scenario}")
        return same_file and fnmatchcase(drill, self.name)


class Plan(_Part):
    """A disaster-recovery plan."""

    schema_: Literal["pytest-drills/plan/v1"] = Field(alias="schema")
    version: _Text
    """The plan's own version."""
    updated: _Day | None = None
    system: _Text | None = None
    """What the plan is for."""
    contacts: dict[str, _Text] = {}
    """Who to reach, by role. Never copied into evidence."""
    objectives: dict[str, dict[str, Promise]]
    """What was promised: groups of classes, both named freely. Groups `tier` and `environment` name what drills may
    give as their tier and environment."""
    backups: dict[str, Backup] = {}
    procedures: dict[str, Procedure] = {}
    defaults: Said = Said()
    """What holds for every drill that says nothing else."""
    drills: dict[str, Entry]
    """The programme, by the drills' names."""
    gaps: tuple[Gap, ...] = ()

    _path: Path = PrivateAttr(default=Path(FILE))
    _sha256: str = PrivateAttr(default="")
    _places: Places = PrivateAttr(default_factory=lambda: Places())

    @property
    def path(self) -> Path:
        """The file it was read from."""
        return self._path

    @property
    def sha256(self) -> str:
        """Of the file, as 64 hexadecimal digits."""
        return self._sha256

    @property
    def entries(self) -> list[PlannedDrill]:
        """The programme's drills, in the order of the plan."""
        return [self._planned(name) for name in self.drills]

    def entry_for(self, drill: str, scenario: str = "") -> PlannedDrill | None:
        """Find what the plan says of a drill; None where it says nothing.

        Args:
            drill: its name, its test's without `test_`, with parameters appended.
            scenario: its file, as records name it. An entry that names another one is not its entry.

        """
        found = [entry for entry in self.entries if entry.covers(drill, scenario)]
        # The drill's own entry before a pattern, and the pattern that says more before the one that says less.
        return max(found, key=lambda entry: (entry.name == drill, len(entry.name)), default=None)

    def reference(self, entry: PlannedDrill | None) -> dict[str, Any]:
        """Name this plan and an entry of it as records do: `path`, `sha256`, `version`, `entry`."""
        here, path = Path.cwd(), self.path.resolve()
        return {
            "path": path.relative_to(here).as_posix() if path.is_relative_to(here) else path.name,
            "sha256": self.sha256,
            "version": self.version,
            "entry": entry.name if entry else None,
        }

    def doubts(self) -> list[Problem]:
        """Say where the plan is well formed and yet cannot be kept, or names a runbook that is not there."""
        return sorted(self._doubts())

    def _doubts(self) -> Iterator[Problem]:
        for name, procedure in self.procedures.items():
            runbook = procedure.runbook or ""
            if runbook and "://" not in runbook and not (self.path.parent / runbook).is_file():
                yield self._places.problem(
                    ("procedures", name, "runbook"),
                    f"found {runbook!r}, which is not there; accepted: a file's path from the plan's directory",
                )
        for entry in self.entries:
            rto, rpo = entry.objective.rto, entry.objective.rpo
            expected = entry.procedure.expected if entry.procedure else None
            if rto is not None and expected is not None and expected > rto:
                yield self._places.problem(
                    ("drills", entry.name, "procedure"),
                    f"its steps are expected to take {in_words(expected)}, the rto is {in_words(rto)}",
                )
            for name in entry.backup:
                gap = self.backups[name].longest_gap
                if rpo is not None and gap > rpo:
                    yield self._places.problem(
                        ("drills", entry.name, "backup"),
                        f"up to {in_words(gap)} pass between two backups {name!r}, the rpo is {in_words(rpo)}",
                    )

    def _planned(self, name: str) -> PlannedDrill:
        entry, rest = self.drills[name], self.defaults
        return PlannedDrill(
            name,
            self._objective(entry.objective),
            scenario=entry.scenario or "",
            tier=entry.tier or "",
            environment=entry.environment or "",
            controls=entry.controls,
            procedure=self.procedures[entry.procedure] if entry.procedure else None,
            procedure_name=entry.procedure or "",
            backup=entry.backup,
            disposable=entry.disposable,
            longest_gap=self._longest_gap(entry),
            frequency=entry.frequency or rest.frequency,
            participants=entry.participants or rest.participants,
            approver=entry.approver or rest.approver or "",
            approved_on=entry.approved_on or rest.approved_on,
            independence=entry.independence or rest.independence or "",
            scope=Scope(
                systems=entry.scope.systems or rest.scope.systems,
                data=entry.scope.data or rest.scope.data,
                third_parties=entry.scope.third_parties or rest.scope.third_parties,
            ),
            type=entry.type or rest.type or "",
            why=entry.why or rest.why or "",
            last=entry.last,
            next=entry.next,
        )

    def _longest_gap(self, entry: Entry) -> timedelta | None:
        """Give the longest time between two backups: of those that an entry names, else of the classes that hold."""
        if entry.backup:
            return max(self.backups[name].longest_gap for name in entry.backup)
        classes = (self.objectives[group][name] for group, _, name in (each.partition("/") for each in entry.objective))
        return min((one.backup_every for one in classes if one.backup_every is not None), default=None)

    def _objective(self, names: Sequence[str]) -> Objective:
        classes = [self.objectives[group][name] for group, _, name in (each.partition("/") for each in names)]

        def strictest(figure: str) -> timedelta | None:
            return min((value for one in classes if (value := getattr(one, figure)) is not None), default=None)

        said = "; ".join(
            f"{name}: {one.source}" if one.source else name for name, one in zip(names, classes, strict=True)
        )
        source = f"{self.path.name} {self.version}, {said}"
        return Objective(strictest("rto"), strictest("rpo"), strictest("mtd"), source)


# --- reading ---


def load(path: Path) -> Plan:
    """Read a plan.

    Raises:
        UsageError: it cannot be read, or is no plan; every problem on a line of its own as FILE:LINE:COLUMN.

    """
    try:
        content = read_bytes(path, _LARGEST, follow=True)
    except OSError as error:
        if error.strerror is None:
            raise UsageError(unreadable(path, error, f"a plan, {SCHEMA}")) from error
        raise UsageError(f"{path}: found it unreadable ({error.strerror}), accepted: a plan, {SCHEMA}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        raise UsageError(f"{path}:{line}:{column}: found {error.reason}, accepted: UTF-8") from error
    return parse(text, path, hashlib.sha256(content).hexdigest())


def parse(text: str, path: Path = Path(FILE), sha256: str = "") -> Plan:
    """Read a plan from its text; raises UsageError as `load` does, naming `path`."""
    found = _read(text)
    plan: Plan | None = None
    if not found.broken:
        try:
            plan = Plan.model_validate(found.data)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                found.add(*_explained(each))
        _check_references(found)
    if found.problems or plan is None:
        raise UsageError("\n".join(f"{path}:{problem}" for problem in sorted(found.problems.values())))
    plan._path, plan._sha256, plan._places = path, sha256 or hashlib.sha256(text.encode()).hexdigest(), found.places
    return plan


def find(given: str | Path | None, root: Path) -> Plan | None:
    """Load the plan that was given, else dr-plan.yaml in `root`, else none.

    Raises:
        UsageError: as `load`, also where the one that was given is not there.

    """
    if given:
        return load(Path(given))
    return load(root / FILE) if (root / FILE).is_file() else None


def json_schema() -> dict[str, Any]:
    """Describe the file for editors and other tools: the content of docs/schemas/plan-v1.json."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:pytest-drills:plan:v1"}
    return {**head, "title": SCHEMA, **_tidy(Plan.model_json_schema())}


@dataclass
class Places:
    """Where the parts of a file stand, as (line, column) from 1: of values, and of the keys before them."""

    values: dict[Where, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Where, tuple[int, int]] = field(default_factory=dict)

    def problem(self, where: Where, message: str, *, of_key: bool = False) -> Problem:
        """Make a problem with the place of a part, or of the smallest part around it that is there."""
        inside = where
        while inside and inside not in self.values and inside not in self.keys:
            inside = inside[:-1]
        first, then = (self.keys, self.values) if of_key or inside != where else (self.values, self.keys)
        line, column = first.get(inside) or then.get(inside) or (1, 1)
        return Problem(line, column, _dotted(where), message)


@dataclass
class _Found:
    data: Any = None
    broken: bool = False
    places: Places = field(default_factory=Places)
    problems: dict[Where, Problem] = field(default_factory=dict)

    def add(self, where: Where, message: str, of_key: bool = False) -> None:
        # The first thing said of a field is the cause of the others.
        self.problems.setdefault(where, self.places.problem(where, message, of_key=of_key))

    def breaks(self, line: int, column: int, message: str) -> None:
        self.broken = True
        self.problems[()] = Problem(line, column, "", message)


class _Loader(yaml.SafeLoader):
    """PyYAML's reader up to the tree of nodes, which know where they stand."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        for kind, anchor in (("alias", self.check_event(yaml.AliasEvent)), ("anchor", self.peek_event().anchor)):  # type: ignore[no-untyped-call]
            if anchor:
                raise yaml.MarkedYAMLError(
                    problem=f"found an {kind}; accepted: each value written where it holds, so that a plan can be read",
                    problem_mark=mark,
                )
        if self.depth >= _DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"found more than {_DEEPEST} levels of nesting", problem_mark=mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _read(text: str) -> _Found:
    found = _Found()
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        found.breaks(line, column, f"found the character {error.character!r}; accepted: printable text")
        return found
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or loader.get_mark()
        said = "; ".join(part for part in (error.context, error.problem) if part)
        found.breaks(mark.line + 1, mark.column + 1, f"not YAML: {said}")
    except (ValueError, OverflowError) as error:  # PyYAML lets them out for escapes and versions beyond all bounds
        mark = loader.get_mark()
        found.breaks(mark.line + 1, mark.column + 1, f"not YAML: {error}")
    else:
        if node is None:
            found.breaks(1, 1, f"found nothing; accepted: a plan, {SCHEMA}")
        else:
            found.data = _plain(node, (), found)
    return found


def _plain(node: yaml.Node, where: Where, found: _Found) -> object:
    """Turn a node into mappings, lists and text, noting where all of it stands."""
    found.places.values[where] = _place(node)
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return _mapping(node, where, found)
    if isinstance(node, yaml.SequenceNode) and kind == "seq":
        return [_plain(item, (*where, number), found) for number, item in enumerate(node.value)]
    if not isinstance(node, yaml.ScalarNode) or kind not in _SCALARS:
        found.add(where, f"found the tag {node.tag}; accepted: none")
        return None
    if kind == "null":
        found.add(where, "found nothing after the name; accepted: a value")
        return None
    if re.search("[\ud800-\udfff]", node.value):
        found.add(where, "found half a character; accepted: text")
        return None
    return node.value


_UNNAMABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SCALARS = {"str", "int", "float", "bool", "null", "timestamp", "value", "merge"}


def _mapping(node: yaml.MappingNode, where: Where, found: _Found) -> dict[str, object]:
    made: dict[str, object] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or not key.value.strip() or _UNNAMABLE.search(key.value):
            line, column = _place(key)
            at: Where = (*where, f"line {line}, column {column}")
            found.places.values[at] = (line, column)
            found.add(at, "found no name; accepted: text of one line")
            continue
        name = key.value.strip()
        inside = (*where, name)
        if name in made:
            line, _ = found.places.keys[inside]
            twice = (*inside, "given twice")
            found.places.keys[twice] = _place(key)
            found.problems[twice] = Problem(
                *_place(key), _dotted(inside), f"found a second time, first in line {line}; accepted: once"
            )
            continue
        found.places.keys[inside] = _place(key)
        made[name] = _plain(value, inside, found)
    return made


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _check_references(found: _Found) -> None:
    """Check that what the drills name is in the plan; on the plain data, so that other problems hide none of these."""
    objectives = _as_mapping(found.data).get("objectives")
    well_formed = isinstance(objectives, dict) and all(isinstance(group, dict) for group in objectives.values())
    groups = {name: list(_as_mapping(value)) for name, value in _as_mapping(objectives).items()}
    for group, classes in groups.items():
        for name in [group, *classes]:
            if "/" in name:
                where: Where = ("objectives", group) if name == group else ("objectives", group, name)
                found.add(where, "found a name with a slash; accepted: a name without", of_key=True)
    accepted: Mapping[str, list[str] | None] = {
        "objective": [f"{group}/{name}" for group, classes in groups.items() for name in classes]
        or ([] if well_formed else None),
        "backup": [name for name, _ in _children(found.data, "backups")],
        "procedure": [name for name, _ in _children(found.data, "procedures")],
        "tier": groups.get("tier"),
        "environment": groups.get("environment"),
    }  # None: nothing to check by; what is wrong with the objectives themselves has been told
    for drill, entry in _children(found.data, "drills"):
        if never := _never_a_drill(drill):
            found.add(("drills", drill), never, of_key=True)
        for name, known in accepted.items():
            value = _as_mapping(entry).get(name)
            listed = isinstance(value, list)
            for number, word in enumerate(value if isinstance(value, list) else [value]):
                if known is None or not isinstance(word, str) or word.strip() in known:
                    continue
                at: Where = ("drills", drill, name, number) if listed else ("drills", drill, name)
                offered = ", ".join(known) or "none, for the plan has none"
                found.add(at, f"found {word!r}; accepted: {offered}{_nearest(word, known)}")


def _never_a_drill(name: str) -> str:
    """Say why no drill can have a name as it stands in the plan; empty if one can."""
    # Plain words are a drill that is planned and has no test yet.
    if not re.search(r"^test_|[\[\]?]|::|^(?=.*_)(?=.*[A-Z])\S*$", name):
        return ""
    proper = re.sub(r"[^\w*.-]+", "_", name.rpartition("::")[2].lower()).strip("_").removeprefix("test_")
    return (
        f"invalid value {name!r}, which no drill is called: expected a drill's name as `drills list` shows it, its "
        "test's without test_, in small letters, with parameters appended by _, or a pattern with *"
        + (f"; did you mean {proper!r}?" if proper else "")
    )


def _as_mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _children(data: object, name: str) -> Iterable[tuple[str, object]]:
    return _as_mapping(_as_mapping(data).get(name)).items()


_EXPECTED = {"model_type": "fields", "dict_type": "names with their values", "tuple_type": "a list"}


def _explained(error: ErrorDetails) -> tuple[Where, str, bool]:
    """Say where one of pydantic's errors is, what it is, and whether it is about the key."""
    where, kind, context = error["loc"], error["type"], error.get("ctx", {})
    shown = _shown(error["input"])
    if kind == "plan":
        return (*where, *filter(None, [context["field"]])), context["said"], False
    if kind == "extra_forbidden":
        known = _fields(where[:-1])
        return where, f"not known; accepted: {', '.join(known)}{_nearest(where[-1], known)}", True
    if kind == "missing":
        return where, "not there; accepted: a value", True
    if kind == "value_error":
        return where, f"found {shown}; {context['error']}", False
    if kind == "literal_error":
        words = re.findall("'([^']*)'", context["expected"])
        return where, f"found {shown}; accepted: {', '.join(words)}{_nearest(error['input'], words)}", False
    if kind == "too_short":
        return where, "found an empty list; accepted: at least one", False
    return where, f"found {shown}; accepted: {_EXPECTED.get(kind, error['msg'])}", False


def _fields(where: Where) -> list[str]:
    """Name the fields that the part of a plan at a place may have."""
    part: Any = reduce(_inside, where, Plan)
    return [known.alias or name for name, known in part.model_fields.items()]


def _inside(part: Any, name: str | int) -> Any:  # noqa: ANN401 - types of every form
    """Go from the type of a part to that of what is in it."""
    if isinstance(part, type) and issubclass(part, BaseModel):
        part = next(known.annotation for key, known in part.model_fields.items() if name == (known.alias or key))
    else:
        part = get_args(part)[-1 if get_origin(part) is dict else 0]
    while get_origin(part) in (Union, types.UnionType, Annotated):
        part = get_args(part)[0]
    return part


def _nearest(word: object, known: Iterable[str]) -> str:
    found = get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "names with values"
    if isinstance(value, list | tuple):
        return "a list"
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _dotted(where: Where) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where).removeprefix(".")


def _tidy(part: Any) -> Any:  # noqa: ANN401 - any JSON
    """Leave out `null`, for a field is given or it is not there, and what pydantic adds for itself."""
    if isinstance(part, list):
        return [_tidy(each) for each in part]
    if not isinstance(part, dict):
        return " ".join(part.split()) if isinstance(part, str) else part
    made = {key: _tidy(value) for key, value in part.items() if key not in ("default", "title")}
    forms = [form for form in made.pop("anyOf", []) if form != {"type": "null"}]
    if len(forms) == 1:
        return forms[0] | made
    return made | ({"anyOf": forms} if forms else {})


def in_words(length: timedelta) -> str:
    """Write a duration in its largest whole unit, such as 90 s, 15 min, 6 h, 7 d."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if length and not length % timedelta(seconds=unit):
            return f"{length // timedelta(seconds=unit)} {name}"
    return f"{length.total_seconds():g} s"


# --- the procedure as planned beside the procedure as executed ---

_ROUNDED_S = 10.0  # people plan in round figures: a step of 0.2 s planned as 5 s is no error
Pace = Literal["over", "within", "under", "open", "not run", "not planned"]


@dataclass(frozen=True)
class StepComparison:
    """One step's expected duration beside its measured one.

    Attributes:
        name: of the step.
        command: as executed; as planned where it was not.
        by: who did it: harness, human or kubernetes; empty where nobody did.
        expected_s: seconds; None if nobody says.
        measured_s: seconds; None if it was not run, or did not end.
        ratio: measured / expected; None if one of them is missing or nothing was expected to pass.
        pace: over (longer than expected), within, under (less than half of it, and by 10 s or more: the plan may be
            out of date), open (one of the figures is missing), not run, not planned.

    """

    name: str
    command: str
    by: str
    expected_s: float | None
    measured_s: float | None
    ratio: float | None
    pace: Pace


def compare(
    record: Mapping[str, Any], expected_steps: Sequence[Mapping[str, Any]] | None = None
) -> list[StepComparison]:
    """Compare the expected durations of a procedure's steps with the measured ones.

    Steps belong together by their names, whatever their case; of several with one name, first to first. Steps that were
    executed come first, in their order, then those that were not.

    Args:
        record: a drill's.
        expected_steps: the plan's; by default as the record keeps them.

    """
    planned: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for step in record.get("expected_steps") or [] if expected_steps is None else expected_steps:
        planned[_key(step["name"])].append(step)
    made = []
    for step in (record.get("procedure") or {}).get("steps", []):
        same = planned[_key(step["name"])]
        made.append(_compared(step, same.pop(0) if same else None))
    left = [step for steps in planned.values() for step in steps]
    return made + [
        StepComparison(step["name"], step["command"], "", step["expected_s"], None, None, "not run") for step in left
    ]


def _key(name: str) -> str:
    return " ".join(name.casefold().split())


def _compared(step: Mapping[str, Any], planned: Mapping[str, Any] | None) -> StepComparison:
    measured = None if step["ended_s"] is None else round(step["ended_s"] - step["started_s"], 6)
    expected = planned["expected_s"] if planned else None
    ratio = measured / expected if measured is not None and expected else None
    pace: Pace
    if planned is None:
        pace = "not planned"
    elif measured is None or expected is None:
        pace = "open"
    elif measured > expected:
        pace = "over"
    else:
        pace = "under" if measured < expected / 2 and expected - measured >= _ROUNDED_S else "within"
    return StepComparison(step["name"], step["command"], step["by"], expected, measured, ratio, pace)
